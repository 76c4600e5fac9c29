"""Single accesses to bytes: one, a scalar, a slice; opening, and importing."""

import mmap
import struct
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import limits
from benchmarks.effort import Effort
from benchmarks.files import Files
from benchmarks.harness import Comparison, Way, call, compare, spread

TITLE = "access: one byte, one number, one slice; open and import"

_BYTES = 1 << 20
_OFFSET = 1000
_IMPORT_TARGET_S = 0.015


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    path = files.random_bytes(_BYTES)
    table = np.random.default_rng(1).random(_BYTES // 8)
    return [
        *_bytes(path, effort),
        *_open(path, files.npy(table), helper, effort),
        _import(effort),
    ]


def _bytes(path: Path, effort: Effort) -> list[Comparison]:
    data = path.read_bytes()
    m = mk.open(path)
    with path.open("rb") as file:
        s = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    n = {"m": m, "s": s, "i": _OFFSET, "j": _OFFSET + 64, "struct": struct}
    n |= {"v": memoryview(s), "x": m[:], "unpack_d": struct.Struct("<d").unpack_from}
    value = m.load("<d", _OFFSET)
    return [
        compare(
            "one byte",
            [
                Way("ours", "m[i]", "m[i]", n),
                Way("rival", "mmap.mmap: s[i]", "s[i]", n, target=1.0),
                limits.byte_of_bytes(data, _OFFSET),
            ],
            effort,
        ),
        compare(
            "one scalar, '<d'",
            [
                Way("ours", 'm.load("<d", i)', 'm.load("<d", i)', n),
                Way(
                    "rival",
                    'struct.unpack_from("<d", s, i)',
                    'struct.unpack_from("<d", s, i)',
                    n,
                    answer='struct.unpack_from("<d", s, i)[0]',
                    target=1.5,
                ),
                Way("rival", "Struct.unpack_from(s, i)[0]", "unpack_d(s, i)[0]", n),
                limits.float_from_c(value),
            ],
            effort,
        ),
        compare(
            "slice of 64 bytes",
            [
                Way("ours", "m[i:j], a view", "m[i:j]", n),
                Way("ours", "x[i:j], a view, x = m[:] beforehand", "x[i:j]", n),
                Way("rival", "memoryview(mmap)[i:j], a view", "v[i:j]", n),
                Way("rival", "memoryview(s)[i:j], a view", "memoryview(s)[i:j]", n),
                Way("rival", "mmap.mmap: s[i:j], a copy", "s[i:j]", n),
            ],
            effort,
        ),
        compare(
            "read of 64 bytes, a copy",
            [
                Way("ours", "m.read(i, 64)", "m.read(i, 64)", n),
                Way("rival", "mmap.mmap: s[i:j]", "s[i:j]", n),
                Way("limit", "bytes: b[i:j]", "b[i:j]", {**n, "b": data}),
            ],
            effort,
        ),
    ]


def _open(raw: Path, npy: Path, helper: Any, effort: Effort) -> list[Comparison]:
    def ours_npy() -> tuple[Any, ...]:
        with mk.open_array(npy) as a:
            return a.shape, a.dtype

    def load() -> tuple[Any, ...]:
        a = np.load(npy, mmap_mode="r")
        return a.shape, a.dtype

    def ours_raw() -> tuple[Any, ...]:
        with mk.open_array(raw, dtype="<f8") as a:
            return a.shape, a.dtype

    def memmap() -> tuple[Any, ...]:
        a = np.memmap(raw, dtype="<f8", mode="r")
        return a.shape, a.dtype

    def ours_bytes() -> int:
        with mk.open(raw) as m:
            return len(m)

    def mmap_bytes() -> int:
        with (
            open(raw, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as s,
        ):
            return len(s)

    return [
        compare(
            "open and close a .npy",
            [
                call("ours", "with mk.open_array(path)", ours_npy),
                call("rival", 'np.load(path, mmap_mode="r")', load, target=4.0),
                limits.mapping_in_c(helper, npy, ours_npy()),
            ],
            effort,
        ),
        compare(
            "open and close a raw array",
            [
                call("ours", 'with mk.open_array(path, dtype="<f8")', ours_raw),
                call("rival", 'np.memmap(path, "<f8", "r")', memmap, target=1.5),
                limits.mapping_in_c(helper, raw, ours_raw()),
            ],
            effort,
        ),
        compare(
            "open and close bytes",
            [
                call("ours", "with mk.open(path)", ours_bytes),
                call("rival", "open, mmap.mmap, close both", mmap_bytes),
                limits.mapping_in_c(helper, raw, ours_bytes()),
            ],
            effort,
        ),
    ]


def _import(effort: Effort) -> Comparison:
    tell = "import {}sys; print('numpy' in sys.modules)"
    names = {"run": _python, "tell": tell}
    ours = Way(
        "ours",
        'python -c "import mmapkit"',
        "run('import mmapkit')",
        names,
        answer="run(tell.format('mmapkit, '))",
    )
    bare = Way("limit", "python -c pass", "run('pass')", names, answer="run(tell.format(''))")
    found = compare("import", [ours, bare], effort, rounds=effort.process_rounds)
    imported, alone = (line.seconds for line in found.lines)
    over = [a - b for a, b in zip(imported, alone, strict=True)]
    low, high = spread(over)
    met = "met" if median(over) < _IMPORT_TARGET_S else "missed"
    return found.remark(
        0,
        f"{median(over) * 1e3:.1f} ms over bare [{low * 1e3:.1f}..{high * 1e3:.1f}], target "
        f"< {_IMPORT_TARGET_S * 1e3:.0f} ms: {met}; numpy not imported",
    )


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "True":
        raise RuntimeError("import mmapkit imports numpy")
    return done.stdout

"""Handing an array to another process: what is pickled, what it costs, how long a worker waits."""

import multiprocessing
import operator
import pickle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks.effort import MIB, Effort
from benchmarks.files import Files
from benchmarks.harness import Comparison, Way, compare

TITLE = "pickle: handing an array to another process"

_SIZES = (1 * MIB, 64 * MIB)
_DUMPS_TARGET_S = 20e-6


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    comparisons = []
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for size in _SIZES:
            if size <= effort.big_bytes:
                plain = np.random.default_rng(1).random(size // 8)
                comparisons += _of(files.npy(plain), plain, pool, effort)
    return comparisons


def _of(path: Path, plain: np.ndarray, pool: Any, effort: Effort) -> list[Comparison]:
    a = mk.open_array(path)
    values = {"a": a, "p": np.load(path, mmap_mode="r"), "d": plain}
    labels = {"a": ("ours", "MappedArray"), "p": ("rival", "np.memmap"), "d": ("rival", "ndarray")}
    names: dict[str, Any] = {**values, "np": np, "path": path, "pool": pool}
    names |= {"dumps": pickle.dumps, "loads": pickle.loads, "getitem": operator.getitem}
    names |= {f"s{of}": pickle.dumps(value) for of, value in values.items()}
    names["t"] = (float(plain[7]),) * 8
    size = f"{plain.nbytes // MIB} MiB"

    def ways(what: str, answer: str) -> list[Way]:
        return [
            Way(role, f"{label}: {what.format(of)}", what.format(of), names, answer.format(of))
            for of, (role, label) in labels.items()
        ]

    dumped = compare(
        f"pickle.dumps, {size}", ways("dumps({})", "np.array(loads(dumps({})))"), effort
    )
    for index, of in enumerate(labels):
        dumped = dumped.remark(index, f"{len(names[f's{of}']):,} bytes")
    typical = median(dumped.lines[0].seconds)
    met = "met" if typical < _DUMPS_TARGET_S else "missed"
    target = f"target < {_DUMPS_TARGET_S * 1e6:.0f} us: {met}"
    dumped = dumped.remark(0, f"{dumped.lines[0].remark}, {target}")
    loaded = compare(
        f"pickle.loads, ready to be read, {size}",
        [
            *ways("loads(s{})", "np.array(loads(s{}))"),
            Way(
                "rival",
                'np.load(path, mmap_mode="r"), the path sent instead',
                'np.load(path, mmap_mode="r")',
                names,
                'np.array(np.load(path, mmap_mode="r"))',
            ),
        ],
        effort,
    )
    sent = compare(
        f"one element by a worker, array of {size}",
        [
            *ways("pool.apply(getitem, ({}, 7))", ""),
            Way(
                "limit",
                "tuple of 8 floats: pool.apply(getitem, (t, 7))",
                "pool.apply(getitem, (t, 7))",
                names,
            ),
        ],
        effort,
    )
    return [dumped, loaded, sent]

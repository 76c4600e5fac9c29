"""Rows of a large array, picked by index: cold, warm on a fresh mapping, and already mapped."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import rivals
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold, random_offsets
from benchmarks.harness import Comparison, Way, call, compare
from benchmarks.limits import address_of

TITLE = "gather: rows of a large array, by index"

ROW_BYTES = 8
THREADS = 32
DEVICE_DEPTH = 128
PAGE_BYTES = 4096


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    path = files.random_bytes(effort.big_bytes)
    index = (random_offsets(effort.big_bytes, effort.gather_count) // ROW_BYTES).astype(np.int64)
    work = f"{len(index):,} random rows of {ROW_BYTES} bytes of {effort.big_bytes >> 20:,} MiB"
    return [
        *_mapped(path, index, work, effort),
        *_fresh(path, index, f"{work}, warm, opened anew", effort),
        *_page_by_page(path, index, work, effort),
        *_libraries(path, index, work, effort),
        *_cold(files, path, index, work, helper, effort),
    ]


def _read_through(path: Path) -> None:
    """Warm, the way files usually become so: read from start to end."""
    with path.open("rb", buffering=0) as file:
        block = bytearray(1 << 20)
        while file.readinto(block):
            pass


def _ours(path: Path, index: np.ndarray) -> int:
    with mk.open_array(path, dtype="<u8") as a:
        return a.gather(index).sum()


def _memmap(path: Path, index: np.ndarray) -> int:
    return np.memmap(path, "<u8", "r")[index].sum()


def _memmap_sorted(path: Path, index: np.ndarray) -> int:
    return np.memmap(path, "<u8", "r")[np.sort(index)].sum()


def _advised(path: Path, index: np.ndarray) -> int:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, "<u8")[index].sum()


def _pread(path: Path, index: np.ndarray) -> int:
    """Many threads: each call releases the GIL while it waits."""
    handle = os.open(path, os.O_RDONLY)
    try:

        def part(rows: list[int]) -> bytes:
            return b"".join(os.pread(handle, ROW_BYTES, row * ROW_BYTES) for row in rows)

        with ThreadPoolExecutor(THREADS) as pool:
            parts = pool.map(part, (rows.tolist() for rows in np.array_split(index, THREADS)))
            return np.frombuffer(b"".join(parts), "<u8").sum()
    finally:
        os.close(handle)


def _mapped(path: Path, index: np.ndarray, work: str, effort: Effort) -> list[Comparison]:
    _read_through(path)
    memory = np.fromfile(path, "<u8")
    view = np.memmap(path, "<u8", "r")
    plain = np.asarray(view)
    with mk.open_array(path, dtype="<u8") as a:
        a.mapping.populate()
        plain.sum()
        return [
            compare(
                f"{work}, already mapped",
                [
                    call("ours", "a.gather(idx)", lambda: a.gather(index)),
                    call("rival", "np.take(ndarray over the mapping, idx)",
                         lambda: np.take(plain, index), target=1.3),
                    call("rival", "np.memmap[idx]", lambda: view[index]),
                    call("limit", "np.take(plain memory, idx)", lambda: np.take(memory, index)),
                ],
                effort,
            )
        ]  # fmt: skip


def _fresh(path: Path, index: np.ndarray, work: str, effort: Effort) -> list[Comparison]:
    return [
        compare(
            work,
            [
                call("ours", "mk.open_array, a.gather(idx)", lambda: _ours(path, index)),
                call("rival", "np.memmap[idx]", lambda: _memmap(path, index), target=2.0),
                call("rival", "np.memmap[np.sort(idx)]", lambda: _memmap_sorted(path, index)),
                call("rival", f"os.pread, {THREADS} threads", lambda: _pread(path, index)),
            ],
            effort,
            rounds=effort.rounds,
        )
    ]


def _page_by_page(path: Path, index: np.ndarray, work: str, effort: Effort) -> list[Comparison]:
    """Warm as random reads or writes of single pages leave a file: each page is a folio of its own.
    Reading from start to end makes large ones, which one fault maps as a whole."""
    copy = path.with_suffix(".pages")
    with path.open("rb") as source, copy.open("wb", buffering=0) as file:
        while page := source.read(PAGE_BYTES):
            file.write(page)
        os.fsync(file.fileno())
    try:
        return _fresh(copy, index, f"{work}, warm in single pages, opened anew", effort)
    finally:
        copy.unlink()


def _libraries(path: Path, index: np.ndarray, work: str, effort: Effort) -> list[Comparison]:
    """What stores arrays in formats of its own: a tenth of the rows, for it takes long."""
    few = np.unique(index[: max(1, len(index) // 10)])
    name = work.replace(f"{len(index):,}", f"{len(few):,}", 1) + ", warm, in other formats"
    modules, missing = rivals.installed("h5py", "zarr")
    ways = [call("ours", "mk.open_array, a.gather(idx)", lambda: _ours(path, few))]
    if "h5py" in modules:
        ways.append(_h5py(modules["h5py"], path, few))
    if "zarr" in modules:
        ways.append(_zarr(modules["zarr"], path, few))
    return [compare(name, ways, effort, rounds=effort.big_rounds, missing=missing)]


def _h5py(h5py: Any, path: Path, index: np.ndarray) -> Way:
    target = path.with_suffix(".h5")
    if not target.exists():
        with h5py.File(target, "w") as file:
            data = np.memmap(path, "<u8", "r")
            stored = file.create_dataset("a", data.shape, data.dtype)
            for start in range(0, len(data), 1 << 21):
                stored[start : start + (1 << 21)] = data[start : start + (1 << 21)]

    def gather() -> int:
        with h5py.File(target, "r") as file:
            a = file["a"]
            return np.array([a[i] for i in index.tolist()], "<u8").sum()

    return call("rival", "h5py: [d[i] for i in idx]", gather)


def _zarr(zarr: Any, path: Path, index: np.ndarray) -> Way:
    target = path.with_suffix(".zarr")
    if not target.exists():
        data = np.memmap(path, "<u8", "r")
        chunk = min(1 << 17, len(data))
        stored = zarr.create_array(
            target, shape=data.shape, dtype=data.dtype, chunks=(chunk,), compressors=None
        )
        for start in range(0, len(data), chunk):
            stored[start : start + chunk] = data[start : start + chunk]

    def gather() -> int:
        return zarr.open_array(target, mode="r").get_coordinate_selection(index).sum()

    return call("rival", "zarr, chunks of 1 MiB: vindex[idx]", gather)


def _cold(
    files: Files, path: Path, index: np.ndarray, work: str, helper: Any, effort: Effort
) -> list[Comparison]:
    # The device's bytes are those at the start of each row.
    first = np.memmap(path, "u1", "r")[index * ROW_BYTES].astype(np.uint64).sum()
    offsets = (index * ROW_BYTES).astype(np.uint64)
    expected = _memmap(path, index)
    try:
        cool = files.cooler(path)
    except NotCold as error:
        return [Comparison(f"{work}, cold", skipped=str(error))]
    direct = os.fsencode(path), address_of(offsets), len(offsets), DEVICE_DEPTH

    def device() -> int:
        found = helper.direct_sum_at(*direct)
        return expected if found == first else found

    ways = [
        ("ours", "mk.open_array, a.gather(idx)", lambda: _ours(path, index), None),
        ("rival", "np.memmap[idx]", lambda: _memmap(path, index), 3.3),
        ("rival", "np.memmap[np.sort(idx)]", lambda: _memmap_sorted(path, index), None),
        ("rival", "mmap, MADV_RANDOM, [idx]", lambda: _advised(path, index), None),
        ("rival", f"os.pread, {THREADS} threads", lambda: _pread(path, index), None),
        ("limit", f"device, random 4 KiB, depth {DEVICE_DEPTH} (C, O_DIRECT)", device, 0.9),
    ]
    timed = [
        call(role, name, function, target=target, prepare=cool)
        for role, name, function, target in ways
    ]
    return [compare(f"{work}, cold", timed, effort, rounds=effort.big_rounds)]

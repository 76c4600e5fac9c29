"""Arrays that grow: batches of rows appended, rows that a reader has to find, ragged rows."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import rivals
from benchmarks.effort import Effort
from benchmarks.files import SEED, Files
from benchmarks.harness import Comparison, Way, call, compare

TITLE = "growth: appending, seeing what was appended, rows of different lengths"

COLUMNS = (1, 8)
BATCH_ROWS = 1_000


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    directory = files.folder("growth")
    return [
        *(_appending(directory, columns, effort) for columns in COLUMNS),
        _one_row(directory, effort),
        _seeing(directory, effort),
        *_ragged(directory, effort),
    ]


def _batches(count: int, columns: int) -> list[np.ndarray]:
    random = np.random.default_rng(SEED)
    few = [random.random((BATCH_ROWS, columns)) for _ in range(min(count, 16))]
    return [few[i % len(few)] for i in range(count)]


def _cleared(path: Path) -> Callable[[], None]:
    """Return what removes a file or a folder, so that each run begins with nothing."""

    def clear() -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)

    return clear


def _summary(a: np.ndarray) -> tuple[tuple[int, ...], float]:
    return a.shape, float(a[::997].sum())


def _appending(directory: Path, columns: int, effort: Effort) -> Comparison:
    count = effort.append_count
    batches = _batches(count, columns)
    modules, missing = rivals.installed("npy_append_array", "h5py", "zarr")

    def ours(path: Path) -> Any:
        with mk.create_array(path, (0, columns)) as a:
            for batch in batches:
                a.append(batch)
        return _summary(np.load(path, mmap_mode="r"))

    def npy_append_array(path: Path) -> Any:
        with modules["npy_append_array"].NpyAppendArray(path) as a:
            for batch in batches:
                a.append(batch)
        return _summary(np.load(path, mmap_mode="r"))

    def h5py(path: Path) -> Any:
        with modules["h5py"].File(path, "w") as file:
            a = file.create_dataset(
                "a", (0, columns), "f8", maxshape=(None, columns), chunks=(BATCH_ROWS, columns)
            )
            for batch in batches:
                end = len(a)
                a.resize(end + len(batch), axis=0)
                a[end:] = batch
            return _summary(a[...])

    def zarr(path: Path) -> Any:
        a = modules["zarr"].create_array(
            path, shape=(0, columns), chunks=(BATCH_ROWS, columns), dtype="f8", compressors=None
        )
        for batch in batches:
            a.append(batch)
        return _summary(a[...])

    def plain(path: Path) -> Any:
        with path.open("wb", buffering=0) as file:
            for batch in batches:
                file.write(batch)
        return _summary(np.memmap(path, "f8", "r").reshape(-1, columns))

    known: list[tuple[Any, ...]] = [
        ("ours", "MappedArray.append", ours, "a.npy", None),
        ("rival", "npy_append_array", npy_append_array, "n.npy", 2.0),
        ("rival", "h5py, a chunk a batch", h5py, "h.h5", None),
        ("rival", "zarr, a chunk a batch", zarr, "z.zarr", None),
        ("limit", "file.write(batch), no header, no count", plain, "w.bin", None),
    ]
    ways = []
    for role, name, run, file, target in known:
        path = directory / file
        if role == "rival" and run.__name__ not in modules:
            continue
        ways.append(
            call(role, name, lambda run=run, path=path: run(path), target=target,
                 prepare=_cleared(path))
        )  # fmt: skip
    byte_count = count * BATCH_ROWS * columns * 8
    work = f"{count} batches of {BATCH_ROWS:,} rows of {columns} float64, new file to closed file"
    return compare(work, ways, effort, byte_count=byte_count, missing=missing)


def _one_row(directory: Path, effort: Effort) -> Comparison:
    """What an append costs beside its bytes."""
    modules, missing = rivals.installed("npy_append_array")
    row = np.arange(8, dtype="f8")[None]
    a = mk.create_array(directory / "row.npy", (0, 8), overwrite=True)
    raw = (directory / "row.bin").open("wb", buffering=0)
    names: dict[str, Any] = {"a": a, "raw": raw, "row": row}
    ways = [Way("ours", "a.append(row)", "a.append(row)", names, answer="None")]
    if "npy_append_array" in modules:
        path = directory / "row_rival.npy"
        path.unlink(missing_ok=True)
        names["n"] = modules["npy_append_array"].NpyAppendArray(path)
        way = Way("rival", "npy_append_array", "n.append(row)", names, answer="None")
        ways.append(way)
    ways.append(Way("limit", "file.write(row), no count", "raw.write(row)", names, answer="None"))
    found = compare("append one row of 64 bytes", ways, effort, missing=missing)
    a.close()
    raw.close()
    if "n" in names:
        names["n"].close()
    return found


def _seeing(directory: Path, effort: Effort) -> Comparison:
    """A reader's look at a file to which a batch has been appended."""
    path = directory / "seen.npy"
    batch = _batches(1, 8)[0]
    writer = mk.create_array(path, (0, 8), overwrite=True)
    writer.append(batch)
    reader = mk.open_array(path)

    def grow() -> None:
        writer.append(batch)

    def refresh() -> float:
        reader.refresh()
        return float(reader[-1, -1])

    def reopen() -> float:
        return float(np.load(path, mmap_mode="r")[-1, -1])

    found = compare(
        f"the last row after {BATCH_ROWS:,} were appended",
        [
            call("ours", "reader.refresh(), reader[-1]", refresh, prepare=grow),
            call("rival", 'np.load(path, mmap_mode="r")[-1]', reopen, prepare=grow),
        ],
        effort,
    )
    reader.close()
    writer.close()
    return found


def _ragged(directory: Path, effort: Effort) -> list[Comparison]:
    random = np.random.default_rng(SEED)
    count = effort.ragged_count
    rows = [random.random(int(length)) for length in random.integers(1, 200, count)]
    modules, missing = rivals.installed("mmap_ninja")
    ours_at, theirs_at = directory / "ragged", directory / "ninja"

    def ours() -> float:
        with mk.create_ragged(ours_at, "f8") as r:
            r.extend(rows)
            return float(r[count // 2].sum())

    def theirs() -> float:
        ninja = modules["mmap_ninja"].RaggedMmap.from_lists(theirs_at, rows)
        return float(ninja[count // 2].sum())

    build = [call("ours", "create_ragged, extend(rows)", ours, prepare=_cleared(ours_at))]
    if modules:
        build.append(call("rival", "RaggedMmap.from_lists", theirs, prepare=_cleared(theirs_at)))
    found = [compare(f"{count:,} ragged rows, written", build, effort, missing=missing)]
    picked = random.integers(0, count, min(count, 1_000)).tolist()
    with mk.open_ragged(ours_at) as r:
        ninja = modules["mmap_ninja"].RaggedMmap(theirs_at) if modules else None

        def copied() -> float:
            return sum(x[0] for x in [np.array(ninja[i]) for i in picked])

        names = {"r": r, "n": ninja, "picked": picked}
        read = [Way("ours", "sum(r[i][0] for i in picked)", "sum(r[i][0] for i in picked)", names)]
        if ninja is not None:
            read.append(Way("rival", "RaggedMmap: sum(n[i][0] for i in picked)",
                            "sum(n[i][0] for i in picked)", names))  # fmt: skip
        work = f"{len(picked):,} random ragged rows, read"
        found.append(compare(work, read, effort, missing=missing))
        if ninja is not None:
            gathered = [
                call("ours", "r.gather(picked)", lambda: sum(x[0] for x in r.gather(picked))),
                call("rival", "[np.array(n[i]) for i in picked]", copied),
            ]
            work = f"{len(picked):,} random ragged rows, copied"
            found.append(compare(work, gathered, effort, missing=missing))
        names.clear()
    return found

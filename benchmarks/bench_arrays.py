"""Arrays in files as numpy users meet them: a slice, an element, arithmetic, a sum, rows."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks.effort import Effort
from benchmarks.files import Files
from benchmarks.harness import Comparison, Way, compare
from benchmarks.rivals import installed

TITLE = "arrays: a slice, an element, arithmetic, a sum, rows"

_BYTES = 1 << 20
_ROWS, _COLUMNS = 500, 250
_CHUNK_BYTES = 128 << 10

# work, statement on an array, how to compare its answer, targets for np.asarray(a) and a itself
_WORKS: Sequence[tuple[str, str, str, float | None, float | None]] = (
    ("slice of an array", "{}[i:j]", "", 10.0, 5.0),
    ("one element", "{}[i]", "", None, None),
    ("arithmetic on a slice", "{}[:10] + 1", "", None, None),
    ("arithmetic on 1 MiB", "np.add({}, 1)", "", None, None),
    ("sum of 1 MiB", "np.sum({})", "", None, None),
)
_ROW_WORK = (f"{_ROWS} rows of {_COLUMNS}", "deque({}, 0)", "np.stack(list({}))", None, None)


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    random = np.random.default_rng(1)
    return [
        *_on(files, random.random(_BYTES // 8), _WORKS, effort),
        *_on(files, random.random((_ROWS, _COLUMNS)), [_ROW_WORK], effort),
    ]


def _on(files: Files, plain: np.ndarray, works: Sequence[Any], effort: Effort) -> list[Comparison]:
    """Each work twice: on an ndarray over the mapping, and on the MappedArray itself."""
    path = files.npy(plain)
    libraries, missing = installed("h5py", "zarr")
    a = mk.open_array(path)
    names = {"a": a, "x": np.asarray(a), "p": np.load(path, mmap_mode="r"), "d": plain}
    names |= {"i": 100, "j": 200, "np": np, "deque": deque}
    labels = {"p": "np.memmap"}
    if "h5py" in libraries:
        with libraries["h5py"].File(path.with_suffix(".h5"), "w") as file:
            file["x"] = plain
        names["h"] = libraries["h5py"].File(path.with_suffix(".h5"))["x"]
        labels["h"] = "h5py.Dataset"
    if "zarr" in libraries:
        names["z"] = libraries["zarr"].create_array(
            path.with_suffix(".zarr"), data=plain, chunks=_chunks(plain), compressors=None
        )
        labels["z"] = "zarr.Array"

    comparisons = []
    for work, what, answer, of_view, of_array in works:

        def way(role: Any, name: str, of: str, target: float | None = None) -> Way:
            return Way(role, name, what.format(of), names, answer.format(of), target)  # noqa: B023

        ours = (
            ("x", f"{what.format('x')}, x = np.asarray(a)", "ndarray over the mapping", of_view),
            ("a", what.format("a"), "MappedArray", of_array),
        )
        for of, name, suffix, target in ours:
            ways = [
                way("ours", name, of),
                *(
                    way("rival", f"{label}: {what.format(of)}", of, target if of == "p" else None)
                    for of, label in labels.items()
                ),
                way("limit", f"ndarray: {what.format('d')}", "d"),
            ]
            comparisons.append(compare(f"{work}, {suffix}", ways, effort, missing=missing))
    if "h" in names:
        names["h"].file.close()
    return comparisons


def _chunks(plain: np.ndarray) -> tuple[int, ...]:
    """Whole rows of about 128 KiB, as zarr's users choose them."""
    row_bytes = plain.nbytes // len(plain)
    return (max(1, _CHUNK_BYTES // row_bytes), *plain.shape[1:])

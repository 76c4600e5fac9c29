"""The index of a file's lines, saved beside the file.

An archive of arrays (``.npz``) that numpy reads: ``line_index`` says which text it is of, ``ends``
holds the low 32 bits of the offsets just after each newline, and ``wraps`` which line is the first
one to end at each multiple of 2**32 or behind.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from mmapkit._lines import LineTable, Saved
from mmapkit._scan import Numbers
from mmapkit.collection import open_arrays
from mmapkit.errors import FormatError, MappingFault
from mmapkit.mapping import Mapping
from mmapkit.saving import save_npz
from mmapkit.text.lines import extend, lines_of, scan
from mmapkit.text.stamps import Stamp, stat_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from mmapkit.collection import MappedArrays
    from mmapkit.passes.progress import Report
    from mmapkit.text.lines import type_of_path

__all__ = ["open_index", "save_index"]

SUFFIX: Final = ".lines"
VERSION: Final = 1
ABOUT: Final = np.dtype(
    [(name, "<i8") for name in ("version", "size", "mtime_ns", "head_crc", "tail_crc")]
)
# The first member's name, where every zip archive has it (APPNOTE.TXT 4.3.7).
MARK: Final = slice(30, 44)
NAME: Final = b"line_index.npy"
# An index up to this size is saved again whenever its text has grown; a larger one if it has fewer
# bytes than there are new ones in the text, so that it is not written over and over.
SMALL_BYTES: Final = 1 << 20
# So many lines of a text that has grown are looked at, and of each no more than these bytes.
SPOTS: Final = 64
SPOT_BYTES: Final = 4096


class Place(NamedTuple):
    """Where an index goes, and whether the user wants it there and nowhere else."""

    path: str
    demanded: bool


def open_index(
    text: Any, path: type_of_path | None, threads: int | None, progress: bool | Report
) -> LineTable:
    """Return the lines of a mapped file by its saved index, which is made, or brought up to date.

    See `lines()`.
    """
    mapping, found = _whole_file(text)
    size, mtime_ns = (
        mapping.size,
        found.st_mtime_ns,
    )  # before it is read: a later change will be seen
    place = _place_for(mapping, path)
    try:
        table = _load(mapping, place.path)
    except OSError as error:
        if place.demanded:
            raise
        _warn(place.path, "read", error)
        table = None
    # Another process may have mapped the file when there was more of it.
    worth = table is None or not size < table.size_bytes <= found.st_size
    if table is not None and not _still_true(table, found):
        table = None
    if table is None:
        table = LineTable(mapping, *scan(mapping, 0, size, threads, progress))
    elif table.size_bytes == size:
        return table
    else:
        new = size - table.size_bytes
        extend(table, size, threads, progress)
        worth = table.index_bytes <= max(new, SMALL_BYTES)
    table.stamp = Stamp.of(mapping, size, mtime_ns)
    if worth:
        try:
            _save(table, place.path)
        except OSError as error:
            if place.demanded:
                raise
            _warn(place.path, "saved", error)
        else:  # from now on its memory is the file's
            saved = _load(mapping, place.path)
            if saved is not None and saved.stamp == table.stamp:
                return saved
    return table


def save_index(table: LineTable, path: type_of_path | None) -> None:
    """See `Lines.save`."""
    mapping, _ = _whole_file(table.text)
    _save(table, _place_for(mapping, path).path)


def _warn(path: str, what: str, error: OSError) -> None:
    warnings.warn(
        f"the index of lines in {path!r} could not be {what}, so it is in memory only: {error}",
        RuntimeWarning,
        stacklevel=5,  # who called Mapping.lines()
    )


# --- which text, and where ------------------------------------------------------------------------


def _whole_file(text: Any) -> tuple[Mapping, os.stat_result]:
    """Return the mapping and what the system says of its file, if it shows that as it is."""
    if not isinstance(text, Mapping):
        raise TypeError(f"an index is saved for a Mapping of a file, not for {type(text).__name__}")
    found = stat_of(text)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise ValueError(f"an index is saved for a mapped file, which {text.path!r} is not")
    if text.mode == "c":
        raise ValueError(
            "an index is saved for what is in a file; mode 'c' may show other bytes: open "
            f"{text.path!r} with mode 'r'"
        )
    if text.offset != 0 or not (text._follows_file or text.size == found.st_size):
        raise ValueError(
            f"an index is saved for whole files; this mapping shows bytes [{text.offset}, "
            f"{text.offset + text.size}) of the {found.st_size} of {text.path!r}: open it without "
            "offset= and length=, or leave index= out"
        )
    return text, found


def _place_for(mapping: Mapping, path: type_of_path | None) -> Place:
    if path is None:
        return Place(f"{mapping.path}{SUFFIX}", False)
    found = os.path.abspath(os.fsdecode(path))
    if mapping.path is not None:
        # By the files, not the names: there are links, and file systems that ignore case.
        with contextlib.suppress(OSError):
            if os.path.samefile(found, mapping.path):
                raise ValueError(f"{found!r} is the text itself, which its index would replace")
    return Place(found, True)


# --- reading ------------------------------------------------------------------------------------


def _is_index(path: str) -> bool:
    """Tell whether a file is an index of lines, whole or not; an empty one is.

    Raises
    ------
    FormatError
        If it is something else, and must not be replaced.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(MARK.stop)
    except FileNotFoundError:
        return False
    if head and head[MARK] != NAME:
        raise FormatError(
            f"{path!r} is no index of lines and is left as it is: give index= another path"
        )
    return True


def _load(mapping: Mapping, path: str) -> LineTable | None:
    """Return what was saved; None if there is nothing, or nothing that makes sense: then it is made
    again from the text."""
    if not _is_index(path):
        return None
    try:
        with contextlib.ExitStack() as held:
            arrays = open_arrays(path)
            held.callback(arrays.close, defer=True)  # what is in use stays mapped
            return _table_of(mapping, path, arrays)
    except (FormatError, KeyError, ValueError, MappingFault, FileNotFoundError):
        return None


def _table_of(mapping: Mapping, path: str, arrays: MappedArrays) -> LineTable:
    """Look at everything but the numbers themselves, which are looked at when they are used."""
    about, ends, bounds = arrays["line_index"][()], arrays["ends"], arrays["wraps"][()]
    if about.dtype != ABOUT or about.shape != () or about["version"] != VERSION:
        raise FormatError(f"{path!r} is an index of another version")
    _, size, *rest = (int(field) for field in about.item())
    kinds = (ends.dtype, ends.ndim, bounds.dtype, bounds.ndim)
    if size < 0 or kinds != (np.dtype("u4"), 1, np.dtype("i8"), 1):
        raise FormatError(f"{path!r}: not the numbers of lines")
    if len(bounds) != size >> 32 or len(ends) > size:
        raise FormatError(f"{path!r}: not the numbers of a text of {size} bytes")
    wraps = Numbers(8)
    wraps.add(bounds)
    saved = None
    if len(ends):
        # A mapped file cannot be replaced on Windows: there it is read.
        numbers = np.array(ends) if os.name == "nt" else ends[:]
        saved = Saved(numbers, None if os.name == "nt" else arrays.mapping)
    table = LineTable(mapping, Numbers(4), wraps, size, saved)
    table.origin = path
    table.stamp = Stamp(size, *rest)
    return table


def _still_true(table: LineTable, found: os.stat_result) -> bool:
    """Tell whether a text is what it was when it was indexed, or has only grown since."""
    stamp: Stamp = table.stamp
    if not stamp.matches(table.text):
        return False
    if stamp.size == found.st_size:
        return stamp.mtime_ns == found.st_mtime_ns
    # Its first and last bytes are as they were. Are lines in between where they were?
    known = lines_of(table)[: table.newline_count]
    try:
        for line in np.linspace(0, len(known) - 1, min(SPOTS, len(known)), dtype=np.int64):
            start, stop = known.span(line)
            if b"\n" in table.text.read(start, min(stop - start, SPOT_BYTES)):
                return False
    except ValueError:
        return False
    return True


# --- writing ------------------------------------------------------------------------------------


def _save(table: LineTable, path: str) -> None:
    _is_index(path)  # or nothing: what is there may be replaced
    saved, fresh, wraps, size = table.parts()
    stamp: Stamp = table.stamp
    ends: npt.NDArray[np.uint32] = np.frombuffer(fresh, np.uint32)
    if saved is not None:
        whole = np.empty(len(saved) + len(ends), np.uint32)
        saved.copy_to(whole[: len(saved)])
        whole[len(saved) :] = ends
        ends = whole
    fields = (VERSION, size, stamp.mtime_ns, stamp.head, stamp.tail)
    arrays = {
        "line_index": np.array(fields, ABOUT),  # the first member, by which it is recognised
        "ends": ends,
        "wraps": np.frombuffer(wraps, np.int64),
    }
    save_npz(path, aligned=False, **arrays)

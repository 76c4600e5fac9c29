"""The .npy format, versions 1.0 to 3.0.

Source of the format: numpy/lib/format.py, "Format Version 1.0/2.0/3.0", and NEP 1. A header is six
magic bytes, a version, the little-endian length of what follows (2 bytes in version 1, 4 in the
others) and a Python dict literal with the keys descr, fortran_order and shape, in latin-1 or, in
version 3, UTF-8.

The literal is never evaluated: the common form is matched by a regular expression, everything else
goes through `ast.literal_eval` after its length was bounded.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from typing import Any, Final

import numpy as np
from numpy.lib import format as numpy_format

from mmapkit.errors import FormatError
from mmapkit.formats.format import HEAD_BYTES, Contents, Format, Source
from mmapkit.formats.layout import Layout
from mmapkit.views import Order, storable_dtype, storable_shape

__all__ = ["ALIGNMENT", "FORMAT", "MAGIC", "PAGE_ALIGNMENT", "header_for", "read_layout"]

MAGIC: Final = b"\x93NUMPY"
# numpy refuses more than 10,000 by default; dtypes of many fields need more.
MAX_HEADER_BYTES: Final = 1 << 18
ALIGNMENT: Final = 64
# A page of most machines. Of those with larger ones a header would pass the 10,000 bytes that
# numpy.load takes; and so the same arrays give the same file everywhere.
PAGE_ALIGNMENT: Final = 4096
# Room for the first axis to grow without moving the data, as numpy leaves it.
GROWTH_DIGITS: Final = 21

_PLAIN: Final = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{0,9})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\}\s*"
)
_PYTHON_2_LONG: Final = re.compile(r"(?<=\d)L\b")


def read_layout(
    source: Source, offset: int = 0, end: int | None = None, label: str | None = None
) -> Layout | None:
    """Parse a header; None if there are no magic bytes.

    Parameters
    ----------
    source : Source
        The file.
    offset, end : int, optional
        Where in it the header begins, and what the array must not pass; the whole file by default.
    label : str, optional
        What to call it in messages; the file's path by default.

    Raises
    ------
    FormatError
        If the header is cut short, malformed, or promises more than there is; if the array holds
        Python objects.
    """
    if end is None:
        end = source.size
    if label is None:
        label = repr(source.path)
    head = source.peek(min(HEAD_BYTES, end - offset), offset)
    if head[:6] != MAGIC:
        return None
    version = tuple(head[6:8])
    width = 2 if version == (1, 0) else 4
    start = 8 + width
    if len(head) < start:
        raise FormatError(f"{label}: the header is cut short at byte {offset + len(head)}")
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise FormatError(f"{label}: unknown .npy version {version} at byte {offset + 6}")
    length = int.from_bytes(head[8:start], "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(
            f"{label}: the header claims {length} bytes at byte {offset + 8}; more than "
            f"{MAX_HEADER_BYTES} are not read"
        )
    if offset + start + length > end:
        raise FormatError(
            f"{label}: the header claims to end at byte {offset + start + length}, but "
            f"{_there_are(source, end)}"
        )
    if len(head) < start + length:
        head = source.peek(start + length, offset)
    try:
        layout = _parse(head[start : start + length], version)
    except ValueError as error:
        raise FormatError(f"{label}: the header at byte {offset + start}: {error}") from None
    layout = layout._replace(offset=offset + start + length)
    if layout.dtype.names is not None:  # fields can be renamed: not those of other files
        layout = layout._replace(dtype=np.dtype(layout.dtype, copy=True))
    if layout.offset + layout.nbytes > end:
        raise FormatError(
            f"{label}: the header promises {layout.dtype} of shape {layout.shape}, which ends at "
            f"byte {layout.offset + layout.nbytes}, but {_there_are(source, end)}"
        )
    return layout


def _there_are(source: Source, end: int) -> str:
    if end == source.size:
        return f"the file has {end} bytes"
    return f"the member ends at byte {end}"


# Pipelines open many files that look alike.
@functools.lru_cache(256)
def _parse(text: bytes, version: tuple[int, ...]) -> Layout:
    """Parse the dict; the offset is left to the caller."""
    descr: Any
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        descr = plain[1].decode()
        fortran = plain[2] == b"True"
        shape = tuple(int(length) for length in plain[3].split(b",") if length.strip())
    else:
        descr, fortran, shape = _parse_literal(text, version)
    try:
        with warnings.catch_warnings():  # of spellings that numpy is going to drop
            warnings.simplefilter("ignore")
            dtype = numpy_format.descr_to_dtype(descr)
    except (TypeError, ValueError, KeyError, IndexError, SyntaxError) as error:
        raise ValueError(f"no dtype: {error}") from None
    storable_dtype(dtype)
    order: Order = "F" if fortran else "C"
    dtype, shape = storable_shape(dtype, shape, order)
    return Layout(dtype, shape, order, 0, format="npy")


def _parse_literal(text: bytes, version: tuple[int, ...]) -> tuple[Any, bool, tuple[int, ...]]:
    try:
        literal = text.decode("utf-8" if version == (3, 0) else "latin-1")
        try:
            header = ast.literal_eval(literal)
        except SyntaxError:
            header = ast.literal_eval(_PYTHON_2_LONG.sub("", literal))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"malformed: {error}") from None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("must be a dict of descr, fortran_order and shape")
    shape, fortran = header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape {shape!r}")
    if not isinstance(fortran, bool):
        raise ValueError(f"fortran_order {fortran!r}")
    return header["descr"], fortran, shape


def header_for(
    dtype: np.dtype[Any], shape: tuple[int, ...], order: Order, alignment: int = ALIGNMENT
) -> bytes:
    """Return the header of an array: the oldest version that can hold it, padded to `alignment`.

    Raises
    ------
    ValueError
        If the format has no word for the dtype.
    """
    descr = numpy_format.dtype_to_descr(dtype)
    if numpy_format.descr_to_dtype(descr) != dtype:
        raise ValueError(
            f"dtype {dtype} would come back from a .npy file as "
            f"{numpy_format.descr_to_dtype(descr)}: store a view of another dtype"
        )
    literal = f"{{'descr': {descr!r}, 'fortran_order': {order == 'F'}, 'shape': {shape!r}, }}"
    if shape:
        literal += " " * max(0, GROWTH_DIGITS - len(str(shape[0 if order == "C" else -1])))
    try:
        text, version = literal.encode("latin-1"), 1
    except UnicodeEncodeError:
        text, version = literal.encode("utf-8"), 3
    if version == 1 and len(text) + alignment + 10 >= 1 << 16:
        version = 2
    width = 2 if version == 1 else 4
    before = len(MAGIC) + 2 + width
    padding = -(before + len(text) + 1) % alignment
    text += b" " * padding + b"\n"
    return MAGIC + bytes((version, 0)) + len(text).to_bytes(width, "little") + text


def _recognise(source: Source) -> bool:
    return source.head[:6] == MAGIC


def _read(source: Source) -> Contents:
    layout = read_layout(source)
    if layout is None:
        raise FormatError(f"{source.path!r} does not begin with the bytes of a .npy file")
    # What numpy.savez() calls an array that was given no name.
    return Contents({"arr_0": layout})


FORMAT: Final = Format("npy", _recognise, _read, suffixes=(".npy",), several=False)

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
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib import format as numpy_format

from mmapkit.errors import FormatError
from mmapkit.formats.format import HEAD_BYTES, Contents, Format, Source
from mmapkit.formats.layout import Layout
from mmapkit.views import Order, storable_dtype, storable_shape

__all__ = [
    "ALIGNMENT",
    "FORMAT",
    "Header",
    "MAGIC",
    "PAGE_ALIGNMENT",
    "growing_header",
    "header_for",
    "label_of",
    "read_layout",
]

MAGIC: Final = b"\x93NUMPY"
# numpy refuses more than 10,000 by default; dtypes of many fields need more.
MAX_HEADER_BYTES: Final = 1 << 18
ALIGNMENT: Final = 64
# A page of most machines. Of those with larger ones a header would pass the 10,000 bytes that
# numpy.load takes; and so the same arrays give the same file everywhere.
PAGE_ALIGNMENT: Final = 4096
# Of the first axis' length: it grows without moving the data.
FIELD_BYTES: Final = 16

_PLAIN: Final = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{0,9})', 'fortran_order': (True|False), "
    rb"'shape': \( *((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\}\s*"
)
_PYTHON_2_LONG: Final = re.compile(r"(?<=\d)L\b")


def read_layout(
    source: Source,
    offset: int = 0,
    end: int | None = None,
    member: str | None = None,
    format: str = "npy",
) -> Layout | None:
    """Parse a header; None if there are no magic bytes.

    Parameters
    ----------
    source : Source
        The file.
    offset, end : int, optional
        Where in it the header begins, and what the array must not pass; the whole file by default.
    member : str, optional
        What the array's place in an archive is called, for messages.
    format : str
        Of the file: only a ``.npy`` file's array can grow.

    Raises
    ------
    FormatError
        If the header is cut short, malformed, or promises more than there is; if the array holds
        Python objects.
    """

    def wrong(text: str) -> FormatError:
        return FormatError(f"{label_of(source.path, member)}: {text}")

    if end is None:
        end = source.size
    head = source.peek(min(HEAD_BYTES, end - offset), offset)
    if head[:6] != MAGIC:
        return None
    version = (head[6], head[7]) if len(head) > 7 else None
    width = 2 if version == (1, 0) else 4
    start = 8 + width
    if len(head) < start:
        raise wrong(f"the header is cut short at byte {offset + len(head)}")
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise wrong(f"unknown .npy version {version} at byte {offset + 6}")
    length = int.from_bytes(head[8:start], "little")
    if length > MAX_HEADER_BYTES:
        raise wrong(
            f"the header claims {length} bytes at byte {offset + 8}; more than {MAX_HEADER_BYTES} "
            "are not read"
        )
    at = offset + start + length
    if at > end:
        raise wrong(f"the header claims to end at byte {at}, but {_there_are(source, end)}")
    if len(head) < start + length:
        head = source.peek(start + length, offset)
    try:
        dtype, shape, order = _parse(head[start : start + length], head[6] == 3)
    except ValueError as error:
        raise wrong(f"the header at byte {offset + start}: {error}") from None
    if dtype.names is not None:  # fields can be renamed: not those of other files
        dtype = np.dtype(dtype, copy=True)
    layout = Layout(dtype, shape, order, at, None, format)
    if at + layout.nbytes > end:
        raise wrong(
            f"the header promises {dtype} of shape {shape}, which ends at byte "
            f"{at + layout.nbytes}, but {_there_are(source, end)}"
        )
    return layout


def label_of(path: str | None, member: str | None) -> str:
    """Return what messages call an array in a file."""
    return repr(path) if member is None else f"{path!r}, member {member!r}"


def _there_are(source: Source, end: int) -> str:
    if end == source.size:
        return f"the file has {end} bytes"
    return f"the member ends at byte {end}"


# Pipelines open many files that look alike.
@functools.lru_cache(256)
def _parse(text: bytes, utf_8: bool) -> tuple[np.dtype[Any], tuple[int, ...], Order]:
    descr: Any
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        descr = plain[1].decode()
        fortran = plain[2] == b"True"
        shape = tuple(int(length) for length in plain[3].split(b",") if length.strip())
    else:
        descr, fortran, shape = _parse_literal(text, utf_8)
    try:
        with warnings.catch_warnings():  # of spellings that numpy is going to drop
            warnings.simplefilter("ignore")
            dtype = numpy_format.descr_to_dtype(descr)
    except (TypeError, ValueError, KeyError, IndexError, SyntaxError) as error:
        raise ValueError(f"no dtype: {error}") from None
    storable_dtype(dtype)
    order: Order = "F" if fortran else "C"
    dtype, shape = storable_shape(dtype, shape, order)
    return dtype, shape, order


def _parse_literal(text: bytes, utf_8: bool) -> tuple[Any, bool, tuple[int, ...]]:
    try:
        literal = text.decode("utf-8" if utf_8 else "latin-1")
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


class Header(NamedTuple):
    """The header of one array, in whose bytes nothing but the first axis' length changes.

    Its digits stand right-aligned in a field of whole 8-byte words, after spaces, which Python
    allows inside the parentheses. So two lengths differ in one aligned word, or in two when a carry
    reaches the upper one: no reader finds half of a length, whenever it looks.
    """

    before: bytes
    field_bytes: int  # 0 where there is no room for a field: then the digits stand as numpy's do
    after: bytes  # up to the first element; without a field only up to the brace
    size_bytes: int

    def with_length(self, length: int) -> bytes:
        """Return all bytes up to the first element; ValueError if the digits do not fit."""
        before, field_bytes, after, size_bytes = self
        text = b"%b%*d%b" % (before, field_bytes, length, after)
        if not field_bytes:
            text = text.ljust(size_bytes - 1) + b"\n"
        if len(text) != size_bytes:
            raise ValueError(
                f"the header's {size_bytes} bytes have no room for a length of {length}"
            )
        return text

    def differing(self, old: bytes, new: bytes) -> tuple[int, int]:
        """Return from where to where two of its texts differ, as whole 8-byte words."""
        before, field_bytes, _, size_bytes = self
        first = len(before) if field_bytes else 0
        last = first + field_bytes if field_bytes else size_bytes
        if old[first : last - 8] == new[first : last - 8]:
            return last - 8, last
        while first < last and old[first : first + 8] == new[first : first + 8]:
            first += 8
        return first, last


def growing_header(layout: Layout, version: tuple[int, int]) -> Header:
    """Lay out the header of an array that lies in a file already: its elements do not move.

    Raises
    ------
    ValueError
        If not even the length that the array has fits in front of them.
    """
    start = 10 if version == (1, 0) else 12
    before, after = _around_length(layout.dtype, layout.shape, layout.order)
    encoding = "utf-8" if version == (3, 0) else "latin-1"
    front = MAGIC + bytes(version) + (layout.offset - start).to_bytes(start - 8, "little")
    front += before.encode(encoding)
    found = _with_field(front, after.encode(encoding), layout.shape[0], layout.offset)
    if found is None:
        found = Header(front, 0, after.encode(encoding), layout.offset)
    found.with_length(layout.shape[0])
    return found


def _with_field(
    before: bytes,
    after: bytes,
    length: int,
    size_bytes: int | None = None,
    alignment: int = ALIGNMENT,
) -> Header | None:
    """Lay a field out for a length; None if it does not fit into the size."""
    before += b" " * (-len(before) % 8)
    field_bytes = FIELD_BYTES
    while len(str(length)) > field_bytes:  # of arrays whose rows take no bytes
        field_bytes += 8
    least_bytes = len(before) + field_bytes + len(after) + 1
    if size_bytes is None:
        size_bytes = least_bytes + -least_bytes % alignment
    if least_bytes > size_bytes:
        return None
    padded = after.ljust(size_bytes - len(before) - field_bytes - 1) + b"\n"
    return Header(before, field_bytes, padded, size_bytes)


def _around_length(dtype: np.dtype[Any], shape: tuple[int, ...], order: Order) -> tuple[str, str]:
    """The literal before and after the first axis' length."""
    before = (
        f"{{'descr': {numpy_format.dtype_to_descr(dtype)!r}, 'fortran_order': {order == 'F'}, "
        "'shape': ("
    )
    others = "".join(f", {length}" for length in shape[1:])
    return before, f"{others}{',' if len(shape) == 1 else ''}), }}"


def header_for(
    dtype: np.dtype[Any], shape: tuple[int, ...], order: Order, alignment: int = ALIGNMENT
) -> bytes:
    """Return the header of an array: the oldest version that can hold it, padded to `alignment`.

    Raises
    ------
    ValueError
        If the format has no word for the dtype.
    """
    stored = numpy_format.descr_to_dtype(numpy_format.dtype_to_descr(dtype))
    if stored != dtype:
        raise ValueError(
            f"dtype {dtype} would come back from a .npy file as {stored}: store a view of another "
            "dtype"
        )
    before, after = _around_length(dtype, shape, order)
    try:
        texts, version = (before.encode("latin-1"), after.encode("latin-1")), 1
    except UnicodeEncodeError:
        texts, version = (before.encode("utf-8"), after.encode("utf-8")), 3
    if version == 1 and sum(map(len, texts)) + ALIGNMENT + alignment >= 1 << 16:
        version = 2
    start = 10 if version == 1 else 12
    front = bytes(start) + texts[0]
    laid = _with_field(front, texts[1], shape[0], alignment=alignment) if shape else None
    if laid is not None:
        text = laid.with_length(shape[0])
    else:
        text = front + texts[1]
        text += b" " * (-(len(text) + 1) % alignment) + b"\n"
    size = (len(text) - start).to_bytes(start - 8, "little")
    return MAGIC + bytes((version, 0)) + size + text[start:]


def _recognise(source: Source) -> bool:
    return source.head[:6] == MAGIC


def _read(source: Source) -> Contents:
    layout = read_layout(source)
    if layout is None:
        raise FormatError(f"{source.path!r} does not begin with the bytes of a .npy file")
    # What numpy.savez() calls an array that was given no name.
    return Contents({"arr_0": layout})


FORMAT: Final = Format("npy", _recognise, _read, suffixes=(".npy",), several=False)

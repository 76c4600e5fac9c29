"""The safetensors format.

Source: the section "Format" of the README of huggingface/safetensors, and its reference
implementation, safetensors/src/tensor.rs. Eight bytes hold the little-endian length of a header, at
most 100,000,000; the header is a JSON object, in UTF-8, from each name to dtype, shape and
data_offsets, and from ``__metadata__`` to an object of strings. Then come the data, little-endian
and in C order. Offsets are counted from their first byte; sorted, they leave no hole and do not
overlap, up to the end of the file.
"""

from __future__ import annotations

import collections
import functools
import math
from typing import Any, Final, NoReturn

import numpy as np

from mmapkit.errors import FormatError
from mmapkit.formats.format import Contents, Format, Member, Source, Unmapped
from mmapkit.formats.layout import Layout
from mmapkit.views import storable_shape

__all__ = ["FORMAT"]

MAX_HEADER_BYTES: Final = 100_000_000
MAX_NUMBER: Final = (1 << 64) - 1
MAX_AXES: Final = 64  # numpy's

_NUMPY: Final = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}
# dtype -> its name in ml_dtypes, and bits of an item
_ML_DTYPES: Final = {
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
}
# Several items share a byte: numpy cannot see them without copying.
_PACKED_BITS: Final = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


def _recognise(source: Source) -> bool:
    length = int.from_bytes(source.head[:8], "little")
    return source.head[8:9] == b"{" and length <= min(MAX_HEADER_BYTES, source.size - 8)


def _read(source: Source) -> Contents:
    path = source.path
    if source.size < 8:
        raise FormatError(f"{path!r}: a header has 8 bytes or more, the file {source.size}")
    length = int.from_bytes(source.peek(8), "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(
            f"{path!r}: the header claims {length} bytes at byte 0; {MAX_HEADER_BYTES} are allowed"
        )
    start = 8 + length
    if start > source.size:
        raise FormatError(
            f"{path!r}: the header claims to end at byte {start}, but the file has {source.size} "
            "bytes"
        )
    header = _parse(source, length)
    metadata = _metadata(source, header.pop("__metadata__", None))
    extents = {}
    members: dict[str, Member] = {}
    for name, entry in header.items():
        label = f"{path!r}, tensor {name!r}"
        dtype, shape, first, last = _entry(label, entry)
        extents[name] = (first, last)
        if last < first or start + last > source.size:
            raise FormatError(
                f"{label} takes bytes [{start + first}, {start + last}), but the file has "
                f"{source.size} bytes"
            )
        members[name] = _member(label, dtype, shape, start + first, last - first)
    _require_cover(source, start, extents)
    return Contents(members, metadata)


def _parse(source: Source, length: int) -> dict[str, Any]:
    import json

    text = source.peek(length, 8)
    if text[:1] != b"{":
        raise FormatError(
            f"{source.path!r}: the header at byte 8 begins with {text[:1]!r}, not '{{'"
        )
    try:
        header: dict[str, Any] = json.loads(
            text.decode(), object_pairs_hook=_object, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{source.path!r}: no JSON in the header at byte 8: {error}") from None
    return header


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        (twice, _), *_ = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _metadata(source: Source, found: Any) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise FormatError(
            f"{source.path!r}: __metadata__ in the header at byte 8 must be an object of strings"
        )
    return found


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


def _entry(label: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Take dtype, shape and offsets from an entry of the header."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise FormatError(
            f"{label}: its entry in the header at byte 8 must have dtype, shape and data_offsets"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise FormatError(f"{label}: dtype {dtype!r} in the header at byte 8")
    if not isinstance(shape, list) or len(shape) > MAX_AXES or not all(map(_is_size, shape)):
        raise FormatError(f"{label}: shape {shape!r} in the header at byte 8")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise FormatError(f"{label}: data_offsets {offsets!r} in the header at byte 8")
    return dtype, tuple(shape), *offsets


def _member(label: str, dtype: str, shape: tuple[int, ...], offset: int, nbytes: int) -> Member:
    if dtype in _NUMPY:
        kind = np.dtype(_NUMPY[dtype])
        _require_length(label, dtype, shape, 8 * kind.itemsize, offset, nbytes)
        return _layout(label, kind, shape, offset)
    as_bytes = f"for its bytes, open_array(file, dtype='u1', offset={offset}, shape={nbytes})"
    if dtype in _PACKED_BITS:
        _require_length(label, dtype, shape, _PACKED_BITS[dtype], offset, nbytes)
        return Unmapped(
            f"{label} at byte {offset} is {dtype}, whose items share bytes and cannot be mapped; "
            + as_bytes
        )
    if dtype not in _ML_DTYPES:
        return Unmapped(f"{label} at byte {offset} has the unknown dtype {dtype!r}; {as_bytes}")
    name, bits = _ML_DTYPES[dtype]
    _require_length(label, dtype, shape, bits, offset, nbytes)
    return functools.partial(_of_ml_dtypes, label, dtype, name, shape, offset)


def _of_ml_dtypes(
    label: str, dtype: str, name: str, shape: tuple[int, ...], offset: int
) -> Layout | Unmapped:
    try:
        import ml_dtypes
    except ImportError:
        return Unmapped(
            f"{label} at byte {offset} is {dtype}, which numpy knows with the package ml_dtypes: "
            "pip install ml_dtypes"
        )
    kind = getattr(ml_dtypes, name, None)
    if kind is None:
        return Unmapped(
            f"{label} at byte {offset} is {dtype}, which this ml_dtypes does not know: "
            "pip install -U ml_dtypes"
        )
    return _layout(label, np.dtype(kind), shape, offset)


def _layout(label: str, kind: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Layout:
    try:
        kind, shape = storable_shape(kind, shape)
    except ValueError as error:
        raise FormatError(f"{label} at byte {offset}: {error}") from None
    return Layout(kind, shape, "C", offset, format=FORMAT.name)


def _require_length(
    label: str, dtype: str, shape: tuple[int, ...], bits: int, offset: int, nbytes: int
) -> None:
    if math.prod(shape) * bits != 8 * nbytes:
        raise FormatError(
            f"{label}: {dtype} of shape {shape} takes {math.prod(shape) * bits} bits, but there "
            f"are {nbytes} bytes at byte {offset}"
        )


def _require_cover(source: Source, start: int, extents: dict[str, tuple[int, int]]) -> None:
    """Require that the tensors lie one behind the other, from the first byte to the last."""
    end = 0
    for name, (first, last) in sorted(extents.items(), key=lambda item: item[1]):
        if first != end:
            raise FormatError(
                f"{source.path!r}, tensor {name!r} begins at byte {start + first}, but what lies "
                f"before it ends at byte {start + end}"
            )
        end = last
    if start + end != source.size:
        raise FormatError(
            f"{source.path!r}: the tensors end at byte {start + end}, but the file has "
            f"{source.size} bytes"
        )


FORMAT: Final = Format("safetensors", _recognise, _read, suffixes=(".safetensors",))

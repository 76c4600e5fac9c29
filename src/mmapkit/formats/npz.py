"""The .npz format: a zip archive with a .npy file for each array.

Sources: numpy/lib/npyio.py (savez), and PKWARE's APPNOTE.TXT 6.3.10: local headers 4.3.7, the
central directory 4.3.12, zip64 4.5.3, data stream alignment 0xA11E in 4.6.11.

The central directory is read by the standard library. Local headers are compared with it here, when
their array is asked for: an archive whose two directories disagree means something else to every
reader. A stored member's bytes stand in the file as they are, and are mapped.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from mmapkit.errors import FormatError
from mmapkit.formats import npy
from mmapkit.formats.format import Contents, Format, Member, Source, Unmapped
from mmapkit.formats.layout import Layout

if TYPE_CHECKING:
    import zipfile

    import numpy.typing as npt

__all__ = ["FORMAT", "write"]

LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC: Final = b"PK\3\4"
EMPTY_MAGIC: Final = b"PK\5\6"  # of an archive without members
STORED, DEFLATED = 0, 8
ENCRYPTED, SIZES_FOLLOW, UTF_8 = 1 << 0, 1 << 3, 1 << 11  # general purpose bits
ZIP64_MARK: Final = 0xFFFF_FFFF
ZIP64_ID, ALIGNMENT_ID = 0x0001, 0xA11E
ZIP64_FIELD_BYTES: Final = 20
# Half a million members; Python takes twenty times as much for each.
MAX_DIRECTORY_BYTES: Final = 64 << 20
# "Deflate's maximum compression": 1032:1 (zlib's technical details).
MAX_DEFLATION: Final = 1032
CHUNK_BYTES: Final = 1 << 20


class _BeforeFile(OSError):
    """What zipfile expects of a file: it seeks an end record longer than the file."""


class _SourceFile(io.RawIOBase):
    """A source as the file object that zipfile wants."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = (0, self._position, self._source.size)[whence]
        if base + offset < 0:
            raise _BeforeFile(f"byte {base + offset} lies before the file")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._source.size - self._position)
        count = left if size is None or size < 0 else min(size, left)
        if count > MAX_DIRECTORY_BYTES:
            raise ValueError(f"a directory of {count} bytes; {MAX_DIRECTORY_BYTES} are the limit")
        data = self._source.peek(count, self._position)
        self._position += len(data)
        return data


def _recognise(source: Source) -> bool:
    return source.head[:4] in (LOCAL_MAGIC, EMPTY_MAGIC)


def _read(source: Source) -> Contents:
    """List the members; each is looked at when it is asked for."""
    import zipfile

    file = _SourceFile(source)
    try:
        archive = zipfile.ZipFile(file)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        struct.error,
        _BeforeFile,
    ) as error:
        raise FormatError(
            f"{source.path!r} is no zip archive: {error} (before byte {file.tell()})"
        ) from None
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    places = _places(source, archive)
    names = _names(source, infos)
    members: dict[str, Member] = {
        name: functools.partial(_find, source, archive, info, places[info.header_offset])
        for name, info in zip(names, infos, strict=True)
    }
    return Contents(members, verify=functools.partial(_verify, source, archive, infos, places))


def _label(source: Source, info: zipfile.ZipInfo) -> str:
    return f"{source.path!r}, member {info.filename!r}"


def _names(source: Source, infos: list[zipfile.ZipInfo]) -> list[str]:
    """Call members as numpy.load does: without .npy, unless that is the name of another."""
    taken = set()
    for info in infos:
        if "\0" in info.orig_filename:
            raise FormatError(
                f"{source.path!r}: a member is called {info.orig_filename!r}, for the header at "
                f"byte {info.header_offset}"
            )
        if info.filename in taken:
            raise FormatError(
                f"{source.path!r}: two members are called {info.filename!r}, the second at byte "
                f"{info.header_offset}"
            )
        taken.add(info.filename)
    short = [info.filename.removesuffix(".npy") for info in infos]
    return [
        info.filename if name != info.filename and name in taken else name
        for name, info in zip(short, infos, strict=True)
    ]


def _places(source: Source, archive: zipfile.ZipFile) -> dict[int, int]:
    """Offset of each local header -> where the next one begins, or the central directory."""
    by_offset = sorted(archive.infolist(), key=lambda info: info.header_offset)
    offsets = [info.header_offset for info in by_offset] + [archive.start_dir]
    for info, end in zip(by_offset, offsets[1:], strict=True):
        start = info.header_offset
        least = start + LOCAL_HEADER.size + info.compress_size
        if start < 0 or least > end or end > source.size:
            raise FormatError(
                f"{_label(source, info)} takes bytes [{start}, {least}) or more, but what follows "
                f"it begins at byte {end}"
            )
    return dict(itertools.pairwise(offsets))


def _find(
    source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo, end: int
) -> Layout | Unmapped:
    start = _data_start(source, info, end)
    label = _label(source, info)
    if info.flag_bits & ENCRYPTED:
        return Unmapped(f"{label} at byte {start} is encrypted, which is not supported")
    if info.compress_type == STORED:
        return _layout(source, info, start, label)
    return Unmapped(
        f"{label} at byte {start} is compressed and cannot be mapped: store it with numpy.savez() "
        "or mmapkit.save_npz(), or load it into memory by open_arrays(..., load_compressed=True)",
        info.file_size,
        functools.partial(_load, source, archive, info, label),
    )


def _data_start(source: Source, info: zipfile.ZipInfo, end: int) -> int:
    """Compare a local header with the central directory; return where the member's data begin."""
    at, label = info.header_offset, _label(source, info)
    head = source.peek(LOCAL_HEADER.size + 256, at)
    if len(head) < LOCAL_HEADER.size or head[:4] != LOCAL_MAGIC:
        raise FormatError(f"{label}: there is no local header at byte {at}")
    fields = LOCAL_HEADER.unpack_from(head)
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = fields
    start: int = at + LOCAL_HEADER.size + name_bytes + extra_bytes
    if len(head) < start - at:
        head = source.peek(start - at, at)
    if start + info.compress_size > end:
        raise FormatError(
            f"{label} takes bytes [{start}, {start + info.compress_size}), but what follows it "
            f"begins at byte {end}"
        )
    name = head[LOCAL_HEADER.size : LOCAL_HEADER.size + name_bytes]
    encoding = "utf-8" if flags & UTF_8 else "cp437"
    if ZIP64_MARK in (packed, size):
        extra = head[LOCAL_HEADER.size + name_bytes : start - at]
        packed, size = _zip64_sizes(extra, packed, size)
    found = {
        "name": (name.decode(encoding, "replace"), info.orig_filename),
        "method": (method, info.compress_type),
        "encryption": (flags & ENCRYPTED, info.flag_bits & ENCRYPTED),
        "checksum": (crc, info.CRC),
        "compressed size": (packed, info.compress_size),
        "size": (size, info.file_size),
    }
    follows = flags & SIZES_FOLLOW  # a writer that could not seek left zeros
    for what, (local, central) in found.items():
        if local != central and not (follows and local == 0):
            raise FormatError(
                f"{label}: the local header at byte {at} gives {what} {local!r}, the central "
                f"directory {central!r}"
            )
    if info.compress_type == STORED and info.compress_size != info.file_size:
        raise FormatError(
            f"{label} is stored, but the header at byte {at} gives {info.compress_size} and "
            f"{info.file_size} bytes"
        )
    return start


def _zip64_sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Take sizes that do not fit 4 bytes from the zip64 field: first the size, then the packed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == ZIP64_ID:
            wide = iter(struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            if size == ZIP64_MARK:
                size = next(wide, (size,))[0]
            if packed == ZIP64_MARK:
                packed = next(wide, (packed,))[0]
            break
        at += 4 + length
    return packed, size


def _layout(source: Source, info: zipfile.ZipInfo, start: int, label: str) -> Layout:
    """Tell where the array lies in a member whose bytes begin at `start`."""
    found = npy.read_layout(source, start, start + info.file_size, label)
    if found is not None:
        return found._replace(format=FORMAT.name)  # it is not a .npy file, and cannot grow
    if info.filename.endswith(".npy"):
        raise FormatError(f"{label} does not begin with the bytes of a .npy file, at byte {start}")
    return Layout(np.dtype("u1"), (info.file_size,), "C", start, format=FORMAT.name)


def _unpacked(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str
) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of a compressed member, chunk by chunk; FormatError at the first wrong."""
    if info.compress_type == DEFLATED and info.file_size > (info.compress_size + 1) * MAX_DEFLATION:
        raise FormatError(
            f"{label}: the header at byte {info.header_offset} promises {info.file_size} bytes out "
            f"of {info.compress_size}"
        )
    done = 0
    try:
        with archive.open(info) as member:
            while chunk := member.read(min(CHUNK_BYTES, info.file_size - done)):
                yield done, chunk
                done += len(chunk)
    except Exception as error:
        # Each decompressor has errors of its own; those of the system stay what they are.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise
        raise FormatError(f"{label}, at byte {info.header_offset}: {error}") from error
    if done != info.file_size:
        raise FormatError(
            f"{label}, at byte {info.header_offset}: {done} bytes instead of {info.file_size}"
        )


def _load(
    source: Source,
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    label: str,
    memory: memoryview,
) -> Layout:
    for at, chunk in _unpacked(archive, info, label):
        memory[at : at + len(chunk)] = chunk
    loaded = Source(
        lambda count, offset: bytes(memory[offset : offset + count]), info.file_size, source.path
    )
    return _layout(loaded, info, 0, label)


def _verify(
    source: Source,
    archive: zipfile.ZipFile,
    infos: list[zipfile.ZipInfo],
    places: dict[int, int],
    view: memoryview,
) -> None:
    for info in infos:
        label = _label(source, info)
        start = _data_start(source, info, places[info.header_offset])
        if info.flag_bits & ENCRYPTED:
            raise FormatError(f"{label} at byte {start} is encrypted, which is not supported")
        if info.compress_type != STORED:
            for _ in _unpacked(archive, info, label):
                pass
            continue
        crc, end = 0, start + info.file_size
        for at in range(start, end, CHUNK_BYTES):
            crc = zlib.crc32(view[at : min(at + CHUNK_BYTES, end)], crc)
        if crc != info.CRC:
            raise FormatError(
                f"{label}: the checksum of bytes [{start}, {end}) is {crc:#010x}, not "
                f"{info.CRC:#010x}"
            )


FORMAT: Final = Format(
    "npz",
    _recognise,
    _read,
    suffixes=(".npz",),
    modes=("r", "c"),
    refusal="its checksums would no longer match: use mode 'c' for changes that are not written, "
    "and save_npz() for a new file",
)


# --- writing ------------------------------------------------------------------------------------


def write(
    file: IO[bytes],
    arrays: Iterable[tuple[str, npt.NDArray[Any]]],
    alignment: int,
    after: Callable[[str], None],
) -> None:
    """Write an archive of stored members whose elements begin at multiples of `alignment`.

    `after` is called with the name of each array that has been read, and may raise.
    """
    import zipfile

    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
            header = npy.header_for(array.dtype, array.shape, "F" if order == "F" else "C")
            # With a fixed date, so that the same arrays give the same bytes.
            info = zipfile.ZipInfo(name + ".npy")
            wide = len(header) + array.nbytes >= zipfile.ZIP64_LIMIT
            before = LOCAL_HEADER.size + len(info.filename.encode()) + wide * ZIP64_FIELD_BYTES
            info.extra = _padding(file.tell() + before + len(header), alignment)
            with archive.open(info, "w", force_zip64=wide) as member:
                member.write(header)
                for chunk in _chunks(array.T if order == "F" else array):
                    member.write(chunk)
            info.extra = b""  # the central directory needs none
            after(name)


def _padding(end: int, alignment: int) -> bytes:
    """Return an extra field that moves `end` to a multiple of `alignment`."""
    count = -end % alignment
    if count == 0:
        return b""
    if count < 6:  # the field's own head
        count += alignment
    return struct.pack("<3H", ALIGNMENT_ID, count - 4, alignment) + bytes(count - 6)


def _chunks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes of an array in C order; what is contiguous is not copied."""
    if array.flags.c_contiguous:
        flat = array.reshape(-1).view(np.uint8).data
        for at in range(0, len(flat), CHUNK_BYTES):
            yield flat[at : at + CHUNK_BYTES]
        return
    per_chunk = max(1, CHUNK_BYTES // array.itemsize)
    flags: Any = ("external_loop", "buffered", "zerosize_ok")
    for chunk in np.nditer(array, flags, buffersize=per_chunk, order="C"):
        yield np.ascontiguousarray(chunk).view(np.uint8).data

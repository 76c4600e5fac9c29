"""Which formats there are, and of which one a file is."""

from __future__ import annotations

from typing import Final

from mmapkit.errors import FormatError
from mmapkit.formats import npy, npz, safetensors
from mmapkit.formats.format import Format, Member, Source, Unmapped
from mmapkit.formats.layout import Layout

__all__ = [
    "find",
    "recognise",
    "register_format",
    "require_mode",
    "require_other_name",
    "resolve",
    "sole_layout",
]

# Asked in this order.
_formats: Final = [npy.FORMAT, npz.FORMAT, safetensors.FORMAT]


def register_format(format: Format) -> None:
    """Teach `open_arrays()` another format; one array a file, and `open_array()` learns it, too.

    Parameters
    ----------
    format : mmapkit.formats.Format
        Asked after the formats that are known already.

    Raises
    ------
    ValueError
        If there is a format of that name.

    Examples
    --------
    >>> import mmapkit as mk
    >>> from mmapkit.formats import Contents, Format, Layout
    >>> import numpy as np
    >>> def read(source):
    ...     count = int.from_bytes(source.peek(4, 4), "little")
    ...     if 8 + 8 * count > source.size:
    ...         raise mk.FormatError(f"{source.path!r}: byte 4 promises {count} numbers")
    ...     return Contents({"values": Layout(np.dtype("<f8"), (count,), "C", 8, format="toy")})
    >>> mk.register_format(Format("toy", lambda source: source.head[:4] == b"TOY1", read))
    >>> with open("a.toy", "wb") as file:
    ...     _ = file.write(b"TOY1" + bytes([2, 0, 0, 0]) + bytes(16))
    >>> with mk.open_arrays("a.toy") as d:
    ...     d["values"][:].tolist()
    [0.0, 0.0]
    """
    if not isinstance(format, Format):
        raise TypeError(f"format must be an mmapkit.formats.Format, not {type(format).__name__}")
    if any(format.name == known.name for known in _formats):
        raise ValueError(f"there is a format {format.name!r} already")
    _formats.append(format)


def recognise(source: Source) -> Format | None:
    """Return the format whose files begin like this one."""
    return next((format for format in _formats if format.recognise(source)), None)


def find(source: Source) -> Format:
    """Return the format of a file by its content, or else by its name, whose parser then says what
    is wrong.

    Raises
    ------
    FormatError
        If there is none.
    """
    found = recognise(source)
    if found is None:
        found = next((format for format in _formats if format.is_named(source.path)), None)
    if found is None:
        names = ", ".join(format.name for format in _formats)
        raise FormatError(
            f"{source.path!r} begins like no file of the formats {names}; for raw bytes use "
            "open_array() with a dtype"
        )
    return found


def resolve(member: Member) -> Layout | Unmapped:
    """Return where a member lies, or why that cannot be said."""
    return member() if not isinstance(member, (Layout, Unmapped)) else member


def allows(name: str, mode: str) -> bool:
    """Tell whether files of a format can be opened so; raw files, which have none, can."""
    return all(mode in format.modes for format in _formats if format.name == name)


def require_mode(format: Format, mode: str, path: str | None) -> None:
    """Raise ValueError if the format's files cannot be opened so."""
    if mode not in format.modes:
        why = f": {format.refusal}" if format.refusal else ""
        raise ValueError(
            f"{path!r} is of the format {format.name}, which cannot be opened with mode {mode!r}"
            + why
        )


def require_other_name(path: str | None, head: bytes) -> None:
    """Raise FormatError if a file of no format has the name of a file of one array."""
    for format in _formats:
        if format.is_named(path) and not format.several:
            raise FormatError(
                f"{path!r} is named as of the format {format.name}, and begins otherwise, with "
                f"{head[:6]!r}; give dtype= or offset= to see its bytes"
            )


def sole_layout(source: Source, mode: str, *, explained: bool) -> Layout | None:
    """Return where the one array of a file lies; None for a raw file.

    `explained` says that the caller told what is in the file: one of several arrays is raw then.

    Raises
    ------
    FormatError
        If the file holds several arrays and is named so, or not what its format promises; if it
        has the name of a file of one array and begins otherwise.
    ValueError
        If the format does not allow the mode.
    """
    format = recognise(source)
    if format is None:
        if not explained:
            require_other_name(source.path, source.head)
        return None
    if format.several:
        if format.is_named(source.path) and not explained:
            raise FormatError(
                f"{source.path!r} holds several arrays: use open_arrays(), or give dtype= and "
                "offset= to see its bytes"
            )
        return None
    require_mode(format, mode, source.path)
    (member,) = format.read(source).members.values()
    found = resolve(member)
    if isinstance(found, Unmapped):
        raise FormatError(found.reason)
    return found

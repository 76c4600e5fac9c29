"""MappedArrays: several arrays, of one file or of many, by name."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmapkit.array import MappedArray, open_array
from mmapkit.closing import Closing
from mmapkit.errors import FormatError, UnsupportedError
from mmapkit.formats import registry
from mmapkit.formats.format import Contents, Format, Member, Source
from mmapkit.formats.layout import Layout
from mmapkit.mapping import MODES_ELSEWHERE, Mapping, anonymous
from mmapkit.mapping import open as open_mapping

if TYPE_CHECKING:
    from mmapkit.mapping import type_of_file

__all__ = ["MappedArrays", "open_arrays"]


class MappedArrays(Closing, Dict[Any, MappedArray]):
    """Arrays by name, as a dict that cannot be changed. Made by `open_arrays()`.

    Each `MappedArray` is made when it is first asked for, and the same one is returned until it is
    closed. Arrays of one file lie in one mapping: closing one leaves the others. A context manager
    that closes them all at the end of the block; pickles by reference.

    Attributes
    ----------
    mapping : Mapping or None
        The whole file; None for a sequence of files, each of which has its own.
    path : str or None
        The file.
    mode : str
        As it was opened.
    format : str or None
        ``"npz"``, ``"safetensors"`` or ``"npy"``; None for a sequence of files.
    metadata : mapping of str to str
        What the file says beside its arrays: ``__metadata__`` of a safetensors file.
    """

    def __init__(
        self,
        makers: dict[Any, Callable[[], MappedArray]],
        mode: str,
        again: tuple[Any, ...],
        mapping: Mapping | None = None,
        format: Format | None = None,
        contents: Contents | None = None,
    ) -> None:
        """Take a function for each name, which makes the array; `again` is the pickle."""
        self._makers = makers
        self._made: dict[Any, MappedArray] = {}
        self._lock = threading.Lock()  # held while the arrays that were made are looked up
        self._again = again
        self._closed = False
        self._verify = None if contents is None else contents.verify
        self.mapping = mapping
        self.mode = mode
        self.path = None if mapping is None else mapping.path  # an empty one is false
        self.format = None if format is None else format.name
        self.metadata = MappingProxyType({} if contents is None else contents.metadata)

    # --- as a dict --------------------------------------------------------------------------

    def __getitem__(self, name: Any) -> MappedArray:
        """Return an array.

        Raises
        ------
        KeyError
            If there is none of that name.
        FormatError
            If the array cannot be mapped, or its place in the file makes no sense.
        """
        found = self._made.get(name)
        if found is not None and not found.closed:
            return found
        self._require_open()
        made = self._makers[name]()
        with self._lock:
            found = self._made.get(name)
            if not self._closed and (found is None or found.closed):
                self._made[name] = made
                return made
        made.close()  # another thread was faster
        self._require_open()
        return self[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is an array of that name."""
        return name in self._makers

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the names, in the order of the file."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._makers)

    def _ipython_key_completions_(self) -> list[Any]:
        """Let notebooks complete the names."""
        return list(self)

    # As for ndarrays, equality of the content would be no bool.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """Show file, format, mode and names."""
        names = [repr(name) for name in self._makers]
        if len(names) > 5:
            names[4:] = [f"... ({len(names)} arrays)"]
        what = "" if self.mapping is None else f"{self.path!r} format={self.format!r} "
        state = "closed" if self._closed else f"mode={self.mode!r}"
        return f"<mmapkit.MappedArrays {what}{state}: {', '.join(names)}>"

    # --- life -------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """True after `close()`."""
        return self._closed

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"the arrays are closed: {self!r}")

    def _open_arrays(self) -> list[MappedArray]:
        return [array for array in list(self._made.values()) if not array.closed]

    def _mappings(self) -> list[Mapping]:
        found = [array.mapping for array in self._open_arrays()]
        found += [] if self.mapping is None else [self.mapping]
        return list({id(mapping): mapping for mapping in found}.values())

    def flush(self, *, level: str = "disk") -> None:
        """Push changed pages out, of all the files; see `Mapping.flush` for levels and errors."""
        self._require_open()
        for mapping in self._mappings():
            mapping.flush(level=level)

    def verify(self) -> None:
        """Read everything and compare it with the checksums of the file; releases the GIL.

        Mapped members are compared as they are in memory, with changes made in mode ``"c"``.

        Raises
        ------
        FormatError
            For the first member that differs.
        UnsupportedError
            If the format has no checksums; only ``.npz`` has.
        MappingFault
            If bytes were lost.
        """
        self._require_open()
        if self._verify is None or self.mapping is None:
            kind = "a sequence of files" if self.mapping is None else self.format
            raise UnsupportedError(errno.ENOTSUP, f"{kind} has no checksums", self.path)
        with self.mapping.guard(), self.mapping[:] as view:
            self._verify(view)

    def close(self, *, defer: bool = False) -> None:
        """Close all arrays and their mappings; see `Mapping.close`.

        Parameters
        ----------
        defer : bool
            With live views, close now and unmap with the last of them.

        Raises
        ------
        BufferError
            If ndarrays made from them are alive; all stay open.
        """
        with self._lock:
            if self._closed:
                return
            arrays, mappings = self._open_arrays(), self._mappings()
            for array in arrays:
                array._hide()
            # One that refuses comes first, so that all are closed or none.
            mappings.sort(key=lambda mapping: not mapping.exports)
            lost = None
            try:
                for mapping in mappings:
                    try:
                        mapping.close(defer=defer)
                    except OSError as error:  # data were lost; it is closed all the same
                        lost = lost or error
            except BufferError:
                for array in arrays:
                    array._show(array.mapping, array._layout)
                raise
            self._closed = True
            if lost is not None:
                raise lost

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: path and mode."""
        self._require_open()
        return self._again


def open_arrays(
    file: type_of_file | Iterable[str | bytes | os.PathLike[str]],
    mode: str = "r",
    *,
    load_compressed: bool = False,
) -> MappedArrays:
    """Map the arrays of a ``.npz``, ``.safetensors`` or ``.npy`` file, or of many files.

    The format is told by the content, not by the name. Nothing is read but the directory; the
    elements are mapped, without copying.

    Parameters
    ----------
    file : path, descriptor, file object, or iterable of paths
        One file of a format that holds several arrays; the array of a ``.npy`` file is called
        ``"arr_0"``. Or many files, with one array each, as for `open_array()`: each is called as
        its path was given, and has a mapping of its own.
    mode : {"r", "r+", "c"}
        As for `open()`. ``.npz`` files cannot be opened with ``"r+"``.
    load_compressed : bool
        Load compressed members of ``.npz`` files into memory, each when it is first asked for; its
        checksum is compared. By default they raise FormatError then.

    Returns
    -------
    MappedArrays
        A dict of `MappedArray`.

    Raises
    ------
    FormatError
        If the file is of no known format, or not what its format promises.
    ValueError
        If the format does not allow the mode.

    Notes
    -----
    The checksums of mapped members are not compared: that would read them all. See
    `MappedArrays.verify()`.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> mk.save_npz("run.npz", time=np.arange(3.0), counts=[[1, 2], [3, 4]])
    >>> with mk.open_arrays("run.npz") as d:
    ...     list(d), d["counts"][1].tolist()
    (['time', 'counts'], [3, 4])
    """
    if mode not in ("r", "r+", "c"):
        raise ValueError(
            f"mode must be 'r', 'r+' or 'c', not {mode!r}: create_array() and save_npz() make files"
        )
    if _is_one_file(file):
        mapping = open_mapping(file, mode)  # type: ignore[arg-type]
        try:
            return _of_mapping(mapping, load_compressed)
        except BaseException:
            mapping.close(defer=True)
            raise
    try:
        paths = list(file)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            "file must be a path, a descriptor, a file object or a sequence of paths, not "
            f"{type(file).__name__}"
        ) from None
    return _of_paths(paths, mode)


def _is_one_file(file: object) -> bool:
    # File objects are iterable, too.
    return isinstance(file, (str, bytes, os.PathLike, int)) or hasattr(file, "fileno")


def _of_paths(paths: list[Any], mode: str, places: list[str] | None = None) -> MappedArrays:
    """Open a file for each path; unpickled ones in the `places` that the paths meant."""
    makers: dict[Any, Callable[[], MappedArray]] = {}
    for number, path in enumerate(paths):
        if not isinstance(path, (str, bytes, os.PathLike)):
            raise TypeError(f"a sequence must be of paths, not of {type(path).__name__}")
        if path in makers:
            raise ValueError(f"{path!r} stands twice in the sequence of paths")
        makers[path] = _Opener(path if places is None else places[number], mode)
    places = places or [os.path.abspath(os.fsdecode(path)) for path in paths]
    again = (_of_paths, (paths, MODES_ELSEWHERE[mode], places))
    found = MappedArrays(makers, mode, again)
    try:
        for path in paths:  # at once, so that a file that is not there raises here
            found[path]
    except BaseException:
        found.close()
        raise
    return found


class _Opener:
    """Opens a file's one array."""

    __slots__ = ("_mode", "_path")

    def __init__(self, path: Any, mode: str) -> None:
        self._path, self._mode = path, mode

    def __call__(self) -> MappedArray:
        return open_array(self._path, self._mode)


def _of_mapping(mapping: Mapping, load_compressed: bool) -> MappedArrays:
    """See a mapping of a whole file as its arrays; also unpickles."""
    source = Source(mapping._peek, mapping.size, mapping.path)
    format = registry.find(source)
    registry.require_mode(format, mapping.mode, mapping.path)
    contents = format.read(source)
    makers: dict[Any, Callable[[], MappedArray]] = {
        name: _Maker(mapping, name, member, load_compressed)
        for name, member in contents.members.items()
    }
    again = (_of_mapping, (mapping, load_compressed))
    return MappedArrays(makers, mapping.mode, again, mapping, format, contents)


class _Maker:
    """Makes one array of a file, mapped or loaded."""

    __slots__ = ("_load", "_mapping", "_member", "_name")

    def __init__(self, mapping: Mapping, name: str, member: Member, load: bool) -> None:
        self._mapping, self._name, self._member, self._load = mapping, name, member, load

    def __call__(self) -> MappedArray:
        found = registry.resolve(self._member)
        if isinstance(found, Layout):
            first, last = found.span
            if first < 0 or last > self._mapping.size:
                raise FormatError(
                    f"{self._mapping.path!r}: {self._name!r} takes bytes [{first}, {last}), but "
                    f"the file has {self._mapping.size}"
                )
            return MappedArray(self._mapping, found, shared=True)
        if found.fill is None or not self._load:
            raise FormatError(found.reason)
        memory = anonymous(found.nbytes)
        try:
            with memory[:] as view:
                layout = found.fill(view)
            if self._mapping.mode == "r":
                memory.protect("r")
            return MappedArray(memory, layout)
        except BaseException:
            memory.close(defer=True)
            raise

"""Writing files of several arrays."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from mmapkit.errors import MappingFault
from mmapkit.formats import npy, npz
from mmapkit.mapping import see_to_journal
from mmapkit.operators import raise_if_any_lost
from mmapkit.views import storable_dtype

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["save_npz"]

MAX_NAME_BYTES: Final = (1 << 16) - 1 - len(".npy")


def save_npz(
    path: str | bytes | os.PathLike[str],
    /,
    *args: npt.ArrayLike,
    aligned: bool = True,
    **arrays: npt.ArrayLike,
) -> None:
    """Write arrays into an uncompressed ``.npz`` file, which `numpy.load` and `open_arrays()` read.

    The file appears whole or not at all: it is written beside and renamed when it is on the disk,
    over one of that name. Arrays are written piece by piece, without copying them whole, also
    those that are mapped. The same arrays give the same bytes.

    Parameters
    ----------
    path : path
        The file; nothing is appended to its name.
    *args : array_like
        Arrays that will be called ``arr_0``, ``arr_1`` and so on.
    aligned : bool
        Let the elements of each array begin at a multiple of 4096 bytes, on pages of their own
        (on the average that costs 2 KiB an array); otherwise of 64.
    **arrays : array_like
        Arrays by name; ``**{"layer/0": a}`` for names that are no Python words. Names may not be
        empty, absolute or lead elsewhere.

    Raises
    ------
    ValueError
        For arrays of Python objects, for dtypes that ``.npy`` has no word for and for bad names;
        nothing is written then.
    OSError
        ENOSPC if the disk is full; no file is left behind, and one of that name stays as it was.
        On Windows, also if one of that name is mapped. EBUSY if others have transactions on it.
    MappingFault
        If bytes of a mapped array were lost.

    Notes
    -----
    A process that is killed meanwhile may leave a file called ``.mmapkit-*.tmp``.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> mk.save_npz("pair.npz", np.arange(3), mask=np.array([True, False]))
    >>> sorted(np.load("pair.npz").files)
    ['arr_0', 'mask']
    """
    if not isinstance(aligned, bool):
        raise TypeError(f"aligned must be a bool, not {type(aligned).__name__}: no array's name")
    given: dict[str, Any] = {f"arr_{number}": array for number, array in enumerate(args)}
    for name in arrays.keys() & given.keys():
        raise ValueError(f"the array given without a name would be called {name!r}, as another is")
    given |= arrays
    found = {name: _checked(name, array) for name, array in given.items()}
    see_to_journal(path, "w+")
    with _replacing(os.path.realpath(os.fsdecode(path))) as file:
        npz.write(
            file,
            found.items(),
            npy.PAGE_ALIGNMENT if aligned else npy.ALIGNMENT,
            lambda name: raise_if_any_lost(given[name]),
        )


def _checked(name: str, array: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the array, if it and its name can be stored."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an array must be a str, not {type(name).__name__}")
    # APPNOTE.TXT 4.4.17: relative, and with slashes only.
    if not name or "\0" in name or "\\" in name or name[0] == "/" or ".." in name.split("/"):
        raise ValueError(f"{name!r} cannot be the name of an array in an archive")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} cannot be the name of an array: {error}") from None
    if size > MAX_NAME_BYTES:
        raise ValueError(f"the name {name[:20]!r}... of an array has {size} bytes, too many")
    try:
        found = np.asarray(array)
        storable_dtype(found.dtype)
        npy.header_for(found.dtype, found.shape, "C")
    except ValueError as error:
        raise ValueError(f"array {name!r}: {error}") from None
    return found


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """Write a file beside `path` that takes its place when it is whole and on the disk."""
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"{path!r} is no regular file, which another could replace")
    folder = os.path.dirname(path)
    beside = os.path.join(folder, f".mmapkit-{os.urandom(8).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.chmod(beside, stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        # What a mapped array lost is another file's matter.
        if isinstance(error, OSError) and not isinstance(error, MappingFault):
            raise OSError(error.errno, error.strerror, path) from error
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the new name last, where folders can be opened and synced."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise

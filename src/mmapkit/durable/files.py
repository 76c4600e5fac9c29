"""What the journal asks of a filesystem: all of it goes through a `Files`, so that tests can record
every step and crash between any two."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from mmapkit import _native
from mmapkit.mapping import JOURNAL_SUFFIX as SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mmapkit._native import File

__all__ = ["OS", "SUFFIX", "Files", "journal_path", "temporary_path"]


def journal_path(path: str) -> str:
    """Where the journal of a file lies: beside the real file, if `path` is a symbolic link."""
    return (os.path.realpath(path) if os.path.islink(path) else path) + SUFFIX


def temporary_path(journal: str) -> str:
    """A name in the same folder that nobody else has."""
    return os.path.join(os.path.dirname(journal), f".mmapkit-{os.urandom(8).hex()}.tmp")


class Files:
    """The operating system's files."""

    def open(self, path: str, mode: str) -> File:
        """Open for positioned reading and writing: ``"r"``, ``"r+"`` or ``"x+"``, which creates."""
        return _native.File(path, mode)

    def exists(self, path: str) -> bool:
        """Tell whether there is anything of that name; raise if that cannot be known."""
        try:
            os.lstat(path)  # os.path.lexists() would take any error for a no
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def leads_to(self, path: str, file: File) -> bool:
        """Tell whether that is the name of an open file."""
        return file.has_name(path)

    def replace(self, source: str, target: str) -> None:
        """Rename, over whatever is there."""
        os.replace(source, target)

    def remove(self, path: str) -> None:
        """Remove a file, whoever has it open; its name is free at once."""
        if sys.platform == "win32":  # where it may stay until the last one has closed it
            aside = temporary_path(path)
            os.replace(path, aside)
            path = aside
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        """Make the names in the folder that `path` lies in durable. Windows does that by itself."""
        _native.sync_directory(os.path.dirname(path) or os.curdir)

    def imitate(self, file: File, model: File) -> None:
        """Let those read and write `file` who may with `model`: a journal holds its bytes.

        Nothing on Windows, where a new file inherits that from its folder.
        """
        if sys.platform == "win32":
            return
        wanted = os.fstat(model.fileno())
        mode = stat.S_IMODE(wanted.st_mode) & 0o666
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.fchown(file.fileno(), wanted.st_uid, wanted.st_gid)
        if os.fstat(file.fileno()).st_gid != wanted.st_gid:
            mode &= 0o606  # its group is another one
        os.fchmod(file.fileno(), mode)

    def random(self, count: int) -> bytes:
        """Bytes that nobody else has."""
        return os.urandom(count)


OS: Final = Files()

"""The run's temporary files: seeded random bytes, warm or cold, gone at the end."""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SEED = 20_261_121
_CHUNK_BYTES = 16 << 20


class NotCold(Exception):
    """The system keeps the file in memory: nothing can be measured cold here."""


class Files:
    """Makes files in one directory, each once."""

    def __init__(self, directory: Path, helper: ctypes.CDLL) -> None:
        self._directory = directory
        self._helper = helper

    def random_bytes(self, size: int) -> Path:
        """A file of so many random bytes, on the disk."""
        path = self._directory / f"{size}.bin"
        if not path.exists():
            random = np.random.default_rng(SEED)
            with path.open("wb") as file:
                for start in range(0, size, _CHUNK_BYTES):
                    file.write(random.bytes(min(_CHUNK_BYTES, size - start)))
                file.flush()
                os.fsync(file.fileno())
        return path

    def folder(self, name: str) -> Path:
        """A folder of its own."""
        path = self._directory / name
        path.mkdir(exist_ok=True)
        return path

    def npy(self, array: np.ndarray) -> Path:
        """A .npy file of an array; one for each type and size."""
        path = self._directory / f"{array.dtype.name}-{array.size}.npy"
        if not path.exists():
            np.save(path, array)
        return path

    def cooler(self, path: Path) -> Callable[[], None]:
        """Return what drops a file from memory. No mapping of it may be alive."""
        if not hasattr(os, "posix_fadvise"):
            raise NotCold("this system does not drop a file from memory on request")

        def cool() -> None:
            size = path.stat().st_size
            for attempt in range(5):
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                resident = self._helper.resident_bytes(os.fsencode(path))
                if resident <= size // 100:
                    # Memory that lies free for a second may go back to a virtual machine's host,
                    # and whoever needs it next waits for the host: let it not be the one timed.
                    np.ones(size, np.uint8)
                    return
                time.sleep(0.01 * attempt)
            raise NotCold(f"{resident} of {size} bytes stay in memory after posix_fadvise")

        cool()
        return cool


def random_offsets(size: int, count: int) -> np.ndarray:
    """Offsets inside a file of `size` bytes, as C takes them."""
    return np.random.default_rng(SEED + 1).integers(0, size, count, dtype=np.uint64)

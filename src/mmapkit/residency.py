"""What of a file is in physical memory."""

from __future__ import annotations

import os

from mmapkit import _native

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mmapkit.mapping import Mapping

__all__ = ["Residency", "residency"]


class Residency:
    """What is resident of a range, counted in pages.

    Attributes
    ----------
    total_bytes : int
        Length of the range.
    known : bool
        False where the OS does not tell: Linux answers only those who own the file or may write
        it, and claims to everybody else that all is resident. The counts are None then.
    resident_bytes : int or None
        Whole pages, so it may pass `total_bytes` by less than two pages' worth; clipped to it.
    dirty_bytes : int or None
        Changed and not yet on the disk (Linux 6.5 and later, ``cachestat``), else None.
    """

    __slots__ = ("_flags", "dirty_bytes", "known", "page_bytes", "resident_bytes", "total_bytes")

    def __init__(
        self,
        total_bytes: int,
        resident_pages: int | None,
        dirty_pages: int | None,
        flags: bytes | None,
    ) -> None:
        """Take counts of pages; `flags` has one byte a page, 1 for resident."""
        self.page_bytes = _native.page_size()
        self.total_bytes = total_bytes
        self.known = resident_pages is not None
        self.resident_bytes = self._clip(resident_pages)
        self.dirty_bytes = self._clip(dirty_pages)
        self._flags = flags

    def _clip(self, pages: int | None) -> int | None:
        return None if pages is None else min(pages * self.page_bytes, self.total_bytes)

    @property
    def fraction(self) -> float | None:
        """Resident share, 0.0 to 1.0; None if unknown. Of nothing, everything is resident."""
        if self.resident_bytes is None:
            return None
        return self.resident_bytes / self.total_bytes if self.total_bytes else 1.0

    @property
    def pages(self) -> npt.NDArray[np.bool_] | None:
        """One bool for each page, as an ndarray; None where only counts are known."""
        if self._flags is None:
            return None
        import numpy as np

        return np.frombuffer(self._flags, np.uint8).view(np.bool_)

    def __repr__(self) -> str:
        """Show bytes and share."""
        if self.fraction is None:
            return f"<Residency unknown of {self.total_bytes} bytes>"
        dirty = "" if self.dirty_bytes is None else f", {self.dirty_bytes} dirty"
        return (
            f"<Residency {self.resident_bytes} of {self.total_bytes} bytes "
            f"({self.fraction:.1%}){dirty}>"
        )


# mincore's byte has more bits than the lowest on some systems.
_LOWEST_BIT = bytes(value & 1 for value in range(256))


def of_mapping(answer: tuple[int, bytes, bool, int | None]) -> Residency:
    """Make a Residency of what a Region answered: bytes, page flags, known or not, dirty pages."""
    total_bytes, raw, known, dirty_pages = answer
    if not known:
        return Residency(total_bytes, None, None, None)
    flags = raw.translate(_LOWEST_BIT)
    return Residency(total_bytes, flags.count(1), dirty_pages, flags)


def page_flags(mapping: Mapping, offset: int, length: int) -> bytes | None:
    """One byte for each page of a range, 1 for resident; None where the system does not tell."""
    _, raw, known, _ = mapping._residency(offset, length)
    return raw.translate(_LOWEST_BIT) if known else None


_SAMPLES = 256
_SAMPLE_BYTES = 1 << 18


def estimate(mapping: Mapping, offset: int, length: int) -> float | None:
    """Return the resident share of a range: of samples, spread evenly, where it is long.

    None where the system does not tell, and for ranges of 0 bytes or past the end.
    """
    length = max(0, min(length, mapping.size - offset))
    step = max(_SAMPLE_BYTES, length // _SAMPLES)
    found = [
        mapping.residency(at, min(_SAMPLE_BYTES, offset + length - at))
        for at in range(offset, offset + length, step)
    ]
    shares = [part.fraction for part in found if part.fraction is not None]
    return sum(shares) / len(shares) if shares else None


def residency(path: str | os.PathLike[str]) -> Residency:
    """Tell what the page cache holds of a file, without touching it.

    Uses ``cachestat`` where the kernel has it (Linux 6.5 and later; `pages` is None then), else a
    mapping of the whole file and ``mincore`` or ``QueryWorkingSetEx``. On Windows that is the
    working set of this process, so a file nobody mapped counts as absent.

    Raises
    ------
    OSError
        If the file cannot be opened for reading.
    """
    size, counts = _native.cached_pages(os.fsdecode(path))
    if counts is not None or size == 0:
        return Residency(size, *(counts or (0, 0)), None)
    from mmapkit.mapping import open as open_mapping

    with open_mapping(path) as mapping:
        return mapping.residency()

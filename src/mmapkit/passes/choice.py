"""Mapping or reading: decided by looking and by measuring, and told with the numbers."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from typing import Final

__all__ = ["HOWS", "Choice"]

HOWS: Final = ("auto", "map", "read")
# Measured on resident files: up to this, both ways take the same; what is larger is mapped in less
# time than it is copied into memory that is new to the process.
SMALL_BYTES: Final = 64 << 10
# Both ways take turns; the first turn of each pays for what happens once.
TURNS: Final = 4
TRIAL_STEPS: Final = 2 * TURNS
# A pass is worth a trial if the trial is a small part of it.
LEAST_STEPS: Final = 2 * TRIAL_STEPS


class Choice:
    """Which way each step of a pass takes: as asked for, by size, or by trial."""

    __slots__ = ("_bytes", "_seconds", "how", "why")

    def __init__(self, how: str, total_bytes: int, step_count: int, share: float | None) -> None:
        """Decide at once if that can be; `share` is how much of the file is resident."""
        self._bytes = {"map": 0, "read": 0}
        self._seconds = {"map": 0.0, "read": 0.0}
        self.how, self.why = how, "as asked for"
        if how != "auto":
            return
        size = _size(total_bytes)
        if total_bytes <= SMALL_BYTES:
            self.how = "read"
            self.why = f"{size}: up to {_size(SMALL_BYTES)}, copying costs no more than mapping"
        elif step_count >= LEAST_STEPS:
            self.why = f"not decided yet: both are tried on the first {TRIAL_STEPS} steps"
        elif share is not None and share >= 0.5:
            self.how = "map"
            self.why = f"{size}, {share:.0%} resident: mapping copies nothing"
        else:
            self.how = "read"
            known = "residency unknown" if share is None else f"{share:.0%} resident"
            self.why = f"{size}, {known}: too little to try both ways, and reading never waits long"

    @classmethod
    def given(cls, why: str) -> Choice:
        """Map, for a reason that leaves no choice."""
        choice = cls("map", 0, 0, None)
        choice.why = why
        return choice

    def way(self, step: int) -> str:
        """Tell which way a step takes."""
        if self.how != "auto":
            return self.how
        return ("map", "read")[step % 2]

    def refused(self) -> None:
        """Take note that the filesystem cannot be mapped."""
        self.how, self.why = "read", "the filesystem refuses to be mapped"

    def note(self, step: int, way: str, byte_count: int, seconds: float) -> None:
        """Take the time of a step of a trial; decide when it was the last."""
        if self.how != "auto":
            return
        if step >= 2:
            self._bytes[way] += byte_count
            self._seconds[way] += seconds
        if step + 1 >= TRIAL_STEPS:
            rate = {w: self._bytes[w] / max(s, 1e-9) / 1e9 for w, s in self._seconds.items()}
            best = max(rate, key=lambda way: rate[way])
            tried = _size(sum(self._bytes.values()))
            self.why = (
                f"tried both on {tried} of this file: "
                f"map {rate['map']:.2f} GB/s, read {rate['read']:.2f} GB/s"
            )
            self.how = best


def _size(byte_count: int) -> str:
    if byte_count < 1 << 20:
        return f"{byte_count / 1024:.3g} KiB"
    return f"{byte_count / (1 << 20):,.4g} MiB"

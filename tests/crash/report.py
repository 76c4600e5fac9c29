"""Counts what a campaign tried, and what it found."""

from dataclasses import dataclass


@dataclass
class Report:
    """Of one campaign; the tests fail on the first find, so that this says what was tried."""

    name: str
    tried: int = 0
    torn: int = 0
    lost: int = 0
    note: str = ""

    def __str__(self):
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.name}: {self.tried:,} states tried, {self.torn} torn, "
            f"{self.lost} acknowledged commits lost{note}"
        )

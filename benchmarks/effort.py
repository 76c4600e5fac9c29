"""How much is measured: `FULL` for tables, `QUICK` while developing, `SMOKE` for tests."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Effort:
    """Rounds, sizes and counts of one run."""

    name: str
    rounds: int
    sample_s: float  # time that one way is run for, in each round
    big_bytes: int
    random_count: int
    big_rounds: int  # of what takes seconds: cold files, and passes over the large one
    cold_random_count: int
    gather_count: int
    append_count: int
    ragged_count: int
    process_rounds: int
    guard_generations: int  # pairs of processes, one after the other
    real_text: bool  # fetch 140 MB of sources, once, to search them


FULL = Effort("full", 11, 0.04, 1024 * MIB, 100_000, 5, 4_000, 20_000, 500, 10_000, 31, 4, True)
QUICK = Effort("quick", 5, 0.006, 256 * MIB, 100_000, 3, 1_000, 5_000, 100, 2_000, 7, 2, False)
SMOKE = Effort("smoke", 2, 0.0001, 1 * MIB, 500, 1, 20, 50, 3, 20, 1, 1, False)

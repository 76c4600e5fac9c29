"""Benchmarks: mmapkit against its rivals, both in one run, answers checked. See README.md."""

TOPICS = (
    "access",
    "arrays",
    "pickle",
    "random",
    "gather",
    "sequential",
    "passes",
    "growth",
    "commit",
    "search",
    "guard",
)

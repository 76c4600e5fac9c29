"""Benchmarks: mmapkit against its rivals, both in one run, answers checked. See README.md."""

TOPICS = ("access", "random", "sequential", "passes", "guard")

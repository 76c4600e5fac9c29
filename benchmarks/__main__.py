"""python -m benchmarks [topic ...] [--quick] [--json FILE] [--markdown FILE] [--directory DIR]."""

import argparse
import importlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import TOPICS, chelper, machine, tables
from benchmarks.effort import FULL, QUICK, SMOKE, Effort
from benchmarks.files import Files
from benchmarks.harness import Comparison


def run_topic(topic: str, directory: Path, effort: Effort) -> tuple[str, list[Comparison]]:
    """Measure one topic with its files in a directory; its title and its comparisons."""
    module = importlib.import_module(f"benchmarks.bench_{topic}")
    helper = chelper.load(directory)
    return module.TITLE, module.run(Files(directory, helper), helper, effort)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure mmapkit against its rivals, in one run, with answers checked.",
    )
    parser.add_argument("topics", nargs="*", metavar="topic", help=f"of {', '.join(TOPICS)}")
    effort = parser.add_mutually_exclusive_group()
    effort.set_defaults(effort=FULL)
    effort.add_argument(
        "--quick", action="store_const", const=QUICK, dest="effort", help="within a minute"
    )
    effort.add_argument(
        "--smoke", action="store_const", const=SMOKE, dest="effort", help="see that it runs at all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="rewrite the section between its markers"
    )
    parser.add_argument(
        "--directory", type=Path, help="where 1 GiB of temporary files goes, on a real disk"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.topics) - set(TOPICS):
        parser.error(f"unknown topic {', '.join(sorted(unknown))}: one of {', '.join(TOPICS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    results = {}
    with tempfile.TemporaryDirectory(prefix="mmapkit-bench-", dir=options.directory) as name:
        directory = Path(name)
        facts = machine.describe(directory)
        print(", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
        for topic in options.topics or TOPICS:
            start = time.perf_counter()
            results[topic] = run_topic(topic, directory, options.effort)
            title, comparisons = results[topic]
            elapsed = time.perf_counter() - start
            print(f"\n{title} ({elapsed:.0f} s)\n\n{tables.table(comparisons)}", flush=True)
    if options.json:
        options.json.write_text(tables.as_json(facts, options.effort.name, results) + "\n")
    if options.markdown:
        tables.rewrite(options.markdown, tables.markdown(facts, options.effort.name, results))


if __name__ == "__main__":
    # The temporary files go, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

"""Comparisons as Markdown tables, which a terminal shows as well, and as JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Comparison, Line

BEGIN = "<!-- results: begin -->"
END = "<!-- results: end -->"

_HEADINGS = ("work", "", "way", "median", "over the first", "quartiles", "")
_ROLES = {"ours": "mmapkit", "rival": "rival", "limit": "limit"}


def table(comparisons: Sequence[Comparison]) -> str:
    """One topic's comparisons, a line for each way."""
    rows = [_HEADINGS]
    for comparison in comparisons:
        if comparison.skipped:
            rows.append((comparison.work, "", f"not measured: {comparison.skipped}", *[""] * 4))
        for index, line in enumerate(comparison.lines):
            work = comparison.work if index == 0 else ""
            rows.append((work, *_cells(line, index == 0, comparison.byte_count)))
        for name in comparison.missing:
            rows.append(("", _ROLES["rival"], f"{name}: skipped, not installed", *[""] * 4))
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    lines = [_row(row, widths) for row in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def _cells(line: Line, first: bool, byte_count: int | None) -> tuple[str, ...]:
    time = duration(line.median_s)
    if byte_count is not None:
        time += f" ({byte_count / line.median_s / 1e9:.1f} GB/s)"
    ratio = "1" if first else f"{_digits(line.ratio)}x"
    spread = "" if first else f"{_digits(line.low)}..{_digits(line.high)}"
    return _ROLES[line.role], f"`{line.name}`", time, ratio, spread, _remark(line)


def _remark(line: Line) -> str:
    if line.target is None:
        return line.remark
    met = "met" if line.ratio >= line.target else "missed"
    verdict = f"target >= {line.target:.3g}x: {met}"
    return f"{verdict}; {line.remark}" if line.remark else verdict


def _digits(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}"


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    raise AssertionError


def markdown(
    machine: Mapping[str, str], effort: str, topics: Mapping[str, tuple[str, list[Comparison]]]
) -> str:
    """Everything between the markers."""
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "date")
    parts = [f"Measured on {machine['date']} ({effort} run): {facts}."]
    for title, comparisons in topics.values():
        parts += [f"### {title}", table(comparisons)]
    return "\n\n".join(parts)


def rewrite(path: Path, section: str) -> None:
    """Put the section between the file's markers; the rest of the file stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path.name} lacks the markers {BEGIN!r} and {END!r}")
    path.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}", encoding="utf-8")


def as_json(
    machine: Mapping[str, str], effort: str, topics: Mapping[str, tuple[str, list[Comparison]]]
) -> str:
    """Everything, with each round's seconds."""
    data: dict[str, Any] = {"machine": dict(machine), "effort": effort, "topics": {}}
    for topic, (_, comparisons) in topics.items():
        data["topics"][topic] = [dataclasses.asdict(comparison) for comparison in comparisons]
    return json.dumps(data, indent=1)

"""Texts to search: a log made with a seed, and the sources of Linux."""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from benchmarks.files import SEED

# Of all lines, those of level ERROR; of these, those that say timeout. Of the others, a hundredth
# says timeout, too.
ERRORS = 0.001
TIMEOUTS = 0.1

ABSENT = b"checksum differs in block"  # from every log

_CHUNK_LINES = 100_000
_RARE_COUNT = 5
_WORDS = (
    b"accepted cache cleared client closed commit connection cursor evicted fetched flushed for "
    b"from handler heartbeat index job key lease merged miss node of offset opened page partition "
    b"peer queue read received replica request response retry rows scheduled segment sent session "
    b"shard snapshot stored stream table task to token user vacuum waiting worker written"
).split()
_MESSAGES = 4000
_FRACTION_DIGITS = 6


class NoText(Exception):
    """A text cannot be had here."""


@dataclass(frozen=True)
class Text:
    """A file of text, and what is looked for in it."""

    name: str
    path: Path
    absent: bytes  # occurs nowhere
    rare: bytes  # only near the end
    pattern: bytes  # a regular expression with few matches, at most one a line
    words: tuple[bytes, ...]  # literals of which none begins another


# --- the log --------------------------------------------------------------------------------------


def log(folder: Path, size: int) -> Text:
    """A log of so many bytes: lines of about 100, of some hosts, levels and messages."""
    path = folder / f"{size}.log"
    found = Text(
        name=f"log of {_mib(size)}",
        path=path,
        absent=ABSENT,
        rare=b"checksum mismatch in page",
        pattern=rb"ERROR.*timeout",
        words=(
            b"ERROR",
            b"FATAL",
            b"refused",
            b"host-031 WARN",
            b"vacuum vacuum",
            b"out of memory",
        ),
    )
    if not path.exists():
        _write_log(path, size)
        _plant(path, found.rare)
    return found


def _write_log(path: Path, size: int) -> None:
    random = np.random.default_rng(SEED)
    with path.open("wb") as file:
        for number in range(1 << 30):
            lines = _log_lines(random, number * _CHUNK_LINES)
            rest = size - file.tell()
            if len(lines) < rest:
                file.write(lines)
                continue
            file.write(lines[: rest - 1] + b"\n")
            break
        file.flush()
        os.fsync(file.fileno())


def _log_lines(random: np.random.Generator, first: int) -> bytes:
    """Lines, side by side in a table of bytes whose unused places are 0, and are then left out."""
    count = _CHUNK_LINES
    lot = random.random(count)
    level = np.full(count, 1)  # INFO
    level[lot < 0.30] = 0
    level[lot < 0.10] = 2
    level[lot < ERRORS] = 3
    message = random.integers(0, _MESSAGES, count)
    late = random.random(count) < np.where(level == 3, TIMEOUTS, 0.01)
    columns = [
        _table([b"2026-11-21T"], np.zeros(count, int)),
        _clock(np.cumsum(random.integers(1, 2000, count)) + first * 1000),
        _table([b"Z host-%03d " % host for host in range(64)], random.integers(0, 64, count)),
        _table([b"DEBUG ", b"INFO ", b"WARN ", b"ERROR "], level),
        _table([b"store[%d]: " % pid for pid in range(400, 1400)], random.integers(0, 1000, count)),
        _table(_messages(), message),
        _table([b"", b" gave up: timeout"], late.astype(int)),
        _table([b" id="], np.zeros(count, int)),
        _hexadecimal(random.integers(0, 1 << 32, count)),
        _table([b"\n"], np.zeros(count, int)),
    ]
    table = np.concatenate(columns, axis=1)
    return table[table != 0].tobytes()


def _messages() -> list[bytes]:
    random = np.random.default_rng(SEED)
    picks = random.integers(0, len(_WORDS), (_MESSAGES, 10))
    counts = random.integers(2, 10, _MESSAGES)
    return [b" ".join(_WORDS[i] for i in row[:n]) for row, n in zip(picks, counts, strict=True)]


def _table(words: list[bytes], picks: np.ndarray) -> np.ndarray:
    """The picked words as rows of bytes, filled up with zeros."""
    padded = np.array(words)
    return padded.view(np.uint8).reshape(len(words), padded.itemsize)[picks]


def _clock(microseconds: np.ndarray) -> np.ndarray:
    """``hh:mm:ss.ffffff`` of each."""
    seconds, fraction = np.divmod(microseconds, 10**_FRACTION_DIGITS)
    two = [b"%02d:" % number for number in range(60)]
    parts = [_table(two, part) for part in (seconds // 3600 % 24, seconds // 60 % 60, seconds % 60)]
    powers = 10 ** np.arange(_FRACTION_DIGITS - 1, -1, -1)
    digits = (fraction[:, None] // powers % 10 + ord("0")).astype(np.uint8)
    parts[2][:, -1] = ord(".")
    return np.concatenate([*parts, digits], axis=1)


def _hexadecimal(numbers: np.ndarray) -> np.ndarray:
    digits = numbers[:, None] >> np.arange(28, -4, -4) & 15
    return np.frombuffer(b"0123456789abcdef", np.uint8)[digits]


def _plant(path: Path, literal: bytes) -> None:
    """Put a literal at the end of a few lines of the file's last hundredth."""
    data = np.memmap(path, np.uint8, "r+")
    size = len(data)
    for turn in range(_RARE_COUNT):
        start = size - size // 100 + turn * (size // 600)
        end = start + data[start:].tobytes().index(b"\n")
        data[end - len(literal) : end] = np.frombuffer(literal, np.uint8)
    data.flush()


def _mib(size: int) -> str:
    return f"{size >> 20:,} MiB"


# --- the sources of Linux -------------------------------------------------------------------------


def linux(limit: int) -> Text:
    """The files of Debian's package linux-source, one after the other; `limit` bytes at most.

    Taken from ``/usr/src`` where it is installed, or fetched with apt, and then kept in the folder
    that ``MMAPKIT_CACHE`` names.

    Raises
    ------
    NoText
        If there is neither the package nor apt.
    """
    place = os.environ.get("MMAPKIT_CACHE") or Path.home() / ".cache" / "mmapkit"
    cache = Path(place)
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"linux-source-{limit}.txt"
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        with tempfile.TemporaryDirectory(dir=cache) as folder, unfinished.open("wb") as file:
            for block in _source_blocks(_archive(Path(folder))):
                file.write(block[: limit - file.tell()])
                if file.tell() == limit:
                    break
        unfinished.rename(path)
    return Text(
        name=f"linux-source, {_mib(path.stat().st_size)}",
        path=path,
        absent=b"spin_lock_irqrestored",
        rare=b"ext4_get_max_inline_size",
        pattern=rb"mutex_lock.*irq",
        words=(b"WARN_ON_ONCE(", b"EXPORT_SYMBOL_NS", b"rcu_barrier", b"vmalloc_user", b"FIXME"),
    )


def _archive(folder: Path) -> Path:
    """Return the tar file of the sources: installed, or fetched into a folder."""
    if installed := sorted(Path("/usr/src").glob("linux-source-*.tar.xz")):
        return installed[-1]
    package = _first_line(_output("apt-cache", "depends", "linux-source"), "Depends: ")
    _output("apt-get", "download", "-q", package, folder=folder)
    _output("dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder))
    return next(folder.glob("usr/src/linux-source-*.tar.xz"))


def _first_line(text: str, label: str) -> str:
    for line in text.splitlines():
        if label in line:
            return line.partition(label)[2].strip()
    raise NoText("apt does not know the package linux-source")


def _output(*command: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise NoText(f"linux-source is not installed, and there is no {command[0]}") from None
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoText(f"{command[0]} cannot fetch linux-source: {why}") from None
    return done.stdout


def _source_blocks(archive: Path) -> Iterator[bytes]:
    """The contents of each file, in the archive's order."""
    with tarfile.open(archive, "r|xz") as tar:
        for member in tar:
            file: IO[bytes] | None = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield file.read()

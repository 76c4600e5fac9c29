"""Where pages are kept and changed many at a time: ours and its rivals, behind one face.

A page is 4 KiB and has a number. Each store is filled with the same pages, and changes some of them
in one commit, after which they are on the disk.
"""

import functools
import os
import shutil
import sqlite3
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

import mmapkit as mk
from benchmarks.harness import Role

PAGE_BYTES = 4096
_FILL_PAGES = 4096  # at a time


def filled(first: int, count: int) -> np.ndarray:
    """What pages hold before anybody changes them."""
    numbers = np.arange(first, first + count)
    return content(numbers, np.zeros(count, "u8"))


def content(numbers: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """What pages hold after so many changes of each: other bytes on each page, and each time."""
    words = numbers[:, None].astype("<u8") * np.uint64(512) + np.arange(512, dtype="<u8")
    words *= np.uint64(0x9E3779B97F4A7C15)
    words += stamps[:, None]
    return words.view("u1")


class Store(ABC):
    """Pages in a file of a folder; commits of several threads may come at once."""

    role: ClassVar[Role] = "rival"
    name: ClassVar[str]
    atomic: ClassVar[bool] = False  # and meant for small commits
    largest_bytes: ClassVar[int | None] = None  # of what can be measured within reason

    def __init__(self, folder: Path, page_count: int) -> None:
        """Make and fill it; on the disk when that is done."""
        self.path = folder / type(self).__name__.lower()
        self.page_count = page_count

    @abstractmethod
    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        """Change pages; they are on the disk when this returns."""

    @abstractmethod
    def read(self, numbers: np.ndarray) -> np.ndarray:
        """What pages hold."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it, and remove its files."""


def _flat(path: Path, page_count: int) -> None:
    """Write all pages one after the other."""
    with path.open("wb") as file:
        for first in range(0, page_count, _FILL_PAGES):
            file.write(filled(first, min(_FILL_PAGES, page_count - first)))
        file.flush()
        os.fsync(file.fileno())


class Lmdb(Store):
    """A value for each page."""

    name = "LMDB, sync=True"
    atomic = True

    def __init__(self, folder: Path, page_count: int) -> None:
        """Fill in the order of the keys, which packs best."""
        super().__init__(folder, page_count)
        import lmdb

        # A page and its header do not fit into one of LMDB's own pages: it takes two.
        self._open = functools.partial(
            lmdb.open, str(self.path), map_size=page_count * PAGE_BYTES * 3 + (64 << 20)
        )
        self._environment = self._open(sync=False)
        for first in range(0, page_count, _FILL_PAGES):
            numbers = np.arange(first, min(first + _FILL_PAGES, page_count))
            with self._environment.begin(write=True) as transaction:
                cursor = transaction.cursor()
                cursor.putmulti(self._items(numbers, filled(first, len(numbers))), append=True)
        self._environment.sync(True)
        self.let_go()
        self.reopen()

    def reopen(self) -> None:
        self._environment = self._open(sync=True)

    def let_go(self) -> None:
        self._environment.close()

    @staticmethod
    def _keys(numbers: np.ndarray) -> list[bytes]:
        keys = numbers.astype(">u8").tobytes()
        return [keys[at : at + 8] for at in range(0, len(keys), 8)]

    def _items(self, numbers: np.ndarray, pages: np.ndarray) -> list[tuple[bytes, bytes]]:
        return [(key, page.tobytes()) for key, page in zip(self._keys(numbers), pages, strict=True)]

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        with self._environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(self._items(numbers, pages))

    def read(self, numbers: np.ndarray) -> np.ndarray:
        with self._environment.begin() as transaction:
            found = [transaction.get(key) for key in self._keys(numbers)]
        return np.frombuffer(b"".join(found), "u1").reshape(-1, PAGE_BYTES)

    def close(self) -> None:
        self.let_go()
        shutil.rmtree(self.path)


class Sqlite(Store):
    """A row for each page; a connection for each thread."""

    name = "SQLite WAL, synchronous=FULL"
    atomic = True

    def __init__(self, folder: Path, page_count: int) -> None:
        """Fill in the order of the keys, which packs best."""
        super().__init__(folder, page_count)
        self._here = threading.local()
        self._all: list[sqlite3.Connection] = []
        connection = self._connection()
        connection.execute("CREATE TABLE page (number INTEGER PRIMARY KEY, bytes BLOB)")
        connection.execute("BEGIN")
        for number in range(page_count):
            page = filled(number, 1)
            connection.execute("INSERT INTO page VALUES (?, ?)", (number, page.data))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._here, "connection"):
            connection = sqlite3.connect(
                self.path, timeout=60, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            # The default of 2 MiB is less than a large commit.
            connection.execute("PRAGMA cache_size=-65536")
            self._all.append(connection)
            self._here.connection = connection
        return self._here.connection

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE page SET bytes = ? WHERE number = ?",
            [(page.data, number) for number, page in zip(numbers.tolist(), pages, strict=True)],
        )
        connection.execute("COMMIT")

    def read(self, numbers: np.ndarray) -> np.ndarray:
        get = "SELECT bytes FROM page WHERE number = ?"
        rows = [
            self._connection().execute(get, (number,)).fetchone() for number in numbers.tolist()
        ]
        return np.frombuffer(b"".join(row[0] for row in rows), "u1").reshape(-1, PAGE_BYTES)

    def reopen(self) -> None:
        """Nothing: a connection is made when it is needed."""

    def let_go(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
        self._here = threading.local()

    def close(self) -> None:
        self.let_go()
        self.path.unlink()


class Msync(Store):
    """What people do without a library: store, and flush everything."""

    name = "np.memmap, flush (msync): not atomic"

    def __init__(self, folder: Path, page_count: int) -> None:
        """Map the whole file."""
        super().__init__(folder, page_count)
        _flat(self.path, page_count)
        self._pages = np.memmap(self.path, "u1", "r+", shape=(page_count, PAGE_BYTES))

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        self._pages[numbers] = pages
        self._pages.flush()

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return np.array(self._pages[numbers])

    def close(self) -> None:
        del self._pages
        self.path.unlink()


class Rename(Store):
    """The whole file anew, which is atomic everywhere."""

    name = "write the whole file, fsync, rename"
    largest_bytes = 64 << 20

    def __init__(self, folder: Path, page_count: int) -> None:
        """Keep the pages in memory, as a program does that writes them anew."""
        super().__init__(folder, page_count)
        self._pages = filled(0, page_count).copy()
        self._lock = threading.Lock()
        _flat(self.path, page_count)

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        with self._lock:
            self._pages[numbers] = pages
            new = self.path.with_suffix(".new")
            with new.open("wb", buffering=0) as file:
                file.write(self._pages)
                os.fsync(file.fileno())
            new.rename(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return np.fromfile(self.path, "u1").reshape(-1, PAGE_BYTES)[numbers]

    def close(self) -> None:
        self.path.unlink()


class Ours(Store):
    """A transaction of a mapped array with a row for each page."""

    role = "ours"
    name = "with a.transaction() as w: w[numbers] = pages"

    def __init__(self, folder: Path, page_count: int) -> None:
        """Map the whole file."""
        super().__init__(folder, page_count)
        _flat(self.path, page_count)
        self._open()

    def _open(self) -> None:
        shape = (self.page_count, PAGE_BYTES)
        self._pages = mk.open_array(self.path, "r+", dtype="u1", shape=shape)

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        with self._pages.transaction() as w:
            w[numbers] = pages

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """What is seen after the file was opened again."""
        self._pages.close()
        self._open()
        return np.array(self._pages[numbers])

    def close(self) -> None:
        self._pages.close()
        self.path.unlink()


class Written:
    """The floor: pages over those of a file that has its blocks, and one fdatasync."""

    role: ClassVar[Role] = "limit"
    atomic = False

    def __init__(self, folder: Path, count: int) -> None:
        """Write `count` pages each time, always to the same place."""
        pages = "one page" if count == 1 else f"{count} pages in a row"
        self.name = f"{pages} written over, one fdatasync"
        self._path = folder / f"written{count}"
        self._count = count
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        os.write(self._file, bytes(count * PAGE_BYTES))
        os.fsync(self._file)
        self._sync = getattr(os, "fdatasync", os.fsync)  # macOS has none

    def commit(self, numbers: np.ndarray, pages: np.ndarray) -> None:
        os.pwrite(self._file, pages[: self._count].data, 0)
        self._sync(self._file)

    def close(self) -> None:
        os.close(self._file)
        self._path.unlink()


RIVALS: tuple[type[Store], ...] = (Lmdb, Sqlite, Msync, Rename)

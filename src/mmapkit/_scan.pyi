from typing import Any

from numpy import typing as npt

from mmapkit._native import Region

_Readable = bytes | bytearray | memoryview | Region | npt.NDArray[Any]

def kernel_names() -> list[str]: ...
def kernel_name() -> str: ...
def use_kernels(name: str) -> None: ...

class Needle:
    @property
    def fold(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def byte(self) -> int: ...
    def __init__(self, needle: bytes, fold: bool = False) -> None: ...

class Numbers:
    @property
    def itemsize(self) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def count_byte(
    haystack: _Readable, byte: int, start: int, stop: int, interrupt: bytearray | None = None
) -> int: ...
def find(
    haystack: _Readable,
    needle: Needle,
    start: int,
    stop: int,
    end: int,
    interrupt: bytearray | None = None,
) -> int: ...
def rfind(
    haystack: _Readable,
    needle: Needle,
    start: int,
    stop: int,
    end: int,
    interrupt: bytearray | None = None,
) -> int: ...
def count(
    haystack: _Readable,
    needle: Needle,
    start: int,
    stop: int,
    end: int,
    overlapping: bool = False,
    interrupt: bytearray | None = None,
) -> tuple[int, int, int]: ...
def find_all(
    haystack: _Readable,
    needle: Needle,
    start: int,
    stop: int,
    end: int,
    overlapping: bool = False,
    interrupt: bytearray | None = None,
) -> tuple[Numbers, int]: ...
def list_newlines(
    haystack: _Readable, start: int, stop: int, interrupt: bytearray | None = None
) -> Numbers: ...

class LineScanner:
    @property
    def position(self) -> int: ...
    def __init__(self, needle: Needle, *, once: bool, start: int = 0) -> None: ...
    def next(
        self, haystack: _Readable, stop: int, end: int, interrupt: bytearray | None = None
    ) -> list[tuple[int, int, int, int, int]]: ...

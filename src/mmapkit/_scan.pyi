from typing import Any, Self

from numpy import typing as npt
from typing_extensions import disjoint_base

from mmapkit._native import Region

_Readable = bytes | bytearray | memoryview | Region | npt.NDArray[Any]

def kernel_names() -> list[str]: ...
def kernel_name() -> str: ...
def use_kernels(name: str) -> None: ...

@disjoint_base
class Needle:
    @property
    def fold(self) -> bool: ...
    @property
    def size(self) -> int: ...
    @property
    def byte(self) -> int: ...
    def __init__(self, needle: bytes, fold: bool = False) -> None: ...

@disjoint_base
class Needles:
    @property
    def fold(self) -> bool: ...
    @property
    def longest(self) -> int: ...
    def __init__(self, needles: list[bytes], fold: bool = False) -> None: ...
    def __len__(self) -> int: ...

@disjoint_base
class Numbers:
    @property
    def itemsize(self) -> int: ...
    def __new__(cls, itemsize: int) -> Self: ...
    def add(self, numbers: _Readable | Numbers) -> None: ...
    def trim(self) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __release_buffer__(self, buffer: memoryview, /) -> None: ...

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
def count_any(
    haystack: _Readable,
    needles: Needles,
    start: int,
    stop: int,
    end: int,
    overlapping: bool = False,
    interrupt: bytearray | None = None,
) -> tuple[int, int, int]: ...
def find_any(
    haystack: _Readable,
    needles: Needles,
    start: int,
    stop: int,
    end: int,
    overlapping: bool = False,
    interrupt: bytearray | None = None,
) -> tuple[Numbers, Numbers, int]: ...
def list_newlines(
    haystack: _Readable,
    start: int,
    stop: int,
    interrupt: bytearray | None = None,
    behind: Numbers | None = None,
) -> Numbers: ...

@disjoint_base
class LineScanner:
    @property
    def position(self) -> int: ...
    def __init__(self, needle: Needle | Needles, *, once: bool, start: int = 0) -> None: ...
    def next(
        self, haystack: _Readable, stop: int, end: int, interrupt: bytearray | None = None
    ) -> list[tuple[int, int, int, int, int]]: ...

@disjoint_base
class Plain:
    def __init__(self, owner: _Readable) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

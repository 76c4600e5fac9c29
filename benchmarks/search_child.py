"""A process that looks in a file for what it lacks, in one way, on request, for bench_search."""

import mmap

import mmapkit as mk
from benchmarks.children import Work, serve
from benchmarks.texts import ABSENT

_BLOCK_BYTES = 1 << 20


def _ours(path: str) -> int:
    with mk.open(path) as m:
        return m.find(ABSENT)


def _mmap(path: str) -> int:
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        return mapped.find(ABSENT)


def _readinto(path: str) -> int:
    """Block by block, with the end of each block before the next one."""
    keep = len(ABSENT) - 1
    buffer = bytearray(keep + _BLOCK_BYTES)
    view = memoryview(buffer)
    at = -keep
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(view[keep:]):
            found = buffer.find(ABSENT, 0, keep + count)
            if found >= 0:
                return at + found
            buffer[:keep] = buffer[count : count + keep]
            at += count
    return -1


FINDS = {
    "mk.open(path), m.find(needle)": Work("ours", _ours),
    "mmap.find(needle)": Work("rival", _mmap),
    "readinto, bytearray.find, blocks of 1 MiB": Work("rival", _readinto),
}

if __name__ == "__main__":
    serve(FINDS)

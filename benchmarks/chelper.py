"""Compile chelper.c for this run, and call it."""

import ctypes
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("chelper.c")

_FAILED = 2**64 - 1  # chelper.c
_PATH, _ADDRESS, _SIZE = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
_SIGNATURES = {
    "sum_words": [_ADDRESS, _SIZE],
    "sum_words_in_two": [_ADDRESS, _SIZE],
    "sum_at": [_ADDRESS, _ADDRESS, _SIZE],
    "fseek_sum_at": [_PATH, _ADDRESS, _SIZE],
    "pread_sum_at": [_PATH, _ADDRESS, _SIZE],
    "map_sum_at": [_PATH, _ADDRESS, _SIZE],
    "map_and_unmap": [_PATH],
    "resident_bytes": [_PATH],
    "direct_sum_at": [_PATH, _ADDRESS, _SIZE, _SIZE],
    "direct_sum_words": [_PATH, _SIZE, _SIZE, _SIZE],
}


def load(directory: Path) -> ctypes.CDLL:
    """Compile into a directory, and load; the functions are told in chelper.c."""
    library = directory / "chelper.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    errors = ""
    for machine in (["-march=native"], []):
        for name in (compiler, "cc"):
            command = [name, "-std=gnu11", "-O3", *machine, "-shared", "-fPIC", "-pthread"]
            try:
                done = subprocess.run(
                    [*command, "-o", str(library), str(SOURCE)], capture_output=True, text=True
                )
            except FileNotFoundError as error:
                errors = str(error)
                continue
            if done.returncode == 0:
                return _declare(ctypes.CDLL(str(library)))
            errors = done.stderr
    raise SystemExit(f"the benchmarks need a C compiler: {errors}")


def _declare(helper: ctypes.CDLL) -> ctypes.CDLL:
    for name, arguments in _SIGNATURES.items():
        function = getattr(helper, name)
        function.argtypes = arguments
        function.restype = ctypes.c_uint64
        if _PATH in arguments:
            function.errcheck = _check
    return helper


def _check(result: int, function: Any, arguments: tuple[Any, ...]) -> int:
    if result == _FAILED:
        raise OSError(f"{function.__name__}{arguments} failed")
    return result

"""What the numbers were measured on; no names of hosts or paths."""

import datetime
import os
import platform
from pathlib import Path

import numpy as np

import mmapkit


def describe(directory: Path) -> dict[str, str]:
    """Describe this machine, and the filesystem of a directory."""
    return {
        "date": datetime.date.today().isoformat(),
        "CPU": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": _filesystem(directory),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "mmapkit": mmapkit.__version__,
    }


def written_bytes(path: Path) -> int:
    """Bytes that were ever written to the disk that a file lies on; 0 where nobody tells."""
    device = os.stat(path).st_dev
    try:
        # proc(5), "/proc/diskstats": the 7th number is sectors of 512 bytes written.
        numbers = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text()
    except (AttributeError, OSError):
        return 0
    return int(numbers.split()[6]) * 512


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    found = {name.strip(): value.strip() for name, value in fields.items()}
    model = found.get("model name") or platform.processor() or platform.machine()
    if {"cpu family", "model"} <= found.keys():
        model += f" (family {found['cpu family']}, model {found['model']})"
    return model


def _memory() -> str:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{size / 2**30:.0f} GiB"


def _filesystem(directory: Path) -> str:
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    place = directory.resolve()
    found = ("", "unknown")
    for _, point, kind, *_ in (line.split() for line in mounts):
        if place.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]

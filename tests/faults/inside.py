"""What victims use: imported inside the processes that the tests let die."""

import errno
import gc
import mmap
import os
import resource
import signal
import sys
import threading
import time
import warnings

import numpy as np

import mmapkit as mk
from mmapkit import MappingFault

__all__ = [
    "MIB",
    "PAGE",
    "MappingFault",
    "arrays_of",
    "args",
    "content",
    "cut",
    "each",
    "errno",
    "fault_of",
    "fill",
    "gc",
    "in_thread",
    "make",
    "map_count",
    "mk",
    "mmap",
    "np",
    "os",
    "ready",
    "require_fault",
    "signal",
    "sys",
    "threading",
    "time",
    "warnings",
]

PAGE = mk.page_size()
MIB = 1 << 20
args = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


_ready_to = None


def ready():
    """Say that what follows is what the process should die of."""
    if _ready_to is None:
        print("ready", flush=True)
    else:
        os.write(_ready_to, b"ready")


def each(cases, work, status=0):
    """Run `work(case)` in a child for each case, and compare how they end; a signal is negative.

    What is killed must have called `ready()` before. Cheaper than a victim for each.
    """
    global _ready_to
    wrong = []
    for case in cases:
        heard, _ready_to = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(100)
            try:
                work(case)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(_ready_to)
        found = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with os.fdopen(heard, "rb") as pipe:
            said = pipe.read()
        if found != status or (status < 0 and said != b"ready"):
            wrong.append((case, found, said))
    assert not wrong, wrong


def make(path, size, value=1.0):
    """Write a file of float64."""
    np.full(size // 8, value).tofile(path)
    return path


def content(path):
    """Read a file the ordinary way."""
    with open(path, "rb") as file:
        return file.read()


def cut(path, size):
    """Truncate a file behind the mapping's back."""
    os.truncate(path, size)


def fill(directory):
    """Take every block of the filesystem that a file can get."""
    step = 64 * MIB
    with open(os.path.join(directory, "ballast"), "ab", buffering=0) as file:
        end = 0
        while step >= 512:
            try:
                os.posix_fallocate(file.fileno(), end, step)
                end += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
        os.fsync(file.fileno())


def fault_of(call, *arguments):
    """Return the MappingFault that a call raises, without the frames that hold its views."""
    try:
        call(*arguments)
        time.sleep(0)  # the main thread's faults in views are raised between two bytecodes
    except MappingFault as fault:
        return fault.with_traceback(None)
    raise AssertionError(f"{call} raised no MappingFault")


def require_fault(fault, path, offset, cause="truncated", code=errno.ENXIO):
    """Compare everything that a MappingFault tells, but how often."""
    found = (fault.filename, fault.offset, fault.cause, fault.errno)
    assert found == (os.fspath(path), offset, cause, code), found
    assert fault.count >= 1, fault.count
    assert str(offset) in str(fault), str(fault)
    assert isinstance(fault, OSError)


def in_thread(call, *arguments):
    """Run a call in another thread, and return or raise what it returns or raises."""
    outcome = []

    def work():
        try:
            outcome.append((call(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ((value, error),) = outcome
    if error is not None:
        raise error
    return value


def map_count():
    """Count this process's mappings: the kernel allows 65,530 by default."""
    with open("/proc/self/maps", "rb") as file:
        return sum(1 for _ in file)


def arrays_of(mapping, count, dtype="f8"):
    """Cut a mapping into parts of one length, as ndarrays."""
    whole = mapping.array(dtype)
    length = len(whole) // count
    return [whole[i * length : (i + 1) * length] for i in range(count)]

"""Many threads at once: an operation raises or succeeds, and none ever crashes."""

import sys
import threading
import time

import pytest

import mmapkit as mk

# What threads do to a shared mapping while another one closes or resizes it. Each in a process of
# its own, so that a crash is an exit status.
PRELUDE = """
import sys, threading, random, contextlib
import mmapkit as mk

sys.setswitchinterval(1e-5)
ALLOWED = (ValueError, IndexError, BufferError)
unexpected = []

def uses(m):
    size = 1 << 18
    return [
        lambda: m[random.randrange(size)],
        lambda: m.__setitem__(random.randrange(size), 7),
        lambda: bytes(m[5:500]),
        lambda: m.__setitem__(slice(9, 12), b"abc"),
        lambda: m.read(0, 100),
        lambda: m.read(),
        lambda: m.read_into(0, bytearray(1 << 17)),
        lambda: m.write(3, bytes(1 << 17)),
        lambda: m.move(0, 1 << 16, 1 << 16),
        lambda: m.load("<d", random.randrange(size)),
        lambda: m.store("<H", random.randrange(size), 5),
        lambda: m.flush(level="os"),
        lambda: m.advise("normal"),
        lambda: m.prefetch([(0, 10), (5000, 10)]),
        lambda: m.populate(0, 8192),
        lambda: m.residency(),
        lambda: m.evict(),
        lambda: 5 in m,
        lambda: m.refresh(),
        lambda: m.check(),
    ]

def worker(get, stop):
    generator = random.Random(threading.get_ident())
    while not stop.is_set():
        use = generator.choice(uses(get()))
        try:
            use()
        except ALLOWED:
            pass
        except BaseException as error:
            unexpected.append(repr(error))
            return

@contextlib.contextmanager
def workers(get, count=5):
    stop = threading.Event()
    threads = [threading.Thread(target=worker, args=(get, stop)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not unexpected, unexpected

def make(name, **options):
    return mk.open(name, "w+", size=1 << 18, **options)
"""


@pytest.mark.parametrize("backend", ["map", "read"])
def test_closing_while_others_use_it(run_python, backend):
    run_python(
        PRELUDE
        + """
holder = [make("f0", backend=sys.argv[1])]
closed = 0
with workers(lambda: holder[0]):
    for i in range(60):
        old = holder[0]
        holder[0] = make(f"f{i + 1}", backend=sys.argv[1])
        try:
            old.close()
        except BufferError:
            old.close(defer=True)
        closed += old.closed
assert closed == 60
""",
        backend,
    )


@pytest.mark.parametrize("reserve", [None, pytest.param(1 << 21, marks=pytest.mark.reserve)])
def test_resizing_while_others_use_it(run_python, reserve):
    run_python(
        PRELUDE
        + """
m = make("f", reserve=eval(sys.argv[1]))
resized = 0
with workers(lambda: m):
    tried = 0
    while tried < 100 or not resized:
        tried += 1
        try:
            m.resize(random.choice([1, 4096, 1 << 18, 1 << 19, 1 << 20]))
            resized += 1
        except BufferError:
            pass
m.close()
""",
        reserve,
    )


def test_resizing_memory_while_others_use_it(run_python):
    run_python(
        PRELUDE
        + """
m = mk.anonymous(1 << 18)
with workers(lambda: m):
    for i in range(100):
        with contextlib.suppress(BufferError):
            m.resize(random.choice([1, 4096, 1 << 18, 1 << 19]))
m.close()
"""
    )


def test_two_threads_closing_and_two_resizing(run_python):
    run_python(
        PRELUDE
        + """
def attack(m, barrier, act):
    barrier.wait()
    try:
        act(m)
    except ALLOWED:
        pass
    except BaseException as error:
        unexpected.append(repr(error))

acts = [
    lambda m: m.close(),
    lambda m: m.close(),
    lambda m: m.close(defer=True),
    lambda m: m.resize(1 << 19),
    lambda m: m.resize(100),
    lambda m: m.read(),
]
for i in range(100):
    m = make("f")
    barrier = threading.Barrier(len(acts))
    threads = [threading.Thread(target=attack, args=(m, barrier, act)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    m.close()
    assert m.closed and m.exports == 0
assert not unexpected, unexpected
"""
    )


def test_mapping_dropped_while_views_are_used_elsewhere(run_python):
    run_python(
        PRELUDE
        + """
def total(view, expected):
    for _ in range(20):
        if sum(view) != expected:
            unexpected.append("wrong bytes")

for i in range(20):
    m = make("f")
    m[0:1000] = bytes([1]) * 1000
    threads = [threading.Thread(target=total, args=(m[0:2000], 1000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    m.close(defer=True)
    del m
    for thread in threads:
        thread.join()
assert not unexpected, unexpected
"""
    )


def test_arrays_used_while_the_array_is_closed(run_python):
    pytest.importorskip("numpy")
    run_python(
        PRELUDE
        + """
import numpy as np
holder = [mk.create_array("a0.npy", 1000, "i8")]
def array_uses(a):
    return [
        lambda: a[5], lambda: a[3:9].sum(), lambda: a.__setitem__(5, 1),
        lambda: np.asarray(a).sum(), lambda: len(a), lambda: a.flush(), lambda: list(a)[:3],
    ]
uses = array_uses
with workers(lambda: holder[0]):
    for i in range(100):
        old = holder[0]
        holder[0] = mk.create_array(f"a{i + 1}.npy", 1000, "i8")
        try:
            old.close()
        except BufferError:
            old.mapping.close(defer=True)
"""
    )


GROWING = """
import sys, threading, random, time
import numpy as np
import mmapkit as mk

sys.setswitchinterval(1e-5)
unexpected = []

def whole(rows):
    assert (rows[..., 0] == rows[..., 3]).all()

def worker(uses, seed, ready):
    generator = random.Random(seed)
    ready.wait()
    try:
        for _ in range(15):
            generator.choice(uses)()
    except BaseException as error:
        unexpected.append(repr(error))

def run(uses, write):
    ready = threading.Barrier(4)
    threads = [threading.Thread(target=worker, args=(uses, i, ready)) for i in range(3)]
    threads.append(threading.Thread(target=worker, args=([write], 0, ready)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not unexpected, unexpected
"""


def test_arrays_used_while_another_thread_appends(run_python):
    """The first append maps the file again; what others are doing with the mapping goes on."""
    pytest.importorskip("numpy")
    run_python(
        GROWING
        + """
indices = np.arange(-100, 100, 3)
for i in range(40):
    with mk.create_array(f"a{i}.npy", (100, 4), "i8") as a:
        a[...] = np.arange(100)[:, None]
        uses = [
            lambda: whole(a.gather(indices)), lambda: whole(a[-7:]), lambda: whole(np.asarray(a)),
            lambda: a.prefetch(indices), lambda: a.prefetch(slice(None)), lambda: whole(a + 1),
            lambda: [whole(rows) for rows in a.blocks(rows=30)], lambda: a.flush(level="os"),
            lambda: sum(mk.map_blocks(len, a, rows=40, workers=2)), lambda: a.refresh(),
            lambda: a.__reduce__(), lambda: repr(a), lambda: memoryview(a).release(),
        ]
        run(uses, lambda: a.append(np.full((50, 4), i)))
        assert len(a) == 100 + 15 * 50
"""
    )


def test_shards_used_while_another_thread_appends(run_python):
    pytest.importorskip("numpy")
    run_python(
        GROWING
        + """
page = mk.allocation_granularity()
for name in ("s0.npy", "s1.npy"):
    mk.create_array(name, (page // 32, 4), "i8", aligned=True).close()
with mk.open_sharded(["s0.npy", "s1.npy"], "r+") as s:
    half = page // 32
    uses = [
        lambda: whole(s.gather([0, half - 1, half, -1])), lambda: whole(s[half - 5:half + 5]),
        lambda: whole(np.asarray(s)), lambda: s.prefetch(slice(None)), lambda: s.refresh(),
        lambda: [whole(rows) for rows in s.blocks(rows=half // 3)], lambda: s.flush(level="os"),
    ]
    for i in range(20):
        run(uses, lambda: s.append(np.full((3, 4), i)))
    assert len(s) == 2 * half + 20 * 15 * 3
"""
    )


def test_another_thread_cuts_and_closes(tmp_path):
    """Without a global lock an object goes when the thread that made it gets to it; a view that the
    array itself has dropped counts for nothing all the same."""
    pytest.importorskip("numpy")
    arrays = [mk.create_array(tmp_path / f"a{i}.npy", (10, 4)) for i in range(3)]
    shards = mk.open_sharded([array.path for array in arrays[1:]])
    errors = []

    def act():
        try:
            arrays[0].resize(2)
            arrays[0].close()
            shards.close()
        except BaseException as error:
            errors.append(error)

    assert [array[3].sum() for array in arrays] == [0, 0, 0]
    assert shards[3:13].sum() == 0
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    for array in arrays[1:]:
        array.close()
    assert not errors


# --- the global lock ----------------------------------------------------------------------------


class Waiting:
    """Counts what another thread gets done while this one is inside a call."""

    def __init__(self):
        self.ticks = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            self.ticks += 1
            time.sleep(0)  # gives the lock back at once

    def __enter__(self):
        self.thread.start()
        while not self.ticks:
            time.sleep(0.001)
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()


@pytest.mark.skipif(
    hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled(), reason="no lock to release"
)
@pytest.mark.parametrize("call", ["read", "read_into", "write", "move", "count", "find"])
def test_long_calls_release_the_global_lock(call):
    size = 16 << 20
    buffer = bytearray(size)
    with mk.anonymous(size) as m:
        m.populate()
        calls = {
            "read": m.read,
            "read_into": lambda: m.read_into(0, buffer),
            "write": lambda: m.write(0, buffer),
            "move": lambda: m.move(1, 0, size - 1),
            "count": lambda: m.count(b"x"),
            "find": lambda: m.find(b"needle"),
        }
        # Nobody takes the lock from us within an interval of an hour: it has to be given.
        before = sys.getswitchinterval()
        with Waiting() as other:
            sys.setswitchinterval(3600)
            try:
                time.sleep(0.01)  # what the other one asked for before
                done = other.ticks
                # The other one may be without a processor for as long as a call takes.
                for _ in range(10_000):
                    calls[call]()
                    if other.ticks > done:
                        break
                progress = other.ticks - done
            finally:
                sys.setswitchinterval(before)
        assert progress > 0

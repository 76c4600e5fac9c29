"""Who handles SIGBUS: the guard, faulthandler, the user, or nobody."""

import sys

import pytest

from . import victim

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="there are no signals for faults on Windows"
)

# What may happen, by letters. The guard takes its place back in the next call that maps, makes a
# view, flushes, checks, recovers, resizes, refreshes or populates; `check` stands for them.
STEPS = """
    import faulthandler

    path = make(args[0], 4 * MIB)
    m = view = None
    heard = []

    def handler(number, frame):
        heard.append(number)

    def map_file():
        global m, view
        m = mk.open(path)
        view = m.array("f8")

    steps = {
        "M": map_file,
        "c": lambda: m.check(),
        "E": lambda: faulthandler.enable(),
        "D": lambda: faulthandler.disable(),
        "H": lambda: signal.signal(signal.SIGBUS, handler),
        "S": lambda: signal.signal(signal.SIGBUS, signal.SIG_DFL),
        "I": lambda: signal.signal(signal.SIGBUS, signal.SIG_IGN),
        "-": mk.disable_guard,
        "+": mk.enable_guard,
    }
    for step in args[1]:
        steps[step]()
"""
OWN_FAULT = """
    cut(path, MIB)
    require_fault(fault_of(view.sum), path, MIB)
    assert np.isnan(view.sum())
    assert heard == []
"""
FOREIGN_FAULT = """
    with open(path + ".foreign", "wb") as new:
        new.write(bytes(2 * PAGE))
    with open(path + ".foreign", "r+b") as file:
        foreign = mmap.mmap(file.fileno(), 2 * PAGE)
    cut(path + ".foreign", 0)
    ready()
    foreign[PAGE]
    print("survived")
"""
FAULTHANDLER = [
    "EM", "MEc", "EDM", "EMDc", "MEDc", "MEcD", "MEcDc", "EMDEc", "MEcDEc", "MEcEc", "EMcDcEcDc"
]
HANDLERS = ["HM", "MHc", "HMHc", "MHcHc", "MScHc", "IMHc", "HM-+", "MH-+", "M-H+", "M-+Hc"]
BOTH = ["EHM", "HEM", "MEHc", "MHEc", "MEcHc", "MHcEc", "HMEc", "EMHc", "HEMDc", "MEcHcDc"]
NOBODY = ["M", "MSc", "SM", "HMSc", "MHcSc", "M-+"]


@pytest.mark.parametrize("order", [*FAULTHANDLER, *HANDLERS, *BOTH, *NOBODY, "IM", "MIc"])
def test_guard_survives_truncation_whoever_comes_before_or_after(file, order):
    victim.survive(STEPS + OWN_FAULT, file, order)


@pytest.mark.parametrize("order", [*NOBODY, *FAULTHANDLER])
def test_kill_still_kills_where_no_handler_was_set(file, order):
    victim.die(
        STEPS
        + OWN_FAULT
        + """
    ready()
    os.kill(os.getpid(), signal.SIGBUS)
    time.sleep(1)
    print("survived")
    """,
        file,
        order,
    )


@pytest.mark.parametrize("order", HANDLERS)
def test_handler_of_the_user_is_called_for_a_foreign_signal(file, order):
    victim.survive(
        STEPS
        + OWN_FAULT
        + """
    for calls in (1, 2):
        os.kill(os.getpid(), signal.SIGBUS)
        time.sleep(0.01)
        assert heard == [signal.SIGBUS] * calls, heard
    os.truncate(path, 4 * MIB)
    m.recover()
    cut(path, 2 * MIB)
    require_fault(fault_of(view.sum), path, 2 * MIB)
    assert len(heard) == 2
    """,
        file,
        order,
    )


@pytest.mark.parametrize("order", ["IM", "MIc"])
def test_ignored_signal_stays_ignored(file, order):
    victim.survive(
        STEPS
        + OWN_FAULT
        + """
    os.kill(os.getpid(), signal.SIGBUS)
    time.sleep(0.01)
    """,
        file,
        order,
    )


@pytest.mark.parametrize("order", [*NOBODY, *FAULTHANDLER])
def test_fault_of_a_foreign_mapping_kills_as_without_the_guard(file, order):
    outcome = victim.die(STEPS + OWN_FAULT + FOREIGN_FAULT, file, order)
    watched = order.rfind("E") > order.rfind("D")
    assert ("Fatal Python error: Bus error" in outcome.err) == watched, outcome.err


@pytest.mark.parametrize("before", [True, False])
def test_fault_of_a_foreign_mapping_reaches_a_handler_written_in_c(file, before):
    victim_code = (
        """
    import ctypes

    libc = ctypes.CDLL(None)
    taken = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: os._exit(42))
    take = lambda: libc.signal(signal.SIGBUS, taken)
    if args[2] == "True":
        take()
"""
        + STEPS
        + """
    if args[2] != "True":
        take()
        m.check()
"""
        + OWN_FAULT
        + FOREIGN_FAULT
    )
    outcome = victim.run(victim_code, file, "M", before)
    assert (outcome.status, outcome.out) == (42, victim.READY + "\n"), outcome


# --- switching it ---------------------------------------------------------------------------

UNGUARDED = """
    cut(path, MIB)
    ready()
    view.sum()
    print("survived")
"""


def test_variable_switches_the_guard_off(file):
    victim.die(
        STEPS + "\n    assert not mk.guard_enabled()\n" + UNGUARDED,
        file,
        "M",
        env={"MMAPKIT_GUARD": "0"},
    )


@pytest.mark.parametrize("order", ["M-", "-M", "M-c", "HM-S", "M-+-"])
def test_disabled_guard_lets_a_truncated_file_kill(file, order):
    victim.die(STEPS + "\n    assert not mk.guard_enabled()\n" + UNGUARDED, file, order)


@pytest.mark.parametrize("order", ["EM-", "MEc-"])
def test_disabled_guard_leaves_faulthandler_in_place(file, order):
    outcome = victim.die(STEPS + UNGUARDED, file, order)
    assert "Fatal Python error: Bus error" in outcome.err


@pytest.mark.parametrize("order", ["M-+", "-M+", "-+M", "M-+-+", "EM-+", "HM-+"])
def test_guard_survives_again_once_it_is_enabled(file, order):
    victim.survive(STEPS + "\n    assert mk.guard_enabled()\n" + OWN_FAULT, file, order)


# --- re-arming ------------------------------------------------------------------------------


@pytest.mark.parametrize("taker", ["E", "H"])
@pytest.mark.parametrize(
    "call",
    [
        "mk.open(path).close()",
        "m.array('f8')",
        "memoryview(m)",
        "m.flush()",
        "m.check()",
        "m.recover()",
        "m.refresh()",
        "m.populate(0, 1)",
        "m.guard().__enter__()",
    ],
)
def test_guard_takes_its_place_back_in_every_call_that_promises_to(file, call, taker):
    victim.survive(STEPS + f"    {call}\n" + OWN_FAULT, file, "M" + taker)


def test_resizing_takes_the_place_back(file):
    victim.survive(
        STEPS
        + """
    with mk.open(path, "r+", reserve=8 * MIB) as writer:
        faulthandler.enable()
        writer.resize(5 * MIB)
"""
        + """
    cut(path, 4 * MIB)
"""
        + OWN_FAULT,
        file,
        "M",
    )


# --- threads --------------------------------------------------------------------------------


def test_first_mapping_may_be_made_in_a_worker_thread(file):
    # Only the main thread may set Python's handler: it is asked to.
    victim.survive(
        STEPS
        + """
    in_thread(map_file)
"""
        + OWN_FAULT
        + """
    assert signal.getsignal(signal.SIGBUS) is not signal.SIG_DFL
    """,
        file,
        "",
    )


def test_worker_survives_before_the_main_thread_has_had_a_turn(file):
    victim.survive(
        STEPS
        + """
    def work():
        map_file()
        cut(path, MIB)
        assert np.isnan(view.sum())
        require_fault(fault_of(lambda: m[0]), path, MIB)

    in_thread(work)
    """,
        file,
        "",
    )


def test_guard_in_a_worker_takes_its_place_back(file):
    victim.survive(
        STEPS
        + """
    signal.signal(signal.SIGBUS, handler)

    def work():
        with m.guard():
            cut(path, MIB)
            view.sum()

    require_fault(fault_of(in_thread, work), path, MIB)
    os.kill(os.getpid(), signal.SIGBUS)
    time.sleep(0.01)
    assert heard == [signal.SIGBUS]
    """,
        file,
        "M",
    )


def test_signal_to_the_process_from_outside_is_told_from_a_fault(file):
    # While the main thread works on poison of its own.
    victim.survive(
        STEPS
        + """
    cut(path, MIB)
    fault_of(view.sum)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGBUS)).start()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        view.sum()
    assert heard == [signal.SIGBUS]
    """,
        file,
        "HM",
    )

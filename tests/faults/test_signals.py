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
    path = args[0]

    def follow(order):
        make(path, 4 * MIB)
        for step in order:
            steps[step]()

    def own_fault():
        cut(path, MIB)
        require_fault(fault_of(view.sum), path, MIB)
        assert np.isnan(view.sum())
        assert heard == []

    def foreign_signal():
        ready()
        os.kill(os.getpid(), signal.SIGBUS)
        time.sleep(0.02)

    def foreign_fault():
        with open(path + ".foreign", "wb") as new:
            new.write(bytes(2 * PAGE))
        with open(path + ".foreign", "r+b") as file:
            foreign = mmap.mmap(file.fileno(), 2 * PAGE)
        cut(path + ".foreign", 0)
        ready()
        foreign[PAGE]
"""
FAULTHANDLER = [
    "EM",
    "MEc",
    "EDM",
    "EMDc",
    "MEDc",
    "MEcD",
    "MEcDc",
    "EMDEc",
    "MEcDEc",
    "MEcEc",
    "EMcDcEcDc",
]
# Where faulthandler was displaced by the guard and disabled later, its C handler is still called
# and just returns: a kill is not seen. (Faults are.)
DEAF = ["MEcD", "MEcDc", "EMcDcEcDc"]
HANDLERS = ["HM", "MHc", "HMHc", "MHcHc", "MScHc", "IMHc", "HM-+", "MH-+", "M-H+", "M-+Hc"]
BOTH = ["EHM", "HEM", "MEHc", "MHEc", "MEcHc", "MHcEc", "HMEc", "EMHc", "HEMDc", "MEcHcDc"]
NOBODY = ["M", "MSc", "SM", "HMSc", "MHcSc", "M-+"]


EACH = """
    def work(order):
        follow(order)
        {what}

    each({orders}, work, {status})
"""


def each(orders, *what, status=0):
    """Return a victim that follows each order in a child, and does `what` then."""
    return STEPS + EACH.format(what="\n        ".join(what), orders=orders, status=status)


KILLED = -7 if sys.platform == "linux" else -10


def test_guard_survives_truncation_whoever_comes_before_or_after(file):
    orders = [*FAULTHANDLER, *HANDLERS, *BOTH, *NOBODY, "IM", "MIc"]
    victim.survive(each(orders, "own_fault()"), file)


def test_kill_still_kills_where_no_handler_was_set(file):
    orders = [*NOBODY, *(order for order in FAULTHANDLER if order not in DEAF)]
    code = each(orders, "own_fault()", "foreign_signal()", status=KILLED)
    victim.survive(code, file, err=None)


def test_handler_of_the_user_is_called_for_a_foreign_signal(file):
    victim.survive(
        each(
            HANDLERS,
            "own_fault()",
            "foreign_signal()",
            "assert heard == [signal.SIGBUS]",
            "foreign_signal()",
            "assert heard == [signal.SIGBUS] * 2",
            "os.truncate(path, 4 * MIB)",
            "m.recover()",
            "cut(path, 2 * MIB)",
            "require_fault(fault_of(view.sum), path, 2 * MIB)",
            "assert len(heard) == 2",
        ),
        file,
    )


def test_ignored_signal_stays_ignored(file):
    victim.survive(each(["IM", "MIc"], "own_fault()", "foreign_signal()"), file)


def test_fault_of_a_foreign_mapping_kills_as_without_the_guard(file):
    # Also where a handler only returns, and the fault would come again for ever.
    orders = [*NOBODY, *FAULTHANDLER, "HM", "MHc"]
    code = each(orders, "own_fault()", "foreign_fault()", status=KILLED)
    outcome = victim.survive(code, file, err=None)
    watched = sum(order.rfind("E") > order.rfind("D") for order in orders)
    assert outcome.err.count("Fatal Python error: Bus error") == watched, outcome.err


def test_fault_of_a_foreign_mapping_reaches_a_handler_written_in_c(file):
    victim.survive(
        STEPS
        + """
    import ctypes

    libc = ctypes.CDLL(None)
    taken = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: os._exit(42))

    def take():
        libc.signal(signal.SIGBUS, taken)

    def before(order):
        take()
        follow(order)
        own_fault()
        foreign_fault()

    def after(order):
        follow(order)
        take()
        m.check()
        own_fault()
        foreign_fault()

    each(["M"], before, 42)
    each(["M"], after, 42)
    """,
        file,
    )


# --- switching it ---------------------------------------------------------------------------

UNGUARDED = ("assert not mk.guard_enabled()", "cut(path, MIB)", "ready()", "view.sum()")


def test_variable_switches_the_guard_off(file):
    code = each(["M"], *UNGUARDED, status=KILLED)
    victim.survive(code, file, env={"MMAPKIT_GUARD": "0"})


def test_disabled_guard_lets_a_truncated_file_kill(file):
    victim.survive(each(["M-", "-M", "M-c", "HM-S", "M-+-"], *UNGUARDED, status=KILLED), file)


def test_disabled_guard_leaves_faulthandler_in_place(file):
    code = each(["EM-", "MEc-"], *UNGUARDED, status=KILLED)
    outcome = victim.survive(code, file, err=None)
    assert outcome.err.count("Fatal Python error: Bus error") == 2


def test_guard_survives_again_once_it_is_enabled(file):
    orders = ["M-+", "-M+", "-+M", "M-+-+", "EM-+", "HM-+"]
    victim.survive(each(orders, "assert mk.guard_enabled()", "own_fault()"), file)


# --- re-arming ------------------------------------------------------------------------------

REARMING = [
    "mk.open(path).close()",
    "m.array('f8')",
    "m.flush()",
    "m.check()",
    "m.recover()",
    "m.refresh()",
    "m.populate(0, 1)",
    "m.guard().__enter__()",
]


@pytest.mark.parametrize("taker", ["ME", "MH"])
def test_guard_takes_its_place_back_in_every_call_that_promises_to(file, taker):
    victim.survive(
        STEPS
        + f"""
    def work(call):
        follow({taker!r})
        eval(call)
        own_fault()

    each({REARMING}, work)
    """,
        file,
    )


def test_resizing_takes_the_place_back(file):
    victim.survive(
        STEPS
        + """
    follow("M")
    with mk.open(path, "r+", reserve=8 * MIB) as writer:
        faulthandler.enable()
        writer.resize(5 * MIB)
    own_fault()
    """,
        file,
    )


# --- threads --------------------------------------------------------------------------------


def test_first_mapping_may_be_made_in_a_worker_thread(file):
    # Only the main thread may set Python's handler: it is asked to.
    victim.survive(
        STEPS
        + """
    in_thread(follow, "M")
    own_fault()
    assert signal.getsignal(signal.SIGBUS) is not signal.SIG_DFL
    """,
        file,
    )


def test_worker_survives_before_the_main_thread_has_had_a_turn(file):
    victim.survive(
        STEPS
        + """
    def work():
        follow("M")
        cut(path, MIB)
        assert np.isnan(view.sum())
        require_fault(fault_of(lambda: m[0]), path, MIB)

    in_thread(work)
    """,
        file,
    )


def test_guard_in_a_worker_takes_its_place_back(file):
    victim.survive(
        STEPS
        + """
    follow("MH")

    def work():
        with m.guard():
            cut(path, MIB)
            view.sum()

    require_fault(fault_of(in_thread, work), path, MIB)
    os.kill(os.getpid(), signal.SIGBUS)
    time.sleep(0.02)
    assert heard == [signal.SIGBUS]
    """,
        file,
    )


def test_signal_from_outside_is_told_from_a_fault(file):
    # While the main thread works on poison of its own.
    victim.survive(
        STEPS
        + """
    follow("HM")
    own_fault()
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGBUS)).start()
    while not heard:
        view.sum()
    for _ in range(20):
        view.sum()
    assert heard == [signal.SIGBUS]
    """,
        file,
    )

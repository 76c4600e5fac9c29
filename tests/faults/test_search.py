"""search() in files that are cut meanwhile: what is certain comes first, then the fault."""

import pytest

from . import victim

WAYS = pytest.mark.parametrize(
    "how",
    [
        'b"needle"',
        'b"7\\nhay"',
        're.compile(rb"ne+dle.*7")',
        're.compile(rb"[mn]e+dle.*7")',
        're.compile(rb"[nm]e*\\s*dle|x.z")',
        're.compile(rb"(?s)ne+dle.{2}")',
    ],
    ids=["literal", "over lines", "needle", "blocks", "each line", "whole"],
)

SETUP = """
import re
MIB = 1 << 20
line = b"hay " * 20 + b"\\n"
block = line * 1000 + b"a needle 7\\n"
text = block * (8 * MIB // len(block))
with open(args[0], "wb") as file:
    file.write(text)
pattern = eval(args[1])
def keys(hits):
    return [(hit.offset, hit.end, hit.line_number, bytes(hit.line)) for hit in hits]
expected = keys(mk.search(text, pattern))
"""


@WAYS
@pytest.mark.parametrize("threads", [1, 2])
def test_hits_before_a_cut_come_before_the_fault(file, how, threads):
    victim.survive(
        SETUP
        + """
threads = int(args[2])
with mk.open(args[0]) as m:
    found = []
    hits = m.search(pattern, threads=threads)
    found += keys([next(hits)])
    cut(args[0], 5 * MIB)
    try:
        for hit in hits:
            found += keys([hit])
    except MappingFault as fault:
        require_fault(fault, args[0], fault.offset)
        assert fault.offset >= 5 * MIB
        assert fault.found is None  # it has come
    else:
        raise AssertionError("no fault")
    del hits, hit
    # In the last page of the file, behind its end, there are zeros.
    certain = [each for each in expected if each[1] + 20 < 5 * MIB]
    least = len(certain) if args[3] == "all" else 1
    assert found[:len(certain)] == certain[:len(found)], (found, expected)
    assert least <= len(found) <= len(certain) + 1, (len(found), len(certain))
    gc.collect()
""",
        file,
        how,
        threads,
        # Nothing can be taken up again where literals may reach across lines, nor by an engine.
        "some" if "\\n" in how or "?s" in how else "all",
    )


@WAYS
def test_search_in_a_thread_tells_the_fault_there(file, how):
    victim.survive(
        SETUP
        + """
with mk.open(args[0]) as m:
    cut(args[0], 5 * MIB)
    fault = fault_of(in_thread, lambda: list(m.search(pattern)))
    require_fault(fault, args[0], fault.offset)
    assert fault.offset >= 5 * MIB
    # What is left can still be searched.
    hits = m.search(b"needle")
    assert next(hits).line == b"a needle 7"
    del hits
""",
        file,
        how,
    )


def test_long_line_that_is_cut_tells_the_fault(file):
    victim.survive(
        """
        import re
        path = args[0]
        with open(path, "wb") as file:
            file.write(b"needle" + b"x" * (6 << 20) + b"needle")
        for pattern in (b"needle", re.compile(rb"ne+dle"), re.compile(rb"[mn]e+dle")):
            with open(path, "r+b") as file:
                file.truncate((6 << 20) + 12)
            with mk.open(path) as m:
                cut(path, 1 << 20)
                fault = fault_of(lambda: list(m.search(pattern)))
                require_fault(fault, path, fault.offset)
                gc.collect()
        """,
        file,
    )


@pytest.mark.parametrize(
    "how",
    [
        'b"needle"',
        're.compile(rb"ne+dle")',
        're.compile(rb"[mn]e+dle")',
        're.compile(rb"(?s)nee.*")',
        're.compile(rb"(?s)(?:nee|x)dle")',
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_is_heard(file, how, threads):
    victim.survive(
        """
        import re, concurrent.futures.thread  # not to be interrupted while threads are made
        class Heard(Exception):
            pass
        counts = [0]
        def hear(*_):
            counts.append(threading.active_count())
            if counts[-1] == counts[-2]:  # none is being made just now
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
                raise Heard
        signal.signal(signal.SIGALRM, hear)
        pattern, threads, path = eval(args[0]), int(args[1]), args[2]
        list(mk.search(bytes(8 << 20), pattern, threads=threads))  # what is imported, is
        with open(path, "wb") as new:
            new.write(bytes(100) + b"\\n")
            new.truncate(1 << 40)
        with mk.open(path) as m:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1, 0.01)
                list(m.search(pattern, threads=threads))  # takes many minutes
            except Heard:
                pass
            else:
                raise AssertionError("not heard")
        """,
        how,
        threads,
        file,
    )

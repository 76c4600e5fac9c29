"""A second process that has the file open all the time: `peer.py FILE`.

Asked "look", it says how many commits it sees in a transaction and in a section of reading, or what
is wrong with them; asked "commit", it does the next.
"""

import sys

from workload import Examiner, commit

import mmapkit as mk

examiner = Examiner()


def look(m):
    with m.transaction(timeout=60) as w:
        inside = examiner.counts(bytes(w[:]))
    with m.reading():
        m.refresh()
        section = examiner.counts(bytes(m[:]))
    return f"{inside[0]} {section[0]}"


def main(path):
    with mk.open(path, "r+") as m:
        for line in sys.stdin:
            try:
                if line.strip() == "commit":
                    commit(m, 0, examiner.counts(bytes(m[:]))[0] + 1)
                print(look(m), flush=True)
            except Exception as error:
                print(repr(error).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""A program that commits without end, and says so: `writer.py FILE LANES COMMITS [unsynced]`.

One thread for each lane. After so many commits of each, the file is closed and opened again. Each
commit that has returned is a line on standard output: "lane number".
"""

import os
import sys
import threading

from workload import commit, count_of

import mmapkit as mk


def commits(m, lane, count):
    first = count_of(m, lane) + 1
    for n in range(first, first + count):
        commit(m, lane, n)
        os.write(1, b"%d %d\n" % (lane, n))


def main(path, lanes, count):
    def work(lane):
        try:
            commits(m, lane, count)
        except OSError as error:  # the filesystem is gone
            print(repr(error), file=sys.stderr)
            os._exit(3)

    while True:
        with mk.open(path, "r+") as m:
            threads = [threading.Thread(target=work, args=(lane,)) for lane in range(1, lanes)]
            for thread in threads:
                thread.start()
            work(0)
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    if sys.argv[4:] == ["unsynced"]:  # a mistake that the campaign has to see
        from mmapkit.durable.journal import Journal

        Journal.sync = lambda self: None
    try:
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    except OSError as error:
        print(repr(error), file=sys.stderr)
        os._exit(3)

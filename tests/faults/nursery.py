"""Where victims are born: a process that has imported what they import, and forks for each order.

Importing takes 200 ms, forking 5. Started by `victim.py`, which sends orders through a socket of
packets: pickled code and arguments, with descriptors for stdout and stderr. Answers are the
victim's process id, and when it has ended, its exit status. A victim begins with nothing mapped,
one thread and no handlers, and ends like any other program.
"""

import os
import pickle
import socket
import sys

import inside


def next_victim(link):
    """Fork for every order. Returns only in the victim: its code and arguments."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(link, 1 << 20, 2)
        if not order:
            os._exit(0)
        born = os.fork()
        if born == 0:
            for descriptor, place in zip(descriptors, (1, 2), strict=True):
                os.dup2(descriptor, place)
                os.close(descriptor)
            link.close()
            return pickle.loads(order)
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(b"%d" % born)
        _, status = os.waitpid(born, 0)
        link.send(b"%d" % os.waitstatus_to_exitcode(status))


code, inside.args[:] = next_victim(socket.socket(fileno=int(sys.argv[1])))
sys.argv[:] = ["-c", *inside.args]
for name in set(globals()) - {"__builtins__", "__name__", "code"}:
    del globals()[name]
del name
exec(compile(code, "<string>", "exec"))

"""Ctrl-C at every place where Python hears it."""

import dis
import functools
import sys
import warnings

import pytest

__all__ = ["interrupted_everywhere", "on_one_interpreter"]

on_one_interpreter = pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11),
    reason="follows one interpreter, CPython 3.11, step by step",
)


@functools.cache
def handlers(code):
    return dis._parse_exception_table(code)


def handler(code, at):
    """What catches an exception of the instruction at a place."""
    return next((each.target for each in handlers(code) if each.start <= at < each.end), None)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th place in some folders or files where a signal can be
    heard: at the beginning of a function, after a call of one that is not Python's, and where
    a loop goes back."""

    def __init__(self, at, places):
        self.left = at
        self.place = None
        self._places = tuple(map(str, places))
        self._calls, self._jumps = {}, {}  # frame -> where its last instruction was one, back

    def __enter__(self):
        sys.settrace(self._trace)

    def __exit__(self, *error):
        sys.settrace(None)
        self._calls.clear()
        self._jumps.clear()

    def _trace(self, frame, event, _):
        code = frame.f_code
        if not code.co_filename.startswith(self._places):
            return None
        if "__del__" in (code.co_name, frame.f_back.f_code.co_name):
            return None  # what is raised there only gets printed
        if event == "call":
            frame.f_trace_opcodes = True
            self._hear(frame)
        elif event == "opcode":
            at = frame.f_lasti
            call, jump = self._calls.pop(frame, None), self._jumps.pop(frame, at)
            # Python raises it at the end of a call, or in front of what is jumped to. Here it is
            # raised a little later, which has to be caught by the same handler.
            after_call = call is not None and handler(code, call) == handler(code, at)
            after_jump = jump > at and handler(code, at - 2) == handler(code, at)
            if after_call or after_jump:
                self._hear(frame)
            name = dis.opname[code.co_code[at]]
            if name.startswith("CALL"):
                self._calls[frame] = at
            elif "JUMP_BACKWARD" in name:
                self._jumps[frame] = at
        elif event == "return":
            self._calls.pop(frame, None)
            self._jumps.pop(frame, None)
            self._calls.pop(frame.f_back, None)  # it was not the call of something in C
        return self._trace

    def _hear(self, frame):
        self.left -= 1
        if not self.left:
            self.place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            raise KeyboardInterrupt


def interrupted_everywhere(work, check, *, places, stride=1):
    """Do the work again and again, interrupted at one point after the other of the code that is in
    some folders or files; `check(turn, finished)` looks at what it left behind."""
    work(0)  # what is done once has been done
    check(0, True)
    at = 0
    while True:
        at += stride
        interrupt = Interrupt(at, places)
        finished = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # rolled back when it is collected
            try:
                with interrupt:
                    work(at)
                    finished = True
            except KeyboardInterrupt:
                pass
        try:
            check(at, finished)
        except BaseException as error:
            raise AssertionError(f"interrupted at {interrupt.place}") from error
        if interrupt.place is None:
            assert finished
            return at

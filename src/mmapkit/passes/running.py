"""One pass: a thread brings the next step in while the consumer works on the last."""

from __future__ import annotations

import atexit
import contextlib
import weakref

from mmapkit.pools import Pool, Task

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType
    from typing import Any, NoReturn, Self

    from mmapkit.passes.choice import Choice
    from mmapkit.passes.cuts import Steps
    from mmapkit.passes.places import Loaded, Place

__all__ = ["Blocks"]


class Blocks:
    """The blocks of a pass, to iterate over; each iteration is a pass of its own.

    Made by `mmapkit.blocks()` and the `blocks()` of Mapping, MappedArray and ShardedArray. `len()`
    is the number of blocks. A pass that is not carried to its end gives its memory, its mappings
    and descriptors back when its iterator is collected, or, as a context manager, at the end of the
    block. After Ctrl-C it still waits for the step that is being read, but not after a second one.

    Attributes
    ----------
    total_bytes : int
        Bytes of all rows.
    """

    def __init__(
        self, cuts: Steps, total_bytes: int, choice: Choice, begin: Callable[[], Place]
    ) -> None:
        """Promise the blocks; `begin()` opens what a pass needs."""
        self._cuts = cuts
        self._choice = choice
        self._begin = begin
        self._running: weakref.WeakSet[Generator[Any]] = weakref.WeakSet()
        self.total_bytes = total_bytes

    @property
    def how(self) -> str:
        """``"map"`` or ``"read"``; ``"auto"`` while both are being tried."""
        return self._choice.how

    @property
    def why(self) -> str:
        """The reason, with the numbers that were measured."""
        return self._choice.why

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self._cuts.block_count

    def __iter__(self) -> Iterator[Any]:
        """Begin a pass."""
        # What runs does not refer to this object: dropping both at once leaves no cycle behind.
        running = _run(self._cuts, self._begin)
        self._running.add(running)
        _under_way.add(running)
        return running

    def __repr__(self) -> str:
        """Show how many blocks, and how they come."""
        return f"<mmapkit.Blocks {len(self)} of {self.total_bytes} bytes, {self.how}: {self.why}>"

    def __reduce__(self) -> NoReturn:
        """Refuse: a pass is of one process."""
        raise TypeError("blocks cannot be pickled: pass the array or the path, and make them there")

    def close(self) -> None:
        """End the passes that are under way; the blocks that were handed out stay valid."""
        for running in list(self._running):
            running.close()

    def __enter__(self) -> Self:
        """Return the blocks."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the passes that are under way."""
        self.close()


_under_way: weakref.WeakSet[Generator[Any]] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End passes before the interpreter takes their modules apart."""
    for running in list(_under_way):
        with contextlib.suppress(ValueError):  # another thread is inside
            running.close()


def _run(cuts: Steps, begin: Callable[[], Place]) -> Generator[Any]:
    if cuts.step_count > 1:
        yield from _run_ahead(cuts, begin())
    elif cuts.step_count == 1:  # not worth a thread
        with contextlib.closing(begin()) as place:
            loaded = place.load(0, place.scout(0))
            yield from place.blocks(0, loaded)
            place.leave(0, loaded)


def _run_ahead(cuts: Steps, place: Place) -> Generator[Any]:
    def advance(step: int) -> None:
        """Leave what the consumer has moved on from, and then load: so memory is bounded."""
        if step >= 2:
            place.leave(step - 2, held.pop(step - 2))
        if step < cuts.step_count:
            held[step] = place.load(step, place.scout(step))

    def clear() -> None:
        """Let everything go: the helper does, because then it is at no step any more."""
        for step, loaded in held.items():
            with contextlib.suppress(Exception):  # another one is under way, or nobody is there
                place.release(step, loaded)
        held.clear()
        place.close()

    held: dict[int, Loaded] = {}
    try:
        helper = Pool(1, "mmapkit-blocks")
    except BaseException:
        place.close()
        raise
    try:
        coming = Task(advance, 0)
        helper.start(coming)
        for step in range(cuts.step_count):
            coming.result()
            coming = Task(advance, step + 1)
            helper.start(coming)
            yield from place.blocks(step, held[step])
        coming.result()
        advance(cuts.step_count + 1)
    finally:
        clearing = Task(clear)
        helper.start(clearing)
        try:
            clearing.result()  # when the step that is being brought in has come
            helper.close()
        finally:  # it may have been Ctrl-C, again: then nobody waits any more
            helper.dismiss()

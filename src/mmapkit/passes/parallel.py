"""A function over all blocks of a pass, in threads or in processes."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from mmapkit.array import MappedArray
from mmapkit.cores import count_cores
from mmapkit.mapping import Mapping
from mmapkit.passes.places import Loaded, Place
from mmapkit.passes.progress import Report, progress_for
from mmapkit.passes.sources import Plan, plan_of
from mmapkit.pools import POLL_S, Pool, Task
from mmapkit.sharded import ShardedArray

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mmapkit.mapping import type_of_file

__all__ = ["map_blocks"]

# Half of what a pass takes, because each worker holds one.
WORKER_BLOCK_BYTES: Final = 4 << 20
# Steps that wait for a worker, beyond those that are being worked on.
WAITING: Final = 1


def map_blocks(
    fn: Callable[[Any], Any],
    source: type_of_file | Mapping | MappedArray | ShardedArray,
    out: npt.NDArray[Any] | MappedArray | ShardedArray | None = None,
    *,
    workers: int | None = None,
    nbytes: int = WORKER_BLOCK_BYTES,
    rows: int | None = None,
    processes: bool = False,
    progress: bool | Report = False,
    how: str = "auto",
    drop_behind: bool = True,
    dtype: npt.DTypeLike | None = None,
    row_shape: int | Sequence[int] | None = None,
    offset: int | None = None,
) -> list[Any] | None:
    """Call a function for each block of a file, in workers, and collect or store the results.

    Parameters
    ----------
    fn : callable
        ``fn(block)``, from any worker and in any order. With `processes`, one that another process
        can import.
    source, how, rows, drop_behind, dtype, row_shape, offset
        As for `blocks()`.
    out : ndarray, MappedArray or ShardedArray, optional
        Of the same length as the source along the first axis; ``fn(block)`` is stored into
        ``out[i:j]``, where the block is ``source[i:j]``. It may be the source itself, whose blocks
        are then replaced one by one; otherwise it must not share memory with it.
    workers : int, optional
        How many threads or processes; the processors of this process by default.
    nbytes : int
        Bytes of a block.
    processes : bool
        Use processes, for functions that hold the GIL. Sources are opened again by name in each;
        results are sent back, but for an `out` in files with a path and mode ``"r+"`` or
        ``"w+"``: workers store into that one themselves.
    progress : bool or callable
        True shows a bar on stderr with rich (``pip install 'mmapkit[cli]'``), lines without it. A
        callable gets (bytes done, bytes in all) after each step.

    Returns
    -------
    list or None
        The results in order; None if they were stored.

    Raises
    ------
    MappingFault
        If bytes of source or `out` were lost; results that were stored before stay.
    ValueError
        If `out`, or a result, does not fit.
    Exception
        What `fn` raised, with a note that names the block. Blocks that were not begun yet are not
        worked on any more, after Ctrl-C neither; threads end the block that they are at.

    Examples
    --------
    >>> import numpy as np, mmapkit as mk
    >>> np.save("angles.npy", np.linspace(0, 1, 1000))
    >>> with mk.create_array("sines.npy", 1000) as sines:
    ...     mk.map_blocks(np.sin, "angles.npy", out=sines, rows=300)
    >>> sum(mk.map_blocks(len, "angles.npy", rows=300))
    1000
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {type(fn).__name__}")
    count = _worker_count(workers)
    asked = (how, nbytes, rows, drop_behind, dtype, row_shape, offset)
    plan = plan_of(source, *asked)
    job = _Job(fn, plan, out)
    run: Callable[..., None] = _in_threads
    if processes:
        run = functools.partial(_in_processes, _payload(fn, source, out, asked))
    results: dict[int, list[Any]] = {}
    with progress_for(progress, plan.total_bytes) as report:
        report(0)
        if plan.cuts.step_count:
            run(job, min(count, plan.cuts.step_count), results, report)
    if out is not None:
        return None
    return [result for step in range(plan.cuts.step_count) for result in results[step]]


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return count_cores()
    found = operator.index(workers)
    if found < 1:
        raise ValueError(f"workers must be at least 1, not {found}")
    return found


class _Job:
    """What is done to each step, in whichever process."""

    def __init__(self, fn: Callable[[Any], Any], plan: Plan, out: Any) -> None:
        self.fn, self.plan, self.out = fn, plan, out
        self.stopped = False
        if out is None:
            return
        if not isinstance(out, (np.ndarray, MappedArray, ShardedArray)):
            raise TypeError(
                f"out must be an ndarray, a MappedArray or a ShardedArray, not {type(out).__name__}"
            )
        if out.ndim == 0 or out.shape[0] != plan.cuts.count:
            raise ValueError(
                f"out has shape {out.shape}: its first axis must be as long as the source's, "
                f"{plan.cuts.count}"
            )
        if not isinstance(out, np.ndarray):
            out._require_writable()
        elif not out.flags.writeable:
            raise ValueError("out is read-only")

    def work(self, place: Place, step: int, loaded: Loaded) -> list[Any]:
        """Run the function over a step's blocks; gives what was not stored."""
        results = []
        ranges = self.plan.cuts.blocks(step)
        for (first, last), block in zip(ranges, place.blocks(step, loaded), strict=True):
            if self.stopped:
                break
            try:
                with loaded.mapping.guard():
                    result = self.fn(block)
                    if self.out is None:
                        results.append(result)
                    else:
                        self.store(first, last, result)
            except BaseException as error:
                self.stopped = True  # at once: another worker may be between two blocks
                error.add_note(f"in block [{first}, {last}) of map_blocks()")
                raise
            finally:
                del block
        for array, first, last in _parts_of(self.out, *self.plan.cuts.rows(step)):
            _let_go(array, first, last)
        return results

    def store(self, first: int, last: int, result: Any) -> None:
        """Store a result where it belongs."""
        found = np.asarray(result)
        expected = (last - first, *self.out.shape[1:])
        if found.shape != expected:
            raise ValueError(
                f"the result for block [{first}, {last}) has shape {found.shape}; out takes "
                f"{expected} there"
            )
        self.out[first:last] = found


def _parts_of(out: Any, first: int, last: int) -> list[tuple[MappedArray, int, int]]:
    """Return the arrays in files that hold rows of what `out` is, and the rows there."""
    if isinstance(out, ShardedArray):
        return [(shard, rows.start, rows.stop) for shard, rows, _ in out._cut(slice(first, last))]
    return [(out, first, last)] if isinstance(out, MappedArray) else []


def _let_go(array: MappedArray, first: int, last: int) -> None:
    """Have stored rows written, and take them out of this process: memory stays bounded."""
    mapping, layout = array.mapping, array._layout
    if mapping.backend != "map" or mapping.mode == "c" or layout.order == "F" or layout.strides:
        return
    pitch = layout.nbytes // max(1, layout.shape[0])
    where = layout.offset + first * pitch, (last - first) * pitch
    mapping.flush(*where, level="async")
    with contextlib.suppress(OSError):  # not everywhere
        mapping.advise("dontneed", *where)


class _Worked(Protocol):
    """A step that somebody works on: a Task, or a process's Future."""

    def result(self) -> list[Any]: ...


# Has a step, which is cold or not, worked on; at its end the callable is called with something.
_Begin = Callable[[int, bool, Callable[[Any], object]], _Worked]


def _drive(
    job: _Job,
    place: Place,
    limit: int,
    begin: _Begin,
    finish: Callable[[int, list[Any]], None],
    report: Callable[[int], object],
) -> None:
    """Keep so many steps in flight, and take their results as they come."""
    flying: dict[int, _Worked] = {}
    ended: SimpleQueue[int] = SimpleQueue()
    steps = iter(range(job.plan.cuts.step_count))
    done_rows = 0
    while True:
        while len(flying) < limit and (step := next(steps, None)) is not None:
            tell = functools.partial(_note, ended, step)
            flying[step] = begin(step, place.scout(step), tell)
        if not flying:
            return
        # In order, so that of many errors the first block's is the one that is raised.
        for step in sorted(_noted(ended)):
            worked = flying.pop(step)
            try:
                finish(step, worked.result())
            finally:
                # Its error would hold this frame with it, and the frames below that the blocks,
                # until the garbage collector broke the cycle.
                del worked
            first, last = job.plan.cuts.rows(step)
            done_rows += last - first
            report(done_rows * job.plan.width)


def _note(ended: SimpleQueue[int], step: int, _: object) -> None:
    ended.put(step)


def _noted(ended: SimpleQueue[int]) -> list[int]:
    """Wait for a while until something has ended; give all that has."""
    found = []
    with contextlib.suppress(Empty):
        found.append(ended.get(timeout=POLL_S))
        while True:
            found.append(ended.get_nowait())
    return found


def _do(
    job: _Job, place: Place, step: int, cold: bool, leave: Callable[[int, Loaded], None]
) -> list[Any]:
    """Load a step, work on it, and leave it."""
    loaded = place.load(step, cold)
    try:
        found = job.work(place, step, loaded)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one that matters
            place.release(step, loaded)
        raise
    leave(step, loaded)
    return found


def _in_threads(
    job: _Job,
    count: int,
    results: dict[int, list[Any]],
    report: Callable[[int], object],
) -> None:
    with contextlib.closing(job.plan.begin()) as place:

        def run(step: int, cold: bool) -> list[Any]:
            if job.stopped:
                return []
            try:
                return _do(job, place, step, cold, place.leave)
            except BaseException:
                job.stopped = True  # before the next step is begun: loading may have failed
                raise

        with contextlib.closing(Pool(count, "mmapkit-map")) as pool:

            def begin(step: int, cold: bool, tell: Callable[[Any], object]) -> Task:
                task = Task(run, step, cold, tell=tell)
                pool.start(task)
                return task

            try:
                _drive(job, place, count + WAITING, begin, results.__setitem__, report)
            except BaseException:
                job.stopped = True
                raise


# --- processes ------------------------------------------------------------------------------------


def _mappings_of(array: Any) -> list[Mapping]:
    """Return the mappings that a source or `out` is over."""
    if isinstance(array, ShardedArray):
        return [shard.mapping for shard in array.shards]
    if isinstance(array, MappedArray):
        return [array.mapping]
    return [array] if isinstance(array, Mapping) else []


def _stores_itself(out: Any) -> bool:
    """Whether workers in other processes reach what `out` is."""
    mappings = _mappings_of(out)
    return bool(mappings) and all(
        mapping.path is not None and mapping.mode != "c" and mapping.backend == "map"
        for mapping in mappings
    )


def _payload(fn: Any, source: Any, out: Any, asked: tuple[Any, ...]) -> bytes:
    mappings = _mappings_of(source)
    if any(mapping.mode == "c" or mapping.path is None for mapping in mappings):
        raise ValueError(
            "processes=True opens the source again by name: this one has changes of its own or "
            "none that others could open"
        )
    if not mappings and not isinstance(source, (str, bytes, os.PathLike)):
        raise TypeError("processes=True takes a path, a Mapping, a MappedArray or a ShardedArray")
    if isinstance(source, (str, bytes, os.PathLike)):
        source = os.path.abspath(os.fspath(source))
    try:
        return pickle.dumps((fn, source, out if _stores_itself(out) else None, asked))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"processes=True needs a function that another process can import: {error}"
        ) from error


_worker: tuple[_Job, Place]


def _begin_worker(payload: bytes) -> None:
    """Open everything in a worker process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    fn, source, out, asked = pickle.loads(payload)
    job = _Job(fn, plan_of(source, *asked), out)
    _worker = job, job.plan.begin()


def _run_in_worker(step: int, cold: bool) -> list[Any]:
    job, place = _worker
    return _do(job, place, step, cold, place.release)


def _in_processes(
    payload: bytes,
    job: _Job,
    count: int,
    results: dict[int, list[Any]],
    report: Callable[[int], object],
) -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    store = job.out is not None and not _stores_itself(job.out)
    # Never fork: threads and their locks would be copied in whatever state they are in.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, _begin_worker, (payload,))

    def submit(step: int, cold: bool, tell: Callable[[Any], object]) -> Future[list[Any]]:
        future = executor.submit(_run_in_worker, step, cold)
        future.add_done_callback(tell)
        return future

    # A thread hands the steps over: see pools.py.
    with (
        contextlib.closing(job.plan.begin()) as place,
        contextlib.closing(Pool(1, "mmapkit-map")) as pool,
    ):

        def begin(step: int, cold: bool, tell: Callable[[Any], object]) -> Future[list[Any]]:
            handing = Task(submit, step, cold, tell)
            pool.start(handing)
            return cast("Future[list[Any]]", handing.result())

        def finish(step: int, found: list[Any]) -> None:
            if store:
                for (first, last), result in zip(job.plan.cuts.blocks(step), found, strict=True):
                    job.store(first, last, result)
            else:
                results[step] = found
            place.passed(step)

        try:
            _drive(job, place, count + WAITING, begin, finish, report)
        except BaseException:
            _end(executor)
            raise
        executor.shutdown()


def _end(executor: Any) -> None:
    """End workers that nobody waits for any more."""
    for process in list((executor._processes or {}).values()):
        process.terminate()
    executor.shutdown(cancel_futures=True)

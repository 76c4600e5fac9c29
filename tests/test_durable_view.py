"""The private mapping of a transaction: changed here, growing here, gone with the transaction."""

import contextlib
import gc
import os
import pickle
import sys

import numpy as np
import pytest

import mmapkit as mk
from mmapkit.durable import view as views
from mmapkit.durable.changes import method
from mmapkit.durable.view import PrivateMapping, open_private

PAGE = mk.page_size()
grows = pytest.mark.skipif(os.name != "posix", reason="not there: UnsupportedError")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * (4 * PAGE // 256))
    return file


@pytest.fixture
def shared(path):
    with mk.open(path, "r+") as m:
        yield m


@pytest.fixture
def view(shared):
    found = open_private(shared)
    yield found
    found._end()


def test_it_shows_the_file(view, path):
    assert bytes(view) == path.read_bytes()
    assert (view.offset, view.size, view.path) == (0, 4 * PAGE, os.fspath(path))


def test_it_shows_the_same_range(path):
    with mk.open(path, "r+", offset=100, length=200) as m:
        view = open_private(m)
        assert bytes(view) == path.read_bytes()[100:300]
        view._end()


def test_changes_stay_private(view, shared, path):
    before = path.read_bytes()
    view[:3] = b"abc"
    view.flush()
    assert bytes(view[:3]) == b"abc"
    assert bytes(shared) == path.read_bytes() == before


def test_it_maps_the_open_file_whatever_its_name_is_now(shared, path):
    if os.name != "posix":
        pytest.skip("a mapped file keeps its name here")
    path.rename(path.with_name("other"))
    path.write_bytes(b"x" * 10)
    view = open_private(shared)
    assert view[255] == 255
    view._end()


@grows
def test_it_grows_by_zeros_and_views_stay(view, shared, path):
    old = view.array("u1")
    view.resize(4 * PAGE + 10)
    view.resize(100 * PAGE)
    grown = view.array("u1")
    assert len(old) == 4 * PAGE
    assert not grown[4 * PAGE :].any()
    old[0] = 77
    grown[-1] = 78
    assert grown[0] == view[0] == 77
    assert shared.size == path.stat().st_size == 4 * PAGE
    assert (view.size, view._size_after) == (100 * PAGE, 100 * PAGE)


@pytest.mark.skipif(os.name == "posix", reason="grows here")
def test_it_does_not_grow_on_windows(view, shared):
    view[0] = 7
    with pytest.raises(mk.UnsupportedError, match="in a transaction on Windows"):
        view.resize(5 * PAGE)
    assert (view[0], view.size, view._size_after, shared[0]) == (7, 4 * PAGE, 4 * PAGE, 0)


@grows
def test_it_grows_from_a_partial_page(tmp_path):
    path = tmp_path / "partial"
    path.write_bytes(b"ab")
    with mk.open(path, "r+") as m:
        view = open_private(m)
        view.resize(2 * PAGE + 1)
        view[2] = 7
        view[2 * PAGE] = 8
        assert bytes(view) == b"ab\x07" + bytes(2 * PAGE - 3) + b"\x08"
        view._end()
    assert path.read_bytes() == b"ab"


@grows
def test_it_grows_from_nothing(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    with mk.open(path, "r+") as m:
        view = open_private(m)
        view.resize(5)
        view[:] = b"hello"
        assert bytes(view) == b"hello"
        view._end()
    assert path.read_bytes() == b""


@grows
def test_it_does_not_become_shorter(view):
    view.resize(5 * PAGE)
    with pytest.raises(ValueError, match=f"from {5 * PAGE} to {PAGE} bytes"):
        view.resize(PAGE)
    view.resize(5 * PAGE)
    assert view.size == 5 * PAGE


def test_it_does_not_grow_over_what_lies_behind_it(path):
    with mk.open(path, "r+", length=PAGE) as m:
        view = open_private(m)
        with pytest.raises(ValueError, match="ends before its file does"):
            view.resize(2 * PAGE)
        view._end()


@pytest.mark.parametrize("size", ["7", 7.0, None])
def test_sizes_are_ints(view, size):
    with pytest.raises(TypeError, match="size must be an int, in bytes, not "):
        view.resize(size)


def test_growth_beyond_the_addresses_is_an_error(shared, monkeypatch):
    monkeypatch.setattr(views, "RESERVE_BYTES", 16 * PAGE)
    view = open_private(shared)
    with pytest.raises((OSError, ValueError)):
        view.resize(1 << 45)
    assert view.size == view._size_after == 4 * PAGE
    view._end()


@grows
def test_refresh_follows_nobody(view):
    view.resize(5 * PAGE)
    view[4 * PAGE] = 9
    assert view.refresh() == 5 * PAGE
    assert view[4 * PAGE] == 9


def test_the_block_closes_it_and_nobody_else(view):
    with pytest.raises(RuntimeError, match="closes with it"):
        view.close()
    assert view[1] == 1


@pytest.mark.parametrize("call", ["transaction", "reading"])
def test_what_makes_no_sense_inside_says_so(view, call):
    with pytest.raises(RuntimeError, match=r"nest|that was opened"):
        getattr(view, call)()


def test_there_is_no_snapshot_of_it(view, tmp_path):
    with pytest.raises(RuntimeError, match="not in the file yet"):
        view.snapshot(tmp_path / "copy")


def test_it_is_not_pickled(view):
    with pytest.raises(TypeError, match="transaction"):
        pickle.dumps(view)


def test_repr_says_what_it_is(view, path):
    assert (
        repr(view) == f"<mmapkit.Mapping {os.fspath(path)!r} mode='c' transaction of 16384 bytes>"
    )
    view._end()
    assert repr(view).endswith("transaction has ended>")


@pytest.mark.parametrize(
    "use",
    [
        len,
        memoryview,
        lambda view: view[0],
        lambda view: view[:10],
        lambda view: view.__setitem__(0, 1),
        lambda view: view.read(0, 1),
        lambda view: view.write(0, b"x"),
        lambda view: view.load("B", 0),
        lambda view: view.store("B", 0, 1),
        lambda view: view.array("u1"),
        lambda view: view.resize(10),
        lambda view: view.refresh(),
        lambda view: view.flush(),
        lambda view: view.find(b"x"),
        lambda view: view.blocks(),
        lambda view: view.transaction(),
        lambda view: view.reading(),
        lambda view: view.snapshot("x"),
        lambda view: view.__enter__(),
    ],
)
def test_every_use_after_the_end_says_so(view, use):
    view._end()
    assert view.closed
    with pytest.raises(ValueError, match="the transaction has ended"):
        use(view)


def test_ending_and_closing_twice_do_nothing(view):
    view._end()
    view._end()
    view.close()


def test_bytes_that_were_read_into_memory_have_no_transaction(path):
    with (
        mk.open(path, "r+", backend="read") as m,
        pytest.raises(mk.UnsupportedError, match="backend='read'"),
    ):
        open_private(m)


# --- views that somebody keeps --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::mmapkit.LateStoreWarning")
def test_a_kept_view_may_be_read_and_stored_into(shared, path):
    before = path.read_bytes()
    view = open_private(shared)
    kept = view.array("u1")
    kept[:PAGE] = 7
    view._end()
    assert kept[PAGE] == before[PAGE]
    kept[5] = 8  # reaches nobody
    assert kept[5] == 8
    assert bytes(shared) == path.read_bytes() == before


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("grown", [0, 100])
def test_storing_late_is_told_when_the_view_goes(path, offset, grown):
    if method() == "compare":
        pytest.skip("no way to tell here")
    with mk.open(path, "r+", offset=offset) as m:
        view = open_private(m)
        view.resize(view.size + grown)
        kept, part = view.array("u1"), view.array("u1", 10)
        kept[:] = 7
        view._end()
        assert kept[0] == m[0]
        kept[PAGE] = kept[2 * PAGE] = 8
        del kept  # not the last one
        with pytest.warns(mk.LateStoreWarning, match=f"^{2 * PAGE} bytes .*data.bin"):
            del part


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize(
    "grown", [0, pytest.param(100, marks=grows), pytest.param(3 * PAGE, marks=grows)]
)
@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, 3 * PAGE + 5])
def test_nothing_is_told_of_what_was_stored_in_time(tmp_path, recwarn, offset, grown, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (offset + size))
    with mk.open(path, "r+", offset=offset) as m:
        view = open_private(m)
        if grown:
            view.resize(view.size + grown)
        kept = view.array("u1")
        kept[:] = 7
        view._end()
        assert kept.sum() > 0
        m[0] = 5  # the file's, though the view shows it
        del kept
    assert not recwarn.list


def test_nothing_is_told_of_views_that_were_dropped_before(shared, recwarn, monkeypatch):
    monkeypatch.setattr(PrivateMapping, "_show_file", lambda self: pytest.fail("costs something"))
    view = open_private(shared)
    kept = view.array("u1")
    kept[0] = 1
    del kept
    view._end()
    del view
    assert not recwarn.list


def test_a_kept_view_shows_the_file_again(shared):
    if method() == "compare":
        pytest.skip("no way to drop private pages here")
    view = open_private(shared)
    kept = view.array("u1")
    kept[:PAGE] = 7
    view._end()
    assert kept[1] == 1
    shared[1] = 200
    assert kept[1] == 200


@grows
def test_a_kept_view_of_a_grown_mapping_may_be_read(shared):
    view = open_private(shared)
    view.resize(8 * PAGE)
    kept = view.array("u1")
    kept[6 * PAGE] = 7
    view._end()
    assert kept.sum(dtype="i8") >= np.frombuffer(shared, "u1").sum(dtype="i8")


def test_the_mapping_goes_with_the_last_kept_view(shared):
    view = open_private(shared)
    kept = view.array("u1")
    view._end()
    assert view.exports == 1
    del kept
    gc.collect()
    assert view.exports == 0


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits addresses")
def test_it_does_with_the_addresses_there_are(path, run_python):
    run_python(
        """
import resource, sys
import mmapkit as mk
from mmapkit.durable.view import open_private
with mk.open(sys.argv[1], "r+") as m:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    view = open_private(m)
    view.resize(1 << 20)
    view[(1 << 20) - 1] = 1
    assert view._capacity < 4 << 30
    view._end()
""",
        path,
    )


def test_it_is_a_mapping(view):
    assert isinstance(view, PrivateMapping)
    assert isinstance(view, mk.Mapping)
    assert view.mode == "c"
    assert view.writable


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors")
def test_nothing_is_left_open(shared):
    def count():
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(10):
        view = open_private(shared)
        view.resize(10 * PAGE)
        view._end()
    assert count() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="private pages are dropped")
def test_views_are_used_again_unless_somebody_holds_them(shared):
    view = open_private(shared)
    view[0] = 7
    where = view.array("u1").ctypes.data
    view._end()
    again = open_private(shared)  # `view` is held
    assert again is not view
    places = {where, again.array("u1").ctypes.data}
    assert len(places) == 2
    with pytest.raises(ValueError, match="has ended"):
        view[0]
    del view
    again._end()
    del again
    third = open_private(shared)
    assert third.array("u1").ctypes.data in places
    assert third[0] == shared[0] != 7  # what was stored is not there any more
    third._end()


def test_a_truncated_file_is_noticed(view, shared, path):
    if os.name != "posix":
        pytest.skip("a mapped file is not truncated here")
    view.resize(8 * PAGE)
    view[7 * PAGE] = 1
    os.truncate(path, PAGE)
    with pytest.raises(mk.MappingFault):
        view.check()
    with contextlib.suppress(mk.MappingFault):
        view._end()
    with contextlib.suppress(mk.MappingFault):
        shared.close()


@grows
def test_growth_is_not_taken_for_a_truncation(view):
    view.resize(8 * PAGE)
    view[7 * PAGE] = 1
    view.check()

"""Exceptions: which type for which failure, and messages that name value and remedy."""

import copy
import errno
import os
import pickle

import pytest

import mmapkit as mk
from mmapkit import errors


def test_types_stand_where_their_handlers_look_for_them():
    assert issubclass(mk.MappingFault, OSError)
    assert issubclass(mk.UnsupportedError, OSError)
    assert issubclass(mk.FormatError, ValueError)
    assert issubclass(mk.UnraisedFaultWarning, RuntimeWarning)
    assert not issubclass(mk.FormatError, OSError)
    assert not issubclass(mk.UnsupportedError, mk.MappingFault)


# --- MappingFault -------------------------------------------------------------------------------


@pytest.fixture
def fault():
    return mk.MappingFault(
        errno.ENXIO, "it was truncated", "/data/f", offset=2**40, count=3, cause="truncated"
    )


def test_fault_tells_file_offset_count_and_cause(fault):
    assert (fault.errno, fault.strerror, fault.filename) == (
        errno.ENXIO,
        "it was truncated",
        "/data/f",
    )
    assert (fault.offset, fault.count, fault.cause) == (2**40, 3, "truncated")
    assert "it was truncated" in str(fault)
    assert "/data/f" in str(fault)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_fault_pickles_with_all_that_it_tells(fault, protocol):
    fault.add_note("found by a worker")
    again = pickle.loads(pickle.dumps(fault, protocol))
    assert type(again) is mk.MappingFault
    assert (again.errno, again.strerror, again.filename) == (
        fault.errno,
        fault.strerror,
        fault.filename,
    )
    assert (again.offset, again.count, again.cause) == (fault.offset, fault.count, fault.cause)
    assert str(again) == str(fault)


def test_fault_without_a_file_copies_too():
    fault = mk.MappingFault(errno.EIO, "gone")
    for again in (copy.copy(fault), copy.deepcopy(fault), pickle.loads(pickle.dumps(fault))):
        assert (again.filename, again.offset, again.count) == (None, 0, 0)
        assert (again.cause, again.errno) == ("I/O error", errno.EIO)


@pytest.mark.parametrize("cause", range(1, 5))
def test_fault_message_says_where_and_what_helps(cause):
    found = errors.fault(errno.EIO, "/data/f", 4096, 2, cause)
    assert found.cause == errors.CAUSES[cause]
    for word in ("byte 4096", "2 faults", "/data/f"):
        assert word in str(found)
    remedies = {"truncated": "recover()", "no space": "free some", "I/O error": "lost"}
    assert remedies.get(found.cause, "memory") in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(mk.UnsupportedError(errno.ENOTSUP, "no", "f"), OSError), (mk.FormatError("bad"), ValueError)],
)
def test_other_exceptions_pickle(error, kind):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, kind)
    assert (again.args, str(again)) == (error.args, str(error))


# --- translation --------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="errno is POSIX's")
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, FileNotFoundError),
        (errno.EACCES, PermissionError),
        (errno.EEXIST, FileExistsError),
        (errno.EISDIR, IsADirectoryError),
        (errno.ENOSPC, OSError),
        (errno.ENOMEM, OSError),
    ],
)
def test_errno_gives_the_right_subclass_with_the_file_name(code, kind):
    error = errors.translate(code, "open it", "/data/f")
    assert type(error) is kind
    assert (error.errno, error.filename) == (code, "/data/f")
    assert os.strerror(code) in str(error)
    assert "open it" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "named"),
    [
        (errors.UNSUPPORTED, mk.UnsupportedError, "not supported here"),
        (errors.CLOSED, ValueError, "closed"),
        (errors.EXPORTED, BufferError, "what"),
        (errors.IN_USE, BufferError, "what"),
        (errors.RANGE, ValueError, "what"),
        (errors.READ_ONLY, TypeError, r"read-only.*'r\+'"),
        (errors.NO_SLOT, OSError, "too many"),
        (errors.NOT_MAPPABLE, OSError, "only files and devices"),
        (errors.NEEDS_LENGTH, ValueError, "length="),
        (errors.WRITE_ONLY, PermissionError, "can be read"),
        (errors.TOO_LARGE, ValueError, "too large"),
        (-99, RuntimeError, "-99"),
    ],
)
def test_every_status_has_a_type_and_names_the_file(status, kind, named):
    error = errors.translate(status, "what was done", "/data/f")
    assert type(error) is kind
    with pytest.raises(kind, match=named):
        raise error
    assert "/data/f" in str(error)


def test_message_of_a_directory_is_the_systems(tmp_path):
    error = errors.translate(errors.NOT_MAPPABLE, "open it", str(tmp_path))
    assert isinstance(error, IsADirectoryError)


# --- as users meet them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "kind", "named"),
    [
        (lambda m: m[10_000], IndexError, r"10000.*10000 bytes"),
        (lambda m: m.read(9_000, 2_000), ValueError, r"\[9000, 11000\).*10000 bytes"),
        (lambda m: m.write(0, b"x"), TypeError, r"file\.bin.*read-only.*'r\+'"),
        (lambda m: m.resize(5), TypeError, r"file\.bin.*read-only.*'r\+'"),
        (lambda m: m.load("bogus", 0), ValueError, r"'bogus'.*'<d'"),
        (lambda m: m.load("d", 9_999), IndexError, r"'d'.*9999.*8 bytes.*10000 bytes"),
        (lambda m: m.flush(level="x"), ValueError, r"'disk'.*'x'"),
        (lambda m: m.advise("x"), ValueError, r"'x'.*willneed"),
        (lambda m: m.protect("x"), ValueError, r"'rx'.*'x'"),
    ],
)
def test_message_names_the_value_and_what_was_expected(file, act, kind, named):
    with mk.open(file) as m, pytest.raises(kind, match=named) as caught:
        act(m)
    assert type(caught.value) is kind


def test_message_of_a_closed_mapping_names_the_file(file):
    m = mk.open(file)
    m.close()
    with pytest.raises(ValueError, match=r"closed.*file\.bin"):
        m.read()

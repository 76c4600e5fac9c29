"""`mmapkit recover` and `mmapkit verify`, over journals that a writer left."""

import json
import struct

import pytest

from mmapkit import JournalError, RecoveryNeeded, recover
from mmapkit import open as open_mapping
from mmapkit._journal import sector_checksums
from mmapkit._native import File
from mmapkit.cli import main
from mmapkit.durable.files import OS, journal_path
from mmapkit.durable.journal import Commit, Journal
from mmapkit.durable.locks import ALIVE, Locks

OLD = bytes(range(256)) * 64
NEW = OLD[:4096] + b"n" * 4096 + OLD[8192:]


def left_behind(path, *, applied=False):
    """A file of OLD, and a journal that makes it NEW."""
    path.write_bytes(OLD)
    with File(path, "r+") as data:
        journal = Journal.open_or_create(OS, journal_path(str(path)), data, first_bytes=1 << 16)
        runs = struct.pack("=qq", 4096, 4096)
        journal.append([Commit(runs, NEW[4096:8192], sector_checksums(OLD[4096:8192]), len(OLD))])
        journal.sync()
        if applied:
            data.write(4096, NEW[4096:8192])
            journal.mark_applied()
        journal.close()
    return path


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return left_behind(tmp_path / "data")


@pytest.fixture
def run(capsysbinary):
    def run(*args):
        status = main(args)
        printed = capsysbinary.readouterr()
        return status, printed.out, printed.err

    return run


def damage(path):
    journal = path.with_name(path.name + ".mmapkit-journal")
    content = bytearray(journal.read_bytes())
    content[100] ^= 1
    journal.write_bytes(content)
    return journal


def test_recover_completes_the_commit(run, file):
    assert run("recover", "data") == (0, b"data: 1 commit recovered\n", b"")
    assert file.read_bytes() == NEW
    assert [path.name for path in file.parent.iterdir()] == ["data"]
    assert run("recover", "data") == (0, b"data: nothing to recover\n", b"")


def test_recover_goes_on_after_an_error(run, file):
    status, out, errors = run("recover", "missing", "data")
    assert (status, out) == (2, b"data: 1 commit recovered\n")
    assert errors.startswith(b"mmapkit: ")
    assert b"missing'" in errors


def test_recover_refuses_what_is_damaged_and_discards_it(run, file):
    journal = damage(file)
    status, out, errors = run("recover", "data")
    assert (status, out) == (2, b"")
    assert b"is not a journal" in errors
    assert journal.exists()
    assert run("recover", "--discard", "data") == (0, b"data: no journal any more\n", b"")
    assert not journal.exists()
    assert file.read_bytes() == OLD


def test_recover_forces_a_journal_upon_a_changed_file(run, file):
    file.write_bytes(OLD[:5000] + b"!" + OLD[5001:])
    assert run("recover", "data")[0] == 2
    assert run("recover", "--force", "data") == (0, b"data: 1 commit recovered\n", b"")
    assert file.read_bytes() == NEW


@pytest.mark.parametrize(
    ("command", "told", "status"),
    [
        (["count", "data", "plain"], b"plain", 1),
        (["search", "x", "data", "plain"], b"x", 2),
        (["lines", "data", "0"], b"", 1),
    ],
    ids=["count", "search", "lines"],
)
def test_reading_commands_tell_of_a_damaged_journal_in_a_line(
    run, file, tmp_path, command, told, status
):
    (tmp_path / "plain").write_bytes(b"x\n")
    damage(file)
    found, out, errors = run(*command)
    assert found == status
    assert told in out
    assert errors.startswith(b"mmapkit: ")
    assert errors.count(b"\n") == 1
    assert b"is not a journal" in errors


def test_discard_and_force_exclude_each_other(run, file):
    with pytest.raises(SystemExit) as ended:
        main(["recover", "--discard", "--force", "data"])
    assert ended.value.code == 2


def test_verify_tells_the_state(run, file, tmp_path):
    (tmp_path / "plain").write_bytes(b"x")
    left_behind(tmp_path / "done", applied=True)
    damage(left_behind(tmp_path / "bad"))
    assert run("verify", "plain") == (0, b"plain: no journal\n", b"")
    assert run("verify", "done") == (0, b"done: committed (1 commit in its journal)\n", b"")
    status, out, _ = run("verify", "plain", "data")
    assert status == 1
    assert b"data: needs recovery (1 commit in its journal); mmapkit recover" in out
    assert run("verify", "data", "bad", "done")[0] == 2
    assert run("verify", "missing", "data")[0] == 2
    assert file.read_bytes() == OLD


def test_verify_as_json(run, file, tmp_path):
    (tmp_path / "plain").write_bytes(b"x")
    lines = run("verify", "--json", "plain", "data")[1].splitlines()
    assert json.loads(lines[0]) == {"file": "plain", "state": "no journal"}
    found = json.loads(lines[1])
    assert (found["file"], found["state"], found["commits"]) == ("data", "needs recovery", 1)
    assert "recover" in found["message"]


def test_verify_tells_what_is_in_use(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = left_behind(tmp_path / "data", applied=True)
    with File(path, "r+") as data:
        assert Locks(data).try_shared(ALIVE)
        assert run("verify", "data")[:2] == (0, b"data: in use (1 commit in its journal)\n")
        assert run("recover", "data") == (0, b"data: nothing to recover\n", b"")
        status, _, errors = run("recover", "--discard", "data")
        assert status == 2
        assert b"transactions are under way" in errors


# --- what opening does ----------------------------------------------------------------------------


def test_opening_to_write_recovers_first(file):
    with open_mapping(file, "r+") as m:
        assert bytes(m) == NEW
    assert not file.with_name("data.mmapkit-journal").exists()


@pytest.mark.parametrize("mode", ["r", "c"])
def test_opening_to_read_tells_that_recovery_is_needed(file, mode):
    with pytest.raises(RecoveryNeeded, match=r"mmapkit\.recover\(path\)") as caught:
        open_mapping(file, mode)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == OLD
    assert recover(file) == 1
    with open_mapping(file, mode) as m:
        assert bytes(m) == NEW


def test_opening_to_read_sees_the_committed_state(tmp_path):
    path = left_behind(tmp_path / "data", applied=True)
    with open_mapping(path) as m:
        assert bytes(m) == NEW


def test_symbolic_link_leads_to_the_journal(file, symlink):
    link = file.with_name("link")
    symlink(link, file)
    with pytest.raises(RecoveryNeeded):
        open_mapping(link)
    with open_mapping(link, "r+") as m:
        assert bytes(m) == NEW


@pytest.mark.parametrize("kind", [str, lambda path: str(path).encode(), lambda path: path])
def test_every_kind_of_path_leads_to_the_journal(file, kind):
    with pytest.raises(RecoveryNeeded):
        open_mapping(kind(file))


def test_descriptors_are_mapped_as_they_are(file):
    with open(file, "rb") as descriptor, open_mapping(descriptor) as m:
        assert bytes(m) == OLD


def test_new_file_takes_the_place_of_the_journals(file):
    with open_mapping(file, "w+", size=10) as m:
        assert bytes(m) == bytes(10)
    assert [path.name for path in file.parent.iterdir()] == ["data"]


def test_new_file_is_not_made_while_somebody_has_transactions(file):
    with File(file, "r+") as data:
        assert Locks(data).try_shared(ALIVE)
        with pytest.raises(OSError, match="transactions are under way") as caught:
            open_mapping(file, "w+", size=10)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == OLD


def test_exclusively_created_file_inherits_no_journal(file):
    with pytest.raises(FileExistsError):
        open_mapping(file, "x+", size=10)
    journal = file.with_name("data.mmapkit-journal")
    assert journal.exists()
    file.unlink()
    open_mapping(file, "x+", size=10).close()
    assert not journal.exists()


def test_journal_of_a_replaced_file_is_refused_until_discarded(file):
    other = file.with_name("other")
    other.write_bytes(OLD)
    other.replace(file)
    for mode in ("r", "r+"):
        with pytest.raises(JournalError, match="discard=True"):
            open_mapping(file, mode)
    assert recover(file, discard=True) == 0
    with open_mapping(file, "r+") as m:
        assert bytes(m) == OLD


def test_saved_archive_takes_the_place_of_the_journals(file):
    import numpy as np

    import mmapkit as mk

    mk.save_npz(file, np.arange(3))
    assert [path.name for path in file.parent.iterdir()] == ["data"]
    with np.load(file) as arrays:
        assert arrays["arr_0"].tolist() == [0, 1, 2]


def test_created_array_takes_the_place_of_the_journals(file):
    import mmapkit as mk

    with mk.create_array(file, 3, overwrite=True) as a:
        assert list(a) == [0, 0, 0]
    assert [path.name for path in file.parent.iterdir()] == ["data"]


def test_passes_do_not_read_what_is_not_committed(file):
    import mmapkit as mk

    for how in ("map", "read"):
        with pytest.raises(RecoveryNeeded):
            list(mk.blocks(file, how=how))


def test_path_that_must_stay_beneath_a_folder(file, tmp_path):
    import mmapkit as mk

    try:
        with pytest.raises(RecoveryNeeded):
            mk.open("data", beneath=tmp_path)
    except mk.UnsupportedError:
        pytest.skip("no beneath= here")
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(OSError) as caught:
        mk.open("../data", "r+", beneath=inner)
    assert not isinstance(caught.value, RecoveryNeeded)
    assert file.read_bytes() == OLD

"""What the system does not tell, we do not make up."""

import pytest

from . import disks, victim


@pytest.fixture
def as_root(linux):
    disks.require()


@pytest.mark.parametrize("switch", ["os.seteuid(65534)", "os.setuid(65534)"])
def test_residency_of_a_file_that_is_neither_owned_nor_writable_is_unknown(file, as_root, switch):
    victim.survive(
        f"""
        path = make(args[0], 4 * MIB)
        os.chmod(path, 0o644)
        os.chmod(os.path.dirname(path), 0o755)
        os.chdir(os.path.dirname(path))
        with mk.open(path) as m:
            m.evict()
            assert m.residency().known
            {switch}
            found = m.residency()
            assert not found.known, found
            assert found.resident_bytes is found.fraction is found.pages is None
            assert "unknown" in repr(found)
            assert not mk.residency(os.path.basename(path)).known
        """,
        file,
    )


def test_residency_of_a_file_that_may_be_written_is_known(file, as_root):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        os.chmod(path, 0o666)
        with mk.open(path) as m:
            os.seteuid(65534)
            assert m.residency().known
        """,
        file,
    )

"""The end of a mapping: who may close it when, and what a closed one answers."""

import contextlib
import gc
import pickle
import weakref

import pytest

import mmapkit as mk
from mmapkit.mapping import Mapping


@pytest.fixture
def m(file):
    mapping = mk.open(file, "r+")
    yield mapping
    mapping.close(defer=True)


# --- live views ---------------------------------------------------------------------------------


def test_close_is_idempotent(m):
    m.close()
    m.close()
    m.close(defer=True)
    assert m.closed


@pytest.mark.parametrize("count", [1, 2, 7])
def test_close_with_views_counts_them_and_stays_open(m, pattern, count):
    views = [memoryview(m) for _ in range(count)]
    assert m.exports == count
    word = "1 view is" if count == 1 else f"{count} views are"
    with pytest.raises(BufferError, match=rf"{word} alive.*defer=True.*file\.bin"):
        m.close()
    assert not m.closed
    assert bytes(m) == pattern
    for view in views:
        view.release()
    assert m.exports == 0
    m.close()
    assert m.closed


def test_every_kind_of_view_counts(m):
    np = pytest.importorskip("numpy")
    views = [
        lambda: m[1:5],
        lambda: m[::-1],
        lambda: memoryview(m)[4:].cast("H"),
        lambda: np.frombuffer(m, "u1"),
        lambda: m.array("u1")[2:3],
        lambda: m.array("i4", offset=3, shape=2).T.view("u1"),
        lambda: m.array([("a", "i4"), ("b", "f4")], 3)["b"],
        lambda: m.array([("a", "i4"), ("b", "f4")], 3)[0],
    ]
    for make in views:
        view = make()
        assert m.exports == 1
        with pytest.raises(BufferError):
            m.close()
        del view
        gc.collect()
        assert m.exports == 0


def test_slices_of_a_view_hold_it(m):
    whole = memoryview(m)
    part = whole[2:4]
    del whole
    assert m.exports >= 1
    part.release()
    assert m.exports == 0


def test_deferred_close_refuses_new_uses_but_keeps_views(m, pattern):
    view = memoryview(m)
    part = view[10:20]
    m.close(defer=True)
    assert m.closed
    assert bytes(view) == pattern
    view[10] = 99
    assert part[0] == 99
    with pytest.raises(ValueError, match="closed"):
        m[0]
    with pytest.raises(ValueError, match="closed"):
        memoryview(m)
    part.release()
    view.release()
    assert m.exports == 0


def test_views_outlive_the_mapping_object(file, pattern):
    view = mk.open(file)[5:100]
    gc.collect()
    assert bytes(view) == pattern[5:100]


def test_arrays_outlive_the_mapping_object(file, pattern):
    pytest.importorskip("numpy")
    array = mk.open(file).array("u1")[100:200]
    gc.collect()
    assert array.tobytes() == pattern[100:200]


# --- context manager, garbage -------------------------------------------------------------------


def test_leaving_the_block_closes(file):
    with mk.open(file) as m:
        assert not m.closed
    assert m.closed
    with pytest.raises(ValueError, match="closed"), m:
        pass


def test_leaving_the_block_with_views_raises(file):
    with pytest.raises(BufferError, match="1 view"):  # noqa: SIM117
        with mk.open(file) as m:
            view = memoryview(m)
    assert not m.closed
    view.release()
    m.close()


def test_exception_in_the_block_is_not_hidden_by_views(file):
    with pytest.raises(KeyError):  # noqa: PT012, SIM117
        with mk.open(file) as m:
            view = memoryview(m)
            raise KeyError
    assert m.closed
    view.release()


def test_closing_inside_the_block_is_fine(file):
    with mk.open(file) as m:
        m.close()
    assert m.closed


def test_mapping_can_be_weakly_referenced_and_hashed(file):
    m = mk.open(file)
    reference = weakref.ref(m)
    assert {m: 1}[reference()] == 1
    del m
    gc.collect()
    assert reference() is None


def test_exception_tracebacks_do_not_keep_a_mapping_open(file):
    m = mk.open(file)
    with contextlib.suppress(IndexError):
        m[10_000]
    m.close()
    assert m.closed


# --- use after close ----------------------------------------------------------------------------

USES = {
    "__buffer__": memoryview,
    "__contains__": lambda m: 5 in m,
    "__delitem__": None,  # a TypeError always
    "__enter__": lambda m: m.__enter__(),
    "__getitem__": lambda m: m[0],
    "__iter__": list,
    "__len__": len,
    "__reduce__": pickle.dumps,
    "__setitem__": lambda m: m.__setitem__(0, 1),
    "advise": lambda m: m.advise("normal"),
    "array": lambda m: m.array("u1"),
    "as_file": lambda m: m.as_file(),
    "blocks": lambda m: m.blocks(),
    "check": lambda m: m.check(),
    "close": None,
    "count": lambda m: m.count(b"x"),
    "evict": lambda m: m.evict(),
    "fileno": lambda m: m.fileno(),
    "find": lambda m: m.find(b"x"),
    "find_all": lambda m: m.find_all(b"x"),
    "find_any": lambda m: m.find_any([b"x"]),
    "flush": lambda m: m.flush(),
    "guard": lambda m: m.guard().__enter__(),
    "lines": lambda m: m.lines(),
    "load": lambda m: m.load("b", 0),
    "lock": lambda m: m.lock(),
    "move": lambda m: m.move(0, 1, 1),
    "populate": lambda m: m.populate(),
    "prefetch": lambda m: m.prefetch(),
    "protect": lambda m: m.protect("r"),
    "read": lambda m: m.read(),
    "read_into": lambda m: m.read_into(0, bytearray(1)),
    "reading": lambda m: m.reading().__enter__(),
    "recover": lambda m: m.recover(),
    "refresh": lambda m: m.refresh(),
    "residency": lambda m: m.residency(),
    "resize": lambda m: m.resize(5),
    "rfind": lambda m: m.rfind(b"x"),
    "search": lambda m: m.search(b"x"),
    "snapshot": lambda m: m.snapshot("copy"),
    "split": lambda m: m.split(b"x"),
    "store": lambda m: m.store("b", 0, 1),
    "transaction": lambda m: m.transaction(),
    "unlock": lambda m: m.unlock(),
    "write": lambda m: m.write(0, b"x"),
}
MORE_USES = [
    lambda m: m[1:2],
    lambda m: m[0:0],
    lambda m: m.__setitem__(slice(0, 1), b"x"),
    lambda m: m.__setitem__(slice(0, 0), b""),
    lambda m: m.__setitem__(slice(0, 4, 2), b"xx"),
    lambda m: b"" in m,
    lambda m: m.prefetch([]),
    lambda m: m.prefetch([(0, 1)]),
    lambda m: m.prefetch(0, 1),
    lambda m: m.find(b""),
    lambda m: m.lines(index=True),
    lambda m: m.read(0, 0),
    lambda m: m.write(0, b""),
    lambda m: setattr(m, "name", "label"),
    lambda m: bytes(m),
]


def test_every_public_method_is_listed_here():
    public = {name for name in dir(Mapping) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(Mapping, name))}
    assert methods == {name for name in USES if not name.startswith("_")}


def closed_mapping(file):
    m = mk.open(file, "r+")
    m.close()
    return m


def deferred_mapping(file):
    m = mk.open(file, "r+")
    deferred_mapping.view = memoryview(m)
    m.close(defer=True)
    return m


@pytest.mark.parametrize("make", [closed_mapping, deferred_mapping])
def test_use_after_close_raises_value_error(file, make):
    m = make(file)
    for use in (*filter(None, USES.values()), *MORE_USES):
        with pytest.raises(ValueError, match="closed"):
            use(m)
    assert "closed" in repr(m)
    assert (m.closed, m.size) == (True, 0)
    deferred_mapping.view = None


def test_mapping_is_not_made_by_its_class():
    with pytest.raises(TypeError, match=r"open\(\)"):
        Mapping()


class Meddler:
    """A number that does something to a mapping when it is asked for its value."""

    def __init__(self, act, value=0):
        self.act = act
        self.value = value

    def __index__(self):
        self.act()
        return self.value

    def __bool__(self):
        return bool(self.__index__() + 1)

    def __float__(self):
        return float(self.__index__())


CLOSING_USES = {
    "m[x]": lambda m, x: m[x],
    "m[x:]": lambda m, x: m[x:],
    "m[:x]": lambda m, x: m[:x],
    "m[::x]": lambda m, x: m[::x],
    "m[x] = 1": lambda m, x: m.__setitem__(x, 1),
    "m[0] = x": lambda m, x: m.__setitem__(0, x),
    "m[x:] = b": lambda m, x: m.__setitem__(slice(x, 1), b"a"),
    "m[::x] = b": lambda m, x: m.__setitem__(slice(0, 4, x), b"ab"),
    "x in m": lambda m, x: x in m,
    "read(x)": lambda m, x: m.read(x),
    "read(0, x)": lambda m, x: m.read(0, x),
    "read_into(x)": lambda m, x: m.read_into(x, bytearray(5)),
    "write(x)": lambda m, x: m.write(x, b"ab"),
    "move(x)": lambda m, x: m.move(x, 0, 1),
    "move(0, x)": lambda m, x: m.move(0, x, 1),
    "move(0, 1, x)": lambda m, x: m.move(0, 1, x),
    "load(x)": lambda m, x: m.load("d", x),
    "store(x)": lambda m, x: m.store("d", x, 1),
    "store(int x)": lambda m, x: m.store("q", 0, x),
    "store(float x)": lambda m, x: m.store("d", 0, x),
    "store(bool x)": lambda m, x: m.store("?", 0, x),
    "resize(x)": lambda m, x: m.resize(x),
    "flush(x)": lambda m, x: m.flush(x),
    "flush(0, x)": lambda m, x: m.flush(0, x),
    "advise(x)": lambda m, x: m.advise("normal", x),
    "prefetch(x)": lambda m, x: m.prefetch(x),
    "prefetch(0, x)": lambda m, x: m.prefetch(0, x),
    "prefetch([x])": lambda m, x: m.prefetch([(x, 1)]),
    "prefetch([0, x])": lambda m, x: m.prefetch([(0, 1), (0, x)]),
    "populate(x)": lambda m, x: m.populate(x),
    "evict(x)": lambda m, x: m.evict(x),
    "lock(x)": lambda m, x: m.lock(x),
    "unlock(0, x)": lambda m, x: m.unlock(0, x),
    "array(offset=x)": lambda m, x: m.array("u1", 1, offset=x),
    "array(shape=x)": lambda m, x: m.array("u1", x),
    "array(strides=x)": lambda m, x: m.array("u1", (1,), strides=(x,)),
}


@pytest.mark.parametrize("use", CLOSING_USES.values(), ids=CLOSING_USES)
def test_closing_inside_index_raises_value_error(m, use):
    with pytest.raises(ValueError, match="closed"):
        use(m, Meddler(m.close, 2))
    assert m.closed


@pytest.mark.parametrize("use", CLOSING_USES.values(), ids=CLOSING_USES)
def test_shrinking_inside_index_never_reaches_what_is_gone(m, use):
    with contextlib.suppress(IndexError, ValueError):
        use(m, Meddler(lambda: m.resize(1), 2))
    assert not m.closed
    assert m.size in (1, 2)  # 2: resize(x) itself
    assert len(m.read()) == m.size

"""Lines of a text by number: where they are, and their bytes, copied under the guard or as views."""

from _thread import allocate_lock as _allocate_lock

from mmapkit._scan import Plain as _Plain
from mmapkit.errors import FormatError as _FormatError

from mmapkit._native cimport Visited, visitor
from mmapkit._scan cimport Numbers, held, hold, unhold

cimport cython
from cpython.buffer cimport PyBUF_CONTIG, PyBUF_CONTIG_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.number cimport PyIndex_Check, PyNumber_AsSsize_t
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Check, PySlice_Unpack
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

# Lines that are taken at a time, and how many bytes of them.
cdef enum:
    TAKEN_LINES = 64
cdef size_t TAKEN_BYTES = 1 << 18
# Copies of at least this many bytes are worth giving the GIL away for.
cdef size_t NOGIL_BYTES = 1 << 16


cdef struct lines_job:
    mmk_line_table *table
    size_t first, count
    Py_ssize_t step
    uint64_t starts[TAKEN_LINES]
    uint64_t ends[TAKEN_LINES]
    size_t newline_count
    const unsigned char *text
    char *out[TAKEN_LINES]
    bint keepends
    size_t good    # how much is as it should be
    bint troubled  # something was not: what is left out tells what, by itself
    const int64_t *offsets
    int64_t *numbers


cdef bint are_there(lines_job *j) noexcept nogil:
    """A table can have become shorter since lines of it were counted."""
    cdef size_t last = j.first + (j.count - 1) * <size_t>j.step
    return j.count == 0 or max(j.first, last) < j.table.line_count


cdef void do_count_lines(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.ends[0] = mmk_table_count(j.table)


cdef void do_spans(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.good = mmk_table_spans(j.table, j.first, j.step, j.count, j.starts, j.ends)


cdef void do_starts(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    mmk_table_starts(j.table, j.first, j.step, j.count, j.numbers)


cdef void do_lines_at(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.good = mmk_table_lines_at(j.table, j.offsets, j.count, j.numbers)


cdef void do_cut_endings(void *context) noexcept nogil:
    """Leave the endings out, and see whether they are there. What is behind the last newline has
    none."""
    cdef lines_job *j = <lines_job *>context
    cdef size_t i, line = j.first
    cdef uint64_t end
    for i in range(j.count):
        end = j.ends[i]
        if line < j.newline_count:
            if j.text[end - 1] != c'\n':
                j.good = i
                return
            if not j.keepends:
                end -= 1
                if end > j.starts[i] and j.text[end - 1] == c'\r':
                    end -= 1
                j.ends[i] = end
        line += <size_t>j.step
    j.good = j.count


cdef void do_copy_lines(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    cdef size_t i
    for i in range(j.count):
        memcpy(j.out[i], j.text + j.starts[i], <size_t>(j.ends[i] - j.starts[i]))


cdef struct copy_job:
    void *to
    const void *origin
    size_t size


cdef void do_copy(void *context) noexcept nogil:
    cdef copy_job *j = <copy_job *>context
    memcpy(j.to, j.origin, j.size)


cdef class Saved:
    """Numbers of 4 bytes that somebody else holds: a buffer, and the mapping in which it lies."""

    cdef Py_buffer buffer
    cdef bint exported
    cdef const uint32_t *data
    cdef size_t count
    cdef Visited mapping
    cdef size_t place

    def __init__(self, numbers, Visited mapping=None):
        cdef size_t size
        PyObject_GetBuffer(numbers, &self.buffer, PyBUF_CONTIG_RO)
        self.exported = True
        self.data = <const uint32_t *>self.buffer.buf
        self.count = <size_t>self.buffer.len // 4
        cdef const unsigned char *start
        if mapping is not None:
            start = mapping._enter(&size)
            mapping._leave()
            self.place = <size_t>(<const unsigned char *>self.buffer.buf - start)
            self.mapping = mapping

    def __dealloc__(self):
        if self.exported:
            PyBuffer_Release(&self.buffer)

    def __len__(self):
        return self.count

    def copy_to(self, buffer):
        """Fill a buffer of as many numbers."""
        cdef Py_buffer target
        cdef copy_job j
        cdef bint kept = True
        PyObject_GetBuffer(buffer, &target, PyBUF_CONTIG)
        try:
            if target.len != <Py_ssize_t>self.count * 4:
                raise ValueError(f"{target.len} bytes for {self.count} numbers of 4")
            j.to, j.origin, j.size = target.buf, self.data, <size_t>target.len
            with nogil:
                if self.mapping is None:
                    do_copy(&j)
                else:
                    kept = self.mapping._visit(do_copy, &j, self.place, j.size)
            if not kept:
                raise self.mapping._lost()
        finally:
            PyBuffer_Release(&target)


cdef class LineTable:
    """Where the lines of a text end. `text` is a mapping or an object with a buffer, which is not
    held open by this.

    Attributes
    ----------
    end : int
        Where the last newline is over; 0 if there is none.
    origin : str or None
        The file from which `saved` comes, for messages.
    stamp : object
        What the text was like when it was indexed.
    renewing : lock
        Held while the table is brought up to date.
    """

    cdef mmk_line_table c
    cdef readonly object text
    cdef Visited mapping  # the text, if it is one
    cdef Saved saved
    cdef Numbers fresh, wraps
    cdef readonly uint64_t end
    cdef public object origin
    cdef public object stamp
    cdef readonly object renewing

    def __init__(self, text, Numbers fresh not None, Numbers wraps not None, uint64_t size,
                 Saved saved=None):
        self.text = text
        self.renewing = _allocate_lock()
        if isinstance(text, Visited):
            self.mapping = <Visited>text
        self._adopt(saved, fresh, wraps, size)

    cdef int _adopt(self, Saved saved, Numbers fresh, Numbers wraps, uint64_t size) except -1:
        cdef mmk_line_table made
        cdef lines_job j
        cdef uint64_t last = 0
        cdef size_t i
        if fresh.itemsize != 4 or wraps.itemsize != 8:
            raise TypeError("lines end at numbers of 4 bytes, and wraps are numbers of 8")
        made.saved = NULL
        made.saved_count = 0
        if saved is not None:
            made.saved = saved.data
            made.saved_count = saved.count
        made.fresh = <const uint32_t *>fresh.data
        made.newline_count = made.saved_count + fresh.used
        made.wraps = <const uint64_t *>wraps.data
        made.wrap_count = wraps.used
        made.size_bytes = size
        made.line_count = 0
        for i in range(made.wrap_count):
            if not last <= made.wraps[i] <= made.newline_count:
                raise ValueError(f"wraps do not ascend up to {made.newline_count} lines")
            last = made.wraps[i]
        self._read(&made, saved, &j, do_count_lines)
        if j.ends[0] > size:
            raise ValueError(f"the last newline, before byte {j.ends[0]}, lies outside of {size} "
                             "bytes")
        self.saved, self.fresh, self.wraps = saved, fresh, wraps
        self.end = j.ends[0]
        self.c = made
        return 0

    @property
    def size_bytes(self):
        """Bytes of the text that the lines make up."""
        return self.c.size_bytes

    @property
    def newline_count(self):
        """Lines that end with a newline."""
        return self.c.newline_count

    @property
    def index_bytes(self):
        """Bytes of memory, or of a file, for all that is known of the lines."""
        return self.c.newline_count * 4 + self.c.wrap_count * 8

    def parts(self):
        """What was saved, or None, the other numbers and the wraps as buffers, and the size."""
        with cython.critical_section(self):
            return self.saved, memoryview(self.fresh), memoryview(self.wraps), self.c.size_bytes

    def extend(self, Numbers fresh not None, Numbers wraps not None, uint64_t size):
        """Add lines behind the last newline; `wraps` are those of all lines."""
        cdef Numbers mine
        with cython.critical_section(self):
            mine = self.fresh._copy() if held(&self.fresh.holds) else self.fresh
            mine._append(fresh.data, fresh.used)
            self._adopt(self.saved, mine, wraps, size)

    def replace(self, Numbers fresh not None, Numbers wraps not None, uint64_t size):
        """Forget all lines, and take others."""
        with cython.critical_section(self):
            self._adopt(None, fresh, wraps, size)
            self.origin = None

    cdef object _damaged(self):
        if self.origin is None:
            return RuntimeError("the index of lines was damaged in memory")
        return _FormatError(f"{self.origin!r} is damaged: lines do not begin and end where it says; "
                            "delete it, and it will be made again")

    cdef object _changed(self, size_t line):
        return ValueError(f"line {line} (counted from 0) does not end where it did when it was "
                          "indexed: the text has changed; index it again")

    cdef int _read(self, mmk_line_table *table, Saved saved, lines_job *j,
                   visitor work) except -1:
        """Work on a table whose first numbers may lie in a mapping."""
        j.table = table
        if saved is None or saved.mapping is None:
            work(j)
        elif not saved.mapping._visit(work, j, saved.place, saved.count * 4):
            raise saved.mapping._lost()
        return 0

    cdef int _find_spans(self, lines_job *j) except -1:
        """Where lines start and end."""
        with cython.critical_section(self):
            j.newline_count = self.c.newline_count
            j.table = &self.c
            if not are_there(j):
                raise self._shortened()
            self._read(&self.c, self.saved, j, do_spans)
        if not j.good:
            raise self._damaged()
        return 0

    cdef object _shortened(self):
        return ValueError(f"the text has become shorter and has {self.c.line_count} lines now: take "
                          "these lines from it again")

    cdef int _work(self, lines_job *j, visitor work) except -1:
        """Work without the GIL, on a table that may grow or shrink meanwhile."""
        cdef mmk_line_table table
        cdef Saved saved
        cdef Numbers fresh, wraps
        cdef bint kept = True
        with cython.critical_section(self):
            table = self.c
            saved, fresh, wraps = self.saved, self.fresh, self.wraps
            hold(&fresh.holds)
        j.table = &table
        try:
            if work == do_starts and not are_there(j):
                raise self._shortened()
            with nogil:
                if saved is None or saved.mapping is None:
                    work(j)
                else:
                    kept = saved.mapping._visit(work, j, saved.place, saved.count * 4)
            if not kept:
                raise saved.mapping._lost()
        finally:
            unhold(&fresh.holds)
        return 0

    def lines_at(self, offsets, numbers):
        """Fill a buffer of int64 with the lines that hold bytes of the text, given as such a buffer;
        return how many were inside of the text before the first that was not."""
        cdef Py_buffer source, target
        cdef lines_job j
        PyObject_GetBuffer(offsets, &source, PyBUF_CONTIG_RO)
        try:
            PyObject_GetBuffer(numbers, &target, PyBUF_CONTIG)
            try:
                if target.len != source.len:
                    raise ValueError("there are as many numbers as offsets")
                j.offsets, j.numbers = <const int64_t *>source.buf, <int64_t *>target.buf
                j.count = <size_t>source.len // 8
                self._work(&j, do_lines_at)
                return j.good
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)

    def line_at(self, offset):
        """The line that holds a byte of the text; IndexError if it is not in it."""
        cdef lines_job j
        cdef int64_t wanted, line = 0
        if not 0 <= offset < self.c.size_bytes:  # of any size yet
            raise IndexError(f"offset {offset} is out of range for lines of {self.c.size_bytes} "
                             "bytes")
        wanted = offset
        j.offsets, j.numbers, j.count = &wanted, &line, 1
        with cython.critical_section(self):
            self._read(&self.c, self.saved, &j, do_lines_at)
            j.first, j.step = <size_t>line, 1
            if j.good and are_there(&j):
                self._read(&self.c, self.saved, &j, do_spans)
                if j.good and j.starts[0] <= <uint64_t>wanted < j.ends[0]:
                    return line
        raise self._damaged()


cdef class LineSequence:
    """Some lines of a table: `count` of them, `step` apart from the first; or all, also those that
    come later."""

    cdef readonly LineTable _table
    cdef size_t first, count
    cdef Py_ssize_t step
    cdef bint all
    cdef readonly bint views
    cdef readonly bint keepends

    def __cinit__(self):
        self.step = 1

    def _begin(self, LineTable table not None, bint views, bint keepends):
        self._table, self.views, self.keepends, self.all = table, views, keepends, True

    cdef size_t _length(self) noexcept:
        return self._table.c.line_count if self.all else self.count

    cdef int _require_table(self) except -1:
        if self._table is None:
            raise TypeError("lines are made by lines()")
        return 0

    def __len__(self):
        self._require_table()
        return self._length()

    @property
    def _is_whole(self):
        return self.all

    @property
    def _range(self):
        """The numbers of these lines in the whole text, counted from 0."""
        cdef Py_ssize_t first = <Py_ssize_t>self.first
        return range(first, first + <Py_ssize_t>self._length() * self.step, self.step)

    cdef size_t _line(self, key) except? <size_t>-1:
        """The number in the whole text of a line that is given by an index."""
        cdef Py_ssize_t index = PyNumber_AsSsize_t(key, IndexError), length
        self._require_table()
        length = <Py_ssize_t>self._length()
        if index < 0:
            index += length
        if not 0 <= index < length:
            raise IndexError(f"line {key} is out of range: there are {length} lines")
        return self.first + <size_t>(index * self.step)

    def __getitem__(self, key):
        cdef lines_job j
        if PySlice_Check(key):
            return self._part(key)
        if not PyIndex_Check(key):
            raise TypeError("lines are indexed by integers or slices, not by "
                            f"{type(key).__name__}")
        j.first = self._line(key)
        j.step = j.count = 1
        if self.views:
            self._find(&j)
            return self._view_of(j.starts[0], j.ends[0])
        return self._find(&j)[0]

    cdef object _part(self, key):
        cdef Py_ssize_t start, stop, step, count
        cdef LineSequence made
        PySlice_Unpack(key, &start, &stop, &step)
        self._require_table()
        count = PySlice_AdjustIndices(<Py_ssize_t>self._length(), &start, &stop, step)
        made = type(self).__new__(type(self))
        made._table, made.views, made.keepends = self._table, self.views, self.keepends
        made.count = <size_t>count
        made.first = self.first + <size_t>(start * self.step) if count else 0
        made.step = step * self.step if count > 1 else 1
        return made

    def span(self, index):
        """Return the offsets of a line's first byte and of one past its last.

        Its ending is left out unless `keepends`: ``text[start:stop] == lines[index]``.
        """
        cdef lines_job j
        j.first = self._line(index)
        j.step = j.count = 1
        self._find(&j, False)
        return j.starts[0], j.ends[0]

    def __iter__(self):
        cdef LineIterator made
        self._require_table()
        made = LineIterator.__new__(LineIterator)
        made.lines = self
        made.most = TAKEN_LINES
        return made

    def _list_starts(self, numbers):
        """Fill a buffer of int64 with where these lines start: as many as it has room for."""
        cdef Py_buffer target
        cdef lines_job j
        PyObject_GetBuffer(numbers, &target, PyBUF_CONTIG)
        try:
            j.first, j.step, j.count = self.first, self.step, <size_t>target.len // 8
            if j.count > self._length():
                raise ValueError(f"there are {self._length()} lines, not {j.count}")
            j.numbers = <int64_t *>target.buf
            self._table._work(&j, do_starts)
        finally:
            PyBuffer_Release(&target)

    cdef object _view(self):
        """All bytes of the text, read-only."""
        text = self._table.text
        view = text._view() if self._table.mapping is not None else memoryview(_Plain(text))
        return view.toreadonly()

    cdef object _view_of(self, size_t start, size_t stop):
        """Some of them."""
        if self._table.mapping is None:
            return self._view()[start:stop]
        view = self._table.text[start:stop]
        return view if view.readonly else view.toreadonly()

    cdef list _find(self, lines_job *j, bint wanted=True):
        """Where lines start and end, and, unless they are wanted as views, their bytes. If bytes of
        several are lost, only the first is looked at; if bytes of one, MappingFault."""
        cdef Visited mapping = self._table.mapping
        cdef Py_buffer buffer
        cdef size_t size
        cdef list found
        wanted = wanted and not self.views
        j.troubled = False
        while True:
            self._table._find_spans(j)
            self._limit(j)
            if mapping is None:
                PyObject_GetBuffer(self._table.text, &buffer, PyBUF_CONTIG_RO)
                try:
                    j.text = <const unsigned char *>buffer.buf
                    return self._work(j, None, <size_t>buffer.len, wanted)
                finally:
                    PyBuffer_Release(&buffer)
            j.text = mapping._enter_briefly(&size)
            try:
                found = self._work(j, mapping, size, wanted)
            finally:
                mapping._leave()
            if found is not None:
                return found
            fault = mapping._lost()
            if j.count == 1:
                raise fault
            j.count = 1
            j.troubled = True

    cdef void _limit(self, lines_job *j) noexcept:
        """Take fewer of long lines, but one at least."""
        cdef size_t i
        cdef uint64_t total = 0
        for i in range(j.count):
            total += j.ends[i] - j.starts[i]
            if total > TAKEN_BYTES and i > 0:
                j.count = i
                return

    cdef list _work(self, lines_job *j, Visited mapping, size_t size, bint wanted):
        """The text is held; None if bytes were lost."""
        cdef size_t i, total = 0
        cdef list found = []
        cdef Py_ssize_t length
        cdef bytes line
        i = 0 if j.step < 0 else j.count - 1
        if j.ends[i] > size:
            raise ValueError(f"the text has become shorter: it has {size} bytes, and line "
                             f"{j.first + i * <size_t>j.step} (counted from 0) ended at byte "
                             f"{j.ends[i]}; call refresh()")
        j.keepends = self.keepends
        if not self._touch(j, mapping, do_cut_endings, False):
            return None
        if j.good < j.count:
            if j.good == 0:
                raise self._table._changed(j.first)
            j.count = j.good  # those before are given out
            j.troubled = True
        if not wanted:
            return found
        for i in range(j.count):
            length = <Py_ssize_t>(j.ends[i] - j.starts[i])
            line = PyBytes_FromStringAndSize(NULL, length)
            j.out[i] = PyBytes_AS_STRING(line)
            found.append(line)
            total += <size_t>length
        return found if self._touch(j, mapping, do_copy_lines, total >= NOGIL_BYTES) else None

    cdef bint _touch(self, lines_job *j, Visited mapping, visitor work, bint release) except -1:
        """Have the lines' bytes read; False if some were lost."""
        cdef size_t low = j.count - 1 if j.step < 0 else 0, high = j.count - 1 - low
        cdef size_t start = <size_t>j.starts[low], length = <size_t>j.ends[high] - start
        cdef bint kept = True
        if mapping is None:
            if release:
                with nogil:
                    work(j)
            else:
                work(j)
        elif release:
            with nogil:
                kept = mapping._visit(work, j, start, length)
        else:
            kept = mapping._visit(work, j, start, length)
        return kept


cdef class LineIterator:
    """Lines one after the other, taken many at a time."""

    cdef LineSequence lines
    cdef object view       # of all bytes, where lines are views
    cdef list taken        # those that were found, ...
    cdef Py_ssize_t given  # ... and how many of them are given out
    cdef size_t next       # position in `lines` of the first that is not found
    cdef size_t most       # to be taken at a time

    def __iter__(self):
        return self

    def __next__(self):
        cdef object line
        with cython.critical_section(self):
            while self.taken is None or self.given == len(self.taken):
                if not self._refill():
                    raise StopIteration
            line = self.taken[self.given]
            self.given += 1
        return line

    cdef bint _refill(self) except -1:
        cdef lines_job j
        cdef LineSequence lines = self.lines
        cdef size_t i, position = self.next
        self.taken = None
        if lines is None or self.next >= lines._length():
            self.lines = self.view = None
            return False
        j.step = lines.step
        j.first = lines.first + position * <size_t>j.step
        j.count = min(self.most, lines._length() - position)
        found = lines._find(&j)
        if self.next != position:  # another thread has taken these lines while bytes were copied
            return True
        if lines.views:
            if self.view is None:
                self.view = lines._view()
            found = [self.view[j.starts[i]:j.ends[i]] for i in range(j.count)]
        if j.troubled:
            self.most = 1
        self.next += j.count
        self.taken, self.given = found, 0
        return True

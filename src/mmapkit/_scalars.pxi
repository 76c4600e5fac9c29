# --- scalars and their bits: a part of _native.pyx ------------------------------------------------

from cpython.float cimport PyFloat_AsDouble, PyFloat_FromDouble
from libc.stdint cimport int8_t, int16_t, int32_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *length) except NULL
    double PyFloat_Unpack2(const char *raw, int little) except? -1.0
    int PyFloat_Pack2(double value, char *raw, int little) except -1
    object PyLong_FromUnsignedLongLong(unsigned long long value)
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? 0xffffffffffffffff
    int PyObject_IsTrue(object value) except -1


cdef inline int parse_scalar(str code, mmk_scalar *scalar) except -1:
    """What a code of struct or numpy stands for."""
    cdef Py_ssize_t length
    cdef const char *text = PyUnicode_AsUTF8AndSize(code, &length)
    scalar[0] = mmk_scalar_parse(text, <size_t>length)
    if scalar.kind == MMK_SCALAR_INVALID:
        raise ValueError(f"{code!r} is not a scalar's code: give one of struct's, such as "
                         "'<d', or of numpy's, such as '<f8'")
    return 0


cdef inline int copy_scalar(Region region, Py_ssize_t start, unsigned size, char *raw,
                            bint store) except -1:
    """Copy a few bytes out of a region or, with `store`, into it; 0 if they do not lie in it.
    A negative start counts from the end."""
    cdef mmk_status status
    cdef unsigned char *at
    # With a global lock, closing hides the bytes under it: no pin is needed for one copy.
    if FREE_THREADED:
        region._pin()
    if start < 0:
        start += <Py_ssize_t>region.c.size_bytes
    if start < 0 or start > <Py_ssize_t>region.c.size_bytes - <Py_ssize_t>size:
        if FREE_THREADED:
            mmk_region_unpin(&region.c)
        return 0
    at = region.c.data + start
    if store:
        status = mmk_guard_copy(&region.c.faults, at, raw, size)
    else:
        status = mmk_guard_copy(&region.c.faults, raw, at, size)
    if FREE_THREADED:
        mmk_region_unpin(&region.c)
    if status != MMK_OK:
        region._raise_if_lost(start, size)
    return 1


cdef object from_bits(mmk_scalar scalar, uint64_t bits):
    cdef double number
    cdef float single
    cdef unsigned short half
    cdef unsigned int word
    if scalar.kind == MMK_SCALAR_FLOAT:
        if scalar.size_bytes == 8:
            memcpy(&number, &bits, 8)
            return PyFloat_FromDouble(number)
        if scalar.size_bytes == 4:
            word = <unsigned int>bits
            memcpy(&single, &word, 4)
            return PyFloat_FromDouble(single)
        half = <unsigned short>bits
        return PyFloat_FromDouble(PyFloat_Unpack2(<const char *>&half, is_little()))
    if scalar.kind == MMK_SCALAR_SIGNED:
        if scalar.size_bytes == 1:
            return <int8_t>bits
        if scalar.size_bytes == 2:
            return <int16_t>bits
        if scalar.size_bytes == 4:
            return <int32_t>bits
        return <int64_t>bits
    if scalar.kind == MMK_SCALAR_UNSIGNED:
        return PyLong_FromUnsignedLongLong(bits)
    if scalar.kind == MMK_SCALAR_BOOL:
        return bits != 0
    return bytes((bits,))


cdef uint64_t to_bits(mmk_scalar scalar, str code, value) except? 0xffffffffffffffff:
    cdef double number
    cdef float single
    cdef unsigned short half = 0
    cdef unsigned int word
    cdef uint64_t bits
    cdef unsigned width = 8 * scalar.size_bytes
    if scalar.kind == MMK_SCALAR_FLOAT:
        try:
            number = PyFloat_AsDouble(value)
        except OverflowError:
            raise ValueError(f"{value} does not fit {code!r}") from None
        if scalar.size_bytes == 8:
            memcpy(&bits, &number, 8)
            return bits
        if scalar.size_bytes == 4:
            single = <float>number
            if single - single != 0 and number - number == 0:
                raise ValueError(f"{value} does not fit {code!r}")
            memcpy(&word, &single, 4)
            return word
        try:
            PyFloat_Pack2(number, <char *>&half, is_little())
        except OverflowError:
            raise ValueError(f"{value} does not fit {code!r}") from None
        return half
    if scalar.kind == MMK_SCALAR_BOOL:
        return PyObject_IsTrue(value)
    if scalar.kind == MMK_SCALAR_CHAR:
        if not isinstance(value, bytes) or len(value) != 1:
            raise ValueError(f"{code!r} takes bytes of length 1, not {value!r}")
        return (<bytes>value)[0]
    value = PyNumber_Index(value)
    one: object = 1  # C's would overflow
    low = -(one << (width - 1)) if scalar.kind == MMK_SCALAR_SIGNED else 0
    high = (one << (width - 1)) - 1 if scalar.kind == MMK_SCALAR_SIGNED else (one << width) - 1
    if not low <= value <= high:
        raise ValueError(f"{value} does not fit {code!r}, which holds {low} to {high}")
    return <uint64_t>PyLong_AsUnsignedLongLong(value & 0xffffffffffffffff)


cdef inline int is_little() noexcept:
    cdef unsigned short probe = 1
    return (<char *>&probe)[0] == 1

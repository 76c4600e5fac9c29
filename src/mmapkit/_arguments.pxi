# --- arguments: a part of _native.pyx -------------------------------------------------------------

cdef extern from *:
    """
    /* A path as the system takes it; PyMem_Free() it. NULL with an exception set on failure. */
    static mmk_path_char *mmk_py_path(PyObject *path) {
    #ifdef _WIN32
        return PyUnicode_AsWideCharString(path, NULL);
    #else
        PyObject *bytes;
        if (!PyUnicode_FSConverter(path, &bytes))
            return NULL;
        size_t length = (size_t)PyBytes_GET_SIZE(bytes) + 1;
        char *copy = PyMem_Malloc(length);
        if (copy == NULL)
            PyErr_NoMemory();
        else
            memcpy(copy, PyBytes_AS_STRING(bytes), length);
        Py_DECREF(bytes);
        return copy;
    #endif
    }

    /* An index; what is beyond any mapping becomes an index that is out of every range. */
    static inline Py_ssize_t mmk_py_index(PyObject *number) {
        Py_ssize_t index = PyLong_AsSsize_t(number);
        if (index == -1 && PyErr_Occurred()) {
            PyErr_Clear();
            index = PY_SSIZE_T_MAX;
        }
        return index;
    }
    """
    mmk_path_char *mmk_py_path(object path) except NULL
    Py_ssize_t to_index "mmk_py_index"(object number)


cdef uint64_t to_size(object value, str name) except? 0xffffffffffffffff:
    """A count of bytes, or ValueError that names the argument and its value."""
    cdef long long number
    if not PyIndex_Check(value):
        raise TypeError(f"{name} must be an int, in bytes, not {type(value).__name__}")
    value = PyNumber_Index(value)
    if not 0 <= value <= 0x7fffffffffffffff:
        raise ValueError(f"{name} must be between 0 and 2**63 - 1 bytes, not {value}")
    number = value
    return <uint64_t>number


cdef object path_of(object file):
    """The path as str if `file` names one, else None; TypeError if it is no file at all."""
    if isinstance(file, str):
        return file
    # Two questions: of a tuple, Cython 3.3 takes an exception (PathLike asks in Python) for a yes.
    if isinstance(file, bytes) or isinstance(file, _os.PathLike):
        return _os.fsdecode(file)
    return None


cdef object index_or_none(object value, str name):
    """Run __index__ before a region is pinned: it may do anything, even close it."""
    if value is None or PyLong_CheckExact(value):
        return value
    if not PyIndex_Check(value):
        raise TypeError(f"{name} must be an int, in bytes, not {type(value).__name__}")
    return PyNumber_Index(value)

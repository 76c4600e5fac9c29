"""The C core, as Cython sees it."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "stdbool.h" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "mmk/status.h" nogil:
    ctypedef int mmk_status
    enum:
        MMK_OK
        MMK_UNSUPPORTED
        MMK_CLOSED
        MMK_EXPORTED
        MMK_IN_USE
        MMK_RANGE
        MMK_READ_ONLY
        MMK_FAULTED
        MMK_TOO_LARGE

cdef extern from "mmk/file.h" nogil:
    ctypedef struct mmk_path_char:
        pass
    ctypedef Py_ssize_t mmk_handle
    enum:
        MMK_OPEN_WRITE
        MMK_OPEN_CREATE
        MMK_OPEN_EXCLUSIVE
        MMK_OPEN_SHARED_DELETE
    ctypedef enum mmk_file_kind:
        MMK_FILE_REGULAR
        MMK_FILE_BLOCK_DEVICE
        MMK_FILE_CHAR_DEVICE
    ctypedef struct mmk_file_info:
        uint64_t size_bytes
        mmk_file_kind kind
    ctypedef struct mmk_file:
        mmk_handle handle
        mmk_file_info info
        bint created
    mmk_status mmk_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                             mmk_file *file)
    mmk_status mmk_file_adopt(int descriptor, bint writing, mmk_file *file)
    void mmk_file_close(mmk_file *file)
    mmk_status mmk_file_resize(mmk_handle file, uint64_t old_bytes, uint64_t size_bytes,
                               bint sparse)
    mmk_status mmk_file_renew(mmk_file *file, uint64_t size_bytes, bint sparse)

cdef extern from "mmk/runs.h" nogil:
    ctypedef struct mmk_run:
        int64_t offset
        int64_t length_bytes
    c_bool mmk_runs_measure(const mmk_run *runs, size_t count, uint64_t end,
                            uint64_t *length_bytes)

cdef extern from "mmk/residency.h" nogil:
    ctypedef int mmk_advice
    enum:
        MMK_ADVICE_COUNT
    const char *mmk_advice_name(mmk_advice advice)
    bint mmk_advice_supported(mmk_advice advice)
    ctypedef struct mmk_cached:
        uint64_t resident_pages
        uint64_t dirty_pages

cdef extern from "mmk/guard.h" nogil:
    enum:
        MMK_FAULT_PENDING
        MMK_FAULT_DAMAGED
    ctypedef enum mmk_guard_place:
        MMK_GUARD_KEPT
        MMK_GUARD_DISPLACED
    ctypedef struct mmk_fault_record:
        uint64_t count
    ctypedef struct mmk_fault:
        int cause
        int code
        uint64_t offset
        uint64_t count
    mmk_guard_place mmk_guard_look()
    mmk_status mmk_guard_install(bint skip_host)
    void mmk_guard_mark_host()
    void mmk_guard_enable(bint enabled)
    bint mmk_guard_enabled()
    void mmk_guard_step_down()
    void mmk_guard_on_main_fault(void (*notify)() noexcept nogil)
    uint64_t mmk_guard_main_faults()
    uint64_t mmk_guard_foreign_signals()
    bint mmk_guard_take(mmk_fault_record *record, mmk_fault *fault)
    mmk_status mmk_guard_run(mmk_fault_record *record, void (*work)(void *context) noexcept nogil,
                             void *context)
    bint mmk_guard_owes_me(mmk_fault_record *record)
    void mmk_guard_recall(mmk_fault_record *record, mmk_fault *fault)
    bint mmk_guard_untold(mmk_fault_record *record)
    bint mmk_guard_damaged(mmk_fault_record *record, const void *at, size_t length_bytes)
    mmk_status mmk_guard_copy(mmk_fault_record *record, void *to, const void *at,
                              size_t length_bytes)

cdef extern from "mmk/region.h" nogil:
    ctypedef enum mmk_mode:
        MMK_MODE_READ
        MMK_MODE_WRITE
        MMK_MODE_COPY
    ctypedef enum mmk_backend:
        MMK_BACKEND_AUTO
        MMK_BACKEND_MAP
        MMK_BACKEND_MAP_PRIVATE
        MMK_BACKEND_READ
        MMK_BACKEND_MEMORY
    ctypedef enum mmk_flush_level:
        MMK_FLUSH_ASYNC
        MMK_FLUSH_OS
        MMK_FLUSH_DISK
    ctypedef enum mmk_huge:
        MMK_HUGE_NONE
        MMK_HUGE_TRANSPARENT
        MMK_HUGE_EXPLICIT
    uint64_t MMK_TO_END
    ctypedef struct mmk_region_options:
        mmk_mode mode
        mmk_backend backend
        uint64_t offset
        uint64_t length
        uint64_t reserve
        void *place
        bint populate
        bint sparse
    ctypedef struct mmk_region:
        unsigned char *data
        size_t size_bytes
        size_t extent_bytes
        mmk_file file
        mmk_mode mode
        mmk_backend backend
        mmk_huge huge
        unsigned protection
        bint to_end
        bint sparse
        c_bool lost_writes
        uint64_t offset
        void *place
        size_t lead_bytes
        size_t reserved_bytes
        mmk_fault_record faults
    ctypedef struct mmk_resize:
        pass
    mmk_status mmk_region_open(mmk_region *region, const mmk_file *file,
                               const mmk_region_options *options)
    mmk_status mmk_region_anonymous(mmk_region *region, size_t size_bytes, size_t reserve_bytes,
                                    bint want_huge)
    mmk_status mmk_region_close_begin(mmk_region *region)
    mmk_status mmk_region_close_deferred(mmk_region *region)
    void mmk_region_close_finish(mmk_region *region)
    mmk_status mmk_region_rest(mmk_region *region)
    bint mmk_region_wake(mmk_region *region)
    mmk_status mmk_region_pin(mmk_region *region)
    void mmk_region_unpin(mmk_region *region)
    mmk_status mmk_region_export(mmk_region *region)
    void mmk_region_unexport(mmk_region *region)
    size_t mmk_region_exports(const mmk_region *region)
    bint mmk_region_closed(const mmk_region *region)
    mmk_status mmk_region_plan(mmk_region *region, size_t size_bytes, mmk_resize *plan)
    mmk_status mmk_region_reshape(mmk_region *region, size_t size_bytes)
    mmk_status mmk_region_settle(mmk_region *region, const mmk_resize *plan, mmk_status outcome)
    mmk_status mmk_region_follow(mmk_region *region, size_t *size_bytes)
    mmk_status mmk_region_fit(mmk_region *region, size_t size_bytes)
    mmk_status mmk_region_measure(mmk_region *region, uint64_t *file_bytes)
    ctypedef struct mmk_append:
        uint64_t file_bytes
        const void *bytes
        size_t length_bytes
        size_t size_bytes
        const void *old_head
        const void *new_head
        size_t head_bytes
        size_t first
        size_t last
    mmk_status mmk_region_append(mmk_region *region, const mmk_append *what, c_bool *stood)
    mmk_status mmk_region_protect(mmk_region *region, unsigned protection)
    mmk_status mmk_region_label(mmk_region *region, const char *name)
    mmk_status mmk_region_read(mmk_region *region, size_t offset, void *to, size_t length_bytes)
    mmk_status mmk_region_write(mmk_region *region, size_t offset, const void *data,
                                size_t length_bytes)
    mmk_status mmk_region_move(mmk_region *region, size_t to, size_t origin, size_t length_bytes)
    unsigned mmk_region_fault_state(const mmk_region *region)
    mmk_status mmk_region_inspect(mmk_region *region)
    mmk_status mmk_region_recover(mmk_region *region)
    mmk_status mmk_region_flush(mmk_region *region, size_t offset, size_t length_bytes,
                                mmk_flush_level level)
    mmk_status mmk_region_advise(mmk_region *region, size_t offset, size_t length_bytes,
                                 mmk_advice advice)
    ctypedef struct mmk_range:
        size_t offset
        size_t length_bytes
    mmk_status mmk_region_prefetch(mmk_region *region, const mmk_range *ranges, size_t count)
    mmk_status mmk_region_populate(mmk_region *region, size_t offset, size_t length_bytes)
    mmk_status mmk_region_evict(mmk_region *region, size_t offset, size_t length_bytes)
    mmk_status mmk_region_lock(mmk_region *region, size_t offset, size_t length_bytes,
                               bint on_fault)
    mmk_status mmk_region_unlock(mmk_region *region, size_t offset, size_t length_bytes)
    size_t mmk_region_page_count(const mmk_region *region, size_t offset, size_t length_bytes)
    mmk_status mmk_region_residency(mmk_region *region, size_t offset, size_t length_bytes,
                                    unsigned char *pages, c_bool *known)
    mmk_status mmk_region_cached(mmk_region *region, size_t offset, size_t length_bytes,
                                 mmk_cached *cached)

    mmk_status mmk_region_resize_private(mmk_region *region, size_t size_bytes)
    void mmk_region_mark_lost(mmk_region *region, int code)

cdef extern from "mmk/changes.h" nogil:
    ctypedef int mmk_changes_method
    enum:
        MMK_CHANGES_COUNT
    const char *mmk_changes_name(mmk_changes_method method)
    bint mmk_changes_supported(mmk_changes_method method)
    ctypedef struct mmk_changes:
        mmk_run *runs
        size_t count
    mmk_status mmk_region_changes(mmk_region *region, mmk_changes_method method,
                                  mmk_region *base, mmk_changes *changes)
    mmk_status mmk_region_discard(mmk_region *region, const mmk_run *runs, size_t count)

cdef extern from "mmk/gather.h" nogil:
    ctypedef struct mmk_gather:
        size_t origin
        Py_ssize_t stride
        size_t row_bytes
        size_t row_count
        const int64_t *rows
        size_t count
        unsigned char *out
        size_t out_stride
        const unsigned char *stop
    size_t mmk_gather_find_bad(const int64_t *rows, size_t count, size_t row_count)
    mmk_status mmk_region_gather(mmk_region *region, const mmk_gather *job)
    mmk_status mmk_region_prefetch_rows(mmk_region *region, const mmk_gather *job)
    bint mmk_region_rows_damaged(mmk_region *region, const mmk_gather *job)

cdef extern from "mmk/scalar.h" nogil:
    enum:
        MMK_SCALAR_INVALID
        MMK_SCALAR_SIGNED
        MMK_SCALAR_UNSIGNED
        MMK_SCALAR_FLOAT
        MMK_SCALAR_BOOL
        MMK_SCALAR_CHAR
    ctypedef struct mmk_scalar:
        int kind
        unsigned size_bytes
        bint swapped
    mmk_scalar mmk_scalar_parse(const char *code, size_t length)
    uint64_t mmk_scalar_unpack(mmk_scalar scalar, const void *raw)
    void mmk_scalar_pack(mmk_scalar scalar, uint64_t bits, void *raw)

cdef extern from "os/os.h" nogil:
    size_t mmk_os_page_bytes()
    size_t mmk_os_granularity_bytes()
    mmk_status mmk_os_reserve(size_t reserved_bytes, void **base)
    mmk_status mmk_os_unmap(void *base, size_t mapped_bytes, size_t reserved_bytes)
    mmk_status mmk_os_file_read(mmk_handle file, uint64_t offset, void *buffer,
                                size_t length_bytes, size_t *done)
    mmk_status mmk_os_file_write(mmk_handle file, uint64_t offset, const void *buffer,
                                 size_t length_bytes)
    mmk_status mmk_os_file_allocate(mmk_handle file, uint64_t offset, uint64_t length_bytes)
    mmk_status mmk_os_file_resize(mmk_handle file, uint64_t size_bytes)
    mmk_status mmk_os_cached(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                             mmk_cached *cached)

    mmk_status mmk_os_file_size(mmk_handle file, uint64_t *size_bytes)
    void mmk_os_file_close(mmk_handle file)

cdef extern from "mmk/scatter.h" nogil:
    ctypedef struct mmk_piece:
        const void *at
        size_t length_bytes
    mmk_status mmk_pieces_write(mmk_handle file, uint64_t offset, mmk_piece *pieces, size_t count)
    mmk_status mmk_runs_write(mmk_handle file, const mmk_run *runs, size_t count, const void *data)
    mmk_status mmk_runs_read(mmk_handle file, const mmk_run *runs, size_t count, void *data)

cdef extern from "os/disk.h" nogil:
    ctypedef struct mmk_identity:
        uint64_t device
        uint64_t inode
        uint64_t birth_ns
    mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity)
    mmk_status mmk_os_file_blocks(mmk_handle file, uint64_t *allocated_bytes)
    mmk_status mmk_os_file_sync_data(mmk_handle file)
    ctypedef enum mmk_name:
        MMK_NAME_FREE
        MMK_NAME_TAKEN
        MMK_NAME_LINK
    mmk_name mmk_os_name_look(const mmk_path_char *path)
    mmk_status mmk_os_name_leads_to(const mmk_path_char *path, mmk_handle file, c_bool *leads)
    mmk_status mmk_os_directory_sync(const mmk_path_char *path)
    mmk_status mmk_os_file_lock(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                                bint exclusive, c_bool *obtained)
    mmk_status mmk_os_file_unlock(mmk_handle file, uint64_t offset, uint64_t length_bytes)
    mmk_status mmk_os_file_clone(mmk_handle to, mmk_handle source)

# What works on memory step by step, and knows nothing of Python.
ctypedef void (*visitor)(void *context) noexcept nogil


cdef class Visited:
    """Memory that other extensions may work on: held meanwhile, and its faults are seen."""
    cdef const unsigned char *_enter(self, size_t *size) except NULL
    cdef const unsigned char *_enter_briefly(self, size_t *size) except NULL
    cdef void _leave(self) noexcept
    cdef bint _visit(self, visitor work, void *context, size_t offset, size_t length) noexcept nogil
    cdef object _lost(self)

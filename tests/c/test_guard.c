/* Faults: repaired, recorded, told to whom they concern, and nobody else's business disturbed. */
#include "check.h"

static const mmk_path_char *const path = PATH("guard.bin");

#ifndef _WIN32

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static volatile int notified;
static void on_main_fault(void) { notified++; }

static uint64_t sum(const volatile unsigned char *data, size_t from, size_t to) {
    uint64_t total = 0;
    for (size_t i = from; i < to; i++)
        total += data[i];
    return total;
}

static mmk_region *open_pages(mmk_mode mode, size_t pages) {
    mmk_region_options options = options_for(mode);
    return region_over(path, pages * mmk_os_page_bytes(), &options);
}

static void drop_fault(mmk_region *region) {
    mmk_fault fault;
    mmk_guard_take(&region->faults, &fault);
}

static void test_truncated_pages_read_as_poison_in_one_go(void) {
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_WRITE, MMK_MODE_COPY};
    size_t page = mmk_os_page_bytes(), size = 100 * page;
    for (size_t i = 0; i < 3; i++) {
        mmk_region *region = open_pages(modes[i], 100);
        mmk_fault fault;
        notified = 0;
        CHECK_EQ(sum(region->data, 50 * page, 50 * page + 1), byte_at(50 * page));
        REQUIRE_EQ(truncate(path, (off_t)(10 * page + 5)), 0);
        CHECK(patterned(region->data, 10 * page + 5, 0));
        CHECK(all_bytes(region->data + 10 * page + 5, page - 5, 0)); /* inside the page */
        CHECK_EQ(mmk_region_fault_state(region), 0);
        /* Backwards, as some copies run: still one fault. */
        CHECK_EQ(region->data[size - 1], 0xFF);
        CHECK(all_bytes(region->data + 11 * page, size - 11 * page, 0xFF));
        CHECK_EQ(atomic_load(&region->faults.count), 1);
        CHECK_EQ(notified, 1);
        CHECK_EQ(mmk_region_fault_state(region), MMK_FAULT_PENDING | MMK_FAULT_DAMAGED);
        CHECK(!mmk_guard_damaged(&region->faults, region->data, 11 * page));
        CHECK(mmk_guard_damaged(&region->faults, region->data, 11 * page + 1));
        CHECK(mmk_guard_untold(&region->faults));
        CHECK(mmk_guard_take(&region->faults, &fault));
        CHECK_EQ(fault.cause, MMK_CAUSE_TRUNCATED);
        CHECK_EQ(fault.code, ENXIO);
        CHECK_EQ(fault.offset, size - 1);
        CHECK_EQ(fault.count, 1);
        CHECK(!mmk_guard_take(&region->faults, &fault));
        CHECK_EQ(mmk_region_fault_state(region), MMK_FAULT_DAMAGED);
        if (modes[i] != MMK_MODE_READ) {
            region->data[size - 1] = 1; /* poison can be written to */
            CHECK_EQ(region->data[size - 1], 1);
        }
        if (modes[i] == MMK_MODE_WRITE)
            CHECK_EQ(mmk_region_flush(region, 0, page, MMK_FLUSH_OS), MMK_FAULTED);
        close_region(region);
    }
}

static void test_faults_below_the_poison_extend_it(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region *region = open_pages(MMK_MODE_WRITE, 20);
    mmk_fault fault;
    REQUIRE_EQ(truncate(path, (off_t)(15 * page)), 0);
    CHECK_EQ(region->data[15 * page], 0xFF);
    region->data[16 * page] = 7;
    REQUIRE_EQ(truncate(path, (off_t)(5 * page)), 0);
    CHECK_EQ(region->data[8 * page + 3], 0xFF);
    CHECK_EQ(region->data[16 * page], 7); /* what was stored in poison stays */
    CHECK(mmk_guard_take(&region->faults, &fault));
    CHECK_EQ(fault.count, 2);
    CHECK_EQ(fault.offset, 15 * page); /* the first that nobody was told of */
    close_region(region);
}

static void test_region_that_begins_inside_a_page(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region_options options = options_for(MMK_MODE_READ);
    options.offset = page + 100;
    mmk_region *region = region_over(path, 10 * page, &options);
    mmk_fault fault;
    REQUIRE_EQ(truncate(path, 0), 0);
    CHECK(all_bytes(region->data, region->size_bytes, 0xFF));
    CHECK(mmk_guard_take(&region->faults, &fault));
    CHECK_EQ(fault.offset, page + 100);
    close_region(region);
}

static void test_calls_report_what_they_met(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region *region = open_pages(MMK_MODE_WRITE, 10);
    unsigned char bytes[100];
    uint64_t value = 0;
    REQUIRE_EQ(truncate(path, (off_t)page), 0);
    CHECK_EQ(mmk_region_read(region, 0, bytes, 100), MMK_OK);
    CHECK_EQ(mmk_region_read(region, 2 * page, bytes, 100), MMK_FAULTED);
    CHECK(all_bytes(bytes, 100, 0xFF));
    CHECK_EQ(mmk_guard_copy(&region->faults, &value, region->data + 3 * page, 8), MMK_FAULTED);
    CHECK(value == UINT64_MAX);
    drop_fault(region);
    REQUIRE_EQ(truncate(path, 0), 0);
    CHECK_EQ(mmk_region_populate(region, 0, page), MMK_FAULTED);
    mmk_resize plan;
    CHECK_EQ(mmk_region_plan(region, 20 * page, &plan), MMK_FAULTED);
    close_region(region);
}

static void test_recovery_after_the_file_has_grown_back(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region *region = open_pages(MMK_MODE_WRITE, 10);
    mmk_file file;
    REQUIRE_EQ(truncate(path, (off_t)page), 0);
    CHECK_EQ(region->data[9 * page], 0xFF);
    drop_fault(region);
    CHECK_EQ(mmk_region_recover(region), MMK_FAULTED); /* still too short */
    REQUIRE_EQ(truncate(path, (off_t)(10 * page)), 0);
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE, &file), MMK_OK);
    CHECK_EQ(mmk_os_file_write(file.handle, 9 * page, "back", 4), MMK_OK);
    mmk_file_close(&file);
    CHECK_EQ(mmk_region_recover(region), MMK_OK);
    CHECK_EQ(mmk_region_fault_state(region), 0);
    CHECK(memcmp(region->data + 9 * page, "back", 4) == 0);
    CHECK_EQ(region->data[5 * page], 0);
    region->data[9 * page] = 'p';
    CHECK_EQ(mmk_region_flush(region, 0, 10 * page, MMK_FLUSH_DISK), MMK_OK);
    CHECK_EQ(file_byte(path, 9 * page), 'p');
    REQUIRE_EQ(truncate(path, (off_t)page), 0); /* and the guard still watches */
    CHECK_EQ(region->data[9 * page], 0xFF);
    CHECK(mmk_guard_untold(&region->faults));
    drop_fault(region);
    close_region(region);
}

/* --- threads ---------------------------------------------------------------------------------- */

typedef struct {
    mmk_region *region;
    size_t from, to;
    uint64_t total;
    bool told;
} walk;

static void *walk_over(void *context) {
    walk *job = context;
    mmk_fault fault;
    job->total = sum(job->region->data, job->from, job->to);
    job->told = mmk_guard_take(&job->region->faults, &fault);
    return NULL;
}

static void test_each_thread_is_told_of_its_own_faults(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region *region = open_pages(MMK_MODE_READ, 20);
    mmk_fault fault;
    notified = 0;
    REQUIRE_EQ(truncate(path, (off_t)(10 * page)), 0);
    CHECK_EQ(region->data[15 * page], 0xFF);
    CHECK_EQ(notified, 1);
    /* Another thread meets no fault of its own, but nobody has been told: it is. */
    walk job = {region, 0, page, 0, false};
    pthread_t thread;
    pthread_create(&thread, NULL, walk_over, &job);
    pthread_join(thread, NULL);
    CHECK(job.told);
    CHECK(!mmk_guard_untold(&region->faults));
    CHECK(mmk_guard_owes_me(&region->faults));
    CHECK(mmk_guard_take(&region->faults, &fault)); /* the main thread is still owed its own */
    CHECK(!mmk_guard_owes_me(&region->faults));
    CHECK(!mmk_guard_take(&region->faults, &fault));
    /* A second thread's fault notifies nobody by itself. */
    REQUIRE_EQ(truncate(path, 0), 0);
    job = (walk){region, 5 * page, 6 * page, 0, false};
    pthread_create(&thread, NULL, walk_over, &job);
    pthread_join(thread, NULL);
    CHECK_EQ(job.total, 0xFF * page);
    CHECK(job.told);
    CHECK_EQ(notified, 1);
    /* The main thread may have read the new poison without a fault: it is told, once. */
    CHECK(!mmk_guard_owes_me(&region->faults));
    CHECK(mmk_guard_take(&region->faults, &fault));
    CHECK(!mmk_guard_take(&region->faults, &fault));
    close_region(region);
}

enum { THREADS = 8, STEP = 64 };

static atomic_bool stop;

/* Stores one value into every eighth slot, again and again. */
static void *store_and_look(void *context) {
    walk *job = context;
    volatile unsigned char *data = job->region->data;
    unsigned char value = (unsigned char)(job->from / STEP + 1);
    uint64_t lost = 0;
    for (bool last = false, done = false; !done; done = last) {
        last = atomic_load(&stop);
        for (size_t i = job->from; i < job->to; i += THREADS * STEP) {
            data[i] = value;
            /* Poison may have come in between, but nothing else. */
            if (data[i] != value && data[i] != 0xFF)
                lost++;
        }
    }
    job->total = lost;
    return NULL;
}

static void test_eight_threads_and_a_truncation(void) {
    size_t page = mmk_os_page_bytes(), pages = 256, keep = 7;
    for (int round = 0; round < 10; round++) {
        mmk_region *region = open_pages(MMK_MODE_WRITE, pages);
        pthread_t threads[THREADS];
        walk jobs[THREADS];
        atomic_store(&stop, round % 2 == 1);
        if (round % 2 == 1) /* all meet it at once, in their only pass */
            REQUIRE_EQ(truncate(path, (off_t)(keep * page)), 0);
        for (size_t i = 0; i < THREADS; i++) {
            jobs[i] = (walk){region, i * STEP, pages * page, 0, false};
            pthread_create(&threads[i], NULL, store_and_look, &jobs[i]);
        }
        if (round % 2 == 0) /* in the middle of one */
            REQUIRE_EQ(truncate(path, (off_t)(keep * page)), 0);
        atomic_store(&stop, true);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            CHECK_EQ(jobs[i].total, 0);
        }
        CHECK(atomic_load(&region->faults.count) >= 1);
        CHECK(atomic_load(&region->faults.count) <= THREADS);
        /* No thread laid fresh poison over what another had stored since. */
        size_t missing = 0;
        for (size_t i = keep * page; i < pages * page; i += STEP)
            missing += region->data[i] != i / STEP % THREADS + 1;
        CHECK_EQ(missing, 0);
        drop_fault(region);
        close_region(region);
    }
}

/* --- other people's signals ------------------------------------------------------------------- */

static sigjmp_buf back;
static volatile int foreign;

static void foreign_handler(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    foreign++;
    if (info->si_code > 0)
        siglongjmp(back, 1);
}

static void test_foreign_signals_reach_their_handler(void) {
    size_t page = mmk_os_page_bytes();
    struct sigaction theirs, before;
    memset(&theirs, 0, sizeof theirs);
    theirs.sa_sigaction = foreign_handler;
    theirs.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&theirs.sa_mask);
    REQUIRE_EQ(sigaction(SIGBUS, &theirs, &before), 0);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_DISPLACED);
    CHECK_EQ(mmk_guard_install(false), MMK_OK);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_KEPT);

    mmk_file file = fresh_file(PATH("foreign.bin"), page);
    unsigned char *own = mmap(NULL, page, PROT_READ, MAP_SHARED, (int)file.handle, 0);
    REQUIRE_EQ(own != MAP_FAILED, 1);
    REQUIRE_EQ(truncate("foreign.bin", 0), 0);
    uint64_t passed_on = mmk_guard_foreign_signals();
    if (sigsetjmp(back, 1) == 0)
        sum(own, 0, 1);
    CHECK_EQ(foreign, 1);
    CHECK_EQ(mmk_guard_foreign_signals(), passed_on + 1);
    CHECK_EQ(raise(SIGBUS), 0);
    CHECK_EQ(foreign, 2);
    munmap(own, page);
    mmk_file_close(&file);
    unlink("foreign.bin");

    mmk_region *region = open_pages(MMK_MODE_READ, 3); /* ours are still ours */
    REQUIRE_EQ(truncate(path, 0), 0);
    CHECK_EQ(region->data[0], 0xFF);
    CHECK_EQ(foreign, 2);
    drop_fault(region);
    close_region(region);

    mmk_guard_enable(false);
    mmk_guard_step_down();
    struct sigaction now;
    CHECK(!mmk_guard_enabled());
    CHECK_EQ(sigaction(SIGBUS, NULL, &now), 0);
    CHECK(now.sa_sigaction == foreign_handler);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_KEPT); /* on purpose */
    mmk_guard_enable(true);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_DISPLACED);
    CHECK_EQ(mmk_guard_install(false), MMK_OK);
}

static int status_of_child(void (*work)(void)) {
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        work();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

static void die_of_foreign_fault(void) {
    size_t page = mmk_os_page_bytes();
    signal(SIGBUS, SIG_DFL);
    mmk_guard_install(false);
    mmk_file file = fresh_file(PATH("foreign.bin"), page);
    unsigned char *own = mmap(NULL, page, PROT_READ, MAP_SHARED, (int)file.handle, 0);
    if (truncate("foreign.bin", 0) == 0)
        sum(own, 0, 1);
}

static mmk_region *inherited;

static void meet_fault_in_child(void) {
    mmk_fault fault;
    if (inherited->data[mmk_os_page_bytes()] != 0xFF ||
        !mmk_guard_take(&inherited->faults, &fault) || fault.cause != MMK_CAUSE_TRUNCATED)
        _exit(1);
    if (mmk_region_close_begin(inherited) != MMK_OK)
        _exit(2);
    mmk_region_close_finish(inherited);
}

static void test_fork_and_default_action(void) {
    int status = status_of_child(die_of_foreign_fault);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    unlink("foreign.bin");

    inherited = open_pages(MMK_MODE_READ, 3);
    CHECK_EQ(mmk_region_pin(inherited), MMK_OK); /* a call that the child is not in */
    REQUIRE_EQ(truncate(path, 0), 0);
    status = status_of_child(meet_fault_in_child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    mmk_region_unpin(inherited);
    CHECK_EQ(inherited->data[0], 0xFF);
    drop_fault(inherited);
    close_region(inherited);
}

static void test_tail_of_a_private_region_outlives_the_file(void) {
    size_t page = mmk_os_page_bytes(), size = 4 * page + 100;
    mmk_region_options options = options_for(MMK_MODE_COPY);
    options.reserve = 32 * page;
    mmk_region *region = region_over(path, size, &options);
    mmk_fault fault;
    REQUIRE_EQ(mmk_region_resize_private(region, 9 * page), MMK_OK);
    memset(region->data + 5 * page, 7, 4 * page);
    CHECK_EQ(mmk_region_inspect(region), MMK_OK);
    REQUIRE_EQ(mmk_os_file_resize(region->file.handle, page), MMK_OK);
    CHECK_EQ(mmk_region_inspect(region), MMK_FAULTED);
    CHECK_EQ(*(volatile unsigned char *)(region->data + 2 * page), 0xFF);
    CHECK(mmk_guard_damaged(&region->faults, region->data + 4 * page, 1));
    CHECK(!mmk_guard_damaged(&region->faults, region->data + 5 * page, 4 * page));
    CHECK(all_bytes(region->data + 5 * page, 4 * page, 7));
    CHECK_EQ(mmk_region_resize_private(region, 20 * page), MMK_FAULTED);
    mmk_guard_take(&region->faults, &fault);
    CHECK_EQ(fault.cause, MMK_CAUSE_TRUNCATED);
    close_region(region);
}

int main(void) {
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_DISPLACED);
    REQUIRE_EQ(mmk_guard_install(false), MMK_OK);
    mmk_guard_on_main_fault(on_main_fault);
    test_tail_of_a_private_region_outlives_the_file();
    test_truncated_pages_read_as_poison_in_one_go();
    test_faults_below_the_poison_extend_it();
    test_region_that_begins_inside_a_page();
    test_calls_report_what_they_met();
    test_recovery_after_the_file_has_grown_back();
    test_each_thread_is_told_of_its_own_faults();
    test_eight_threads_and_a_truncation();
    test_foreign_signals_reach_their_handler();
    test_fork_and_default_action();
    remove_file(path);
    DONE("tests/c/test_guard");
}

#else

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include "guard/registry.h"

/* A mapped file cannot be cut here, so memory that is reserved and not there plays its part. */
typedef struct {
    unsigned char *memory;
    mmk_fault_record record;
    int ran;
} scene;

enum { PAGES = 4 };
static size_t page_bytes;
static volatile int notified, foreign;

static void on_main_fault(void) { notified++; }

static scene *new_scene(void) {
    scene *made = calloc(1, sizeof *made);
    made->memory = VirtualAlloc(NULL, PAGES * page_bytes, MEM_RESERVE, PAGE_NOACCESS);
    VirtualAlloc(made->memory, page_bytes, MEM_COMMIT, PAGE_READWRITE);
    made->record.file = MMK_NO_HANDLE;
    made->record.protection = 3;
    made->record.page_bytes = page_bytes;
    mmk_guard_describe(&made->record, made->memory, PAGES * page_bytes);
    REQUIRE_EQ(mmk_guard_publish(&made->record), MMK_OK);
    return made;
}

static void drop_scene(scene *old) {
    mmk_guard_retract(&old->record);
    VirtualFree(old->memory, 0, MEM_RELEASE);
    free(old);
}

static void touch_first_page(void *context) {
    scene *here = context;
    *(volatile unsigned char *)here->memory = 5;
    here->ran++;
}

static void touch_missing_page(void *context) {
    scene *here = context;
    here->ran++;
    *(volatile unsigned char *)(here->memory + 2 * page_bytes + 3) = 5;
    here->ran += 100;
}

static void test_fault_ends_the_work_and_is_recorded(void) {
    scene *here = new_scene();
    mmk_fault fault;
    for (int i = 1; i <= 100; i++) {
        notified = 0;
        here->ran = 0;
        CHECK_EQ(mmk_guard_run(&here->record, touch_first_page, here), MMK_OK);
        CHECK_EQ(here->ran, 1);
        CHECK_EQ(mmk_guard_run(&here->record, touch_missing_page, here), MMK_FAULTED);
        CHECK_EQ(here->ran, 2);
        CHECK_EQ(notified, 1);
        CHECK(mmk_guard_take(&here->record, &fault));
        CHECK_EQ(fault.cause, MMK_CAUSE_NO_MEMORY);
        CHECK_EQ(fault.offset, 2 * page_bytes + 3);
        CHECK_EQ(fault.count, i);
        CHECK(!mmk_guard_take(&here->record, &fault));
    }
    drop_scene(here);
}

static void test_scalar_copy_faults(void) {
    scene *here = new_scene();
    mmk_fault fault;
    double value = 1.5;
    CHECK_EQ(mmk_guard_copy(&here->record, here->memory + 8, &value, 8), MMK_OK);
    CHECK_EQ(mmk_guard_copy(&here->record, &value, here->memory + page_bytes, 8), MMK_FAULTED);
    CHECK(value == 1.5);
    CHECK(mmk_guard_take(&here->record, &fault));
    drop_scene(here);
}

typedef struct {
    scene *outer, *inner;
    mmk_status inner_status;
} nest;

static void run_inside(void *context) {
    nest *job = context;
    job->inner_status = mmk_guard_run(&job->inner->record, touch_missing_page, job->inner);
    touch_missing_page(job->outer);
}

static void test_nested_work_returns_to_its_own_caller(void) {
    nest job = {new_scene(), new_scene(), MMK_OK};
    mmk_fault fault;
    CHECK_EQ(mmk_guard_run(&job.outer->record, run_inside, &job), MMK_FAULTED);
    CHECK_EQ(job.inner_status, MMK_FAULTED);
    CHECK(mmk_guard_take(&job.inner->record, &fault));
    CHECK(mmk_guard_take(&job.outer->record, &fault));
    CHECK_EQ(fault.count, 1);
    drop_scene(job.outer);
    drop_scene(job.inner);
}

static DWORD WINAPI run_on_thread(void *context) {
    scene *here = context;
    mmk_fault fault;
    CHECK_EQ(mmk_guard_run(&here->record, touch_missing_page, here), MMK_FAULTED);
    return mmk_guard_take(&here->record, &fault) ? 1 : 0;
}

static void test_other_threads(void) {
    scene *here = new_scene();
    DWORD told = 0;
    notified = 0;
    HANDLE thread = CreateThread(NULL, 0, run_on_thread, here, 0, NULL);
    WaitForSingleObject(thread, INFINITE);
    CHECK(GetExitCodeThread(thread, &told));
    CloseHandle(thread);
    CHECK_EQ(told, 1);
    CHECK_EQ(notified, 0);
    drop_scene(here);
}

static unsigned char *foreign_page;

static LONG CALLBACK foreign_handler(EXCEPTION_POINTERS *what) {
    if (what->ExceptionRecord->ExceptionCode != EXCEPTION_ACCESS_VIOLATION)
        return EXCEPTION_CONTINUE_SEARCH;
    foreign++;
    VirtualAlloc(foreign_page, page_bytes, MEM_COMMIT, PAGE_READWRITE);
    return EXCEPTION_CONTINUE_EXECUTION;
}

static void touch_foreign_page(void *context) {
    ++*(int *)context;
    *(volatile unsigned char *)foreign_page = 9;
    ++*(int *)context;
}

static void test_foreign_exceptions_reach_their_handler(void) {
    scene *here = new_scene();
    int ran = 0;
    void *registration = AddVectoredExceptionHandler(0, foreign_handler);
    foreign_page = VirtualAlloc(NULL, page_bytes, MEM_RESERVE, PAGE_NOACCESS);
    uint64_t passed_on = mmk_guard_foreign_signals();
    CHECK_EQ(mmk_guard_run(&here->record, touch_foreign_page, &ran), MMK_OK);
    CHECK_EQ(ran, 2);
    CHECK_EQ(foreign, 1);
    CHECK_EQ(mmk_guard_foreign_signals(), passed_on + 1);
    RemoveVectoredExceptionHandler(registration);
    VirtualFree(foreign_page, 0, MEM_RELEASE);
    drop_scene(here);
}

static void test_mapped_file_cannot_be_cut(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 100000, &options);
    mmk_file file;
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE, &file), MMK_OK);
    CHECK_EQ(mmk_os_file_resize(file.handle, 10), ERROR_USER_MAPPED_FILE);
    mmk_file_close(&file);
    CHECK(patterned(region->data, 100000, 0));
    close_region(region);
}

static void test_stepping_down_and_coming_back(void) {
    mmk_guard_enable(false);
    mmk_guard_step_down();
    CHECK(!mmk_guard_enabled());
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_KEPT);
    CHECK_EQ(mmk_guard_install(false), MMK_OK);
    mmk_guard_enable(true);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_DISPLACED);
    CHECK_EQ(mmk_guard_install(false), MMK_OK);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_KEPT);
    test_scalar_copy_faults();
}

int main(void) {
    page_bytes = mmk_os_page_bytes();
    REQUIRE_EQ(mmk_guard_install(false), MMK_OK);
    mmk_guard_on_main_fault(on_main_fault);
    test_fault_ends_the_work_and_is_recorded();
    test_scalar_copy_faults();
    test_nested_work_returns_to_its_own_caller();
    test_other_threads();
    test_foreign_exceptions_reach_their_handler();
    test_mapped_file_cannot_be_cut();
    test_stepping_down_and_coming_back();
    remove_file(path);
    DONE("tests/c/test_guard");
}

#endif

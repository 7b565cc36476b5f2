/* Forking and joining within microseconds, without waiting for threads that do not run.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* All in nanoseconds. A hand-over from processor to processor takes some 200, waking a sleeper 5000
 * to 50000, and the kernel leaves a processor to a busy neighbour for some 3000000. */
#define SPIN       20000u  /* waiting awake: longer than most parts, and than what lies between */
#define PART       10000u  /* work of a part, so that claiming it costs little */
#define WAKE_WORTH 100000u /* work to do before it pays to wake the helpers */
#define ALONE_MOST 200000000u /* longest time without help after one wait */

#define CAUTION_LEAST    4  /* time without help, as a multiple of the time that was lost: */
#define CAUTION_MOST     64 /* doubled while help goes on costing more than it is worth */
#define PARTS_PER_THREAD 16 /* at most: a late thread then costs a sixteenth */
#define ENDING           UINT32_MAX /* value of `left` that ends the helpers */

uint32_t rt_processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    return count < 1 ? 1 : (uint32_t)count;
}

static uint64_t now(void)
{
    struct timespec time; /* answered without a system call */
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#elif defined(__riscv)
    __asm__ volatile(".insn i 0x0F, 0, x0, x0, 0x010"); /* pause, a fence where it is unknown */
#endif
}

/* Sleeps while the word has this value; may return early. */
static void sleep_on(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word, uint32_t sleepers)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, sleepers, NULL, NULL, 0);
}

/* --- claiming --- */

/* Takes a part that nobody has; false: there is none.
 *
 * Who holds a part may read kernel, arguments and parts, and the caller's memory behind arguments:
 * the caller changes them only when every claimed part is finished. Nothing may be read before. A
 * thread may be stopped anywhere in here for as long as it likes, and `left` may meanwhile belong
 * to a later kernel: if the exchange succeeds, the part is one of that kernel, and so is all that
 * is read afterwards; so claims need no generation. Acquire pairs with the caller's store of
 * `left`, directly or through the exchanges of others. */
static bool claim(rt_pool *pool, uint32_t *part)
{
    uint32_t left = atomic_load_explicit(&pool->left, memory_order_relaxed);
    while (left != 0 && left != ENDING)
        if (atomic_compare_exchange_weak_explicit(&pool->left, &left, left - 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            *part = pool->parts - left;
            return true;
        }
    return false;
}

/* --- helpers --- */

/* Returns when there may be something to claim. */
static void wait_for_parts(rt_pool *pool)
{
    for (uint32_t i = 0; i < pool->looks; i++) {
        if (atomic_load_explicit(&pool->left, memory_order_relaxed) != 0)
            return;
        pause_briefly();
    }
    /* Counted as asleep before the kernel compares `left`, which the caller sets before it reads
     * the count: one of the two sees the other. */
    atomic_fetch_add(&pool->asleep, 1);
    while (atomic_load(&pool->left) == 0)
        sleep_on(&pool->left, 0);
    atomic_fetch_sub(&pool->asleep, 1);
}

static void *help(void *self)
{
    rt_pool *pool = self;
    while (atomic_load_explicit(&pool->left, memory_order_relaxed) != ENDING) {
        uint32_t part;
        if (!claim(pool, &part)) {
            wait_for_parts(pool);
            continue;
        }
        pool->kernel(pool->arguments, part, pool->parts);
        /* From here on the kernel may be another one; waking a caller too often does no harm. */
        if (atomic_fetch_add(&pool->finished, 1) + 1 == atomic_load(&pool->awaited))
            wake(&pool->finished, 1);
    }
    return NULL;
}

/* --- the caller --- */

/* Waits until helpers have finished so many parts. */
static void wait_for_helpers(rt_pool *pool, uint32_t parts)
{
    for (uint32_t i = 0; i <= pool->looks; i++) {
        if (atomic_load_explicit(&pool->finished, memory_order_acquire) == parts)
            return;
        pause_briefly();
    }
    atomic_store(&pool->awaited, parts);
    for (uint32_t finished; (finished = atomic_load(&pool->finished)) != parts;)
        sleep_on(&pool->finished, finished);
    atomic_store(&pool->awaited, 0);
}

/* Waiting for a part that was claimed last takes no longer than a part. If it did, a helper lost
 * its processor to somebody else, who will want it again: asking at once for help would lose as
 * much each time. */
static void judge_wait(rt_pool *pool, uint64_t waited, uint64_t part)
{
    if (waited <= SPIN + part * 2)
        return;
    const uint64_t lost = waited - part, end = now();
    const bool soon = end - pool->alone_until < lost * CAUTION_LEAST * 2;
    pool->caution = !soon || pool->caution == 0 ? CAUTION_LEAST : pool->caution * 2;
    if (pool->caution > CAUTION_MOST)
        pool->caution = CAUTION_MOST;
    const uint64_t alone = lost * pool->caution;
    pool->alone_until = end + (alone < ALONE_MOST ? alone : ALONE_MOST);
    pool->alone = true;
}

/* Into how many parts to cut work; 1: it is not worth sharing now. */
static uint32_t choose_parts(rt_pool *pool, uint64_t work)
{
    if (work < 2 * PART)
        return 1;
    if (pool->alone && now() < pool->alone_until)
        return 1;
    pool->alone = false;
    if (atomic_load_explicit(&pool->asleep, memory_order_relaxed) == pool->threads - 1) {
        pool->unshared += work;
        if (pool->unshared < WAKE_WORTH)
            return 1;
    }
    pool->unshared = 0;
    const uint64_t most = pool->threads * PARTS_PER_THREAD;
    return (uint32_t)(work / PART < most ? work / PART : most);
}

void rt_pool_share(void *self, tandem_kernel kernel, const void *arguments, uint64_t work)
{
    rt_pool *pool = self;
    const uint32_t parts = choose_parts(pool, work);
    if (parts == 1) {
        kernel(arguments, 0, 1);
        return;
    }
    const uint64_t start = now();
    pool->kernel = kernel;
    pool->arguments = arguments;
    pool->parts = parts;
    atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
    atomic_store(&pool->left, parts);
    if (atomic_load(&pool->asleep) > 0)
        wake(&pool->left, parts - 1);
    uint32_t mine = 0;
    for (uint32_t part; claim(pool, &part); mine++)
        kernel(arguments, part, parts);
    if (mine == parts)
        return;
    const uint64_t middle = now();
    wait_for_helpers(pool, parts - mine);
    judge_wait(pool, now() - middle, mine > 0 ? (middle - start) / mine : work / parts);
}

/* --- start and end --- */

static int start_helper(rt_pool *pool, uint32_t number, unsigned char *stack)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);
    if (failure != 0)
        return failure;
    /* The lowest page stays unmapped in effect: running over the stack faults. */
    mprotect(stack, TANDEM_PAGE_BYTES, PROT_NONE);
    failure = pthread_attr_setstack(&attributes, stack + TANDEM_PAGE_BYTES, TANDEM_STACK_BYTES);
    if (failure == 0)
        failure = pthread_create(&pool->helpers[number], &attributes, help, pool);
    pthread_attr_destroy(&attributes);
    return failure;
}

uint32_t rt_pool_looks(uint32_t threads)
{
    if (rt_processors() < threads)
        return 0;
    /* The shortest of a few runs, since any of them may be interrupted. */
    const uint32_t pauses = 64;
    uint64_t shortest = UINT64_MAX;
    for (int run = 0; run < 8; run++) {
        const uint64_t start = now();
        for (uint32_t i = 0; i < pauses; i++)
            pause_briefly();
        const uint64_t time = now() - start;
        shortest = time < shortest ? time : shortest;
    }
    return (uint32_t)(SPIN * pauses / (shortest + 1));
}

int rt_pool_start(rt_pool *pool, uint32_t threads, uint32_t looks, unsigned char *stacks)
{
    pool->looks = looks;
    pool->threads = 1;
    /* Signals are the application's business: helpers take none. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = 0;
    for (uint32_t i = 1; i < threads && failure == 0; i++) {
        failure = start_helper(pool, i, stacks);
        stacks += TANDEM_PAGE_BYTES + TANDEM_STACK_BYTES;
        pool->threads += failure == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0)
        rt_pool_stop(pool);
    return failure;
}

void rt_pool_stop(rt_pool *pool)
{
    if (pool->threads <= 1)
        return;
    atomic_store(&pool->left, ENDING);
    wake(&pool->left, INT_MAX);
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->helpers[i], NULL);
    pool->threads = 1;
}

/* Threads wait by spinning a little and then on a futex: passes follow each other within
 * microseconds while text is being written, and must cost nothing while nobody asks for any.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPIN 2000u

uint32_t rt_processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    return count < 1 ? 1 : (uint32_t)count;
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits while the word has this value. */
static void event_wait(rt_event *event, uint32_t value, uint32_t spin)
{
    for (uint32_t i = 0; i < spin; i++) {
        if (atomic_load_explicit(&event->word, memory_order_acquire) != value)
            return;
        pause_briefly();
    }
    /* The sleeper is counted before the kernel compares the word, and the waker changes the word
     * before it reads the count: one of the two sees the other. */
    atomic_fetch_add(&event->sleepers, 1);
    while (atomic_load(&event->word) == value)
        syscall(SYS_futex, &event->word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    atomic_fetch_sub(&event->sleepers, 1);
}

static void event_wake(rt_event *event)
{
    if (atomic_load(&event->sleepers) > 0)
        syscall(SYS_futex, &event->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void rt_pool_barrier(void *self)
{
    rt_pool *pool = self;
    if (pool->threads == 1)
        return;
    uint32_t passed = atomic_load(&pool->passed.word);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 < pool->threads) {
        event_wait(&pool->passed, passed, pool->spin);
        return;
    }
    atomic_store(&pool->arrived, 0); /* before it opens: the next round may start at once */
    atomic_fetch_add(&pool->passed.word, 1);
    event_wake(&pool->passed);
}

static void *work(void *self)
{
    rt_worker *worker = self;
    rt_pool *pool = worker->pool;
    for (uint32_t seen = 0;; seen++) {
        event_wait(&pool->started, seen, pool->spin);
        if (pool->entry == NULL)
            return NULL;
        pool->entry(pool->frame, worker->number);
        if (atomic_fetch_sub(&pool->running.word, 1) == 1)
            event_wake(&pool->running);
    }
}

static void start_pass(rt_pool *pool, tandem_entry entry, const tandem_frame *frame)
{
    pool->entry = entry;
    pool->frame = frame;
    atomic_store(&pool->running.word, pool->threads - 1);
    atomic_fetch_add(&pool->started.word, 1);
    event_wake(&pool->started);
}

void rt_pool_run(rt_pool *pool, tandem_entry entry, const tandem_frame *frame)
{
    if (pool->threads == 1) {
        entry(frame, 0);
        return;
    }
    start_pass(pool, entry, frame);
    entry(frame, 0);
    for (uint32_t left; (left = atomic_load(&pool->running.word)) > 0;)
        event_wait(&pool->running, left, pool->spin);
}

static int start_worker(rt_pool *pool, uint32_t number, unsigned char *stack)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);
    if (failure != 0)
        return failure;
    /* The lowest page stays unmapped in effect: running over the stack faults. */
    mprotect(stack, TANDEM_PAGE_BYTES, PROT_NONE);
    failure = pthread_attr_setstack(&attributes, stack + TANDEM_PAGE_BYTES, TANDEM_STACK_BYTES);
    rt_worker *worker = &pool->workers[number];
    *worker = (rt_worker){.pool = pool, .number = number};
    if (failure == 0)
        failure = pthread_create(&worker->thread, &attributes, work, worker);
    pthread_attr_destroy(&attributes);
    return failure;
}

uint32_t rt_pool_spin(uint32_t threads)
{
    return rt_processors() >= threads ? SPIN : 0;
}

int rt_pool_start(rt_pool *pool, uint32_t threads, uint32_t spin, unsigned char *stacks)
{
    pool->spin = spin;
    pool->threads = 1;
    /* Signals are the application's business: workers take none. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = 0;
    for (uint32_t i = 1; i < threads && failure == 0; i++) {
        failure = start_worker(pool, i, stacks);
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
    start_pass(pool, NULL, NULL);
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pool->threads = 1;
}

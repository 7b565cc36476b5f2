/* Threads that help the calling thread with its kernels.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pass runs on the thread that asked for it. Whenever a kernel has enough work, its parts are put
 * up for claiming (rt_pool_share): the caller takes parts itself until none is left, helpers take
 * what they get to, and the call ends when every claimed part is finished. Helpers are optional:
 * one that gets no processor has claimed nothing and is waited for by nobody; one that loses its
 * processor holds up a single part, after which the caller works alone for a while. */
#ifndef TANDEM_RUNTIME_POOL_H
#define TANDEM_RUNTIME_POOL_H

#include "runtime/abi.h"
#include "runtime/plan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct rt_pool {
    uint32_t threads; /* the caller included */
    uint32_t looks;   /* at a word before sleeping on it */
    /* What the caller alone keeps, in nanoseconds. */
    uint64_t unshared;    /* work done without help since the helpers fell asleep */
    uint64_t alone_until; /* time up to which no help is asked for, after a helper was late */
    uint32_t caution;     /* the next such time, as a multiple of the time that is lost */
    bool alone;           /* alone_until counts */
    /* The kernel whose parts are up for claiming; see claim() in pool.c for who may read it when.
     */
    tandem_kernel kernel;
    const void *arguments;
    uint32_t parts;
    /* Parts that nobody has claimed; helpers sleep on it while it is 0. */
    _Alignas(64) _Atomic uint32_t left;
    _Atomic uint32_t asleep; /* helpers */
    /* Parts that helpers have finished; the caller sleeps on it. */
    _Alignas(64) _Atomic uint32_t finished;
    _Atomic uint32_t awaited; /* how many the sleeping caller waits for; 0: it does not sleep */
    pthread_t helpers[TANDEM_MAX_THREADS];
} rt_pool;

/* Processors that this process may run on; at least 1. */
uint32_t rt_processors(void);

/* How often so many threads should look at a word before they sleep: as often as fits into 20
 * microseconds, measured here, or never when there are more threads than processors. */
uint32_t rt_pool_looks(uint32_t threads);

/* Starts threads - 1 helpers in a zeroed pool. Their stacks are consecutive blocks of
 * TANDEM_PAGE_BYTES (a guard) and TANDEM_STACK_BYTES from `stacks` on. Returns 0 or an errno value;
 * then none is left. */
int rt_pool_start(rt_pool *pool, uint32_t threads, uint32_t looks, unsigned char *stacks);
/* Ends and joins the helpers. */
void rt_pool_stop(rt_pool *pool);

/* A tandem_share; `self` is the pool. To be called by one thread at a time. Costs nothing but the
 * call when the work is too little to be shared; else an uncontended atomic operation or two per
 * part, and a system call only to wake a helper that sleeps or to wait for one that lost its
 * processor. */
void rt_pool_share(void *self, tandem_kernel kernel, const void *arguments, uint64_t work);

#endif

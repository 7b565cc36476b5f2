/* The threads that run passes, and the barrier that they meet at.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_POOL_H
#define TANDEM_RUNTIME_POOL_H

#include "runtime/abi.h"
#include "runtime/plan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A word that threads wait on: they spin briefly, then sleep in the kernel. */
typedef struct rt_event {
    _Alignas(64) _Atomic uint32_t word;
    _Atomic uint32_t sleepers;
} rt_event;

typedef struct rt_pool rt_pool;

typedef struct rt_worker {
    rt_pool *pool;
    uint32_t number;
    pthread_t thread;
} rt_worker;

struct rt_pool {
    uint32_t threads;   /* the caller of rt_pool_run included */
    uint32_t spin;      /* looks at an event before sleeping */
    tandem_entry entry; /* of the current pass; NULL: end */
    const tandem_frame *frame;
    rt_event started;                      /* passes started */
    rt_event running;                      /* workers that have not finished the current pass */
    rt_event passed;                       /* times that the barrier opened */
    _Alignas(64) _Atomic uint32_t arrived; /* at the barrier */
    rt_worker workers[TANDEM_MAX_THREADS];
};

/* Processors that this process may run on; at least 1. */
uint32_t rt_processors(void);

/* How often so many threads should look at an event before they sleep: spinning helps only when
 * the thread that is waited for has a processor of its own. */
uint32_t rt_pool_spin(uint32_t threads);

/* Starts threads - 1 workers, whose stacks are consecutive blocks of TANDEM_PAGE_BYTES (a guard)
 * and TANDEM_STACK_BYTES from `stacks` on. Returns 0 or an errno value; then none is left. */
int rt_pool_start(rt_pool *pool, uint32_t threads, uint32_t spin, unsigned char *stacks);
/* Ends and joins the workers. */
void rt_pool_stop(rt_pool *pool);
/* Runs entry(frame, 0 .. threads - 1), number 0 on the calling thread; returns when all are done.
 */
void rt_pool_run(rt_pool *pool, tandem_entry entry, const tandem_frame *frame);
/* A tandem_barrier; `self` is the pool. */
void rt_pool_barrier(void *self);

#endif

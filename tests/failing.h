/* An allocator that fails after a number of requests, for tests of what happens then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FAILING_H
#define TANDEM_TESTS_FAILING_H

#include "base/memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* A countdown that no test reaches. */
#define FAIL_NEVER LONG_MAX

typedef struct failing_allocator {
    long countdown; /* requests that succeed from here on */
    bool once;      /* those after the first that fails succeed again */
    bool failed;    /* at least one did fail */
    long held;      /* blocks that were handed out and not released */
} failing_allocator;

/* td_context.reallocate, whose self is a failing_allocator. */
static inline void *fail_later(void *self, void *pointer, size_t old_size, size_t size)
{
    failing_allocator *failing = self;
    (void)old_size;
    if (size == 0) {
        failing->held -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    const long left = failing->countdown--;
    if (left == 0 || (left < 0 && !failing->once)) {
        failing->failed = true;
        return NULL;
    }
    void *result = realloc(pointer, size);
    failing->held += pointer == NULL && result != NULL;
    return result;
}

/* A new context over the allocator. */
static inline void failing_context(td_context *context, failing_allocator *failing)
{
    td_context_init(context);
    context->reallocate = fail_later;
    context->reallocate_self = failing;
}

/* Attempts something in contexts whose first 0, 1, 2, ... requests succeed, until it does. The
 * number of attempts; -1, and why is printed, when one failed otherwise than with TD_NO_MEMORY or
 * left blocks. */
static inline long fail_each_request(td_status (*attempt)(td_context *context))
{
    td_status status = TD_NO_MEMORY;
    long attempts = 0;
    for (; status != TD_OK; attempts++) {
        td_context context;
        failing_allocator failing = {.countdown = attempts};
        failing_context(&context, &failing);
        status = attempt(&context);
        if (failing.held != 0 || (status != TD_OK && status != TD_NO_MEMORY)) {
            printf("    request %ld fails: status %d, %ld blocks are left: %s\n", attempts,
                   (int)status, failing.held, context.message);
            return -1;
        }
    }
    return attempts;
}

#endif

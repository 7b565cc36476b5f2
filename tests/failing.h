/* An allocator that fails after a number of requests, for tests of what happens then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FAILING_H
#define TANDEM_TESTS_FAILING_H

#include <stddef.h>
#include <stdlib.h>

typedef struct failing_allocator {
    long countdown; /* requests that succeed from here on */
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
    if (failing->countdown-- <= 0)
        return NULL;
    void *result = realloc(pointer, size);
    failing->held += pointer == NULL && result != NULL;
    return result;
}

#endif

/* Status codes, error text and the allocator hook that every part of the compiler shares.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function that can fail takes a td_context first, returns a td_status and has its
 * out-parameters last. On failure out-parameters are untouched unless said otherwise, and the
 * context holds one sentence that names file, node, attribute and value, and what would be
 * accepted. */
#ifndef TANDEM_BASE_STATUS_H
#define TANDEM_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum td_status {
    TD_OK = 0,
    TD_INVALID,     /* the input is at fault: malformed, inconsistent, out of range */
    TD_UNSUPPORTED, /* the input is well-formed but asks for something not built */
    TD_NO_MEMORY,   /* the allocator returned NULL */
    TD_IO,          /* the operating system refused: open, read, write, spawn */
    TD_USAGE,       /* the command line is at fault */
    TD_INTERNAL,    /* a bug in Tandem: a verifier or an invariant failed */
} td_status;

/* Allocator hook with the meaning of realloc: size 0 frees, NULL allocates. old_size is what was
 * asked for before (0 for NULL). Tests replace it to fail the n-th allocation. */
typedef void *(*td_reallocate)(void *self, void *pointer, size_t old_size, size_t size);

typedef struct td_context {
    td_reallocate reallocate;
    void *reallocate_self;
    char message[1024]; /* the last error, one sentence, no newline */
    int verbosity;      /* 0: errors only; 1: progress on standard error; 2: details */
} td_context;

/* Sets up a context that uses malloc. */
void td_context_init(td_context *context);

/* Records a sentence (printf format) and returns `status`, so that `return td_fail(...)` works.
 * A message that does not fit is cut at a UTF-8 boundary. Control characters are shown as '?'. */
td_status td_fail(td_context *context, td_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the sentence already recorded and returns `status` unchanged. */
td_status td_fail_within(td_context *context, td_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Says that memory ran out; returns TD_NO_MEMORY. */
td_status td_fail_memory(td_context *context);

/* Progress line on standard error, when context->verbosity >= level. */
void td_progress(td_context *context, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Evaluates a call and returns from the current function when it fails. */
#define TD_TRY(call)                                                                               \
    do {                                                                                           \
        td_status td_try_status = (call);                                                          \
        if (td_try_status != TD_OK)                                                                \
            return td_try_status;                                                                  \
    } while (0)

/* Overflow-checked arithmetic: false on overflow, *result then unspecified. */
static inline bool td_multiply(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}

static inline bool td_add(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

#define TD_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif

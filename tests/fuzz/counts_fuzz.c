/* Fuzz target of the reader of token counts (libFuzzer): what is read is written, and read again as
 * the same.
 *
 *     clang -fsanitize=fuzzer,address,undefined ... tests/fuzz/counts_fuzz.c
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/counts/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const fe_counts *a, const fe_counts *b)
{
    return strcmp(a->kind, b->kind) == 0 && a->vocabulary == b->vocabulary &&
           a->tokenizer == b->tokenizer && a->total == b->total && a->drafted == b->drafted &&
           a->accepted == b->accepted && a->items.count == b->items.count &&
           (a->items.count == 0 ||
            memcmp(a->items.items, b->items.items, a->items.count * sizeof *a->items.items) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_context context;
    fe_counts read, again, twice = {0};
    char path[64], copy[] = "/tmp/tandem-counts-fuzz-XXXXXX";
    td_context_init(&context);
    int descriptor = memfd_create("counts", 0);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    if (fe_counts_read(&context, path, &read) == TD_OK) {
        close(mkstemp(copy));
        if (fe_counts_write(&context, &read, copy) != TD_OK ||
            fe_counts_read(&context, copy, &again) != TD_OK || !same(&read, &again))
            abort();
        unlink(copy);
        if (fe_counts_merge(&context, &read, &twice) == TD_OK)
            fe_counts_merge(&context, &again, &twice);
        fe_counts_release(&context, &twice);
        fe_counts_release(&context, &again);
        fe_counts_release(&context, &read);
    }
    close(descriptor);
    return 0;
}

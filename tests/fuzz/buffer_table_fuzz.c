/* Fuzz target: tables of buffers, written and read again when they could be read. tests/fuzz/run
 * builds and runs it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/buffer_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was written holds the same rows. */
static void read_again(td_context *context, const fe_buffer_table *table, const char *path)
{
    fe_buffer_table again;
    if (fe_write_buffer_table(table, path) != TD_OK ||
        fe_read_buffer_table(context, path, &again) != TD_OK ||
        again.rows.count != table->rows.count)
        abort();
    for (size_t r = 0; r < again.rows.count; r++) {
        const fe_buffer_row *a = &again.rows.items[r], *b = &table->rows.items[r];
        if (strcmp(a->id, b->id) != 0 || a->lower != b->lower || a->upper != b->upper ||
            a->size != b->size || a->offset != b->offset || a->alignment != b->alignment ||
            a->fixed != b->fixed || a->lower >= a->upper)
            abort();
    }
    fe_buffer_table_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_context context;
    fe_buffer_table table;
    char path[64];
    td_context_init(&context);
    snprintf(path, sizeof path, "/dev/shm/tandem_fuzz_%d.csv", (int)getpid());
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    const td_status status = fe_read_buffer_table(&context, path, &table);
    if (status != TD_OK && context.message[0] == '\0')
        abort();
    if (status == TD_OK)
        read_again(&context, &table, path);
    fe_buffer_table_release(&table);
    unlink(path);
    return 0;
}

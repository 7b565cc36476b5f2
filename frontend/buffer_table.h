/* Tables of buffers with lifetimes, as offset planners exchange them: comma-separated values with a
 * head line, in the format of google/minimalloc. Columns, in any order:
 *
 *   id              (or buffer, buffer_id) any text, each once
 *   lower, upper    (or start, begin) steps [lower, upper) at which it is alive; a column `end`
 *                   instead of `upper` holds the last of them
 *   size            in bytes
 *   alignment       optional: what its offset is a multiple of
 *   offset          optional: where it lies
 *   fixed           optional: 1 where `offset` may not change, else 0
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_BUFFER_TABLE_H
#define TANDEM_FRONTEND_BUFFER_TABLE_H

#include "base/memory.h"

typedef struct fe_buffer_row {
    const char *id;
    uint64_t lower, upper, size;
    uint64_t alignment, offset;
    bool fixed;
} fe_buffer_row;

typedef struct fe_buffer_table {
    td_context *context;
    td_arena arena; /* ids */
    TD_ARRAY(fe_buffer_row) rows;
    bool has_alignment, has_offset, has_fixed;
} fe_buffer_table;

/* Reads a table. The file is untrusted: missing, repeated and unknown columns, rows of another
 * length, repeated ids, empty lifetimes, NUL bytes and numbers that are negative or 2^63 and over
 * are refused in a sentence that names the line. Memory is linear in the file. */
td_status fe_read_buffer_table(td_context *context, const char *path, fe_buffer_table *table);
void fe_buffer_table_release(fe_buffer_table *table);

/* Writes id, lower, upper and size, and the other columns that the table has. */
td_status fe_write_buffer_table(const fe_buffer_table *table, const char *path);

#endif

/* Tables of buffers with lifetimes as comma-separated values.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/buffer_table.h"

#include "base/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef enum column {
    COLUMN_ID,
    COLUMN_LOWER,
    COLUMN_UPPER,
    COLUMN_SIZE,
    COLUMN_ALIGNMENT,
    COLUMN_OFFSET,
    COLUMN_FIXED,
    COLUMN_COUNT
} column;

static const struct {
    const char *name;
    column column;
    bool inclusive; /* the last step itself, not the one after it */
} column_names[] = {
    {"id", COLUMN_ID, false},         {"buffer", COLUMN_ID, false},
    {"buffer_id", COLUMN_ID, false},  {"lower", COLUMN_LOWER, false},
    {"start", COLUMN_LOWER, false},   {"begin", COLUMN_LOWER, false},
    {"upper", COLUMN_UPPER, false},   {"end", COLUMN_UPPER, true},
    {"size", COLUMN_SIZE, false},     {"alignment", COLUMN_ALIGNMENT, false},
    {"offset", COLUMN_OFFSET, false}, {"fixed", COLUMN_FIXED, false},
};

static const char *const required[] = {"id", "lower", "upper", "size"};

/* A piece of the file. */
typedef struct span {
    const char *data;
    size_t length;
} span;

typedef struct table_reader {
    fe_buffer_table *table;
    const char *path;
    span rest; /* of the file */
    size_t line;
    column columns[COLUMN_COUNT]; /* of the head line, from left to right */
    size_t column_count;
    bool inclusive;
} table_reader;

/* --- pieces --- */

/* Cuts off what stands before the separator, which goes, too. */
static span cut(span *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->length);
    const span piece = {rest->data, end == NULL ? rest->length : (size_t)(end - rest->data)};
    const size_t used = end == NULL ? rest->length : piece.length + 1;
    *rest = (span){rest->data + used, rest->length - used};
    return piece;
}

/* The next line that is not empty, without its end; false at the end of the file. */
static bool next_line(table_reader *reader, span *line)
{
    while (reader->rest.length > 0) {
        *line = cut(&reader->rest, '\n');
        reader->line++;
        if (line->length > 0 && line->data[line->length - 1] == '\r')
            line->length--;
        if (line->length > 0)
            return true;
    }
    return false;
}

static bool equals(span piece, const char *text)
{
    return strlen(text) == piece.length && memcmp(piece.data, text, piece.length) == 0;
}

/* How much of a piece a message shows. */
static int shown(span piece)
{
    return (int)(piece.length < 60 ? piece.length : 60);
}

static td_status read_number(const table_reader *reader, span piece, const char *name,
                             uint64_t *number)
{
    uint64_t value = 0;
    bool good = piece.length > 0;
    for (size_t i = 0; good && i < piece.length; i++) {
        const uint64_t digit = (uint64_t)(unsigned char)piece.data[i] - '0';
        good = digit <= 9 && value <= (INT64_MAX - digit) / 10;
        value = 10 * value + digit;
    }
    if (!good)
        return td_fail(reader->table->context, TD_INVALID,
                       "%s:%zu: %s \"%.*s\": expected a whole number from 0 to 2^63 - 1",
                       reader->path, reader->line, name, shown(piece), piece.data);
    *number = value;
    return TD_OK;
}

/* --- the head line --- */

static td_status read_column_name(table_reader *reader, span name)
{
    td_context *context = reader->table->context;
    for (size_t n = 0; n < TD_COUNT_OF(column_names); n++) {
        if (!equals(name, column_names[n].name))
            continue;
        for (size_t c = 0; c < reader->column_count; c++)
            if (reader->columns[c] == column_names[n].column)
                return td_fail(context, TD_INVALID, "%s:%zu: column \"%s\" stands there twice",
                               reader->path, reader->line, column_names[n].name);
        reader->columns[reader->column_count++] = column_names[n].column;
        reader->inclusive = reader->inclusive || column_names[n].inclusive;
        return TD_OK;
    }
    return td_fail(context, TD_INVALID,
                   "%s:%zu: unknown column \"%.*s\"; known are id, lower, upper (or end), size, "
                   "alignment, offset and fixed",
                   reader->path, reader->line, shown(name), name.data);
}

static bool has_column(const table_reader *reader, column wanted)
{
    for (size_t c = 0; c < reader->column_count; c++)
        if (reader->columns[c] == wanted)
            return true;
    return false;
}

static td_status read_head(table_reader *reader)
{
    fe_buffer_table *table = reader->table;
    span line;
    if (!next_line(reader, &line))
        return td_fail(table->context, TD_INVALID,
                       "%s: it is empty; expected a head line such as id,lower,upper,size",
                       reader->path);
    for (bool more = true; more;) {
        more = memchr(line.data, ',', line.length) != NULL;
        TD_TRY(read_column_name(reader, cut(&line, ',')));
    }
    for (column c = COLUMN_ID; c <= COLUMN_SIZE; c++)
        if (!has_column(reader, c))
            return td_fail(table->context, TD_INVALID,
                           "%s:%zu: column \"%s\" is missing; expected id, lower, upper and size",
                           reader->path, reader->line, required[c]);
    table->has_alignment = has_column(reader, COLUMN_ALIGNMENT);
    table->has_offset = has_column(reader, COLUMN_OFFSET);
    table->has_fixed = has_column(reader, COLUMN_FIXED);
    if (table->has_fixed && !table->has_offset)
        return td_fail(table->context, TD_INVALID,
                       "%s:%zu: column \"fixed\" needs a column \"offset\"", reader->path,
                       reader->line);
    return TD_OK;
}

/* --- rows --- */

static td_status read_field(table_reader *reader, column which, span piece, fe_buffer_row *row)
{
    uint64_t fixed;
    switch (which) {
    case COLUMN_ID:
        row->id = td_arena_string_n(&reader->table->arena, piece.data, piece.length);
        return row->id == NULL ? td_fail_memory(reader->table->context) : TD_OK;
    case COLUMN_LOWER:
        return read_number(reader, piece, "lower", &row->lower);
    case COLUMN_UPPER:
        return read_number(reader, piece, "upper", &row->upper);
    case COLUMN_SIZE:
        return read_number(reader, piece, "size", &row->size);
    case COLUMN_ALIGNMENT:
        return read_number(reader, piece, "alignment", &row->alignment);
    case COLUMN_OFFSET:
        return read_number(reader, piece, "offset", &row->offset);
    case COLUMN_FIXED:
        TD_TRY(read_number(reader, piece, "fixed", &fixed));
        row->fixed = fixed == 1;
        if (fixed > 1)
            return td_fail(reader->table->context, TD_INVALID,
                           "%s:%zu: fixed %" PRIu64 ": expected 0 or 1", reader->path, reader->line,
                           fixed);
        return TD_OK;
    case COLUMN_COUNT:
        break;
    }
    return TD_OK;
}

static td_status check_row(const table_reader *reader, fe_buffer_row *row)
{
    td_context *context = reader->table->context;
    if (reader->inclusive && row->upper == INT64_MAX)
        return td_fail(context, TD_INVALID, "%s:%zu: end %" PRIu64 ": expected less than 2^63 - 1",
                       reader->path, reader->line, row->upper);
    row->upper += reader->inclusive;
    if (row->lower >= row->upper)
        return td_fail(context, TD_INVALID,
                       "%s:%zu: buffer \"%.60s\" lives from %" PRIu64 " up to %" PRIu64
                       ": expected a lower end below the upper one",
                       reader->path, reader->line, row->id, row->lower, row->upper);
    if (row->alignment == 0)
        return td_fail(context, TD_INVALID, "%s:%zu: alignment 0: expected 1 or more", reader->path,
                       reader->line);
    return TD_OK;
}

static td_status read_row(table_reader *reader, span line, td_map *ids)
{
    fe_buffer_table *table = reader->table;
    fe_buffer_row row = {.alignment = 1};
    size_t count = 0;
    for (bool more = true; more; count++) {
        more = memchr(line.data, ',', line.length) != NULL;
        const span piece = cut(&line, ',');
        if (count < reader->column_count)
            TD_TRY(read_field(reader, reader->columns[count], piece, &row));
    }
    if (count != reader->column_count)
        return td_fail(table->context, TD_INVALID, "%s:%zu: it has %zu fields; expected %zu",
                       reader->path, reader->line, count, reader->column_count);
    TD_TRY(check_row(reader, &row));
    if (td_map_get(ids, row.id) != NULL)
        return td_fail(table->context, TD_INVALID,
                       "%s:%zu: buffer \"%.60s\" stands there before; expected each id once",
                       reader->path, reader->line, row.id);
    /* Any value but NULL marks an id as seen. */
    if (!td_map_put(ids, row.id, table) || !td_array_push(table->context, &table->rows, row))
        return td_fail_memory(table->context);
    return TD_OK;
}

static td_status read_table(table_reader *reader)
{
    td_context *context = reader->table->context;
    td_map ids;
    span line;
    if (memchr(reader->rest.data, '\0', reader->rest.length) != NULL)
        return td_fail(context, TD_INVALID, "%s: it holds NUL bytes; expected a text of commas",
                       reader->path);
    TD_TRY(read_head(reader));
    td_map_init(&ids, context);
    td_status status = TD_OK;
    while (status == TD_OK && next_line(reader, &line))
        status = read_row(reader, line, &ids);
    td_map_release(&ids);
    return status;
}

td_status fe_read_buffer_table(td_context *context, const char *path, fe_buffer_table *table)
{
    td_file file;
    memset(table, 0, sizeof *table);
    TD_TRY(td_file_map(context, path, &file));
    table->context = context;
    td_arena_init(&table->arena, context);
    table_reader reader = {.table = table, .path = path};
    reader.rest = (span){file.size == 0 ? "" : (const char *)file.data, (size_t)file.size};
    const td_status status = read_table(&reader);
    td_file_unmap(context, &file);
    if (status != TD_OK)
        fe_buffer_table_release(table);
    return status;
}

void fe_buffer_table_release(fe_buffer_table *table)
{
    if (table->context == NULL)
        return;
    td_arena_release(&table->arena);
    td_array_release(table->context, &table->rows);
    memset(table, 0, sizeof *table);
}

/* --- writing --- */

static void write_rows(const fe_buffer_table *table, FILE *stream)
{
    fprintf(stream, "id,lower,upper,size%s%s%s\n", table->has_alignment ? ",alignment" : "",
            table->has_offset ? ",offset" : "", table->has_fixed ? ",fixed" : "");
    for (size_t r = 0; r < table->rows.count; r++) {
        const fe_buffer_row *row = &table->rows.items[r];
        fprintf(stream, "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64, row->id, row->lower, row->upper,
                row->size);
        if (table->has_alignment)
            fprintf(stream, ",%" PRIu64, row->alignment);
        if (table->has_offset)
            fprintf(stream, ",%" PRIu64, row->offset);
        if (table->has_fixed)
            fprintf(stream, ",%d", row->fixed);
        fputc('\n', stream);
    }
}

td_status fe_write_buffer_table(const fe_buffer_table *table, const char *path)
{
    td_output output;
    TD_TRY(td_output_open(table->context, path, &output));
    write_rows(table, output.stream);
    return td_output_commit(table->context, &output, false);
}

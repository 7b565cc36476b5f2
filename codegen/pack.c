/* Packing of weights into the payload: panels, tables and plain numbers, in the order of
 * codegen/layout.h. At most 32 rows are in memory at a time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"

#include "runtime/payload_hash.h"

#include <string.h>

/* --- the stream --- */

/* Hashes what it writes; the hash wants multiples of 8 bytes, so there is a buffer. */
typedef struct writer {
    td_context *context;
    FILE *stream;
    uint64_t position, hash;
    size_t used;
    unsigned char buffer[1 << 16];
} writer;

static td_status flush(writer *out)
{
    out->hash = tandem_payload_hash(out->hash, out->buffer, out->used);
    if (fwrite(out->buffer, 1, out->used, out->stream) != out->used)
        return td_fail(out->context, TD_IO, "packed weights cannot be written: no room");
    out->used = 0;
    return TD_OK;
}

static td_status put(writer *out, const void *bytes, uint64_t count)
{
    const unsigned char *next = bytes; /* NULL: zeros */
    while (count > 0) {
        const size_t room = sizeof out->buffer - out->used;
        const size_t part = count < room ? (size_t)count : room;
        if (next == NULL) {
            memset(out->buffer + out->used, 0, part);
        } else {
            memcpy(out->buffer + out->used, next, part);
            next += part;
        }
        out->used += part;
        out->position += part;
        count -= part;
        if (out->used == sizeof out->buffer)
            TD_TRY(flush(out));
    }
    return TD_OK;
}

static td_status put_zeros_to(writer *out, uint64_t position)
{
    return put(out, NULL, position - out->position);
}

/* --- batches of rows --- */

/* A matrix of `rows` x `columns` elements of `bits`, read `batch` rows at a time: those whose
 * elements lie together, or 16. */
typedef struct reader {
    td_context *context;
    const ir_constant *constant;
    uint64_t rows, columns, batch;
    unsigned bits;
    unsigned char *raw;    /* a batch as stored */
    unsigned char *bytes;  /* 4-bit elements of a batch, one per byte */
    unsigned char *packed; /* a batch as it is written */
} reader;

static void reader_release(reader *in)
{
    td_release(in->context, in->raw);
    td_release(in->context, in->bytes);
    td_release(in->context, in->packed);
}

static td_status reader_open(td_context *context, const ir_constant *constant,
                             const cg_weight *weight, uint64_t columns, uint64_t packed_bytes,
                             reader *in)
{
    const uint64_t rows = weight->rows, unit = cg_weight_unit_rows(weight);
    *in = (reader){.context = context,
                   .constant = constant,
                   .rows = rows,
                   .columns = columns,
                   .batch = unit < CG_PANEL_ROWS ? CG_PANEL_ROWS : unit,
                   .bits = ir_type_bits(constant->type)};
    const uint64_t elements = in->batch * columns;
    if (constant->bytes != (rows * columns * in->bits + 7) / 8)
        return td_fail(context, TD_INVALID,
                       "constant \"%s\" has %llu bytes, %llu x %llu elements of %s are needed",
                       constant->name, (unsigned long long)constant->bytes,
                       (unsigned long long)rows, (unsigned long long)columns,
                       ir_type_name(constant->type));
    if (constant->missing)
        return td_fail(context, TD_INVALID, "constant \"%s\" (%s) has no data", constant->name,
                       constant->source.description == NULL ? "no source"
                                                            : constant->source.description);
    in->raw = td_allocate(context, (size_t)(elements * in->bits / 8));
    in->packed = td_allocate(context, (size_t)packed_bytes);
    if (in->bits == 4)
        in->bytes = td_allocate(context, (size_t)elements);
    if (in->raw == NULL || in->packed == NULL || (in->bits == 4 && in->bytes == NULL)) {
        reader_release(in);
        return td_fail_memory(context);
    }
    return TD_OK;
}

/* Reads the batch of rows from `first` on; those past the end are zero. */
static td_status read_rows(reader *in, uint64_t first, uint64_t *count)
{
    const uint64_t left = in->rows - first;
    *count = left < in->batch ? left : in->batch;
    /* A batch of rows of any width starts at a whole byte. */
    const uint64_t offset = first * in->columns * in->bits / 8;
    const uint64_t size = (*count * in->columns * in->bits + 7) / 8;
    const uint64_t elements = in->batch * in->columns;
    memset(in->raw, 0, (size_t)(elements * in->bits / 8));
    TD_TRY(ir_constant_read(in->context, in->constant, offset, size, in->raw));
    if (*count % 2 == 1 && in->columns % 2 == 1 && in->bits == 4)
        in->raw[size - 1] &= 15;
    for (uint64_t i = 0; in->bits == 4 && i < elements; i++)
        in->bytes[i] = i % 2 == 0 ? in->raw[i / 2] & 15 : in->raw[i / 2] >> 4;
    return TD_OK;
}

/* Elements first .. first + count - 1 of a batch, interleaved: [k][row]. */
static unsigned char *interleave(const reader *in, uint64_t first, uint64_t count,
                                 unsigned char *to)
{
    if (in->bits == 4) {
        for (uint64_t k = first; k < first + count; k += 2)
            for (uint64_t row = 0; row < in->batch; row++) {
                const unsigned char *at = in->bytes + row * in->columns + k;
                *to++ = (unsigned char)(at[0] | (k + 1 < first + count ? at[1] << 4 : 0));
            }
        return to;
    }
    const size_t size = in->bits / 8;
    for (uint64_t k = first; k < first + count; k++)
        for (uint64_t row = 0; row < in->batch; row++, to += size)
            memcpy(to, in->raw + (row * in->columns + k) * size, size);
    return to;
}

/* Elements of a batch as bytes of their own: i4 and u4 one per byte (sign-extended), 8-bit as they
 * are. */
static unsigned char element_byte(const reader *in, uint64_t index)
{
    if (in->bits == 8)
        return in->raw[index];
    const unsigned char nibble = in->bytes[index];
    return in->constant->type == IR_I4 ? (unsigned char)((nibble ^ 8) - 8) : nibble;
}

/* --- the parts of a matrix --- */

/* Makes `in->packed` of a batch of which `rows` exist; its bytes. */
typedef uint64_t (*pack_step)(const reader *in, const cg_weight *weight, uint64_t rows);

/* A panel: its groups one after the other. */
static uint64_t pack_panel(const reader *in, const cg_weight *weight, uint64_t rows)
{
    (void)rows;
    unsigned char *to = in->packed;
    for (uint64_t first = 0; first < weight->columns; first += weight->group) {
        const uint64_t left = weight->columns - first;
        to = interleave(in, first, left < weight->group ? left : weight->group, to);
    }
    return (uint64_t)(to - in->packed);
}

/* An integer as the dot products read it: unsigned. */
static unsigned char raised_element(const reader *in, const cg_weight *weight, uint64_t row,
                                    uint64_t k)
{
    if (k >= in->columns)
        return 0;
    const unsigned char *bytes = in->bits == 8 ? in->raw : in->bytes;
    return (unsigned char)(bytes[row * in->columns + k] ^ weight->bias);
}

/* A pair of panels for dot products: [block][quad][panel][16 rows][4 k], or two quads in the halves
 * of a byte. */
static uint64_t pack_dots(const reader *in, const cg_weight *weight, uint64_t rows)
{
    const uint64_t step = in->bits == 4 ? 8 : 4, end = cg_weight_blocks(weight) * IR_QUANTIZE_BLOCK;
    unsigned char *to = in->packed;
    (void)rows;
    for (uint64_t first = 0; first < end; first += step)
        for (uint64_t row = 0; row < in->batch; row++)
            for (uint64_t k = first; k < first + 4; k++) {
                const unsigned char later =
                    in->bits == 4 ? raised_element(in, weight, row, k + 4) : 0;
                *to++ = (unsigned char)(raised_element(in, weight, row, k) | later << 4);
            }
    return (uint64_t)(to - in->packed);
}

/* Rows as they are stored. */
static uint64_t pack_rows(const reader *in, const cg_weight *weight, uint64_t rows)
{
    const uint64_t bytes = rows * in->columns * in->bits / 8;
    (void)weight;
    memcpy(in->packed, in->raw, (size_t)bytes);
    return bytes;
}

/* Rows of a table; 4-bit rows of odd width start at a whole byte. */
static uint64_t pack_table(const reader *in, const cg_weight *weight, uint64_t rows)
{
    if (in->bits != 4 || in->columns % 2 == 0)
        return pack_rows(in, weight, rows);
    unsigned char *to = in->packed;
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t k = 0; k < in->columns; k += 2) {
            const unsigned char *at = in->bytes + row * in->columns + k;
            *to++ = (unsigned char)(at[0] | (k + 1 < in->columns ? at[1] << 4 : 0));
        }
    return (uint64_t)(to - in->packed);
}

/* Scales [group][row] of a batch, or the zero points as bytes. */
static uint64_t pack_scales(const reader *in, const cg_weight *weight, uint64_t rows)
{
    (void)rows;
    (void)weight;
    return (uint64_t)(interleave(in, 0, in->columns, in->packed) - in->packed);
}

static uint64_t pack_zeros(const reader *in, const cg_weight *weight, uint64_t rows)
{
    const bool panels = weight->role != CG_ROLE_ROWS;
    unsigned char *to = in->packed;
    if (weight->role == CG_ROLE_DOTS) {
        for (uint64_t i = 0; i < in->batch * in->columns; i++)
            *to++ = raised_element(in, weight, i % in->batch, i / in->batch);
        return in->batch * in->columns;
    }
    for (uint64_t i = 0; panels && i < in->batch * in->columns; i++)
        *to++ = element_byte(in, i % in->batch * in->columns + i / in->batch);
    for (uint64_t i = 0; !panels && i < rows * in->columns; i++)
        *to++ = element_byte(in, i);
    return (uint64_t)(to - in->packed);
}

static td_status pack_part(writer *out, const cg_weight *weight, const ir_constant *constant,
                           uint64_t columns, uint64_t packed_bytes, pack_step step)
{
    reader in;
    TD_TRY(reader_open(out->context, constant, weight, columns, packed_bytes, &in));
    td_status status = TD_OK;
    for (uint64_t row = 0; row < weight->rows && status == TD_OK; row += in.batch) {
        uint64_t count = 0;
        status = read_rows(&in, row, &count);
        if (status == TD_OK)
            status = put(out, in.packed, step(&in, weight, count));
    }
    reader_release(&in);
    return status;
}

static td_status pack_matrix(writer *out, const cg_weight *weight, uint64_t start)
{
    const ir_constant *constant = weight->constant;
    const bool panels = weight->role != CG_ROLE_ROWS;
    const pack_step step = weight->role == CG_ROLE_DOTS     ? pack_dots
                           : weight->role == CG_ROLE_PANELS ? pack_panel
                                                            : pack_table;
    const uint64_t batch = panels ? cg_weight_unit_rows(weight) : CG_PANEL_ROWS;
    const uint64_t block = batch * weight->groups;
    TD_TRY(pack_part(out, weight, constant, weight->columns,
                     panels ? weight->unit_bytes : weight->unit_bytes * batch, step));
    if (constant->scale == NULL)
        return TD_OK;
    TD_TRY(put_zeros_to(out, start + weight->scale_offset));
    TD_TRY(pack_part(out, weight, constant->scale, weight->groups, block * weight->scale_bytes,
                     panels ? pack_scales : pack_rows));
    TD_TRY(put_zeros_to(out, start + weight->zero_offset));
    if (constant->zero_point == NULL)
        return TD_OK;
    return pack_part(out, weight, constant->zero_point, weight->groups, block, pack_zeros);
}

/* --- the rest --- */

static td_status pack_plain(writer *out, const cg_weight *weight)
{
    td_context *context = out->context;
    const ir_constant *constant = weight->constant;
    if (constant->missing)
        return td_fail(context, TD_INVALID, "constant \"%s\" has no data", constant->name);
    float *values = td_allocate(context, (size_t)(weight->columns * sizeof *values));
    if (values == NULL)
        return td_fail_memory(context);
    td_status status = ir_constant_read_f32(context, constant, 0, weight->columns, values);
    if (status == TD_OK)
        status = put(out, values, weight->columns * sizeof *values);
    td_release(context, values);
    return status;
}

static td_status pack_model(writer *out, const cg_weights *weights, uint64_t start)
{
    for (size_t i = 0; i < weights->items.count; i++) {
        const cg_weight *weight = &weights->items.items[i];
        TD_TRY(put_zeros_to(out, start + weight->offset));
        TD_TRY(weight->role == CG_ROLE_PLAIN ? pack_plain(out, weight)
                                             : pack_matrix(out, weight, start));
    }
    return put_zeros_to(out, start + weights->bytes);
}

td_status cg_pack(cg_program *program, FILE *stream)
{
    td_context *context = program->context;
    writer *out = td_allocate(context, sizeof *out);
    if (out == NULL)
        return td_fail_memory(context);
    out->context = context;
    out->stream = stream;
    out->hash = TANDEM_PAYLOAD_HASH_START;
    td_status status = TD_OK;
    for (size_t i = 0; i < program->request->model_count && status == TD_OK; i++)
        status = pack_model(out, &program->weights[i], program->weights_offset[i]);
    if (status == TD_OK)
        status = flush(out);
    program->payload_hash = out->hash;
    td_release(context, out);
    return status;
}

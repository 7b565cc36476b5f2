/* Matrix products: weights read panel by panel, and matmul of two activations.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One lane computes one output row, k ascending, so computing sixteen rows side by side changes no
 * bit (docs/numerics.md). A panel is sixteen rows, transposed: [columns][lanes]. */
#include "ir/evaluate_private.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define LANES IR_PRODUCT_LANES

/* The inner loop is compiled twice, once for machines with vector FMA, chosen when it is loaded;
 * by a function that runs before ThreadSanitizer is ready. */
#if defined(__x86_64__) && defined(__linux__) && !defined(__SANITIZE_THREAD__)
#define FOR_SEVERAL_MACHINES __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define FOR_SEVERAL_MACHINES
#endif

/* out[lane] = sum over k of x[k] * panel[k][lane]; with scales, group by group. */
FOR_SEVERAL_MACHINES
static void multiply_panel(const float *x, const float *panel, const float *scales,
                           uint64_t columns, uint64_t group, float *out)
{
    float sums[LANES] = {0};
    for (uint64_t first = 0; first < columns; first += group) {
        uint64_t end = columns - first < group ? columns : first + group;
        float part[LANES] = {0};
        for (uint64_t k = first; k < end; k++)
            for (size_t lane = 0; lane < LANES; lane++)
                part[lane] = fmaf(x[k], panel[k * LANES + lane], part[lane]);
        for (size_t lane = 0; lane < LANES; lane++)
            sums[lane] = scales == NULL
                             ? part[lane]
                             : fmaf(part[lane], scales[first / group * LANES + lane], sums[lane]);
    }
    memcpy(out, sums, sizeof sums);
}

/* The same for quantised activations. The integers are carried by floats: every sum of a block is
 * exact, being smaller than 2^24. */
FOR_SEVERAL_MACHINES
static void multiply_panel_blocks(const float *q, const float *block_scales, const float *panel,
                                  const float *scales, uint64_t columns, uint64_t group, float *out)
{
    float sums[LANES] = {0}, part[LANES] = {0};
    for (uint64_t first = 0; first < columns; first += IR_QUANTIZE_BLOCK) {
        uint64_t end = columns - first < IR_QUANTIZE_BLOCK ? columns : first + IR_QUANTIZE_BLOCK;
        float dot[LANES] = {0};
        for (uint64_t k = first; k < end; k++)
            for (size_t lane = 0; lane < LANES; lane++)
                dot[lane] += q[k] * panel[k * LANES + lane];
        for (size_t lane = 0; lane < LANES; lane++)
            part[lane] = fmaf(dot[lane], block_scales[first / IR_QUANTIZE_BLOCK], part[lane]);
        if (end % group != 0)
            continue;
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[lane] = fmaf(part[lane], scales[first / group * LANES + lane], sums[lane]);
            part[lane] = 0.0f;
        }
    }
    memcpy(out, sums, sizeof sums);
}

/* --- panels --- */

static uint64_t panel_count(const ir_panels *panels)
{
    return (panels->rows + LANES - 1) / LANES;
}

static uint64_t rows_of_panel(const ir_panels *panels, uint64_t panel)
{
    uint64_t rest = panels->rows - panel * LANES;
    return rest < LANES ? rest : LANES;
}

/* Stored numbers of a constant, without scale and zero point. */
static td_status read_stored(ir_evaluator *evaluator, const ir_constant *constant, uint64_t first,
                             uint64_t count, float *numbers)
{
    ir_constant stored = *constant;
    stored.scale = NULL;
    stored.zero_point = NULL;
    return ir_constant_read_f32(evaluator->context, &stored, first, count, numbers);
}

static void transpose_panel(const float *rows, uint64_t row_count, int64_t row_stride,
                            int64_t column_stride, uint64_t columns, float *panel)
{
    for (uint64_t row = 0; row < row_count; row++)
        for (uint64_t k = 0; k < columns; k++)
            panel[k * LANES + row] = rows[(int64_t)row * row_stride + (int64_t)k * column_stride];
}

/* Fills in one panel of a constant, and its scales when it is quantised. */
static td_status decode_panel(ir_panels *panels, uint64_t panel, float *values, float *scales)
{
    ir_evaluator *evaluator = panels->evaluator;
    const ir_constant *constant = panels->constant;
    uint64_t row = panel * LANES, rows = rows_of_panel(panels, panel);
    uint64_t columns = panels->columns, groups = panels->groups;
    float *read = panels->read;
    TD_TRY(read_stored(evaluator, constant, row * columns, rows * columns, read));
    transpose_panel(read, rows, (int64_t)columns, 1, columns, values);
    if (constant->scale == NULL)
        return TD_OK;
    if (constant->zero_point != NULL) {
        TD_TRY(read_stored(evaluator, constant->zero_point, row * groups, rows * groups, read));
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t k = 0; k < columns; k++)
                values[k * LANES + r] -= read[r * groups + k / panels->group];
    }
    TD_TRY(read_stored(evaluator, constant->scale, row * groups, rows * groups, read));
    transpose_panel(read, rows, (int64_t)groups, 1, groups, scales);
    return TD_OK;
}

static uint64_t values_size(const ir_panels *panels)
{
    return panels->columns * LANES;
}

static uint64_t scales_size(const ir_panels *panels)
{
    return panels->constant != NULL && panels->constant->scale != NULL ? panels->groups * LANES : 0;
}

/* Decodes the whole constant into the evaluator's store, when it still fits. */
static td_status keep_panels(ir_panels *panels)
{
    ir_evaluator *evaluator = panels->evaluator;
    td_context *context = evaluator->context;
    ir_decoded *decoded = ir_evaluate_decoded(evaluator, panels->constant);
    if (decoded == NULL)
        return td_fail_memory(context);
    if (decoded->panels != NULL) {
        panels->kept = decoded;
        return TD_OK;
    }
    uint64_t count = panel_count(panels), numbers;
    if (!td_multiply(count, values_size(panels) + scales_size(panels), &numbers) ||
        numbers > IR_DECODED_LIMIT / sizeof(float) ||
        !ir_evaluate_keep(evaluator, numbers * sizeof(float)))
        return TD_OK;
    float *values = td_allocate(context, (count * values_size(panels) + 1) * sizeof(float));
    float *scales = td_allocate(context, (count * scales_size(panels) + 1) * sizeof(float));
    td_status status = values == NULL || scales == NULL ? td_fail_memory(context) : TD_OK;
    for (uint64_t panel = 0; panel < count && status == TD_OK; panel++)
        status = decode_panel(panels, panel, values + panel * values_size(panels),
                              scales + panel * scales_size(panels));
    if (status != TD_OK) {
        td_release(context, values);
        td_release(context, scales);
        return status;
    }
    decoded->panels = values;
    decoded->scales = scales;
    panels->kept = decoded;
    return TD_OK;
}

/* Scratch for one panel at a time, unless all of them are kept. */
static td_status allocate_panel(ir_panels *panels)
{
    ir_evaluator *evaluator = panels->evaluator;
    panels->values = ir_evaluate_scratch(evaluator, panels->columns, LANES * sizeof(float));
    panels->scales = ir_evaluate_scratch(evaluator, panels->groups, LANES * sizeof(float));
    panels->read = ir_evaluate_scratch(evaluator, panels->columns, LANES * sizeof(float));
    if (panels->values == NULL || panels->scales == NULL || panels->read == NULL)
        return td_fail_memory(evaluator->context);
    return TD_OK;
}

td_status ir_panels_of_constant(ir_evaluator *evaluator, const ir_constant *constant,
                                ir_panels *panels)
{
    uint64_t columns = (uint64_t)constant->shape.dim[1].constant;
    bool quantised = constant->scale != NULL;
    *panels = (ir_panels){.evaluator = evaluator,
                          .constant = constant,
                          .rows = (uint64_t)constant->shape.dim[0].constant,
                          .columns = columns,
                          .group = quantised ? constant->group : columns};
    panels->groups = quantised ? columns / constant->group : 1;
    TD_TRY(allocate_panel(panels));
    return keep_panels(panels);
}

td_status ir_panels_of_numbers(ir_evaluator *evaluator, const float *numbers, uint64_t rows,
                               uint64_t columns, int64_t row_stride, int64_t column_stride,
                               ir_panels *panels)
{
    *panels = (ir_panels){.evaluator = evaluator,
                          .numbers = numbers,
                          .row_stride = row_stride,
                          .column_stride = column_stride,
                          .rows = rows,
                          .columns = columns,
                          .group = columns,
                          .groups = 1};
    return allocate_panel(panels);
}

static td_status take_panel(ir_panels *panels, uint64_t panel, const float **values,
                            const float **scales)
{
    bool quantised = panels->constant != NULL && panels->constant->scale != NULL;
    *values = panels->values;
    *scales = quantised ? panels->scales : NULL;
    if (panels->kept != NULL) {
        *values = panels->kept->panels + panel * values_size(panels);
        if (quantised)
            *scales = panels->kept->scales + panel * scales_size(panels);
        return TD_OK;
    }
    if (panels->constant != NULL)
        return decode_panel(panels, panel, panels->values, panels->scales);
    transpose_panel(panels->numbers + (int64_t)(panel * LANES) * panels->row_stride,
                    rows_of_panel(panels, panel), panels->row_stride, panels->column_stride,
                    panels->columns, panels->values);
    return TD_OK;
}

td_status ir_panels_multiply(ir_panels *panels, uint64_t tokens, const float *x,
                             const float *block_scales, float *out)
{
    const uint64_t blocks = (panels->columns + IR_QUANTIZE_BLOCK - 1) / IR_QUANTIZE_BLOCK;
    for (uint64_t panel = 0; tokens > 0 && panel < panel_count(panels); panel++) {
        const float *values = NULL, *scales = NULL;
        TD_TRY(take_panel(panels, panel, &values, &scales));
        for (uint64_t token = 0; token < tokens; token++) {
            float lanes[LANES];
            const float *row = x + token * panels->columns;
            if (block_scales == NULL)
                multiply_panel(row, values, scales, panels->columns, panels->group, lanes);
            else
                multiply_panel_blocks(row, block_scales + token * blocks, values, scales,
                                      panels->columns, panels->group, lanes);
            memcpy(out + token * panels->rows + panel * LANES, lanes,
                   rows_of_panel(panels, panel) * sizeof *out);
        }
    }
    return TD_OK;
}

/* --- matmul --- */

/* An operand as a batch of matrices: a vector is a row on the left, a column on the right. */
typedef struct matrices {
    ir_tensor batch; /* leading dimensions only */
    int64_t rows, columns, row_stride, column_stride;
    const float *numbers;
} matrices;

static td_status take_matrices(ir_evaluator *evaluator, const ir_node *node, const ir_tensor *x,
                               int number, bool transposed, matrices *result)
{
    TD_TRY(ir_evaluate_want_floats(evaluator, node, x, number));
    if (x->rank == 0)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "operand %d is a scalar; vectors and matrices are accepted",
                                number);
    matrices made = {.batch = *x, .numbers = ir_tensor_floats(evaluator, x)};
    if (made.numbers == NULL)
        return td_fail_memory(evaluator->context);
    int64_t last = x->dim[x->rank - 1];
    if (x->rank == 1) {
        made.batch.rank = 0;
        made.rows = number == 1 ? 1 : last;
        made.columns = number == 1 ? last : 1;
        made.row_stride = number == 1 ? last : 1;
        made.column_stride = 1;
    } else {
        int64_t before = x->dim[x->rank - 2];
        made.batch.rank = x->rank - 2;
        made.rows = transposed ? last : before;
        made.columns = transposed ? before : last;
        made.row_stride = transposed ? 1 : last;
        made.column_stride = transposed ? last : 1;
    }
    *result = made;
    return TD_OK;
}

/* Copies matrix `index` of the left operand into dense rows. */
static void gather_rows(const matrices *a, int64_t index, float *rows)
{
    const float *from = a->numbers + index * a->rows * a->columns;
    for (int64_t row = 0; row < a->rows; row++)
        for (int64_t k = 0; k < a->columns; k++)
            rows[row * a->columns + k] = from[row * a->row_stride + k * a->column_stride];
}

static td_status multiply_batches(ir_evaluator *evaluator, const matrices *a, const matrices *b,
                                  uint32_t rank, const int64_t *dims, uint64_t batches, float *out)
{
    int64_t stride_a[IR_MAX_RANK], stride_b[IR_MAX_RANK];
    ir_broadcast_strides(&a->batch, rank, stride_a);
    ir_broadcast_strides(&b->batch, rank, stride_b);
    ir_walk walk_a = ir_walk_start(rank, dims, stride_a, 0);
    ir_walk walk_b = ir_walk_start(rank, dims, stride_b, 0);
    float *rows =
        ir_evaluate_scratch(evaluator, (uint64_t)a->rows * (uint64_t)a->columns, sizeof *rows);
    ir_panels panels = {0};
    if (rows == NULL)
        return td_fail_memory(evaluator->context);
    /* The right operand's columns are the rows of the panels. */
    TD_TRY(ir_panels_of_numbers(evaluator, b->numbers, (uint64_t)b->columns, (uint64_t)b->rows,
                                b->column_stride, b->row_stride, &panels));
    for (uint64_t batch = 0; batch < batches; batch++) {
        gather_rows(a, walk_a.offset, rows);
        panels.numbers = b->numbers + walk_b.offset * b->rows * b->columns;
        TD_TRY(ir_panels_multiply(&panels, (uint64_t)a->rows, rows, NULL,
                                  out + batch * (uint64_t)a->rows * (uint64_t)b->columns));
        ir_walk_next(&walk_a);
        ir_walk_next(&walk_b);
    }
    return TD_OK;
}

td_status ir_evaluate_matmul(ir_evaluator *evaluator, const ir_node *node,
                             const ir_tensor *const *inputs, ir_tensor *outputs)
{
    matrices a = {0}, b = {0};
    ir_tensor *out = &outputs[0];
    TD_TRY(
        take_matrices(evaluator, node, inputs[0], 1, ir_node_int(node, "transpose_a", 0) != 0, &a));
    TD_TRY(
        take_matrices(evaluator, node, inputs[1], 2, ir_node_int(node, "transpose_b", 0) != 0, &b));
    if (a.columns != b.rows)
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its left rows have %" PRId64
                                " numbers, its right columns %" PRId64,
                                a.columns, b.rows);
    uint32_t rank = a.batch.rank;
    int64_t dims[IR_MAX_RANK + 2], batch[IR_MAX_RANK];
    memcpy(dims, a.batch.dim, sizeof a.batch.dim);
    if (!ir_dims_broadcast(&rank, dims, &b.batch))
        return ir_evaluate_fail(evaluator, node, TD_INVALID,
                                "its operands' batches do not broadcast to each other");
    memcpy(batch, dims, rank * sizeof *dims);
    uint32_t batch_rank = rank;
    uint64_t batches = (uint64_t)ir_dims_product(batch, 0, batch_rank);
    if (inputs[0]->rank > 1)
        dims[rank++] = a.rows;
    if (inputs[1]->rank > 1)
        dims[rank++] = b.columns;
    TD_TRY(ir_evaluate_allocate(evaluator, node, node->outputs[0]->type, rank, dims, out));
    if (out->elements == 0)
        return TD_OK;
    float *numbers = ir_evaluate_scratch(evaluator, out->elements, sizeof *numbers);
    if (numbers == NULL)
        return td_fail_memory(evaluator->context);
    TD_TRY(multiply_batches(evaluator, &a, &b, batch_rank, batch, batches, numbers));
    ir_tensor_store_floats(out, numbers);
    return TD_OK;
}

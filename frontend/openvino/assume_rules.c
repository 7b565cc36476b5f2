/* What one use says about a constant: a table of operation, port and rule.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/assume.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* --- helpers --- */

static void allow(ov_vote *vote, const int64_t *values)
{
    if (vote->count < OV_VOTE_ALTERNATIVES)
        memcpy(vote->integer[vote->count++], values, vote->width * sizeof *values);
}

/* The same number for every element. */
static void allow_all(ov_vote *vote, int64_t value)
{
    int64_t values[OV_VOTE_WIDTH];
    for (size_t i = 0; i < OV_VOTE_WIDTH; i++)
        values[i] = value;
    allow(vote, values);
}

static void allow_number(ov_vote *vote, double value)
{
    if (vote->count < OV_VOTE_ALTERNATIVES)
        vote->number[vote->count++] = value;
}

static const ov_port *input_port(const ov_use *use, uint32_t port)
{
    return port < use->reader->input_count ? &use->reader->inputs[port] : NULL;
}

static const ov_port *output_port(const ov_layer *layer)
{
    return layer->output_count > 0 ? &layer->outputs[0] : NULL;
}

/* Two declared sizes that can be the same. */
static bool agree(int64_t a, int64_t b)
{
    return a == b || a == OV_DYNAMIC || b == OV_DYNAMIC;
}

static const ov_layer *driver_of(const ov_use *use, uint32_t port)
{
    const ov_port *input = input_port(use, port);
    return input == NULL ? NULL : input->driver;
}

/* --- axes --- */

/* Whether `shorter` is `longer` without the axes in the mask. */
static bool removes(const ov_port *longer, const ov_port *shorter, uint32_t mask)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < longer->rank; i++) {
        if ((mask >> i & 1) != 0)
            continue;
        if (at == shorter->rank || longer->dims[i] != shorter->dims[at])
            return false;
        at++;
    }
    return at == shorter->rank;
}

/* Lists the axes of a mask, counted from the front, then from the back. */
static void allow_axes(ov_vote *vote, uint32_t mask, uint32_t rank)
{
    int64_t front[OV_VOTE_WIDTH] = {0}, back[OV_VOTE_WIDTH] = {0};
    size_t count = 0;
    for (uint32_t i = 0; i < rank; i++)
        if ((mask >> i & 1) != 0 && count < OV_VOTE_WIDTH) {
            front[count] = i;
            back[count++] = (int64_t)i - rank;
        }
    if (count != vote->width)
        return;
    allow(vote, front);
    allow(vote, back);
}

static bool few_dims(const ov_port *a, const ov_port *b)
{
    return a != NULL && b != NULL && a->rank <= IR_MAX_RANK && b->rank <= IR_MAX_RANK;
}

/* Unsqueeze and Squeeze: dimensions of 1 that one side has and the other has not. */
static void vote_inserted_axes(const ov_use *use, ov_vote *vote)
{
    const ov_port *longer = output_port(use->reader), *shorter = input_port(use, 0);
    if (ov_layer_is(use->reader, "Squeeze")) {
        const ov_port *swap = longer;
        longer = shorter;
        shorter = swap;
    }
    if (!few_dims(longer, shorter))
        return;
    for (uint32_t mask = 1; mask < 1u << longer->rank; mask++) {
        bool ones = true;
        for (uint32_t i = 0; i < longer->rank; i++)
            ones = ones && ((mask >> i & 1) == 0 || longer->dims[i] == 1);
        if (ones && removes(longer, shorter, mask))
            allow_axes(vote, mask, longer->rank);
    }
}

static void vote_reduced_axes(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    if (!few_dims(input, output))
        return;
    bool keep = strcasecmp(ov_layer_attribute(use->reader, "keep_dims", "false"), "true") == 0;
    for (uint32_t mask = 1; mask < 1u << input->rank; mask++) {
        bool fits = keep ? input->rank == output->rank : removes(input, output, mask);
        for (uint32_t i = 0; keep && fits && i < input->rank; i++)
            fits = (mask >> i & 1) != 0 ? output->dims[i] == 1 && input->dims[i] != 1
                                        : output->dims[i] == input->dims[i];
        if (fits)
            allow_axes(vote, mask, input->rank);
    }
}

static void vote_gather_axis(const ov_use *use, ov_vote *vote)
{
    const ov_port *data = input_port(use, 0), *indices = input_port(use, 1);
    const ov_port *output = output_port(use->reader);
    if (!few_dims(data, indices) || output == NULL ||
        output->rank + 1 != data->rank + indices->rank)
        return;
    for (uint32_t axis = 0; axis < data->rank; axis++) {
        bool fits = true;
        for (uint32_t i = 0; i < output->rank && fits; i++) {
            const int64_t wanted = i < axis                   ? data->dims[i]
                                   : i < axis + indices->rank ? indices->dims[i - axis]
                                                              : data->dims[i + 1 - indices->rank];
            fits = agree(output->dims[i], wanted);
        }
        if (fits)
            allow_axes(vote, 1u << axis, data->rank);
    }
}

/* Split, Slice: dimensions whose size changes. */
static void vote_changed_axis(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    if (!few_dims(input, output) || input->rank != output->rank)
        return;
    uint32_t mask = 0;
    for (uint32_t i = 0; i < input->rank; i++)
        mask |= (uint32_t)(input->dims[i] != output->dims[i]) << i;
    if (mask != 0)
        allow_axes(vote, mask, input->rank);
}

static void vote_zero(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_all(vote, 0);
}

static void vote_one(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_all(vote, 1);
}

static void vote_two(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_all(vote, 2);
}

/* --- shapes --- */

/* Orders of axes that turn the input's sizes into the output's, the first in the alphabet first. */
static void permute(const ov_port *input, const ov_port *output, uint32_t used, uint32_t depth,
                    int64_t *perm, ov_vote *vote)
{
    if (depth == input->rank) {
        allow(vote, perm);
        return;
    }
    for (uint32_t axis = 0; axis < input->rank; axis++)
        if ((used >> axis & 1) == 0 && input->dims[axis] == output->dims[depth]) {
            perm[depth] = axis;
            permute(input, output, used | 1u << axis, depth + 1, perm, vote);
        }
}

static void vote_permutation(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    int64_t perm[OV_VOTE_WIDTH];
    if (few_dims(input, output) && input->rank == output->rank && vote->width == input->rank)
        permute(input, output, 0, 0, perm, vote);
}

/* The target of a reshape: sizes as declared; an unknown one is the input's own (0, where zero
 * means that) or the rest (-1). */
static void vote_reshape_target(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    int64_t target[OV_VOTE_WIDTH];
    bool special_zero =
        strcasecmp(ov_layer_attribute(use->reader, "special_zero", "true"), "true") == 0;
    if (input == NULL || output == NULL || output->rank != vote->width)
        return;
    size_t open = 0;
    for (uint32_t i = 0; i < output->rank; i++) {
        bool own = special_zero && i < input->rank && input->dims[i] == OV_DYNAMIC;
        target[i] = output->dims[i] != OV_DYNAMIC ? output->dims[i] : own ? 0 : -1;
        open += target[i] == -1;
    }
    if (open > 1)
        return;
    allow(vote, target);
    /* One element may as well be "the rest". */
    if (output->rank == 1 && target[0] != -1)
        allow(vote, (int64_t[]){-1});
}

/* A part of a concatenation whose only purpose is to be the target of a reshape or broadcast. */
static bool find_target(const ov_use *use, const ov_layer *concat, const ov_layer *part,
                        const ov_layer **consumer, uint32_t *position, uint32_t *total)
{
    const ov_reading *reading = &use->first_reader[concat->index];
    if (!ov_layer_is(concat, "Concat") || reading->layer == NULL || reading->port != 1 ||
        (!ov_layer_is(reading->layer, "Reshape") && !ov_layer_is(reading->layer, "Broadcast")))
        return false;
    *consumer = reading->layer;
    *total = 0;
    bool found = false;
    for (uint32_t i = 0; i < concat->input_count; i++) {
        const ov_port *input = &concat->inputs[i];
        if (input->driver == part && !found) {
            *position = *total;
            found = true;
        }
        if (input->rank != 1 || input->dims[0] < 0 || input->dims[0] > OV_VOTE_WIDTH)
            return false;
        *total += (uint32_t)input->dims[0];
    }
    const ov_port *output = output_port(reading->layer);
    return found && output != NULL && output->rank == *total;
}

static void vote_concat_part(const ov_use *use, ov_vote *vote)
{
    const ov_layer *consumer;
    uint32_t position, total;
    int64_t part[OV_VOTE_WIDTH];
    if (!find_target(use, use->reader, use->constant->layer, &consumer, &position, &total))
        return;
    /* The same constant may be another part too: each port is a use of its own. */
    position = 0;
    for (uint32_t i = 0; i < use->port; i++)
        position += (uint32_t)use->reader->inputs[i].dims[0];
    const ov_port *output = output_port(consumer);
    bool broadcast = ov_layer_is(consumer, "Broadcast");
    for (size_t i = 0; i < vote->width; i++) {
        if (position + i >= output->rank)
            return;
        part[i] = output->dims[position + i];
        if (part[i] == OV_DYNAMIC && broadcast)
            return;
    }
    allow(vote, part);
    if (broadcast)
        allow_all(vote, 1); /* "as it is", in a bidirectional broadcast */
}

/* Indices into a shape, when the result is part of a target: dimensions count from the same end. */
static void vote_shape_index(const ov_use *use, ov_vote *vote)
{
    const ov_layer *shape_of = driver_of(use, 0), *consumer;
    const ov_layer *concat = use->first_reader[use->reader->index].layer;
    uint32_t position, total;
    int64_t right[OV_VOTE_WIDTH], left[OV_VOTE_WIDTH];
    if (shape_of == NULL || !ov_layer_is(shape_of, "ShapeOf") || shape_of->input_count != 1 ||
        concat == NULL || !find_target(use, concat, use->reader, &consumer, &position, &total))
        return;
    int64_t rank = shape_of->inputs[0].rank;
    bool right_fits = true, left_fits = true;
    for (size_t i = 0; i < vote->width; i++) {
        left[i] = (int64_t)(position + i);
        right[i] = rank - total + left[i];
        right_fits = right_fits && right[i] >= 0 && right[i] < rank;
        left_fits = left_fits && left[i] < rank;
    }
    if (right_fits)
        allow(vote, right);
    if (left_fits)
        allow(vote, left);
}

/* --- slices --- */

static bool list_bit(const char *text, size_t index, bool otherwise)
{
    const char *entry;
    size_t length;
    for (size_t i = 0; ov_next_entry(&text, &entry, &length); i++)
        if (i == index)
            return length == 1 && *entry == '1';
    return otherwise;
}

/* Ends of a strided slice: the whole dimension, or as many as the output has. */
static void vote_strided_end(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    const char *mask = ov_layer_attribute(use->reader, "end_mask", "");
    int64_t end[OV_VOTE_WIDTH];
    if (input == NULL || output == NULL || input->rank < vote->width)
        return;
    bool begins_at_front = ov_layer_is(use->reader->inputs[1].driver, "Const");
    for (size_t i = 0; i < vote->width; i++) {
        bool cut = input->rank == output->rank && input->dims[i] != output->dims[i] &&
                   output->dims[i] != OV_DYNAMIC;
        end[i] = list_bit(mask, i, false) ? 0
                 : cut && begins_at_front ? output->dims[i]
                                          : INT64_MAX;
    }
    allow(vote, end);
}

/* The index that a scatter writes into the bounds of a strided slice: the axis that is not masked.
 */
static void vote_scatter_index(const ov_use *use, ov_vote *vote)
{
    const ov_reading *reading = &use->first_reader[use->reader->index];
    if (reading->layer == NULL || !ov_layer_is(reading->layer, "StridedSlice") || vote->width != 1)
        return;
    const char *mask =
        ov_layer_attribute(reading->layer, reading->port == 1 ? "begin_mask" : "end_mask", "");
    const ov_port *bounds = &reading->layer->inputs[reading->port];
    for (int64_t i = 0; bounds->rank == 1 && i < bounds->dims[0] && i < OV_VOTE_WIDTH; i++)
        if (!list_bit(mask, (size_t)i, false))
            allow(vote, &i);
}

static void vote_slice_start(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    allow_all(vote, 0);
    for (uint32_t i = 0; input != NULL && output != NULL && i < input->rank && i < output->rank;
         i++)
        if (input->dims[i] > output->dims[i] && output->dims[i] >= 0)
            allow_all(vote, input->dims[i] - output->dims[i]);
}

static void vote_slice_stop(const ov_use *use, ov_vote *vote)
{
    const ov_port *input = input_port(use, 0), *output = output_port(use->reader);
    allow_all(vote, INT64_MAX);
    for (uint32_t i = 0; input != NULL && output != NULL && i < input->rank && i < output->rank;
         i++)
        if (input->dims[i] != output->dims[i] && output->dims[i] >= 0)
            allow_all(vote, output->dims[i]);
}

/* --- numbers --- */

static bool driver_is(const ov_use *use, uint32_t port, const char *type)
{
    const ov_layer *driver = driver_of(use, port);
    return driver != NULL && ov_layer_is(driver, type);
}

static void vote_square(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_number(vote, 2);
}

static void vote_reciprocal(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_number(vote, 1);
}

/* mean(x^2) + epsilon */
static void vote_epsilon(const ov_use *use, ov_vote *vote)
{
    if (driver_is(use, 1 - use->port, "ReduceMean"))
        allow_number(vote, 1e-5);
}

/* rotate_half of RoPE negates a slice; a conversion may stand between. */
static void vote_negation(const ov_use *use, ov_vote *vote)
{
    ov_use product = *use;
    if (ov_layer_is(use->reader, "Convert")) {
        const ov_reading *reading = &use->first_reader[use->reader->index];
        if (reading->layer == NULL || !ov_layer_is(reading->layer, "Multiply") || reading->port > 1)
            return;
        product.reader = reading->layer;
        product.port = reading->port;
    }
    if (!driver_is(&product, 1 - product.port, "Slice") &&
        !driver_is(&product, 1 - product.port, "StridedSlice"))
        return;
    if (ir_type_is_float(use->constant->type))
        allow_number(vote, -1);
    else
        allow_all(vote, -1);
}

/* What a state starts from is 0; a mask is filled with the lowest number. */
static void vote_fill(const ov_use *use, ov_vote *vote)
{
    const ov_layer *reader = use->first_reader[use->reader->index].layer;
    if (reader != NULL && ov_layer_is(reader, "ReadValue"))
        allow_number(vote, 0);
    else
        allow_number(vote, -(double)FLT_MAX);
}

static void vote_hidden(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_number(vote, -(double)FLT_MAX);
    allow_number(vote, 0);
}

static void vote_visible(const ov_use *use, ov_vote *vote)
{
    (void)use;
    allow_number(vote, 0);
    allow_number(vote, -(double)FLT_MAX);
}

static void vote_attention_scale(const ov_use *use, ov_vote *vote)
{
    const ov_port *query = input_port(use, 0);
    if (query != NULL && query->rank > 0 && query->dims[query->rank - 1] > 0)
        allow_number(vote, 1 / sqrt((double)query->dims[query->rank - 1]));
}

/* k of a TopK: the size that the output has along the axis. */
static void vote_top_k(const ov_use *use, ov_vote *vote)
{
    const ov_port *output = output_port(use->reader);
    int64_t axis;
    if (output == NULL || !ov_parse_i64(ov_layer_attribute(use->reader, "axis", "-1"), &axis))
        return;
    axis = axis < 0 ? axis + output->rank : axis;
    if (axis >= 0 && axis < output->rank && output->dims[axis] >= 0)
        allow_all(vote, output->dims[axis]);
}

/* --- the table --- */

typedef void (*rule)(const ov_use *use, ov_vote *vote);

static const struct {
    const char *type;
    uint32_t port;
    bool of_float; /* for float constants, else for integers */
    rule rule;
} rules[] = {
    {"Unsqueeze", 1, false, vote_inserted_axes},
    {"Squeeze", 1, false, vote_inserted_axes},
    {"ReduceMean", 1, false, vote_reduced_axes},
    {"ReduceSum", 1, false, vote_reduced_axes},
    {"ReduceProd", 1, false, vote_reduced_axes},
    {"ReduceMax", 1, false, vote_reduced_axes},
    {"Gather", 1, false, vote_shape_index},
    {"Gather", 2, false, vote_gather_axis},
    {"Split", 1, false, vote_changed_axis},
    {"VariadicSplit", 1, false, vote_changed_axis},
    {"Transpose", 1, false, vote_permutation},
    {"Reshape", 1, false, vote_reshape_target},
    {"Concat", OV_ANY_NUMBER, false, vote_concat_part},
    {"ScatterUpdate", 0, false, vote_zero},
    {"ScatterUpdate", 1, false, vote_scatter_index},
    {"ScatterUpdate", 3, false, vote_zero},
    {"ScatterElementsUpdate", 3, false, vote_one},
    {"StridedSlice", 1, false, vote_zero},
    {"StridedSlice", 2, false, vote_strided_end},
    {"StridedSlice", 3, false, vote_one},
    {"Slice", 1, false, vote_slice_start},
    {"Slice", 2, false, vote_slice_stop},
    {"Slice", 3, false, vote_one},
    {"Slice", 4, false, vote_changed_axis},
    {"Range", 0, false, vote_zero},
    {"Range", 2, false, vote_one},
    {"TopK", 1, false, vote_top_k},
    {"Tile", 1, false, vote_one},
    {"Maximum", OV_ANY_NUMBER, false, vote_one},
    {"Divide", 1, false, vote_two},
    {"Convert", 0, false, vote_negation},
    {"Multiply", OV_ANY_NUMBER, false, vote_negation},
    {"Power", 1, true, vote_square},
    {"Divide", 0, true, vote_reciprocal},
    {"Add", OV_ANY_NUMBER, true, vote_epsilon},
    {"Multiply", OV_ANY_NUMBER, true, vote_negation},
    {"Broadcast", 0, true, vote_fill},
    {"Equal", 1, true, vote_visible},
    {"Select", 1, true, vote_hidden},
    {"Select", 2, true, vote_visible},
    {"ScaledDotProductAttention", 4, true, vote_attention_scale},
};

void ov_vote_for(const ov_use *use, ov_vote *vote)
{
    bool of_float = ir_type_is_float(use->constant->type);
    if (of_float && use->constant->elements != 1)
        return; /* rules know single numbers only */
    for (size_t i = 0; i < TD_COUNT_OF(rules); i++)
        if (rules[i].of_float == of_float && ov_layer_is(use->reader, rules[i].type) &&
            (rules[i].port == use->port || rules[i].port == OV_ANY_NUMBER)) {
            rules[i].rule(use, vote);
            return;
        }
}

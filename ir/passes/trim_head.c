/* Raised form -> raised form whose head has only some rows: VocabTrim, arXiv:2506.22694, where
 * W_trim = W[I, :] is all that the method asks of a model. The weight, its scales, its zero points
 * and its bias become constants that gather their rows from the old ones when they are read. A
 * table that embed reads too (tied embeddings) stays whole.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "ir/passes/passes.h"

#include <inttypes.h>
#include <string.h>

/* --- gathered constants --- */

/* Rows of `from`, counted in half bytes: 4-bit rows may end within a byte. */
typedef struct row_gather {
    const ir_constant *from;
    const int32_t *ids; /* [rows] */
    uint64_t rows, row_nibbles;
} row_gather;

/* Copies half bytes from a constant to half byte `to` of `bytes`. What lies behind the last one in
 * its byte becomes zero. */
static td_status copy_nibbles(td_context *context, const ir_constant *from, uint64_t first,
                              uint64_t count, uint64_t to, unsigned char *bytes)
{
    unsigned char chunk[1024];
    if (first % 2 == 0 && count % 2 == 0 && to % 2 == 0)
        return ir_constant_read(context, from, first / 2, count / 2, bytes + to / 2);
    for (uint64_t done = 0; done < count;) {
        const uint64_t begin = (first + done) / 2, skip = (first + done) % 2;
        const uint64_t room = 2 * sizeof chunk - skip, left = count - done;
        const uint64_t batch = left < room ? left : room;
        TD_TRY(ir_constant_read(context, from, begin, (skip + batch + 1) / 2, chunk));
        for (uint64_t i = skip; i < skip + batch; i++, done++) {
            const unsigned nibble = (unsigned)(chunk[i / 2] >> (i % 2 * 4)) & 15u;
            unsigned char *byte = &bytes[(to + done) / 2];
            *byte = (unsigned char)((to + done) % 2 == 0 ? nibble : (*byte & 15u) | nibble << 4);
        }
    }
    return TD_OK;
}

static td_status read_gathered(td_context *context, const void *self_data, uint64_t offset,
                               uint64_t size, void *bytes)
{
    const row_gather *self = self_data;
    const uint64_t first = 2 * offset, all = self->rows * self->row_nibbles;
    const uint64_t end = 2 * (offset + size) < all ? 2 * (offset + size) : all;
    for (uint64_t at = first; at < end;) {
        const uint64_t row = at / self->row_nibbles, within = at % self->row_nibbles;
        const uint64_t left = self->row_nibbles - within;
        const uint64_t count = left < end - at ? left : end - at;
        const uint64_t source = (uint64_t)self->ids[row] * self->row_nibbles + within;
        TD_TRY(copy_nibbles(context, self->from, source, count, at - first, bytes));
        at += count;
    }
    return TD_OK;
}

/* The rows that a head keeps. */
typedef struct kept_rows {
    const int32_t *ids; /* in the module's arena */
    uint64_t count, all;
} kept_rows;

/* Adds the constant that holds the kept rows of `from`, a list or a matrix of kept->all rows; the
 * caller has gathered its scales and zero points. */
static td_status gather_part(ir_module *module, const ir_constant *from, const kept_rows *kept,
                             ir_constant *scale, ir_constant *zero_point, ir_constant **gathered)
{
    uint64_t elements = 0;
    if (!ir_shape_elements_bound(module, &from->shape, &elements) || elements % kept->all != 0)
        return td_fail(module->context, TD_INTERNAL, "constant \"%.100s\" has no %" PRIu64 " rows",
                       from->name, kept->all);
    const uint64_t columns = elements / kept->all;
    const int64_t dims[] = {(int64_t)kept->count, (int64_t)columns};
    row_gather *self = td_arena_allocate(&module->arena, 1, sizeof *self);
    const char *name = td_arena_format(&module->arena, "%s.trimmed", from->name);
    const char *description =
        td_arena_format(&module->arena, "%" PRIu64 " rows of %s", kept->count,
                        from->source.description != NULL ? from->source.description : from->name);
    if (self == NULL || name == NULL || description == NULL)
        return td_fail_memory(module->context);
    *self = (row_gather){from, kept->ids, kept->count, columns * ir_type_bits(from->type) / 4};
    const ir_constant constant = {.name = name,
                                  .type = from->type,
                                  .shape = ir_shape_of(from->shape.rank == 1 ? 1 : 2, dims),
                                  .source = {read_gathered, self, description},
                                  .scale = scale,
                                  .zero_point = zero_point,
                                  .group = from->group,
                                  .missing = from->missing};
    return ir_module_add_constant(module, &constant, gathered);
}

static td_status gather_rows(ir_graph *graph, const ir_constant *from, const kept_rows *kept,
                             ir_value **value)
{
    ir_constant *scale = NULL, *zero_point = NULL, *gathered = NULL;
    if (from->scale != NULL)
        TD_TRY(gather_part(graph->module, from->scale, kept, NULL, NULL, &scale));
    if (from->zero_point != NULL)
        TD_TRY(gather_part(graph->module, from->zero_point, kept, NULL, NULL, &zero_point));
    TD_TRY(gather_part(graph->module, from, kept, scale, zero_point, &gathered));
    return ir_graph_add_constant(graph, gathered, value);
}

/* --- the head --- */

static td_status find_head(const ir_module *module, ir_node **head)
{
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    for (size_t i = 0; forward != NULL && i < forward->output_count; i++) {
        const ir_value *logits = forward->outputs[i];
        if (strcmp(forward->output_names[i], "logits") != 0)
            continue;
        const ir_node *node = logits->producer;
        if (logits->kind != IR_VALUE_RESULT || node->op != IR_OP_linear ||
            node->inputs[1]->kind != IR_VALUE_CONSTANT ||
            node->inputs[1]->constant->shape.rank != 2 ||
            (node->input_count > 2 && node->inputs[2]->kind != IR_VALUE_CONSTANT))
            break;
        *head = logits->producer;
        return TD_OK;
    }
    return td_fail(module->context, TD_UNSUPPORTED,
                   "module \"%s\": its head cannot be trimmed: the result \"logits\" of graph "
                   "\"forward\" must be a linear layer with a constant weight",
                   module->name);
}

static td_status check_ids(const ir_module *module, size_t count, const int32_t *ids, uint64_t all)
{
    if (count == 0)
        return td_fail(module->context, TD_INVALID, "a head cannot be trimmed to no rows");
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint64_t)ids[i] >= all || (i > 0 && ids[i] <= ids[i - 1]))
            return td_fail(module->context, TD_INVALID,
                           "id %" PRId32 " (number %zu) of a trimmed head: ids must ascend from 0 "
                           "to %" PRIu64,
                           ids[i], i, all - 1);
    return TD_OK;
}

/* The same head over the rows that are kept, in the place of `head`. */
static td_status replace_head(ir_node *head, const kept_rows *kept)
{
    ir_graph *graph = head->graph;
    ir_value *inputs[3] = {head->inputs[0]};
    ir_node *trimmed = NULL;
    for (uint32_t i = 1; i < head->input_count; i++)
        TD_TRY(gather_rows(graph, head->inputs[i]->constant, kept, &inputs[i]));
    TD_TRY(ir_graph_insert_node(graph, head, IR_OP_linear, head->name, head->input_count, inputs, 1,
                                &trimmed));
    TD_TRY(ir_node_infer(trimmed));
    trimmed->outputs[0]->name = head->outputs[0]->name;
    ir_graph_replace(graph, head->outputs[0], trimmed->outputs[0]);
    ir_graph_remove_node(graph, head);
    return TD_OK;
}

/* --- what a row costs --- */

static uint64_t stored_bytes(const ir_constant *constant)
{
    return constant->bytes + (constant->scale != NULL ? constant->scale->bytes : 0) +
           (constant->zero_point != NULL ? constant->zero_point->bytes : 0);
}

td_status ir_head_traffic(const ir_module *module, ir_traffic *traffic)
{
    ir_node *head = NULL;
    TD_TRY(find_head(module, &head));
    const ir_constant *weight = head->inputs[1]->constant;
    *traffic =
        (ir_traffic){.head = stored_bytes(weight), .rows = (uint32_t)weight->shape.dim[0].constant};
    for (const ir_node *node = head->graph->first; node != NULL; node = node->next)
        if (node != head && node->op == IR_OP_linear && node->inputs[1]->kind == IR_VALUE_CONSTANT)
            traffic->body += stored_bytes(node->inputs[1]->constant);
    return TD_OK;
}

/* --- the pass --- */

td_status ir_pass_trim_head(ir_module *module, size_t count, const int32_t *ids)
{
    ir_node *head = NULL;
    TD_TRY(find_head(module, &head));
    const uint64_t all = (uint64_t)head->inputs[1]->constant->shape.dim[0].constant;
    TD_TRY(check_ids(module, count, ids, all));
    if (count == all)
        return TD_OK;
    int32_t *own = td_arena_allocate(&module->arena, count, sizeof *own);
    if (own == NULL)
        return td_fail_memory(module->context);
    memcpy(own, ids, count * sizeof *own);
    TD_TRY(replace_head(head, &(kept_rows){own, count, all}));
    return ir_pass_remove_dead(module);
}

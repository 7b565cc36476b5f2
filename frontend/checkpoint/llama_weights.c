/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/llama_weights.h"

#include <stdio.h>
#include <string.h>

#define NAME_ROOM 96 /* the longest name with ten digits of a layer fits */

/* How many missing tensors a message names before it counts the rest. */
#define NAMED_MISSING 6

typedef enum dimension {
    NONE,
    VOCABULARY,
    WIDTH,
    QUERY,
    KEY,
    HEAD_SIZE,
    FEED_FORWARD,
    DIMENSION_COUNT,
} dimension;

static const struct {
    const char *names[2]; /* by fe_llama_naming */
    dimension rows, columns;
    unsigned part;
} roles[FE_LLAMA_ROLE_COUNT] = {
#define X(role, huggingface, gguf, rows, columns, part) {{huggingface, gguf}, rows, columns, part},
    FE_LLAMA_ROLES(X)
#undef X
};

static void write_name(fe_llama_role role, fe_llama_naming naming, uint32_t layer,
                       char name[NAME_ROOM])
{
    const char *pattern = roles[role].names[naming];
    const char *place = strstr(pattern, "%u");
    if (place == NULL)
        snprintf(name, NAME_ROOM, "%s", pattern);
    else
        snprintf(name, NAME_ROOM, "%.*s%u%s", (int)(place - pattern), pattern, layer, place + 2);
}

/* Whether a model has the role in a layer: those outside the layers count as layer 0's. */
static bool in_layer(fe_llama_role role, uint32_t layer)
{
    return layer == 0 || strstr(roles[role].names[0], "%u") != NULL;
}

static bool is_wanted(const fe_llama *llama, fe_llama_role role)
{
    return (roles[role].part & ~llama->parts) == 0;
}

unsigned fe_llama_find_parts(const fe_tensors *tensors, fe_llama_naming naming)
{
    unsigned parts = 0;
    for (fe_llama_role role = 0; role < FE_LLAMA_ROLE_COUNT; role++) {
        char name[NAME_ROOM];
        write_name(role, naming, 0, name);
        if (fe_tensors_find(tensors, name) != NULL)
            parts |= roles[role].part;
    }
    return parts;
}

/* --- checks --- */

static td_status check_shape(td_context *context, const fe_llama *llama, fe_llama_role role,
                             const fe_tensor *tensor)
{
    const uint64_t sizes[DIMENSION_COUNT] = {
        [VOCABULARY] = llama->vocabulary,
        [WIDTH] = llama->width,
        [QUERY] = (uint64_t)llama->heads * llama->head_size,
        [KEY] = (uint64_t)llama->kv_heads * llama->head_size,
        [HEAD_SIZE] = llama->head_size,
        [FEED_FORWARD] = llama->feed_forward,
    };
    const uint64_t rows = sizes[roles[role].rows], columns = sizes[roles[role].columns];
    const uint32_t rank = roles[role].columns == NONE ? 1 : 2;
    if (tensor->rank == rank && (uint64_t)tensor->dim[0] == rows &&
        (rank == 1 || (uint64_t)tensor->dim[1] == columns))
        return TD_OK;
    td_text shape;
    td_text_init(&shape, context);
    for (uint32_t i = 0; i < tensor->rank; i++)
        td_text_printf(&shape, "%s%lld", i == 0 ? "" : ", ", (long long)tensor->dim[i]);
    const char *found = shape.data == NULL ? "" : shape.data;
    td_status status =
        rank == 1
            ? td_fail(context, TD_INVALID, "%s: tensor \"%s\" has shape [%s], expected [%llu]",
                      tensor->file->path, tensor->name, found, (unsigned long long)rows)
            : td_fail(context, TD_INVALID,
                      "%s: tensor \"%s\" has shape [%s], expected [%llu, %llu]", tensor->file->path,
                      tensor->name, found, (unsigned long long)rows, (unsigned long long)columns);
    td_text_release(&shape);
    return status;
}

/* Counts wanted tensors that are absent and writes the first of their names into `list`; refuses
 * tensors that are there but would be ignored, because then the result would be wrong. */
static td_status find_missing(td_context *context, const fe_llama *llama, const fe_tensors *tensors,
                              fe_llama_naming naming, td_text *list, uint64_t *missing)
{
    *missing = 0;
    for (uint32_t layer = 0; layer < llama->layers; layer++) {
        for (fe_llama_role role = 0; role < FE_LLAMA_ROLE_COUNT; role++) {
            char name[NAME_ROOM];
            if (!in_layer(role, layer))
                continue;
            write_name(role, naming, layer, name);
            const fe_tensor *tensor = fe_tensors_find(tensors, name);
            if (!is_wanted(llama, role)) {
                if (tensor != NULL && role != FE_LLAMA_HEAD)
                    return td_fail(context, TD_INVALID,
                                   "%s: tensor \"%s\" is present, but the model's configuration "
                                   "has no place for it",
                                   tensor->file->path, name);
            } else if (tensor != NULL) {
                TD_TRY(check_shape(context, llama, role, tensor));
            } else if ((*missing)++ < NAMED_MISSING) {
                td_text_printf(list, "%s\"%s\"", *missing == 1 ? "" : ", ", name);
            }
        }
    }
    return TD_OK;
}

static td_status check_tensors(td_context *context, const char *path, const fe_llama *llama,
                               const fe_tensors *tensors, fe_llama_naming naming)
{
    /* Each layer has several tensors: this bounds the work that a header can ask for. */
    if (llama->layers > tensors->items.count)
        return td_fail(context, TD_INVALID, "%s: %u layers cannot be in a file of %zu tensors",
                       path, llama->layers, tensors->items.count);
    uint64_t missing;
    td_text list;
    td_text_init(&list, context);
    td_status status = find_missing(context, llama, tensors, naming, &list, &missing);
    if (status == TD_OK && missing > 0) {
        if (missing > NAMED_MISSING)
            td_text_printf(&list, " and %llu more", (unsigned long long)(missing - NAMED_MISSING));
        status = list.failed ? td_fail_memory(context)
                             : td_fail(context, TD_INVALID, "%s: %llu tensor%s missing: %s", path,
                                       (unsigned long long)missing, missing == 1 ? " is" : "s are",
                                       list.data);
    }
    td_text_release(&list);
    return status;
}

td_status fe_llama_weights_add(ir_module *module, const char *path, const fe_llama *llama,
                               const fe_tensors *tensors, fe_llama_naming naming,
                               fe_llama_weights *weights)
{
    TD_TRY(check_tensors(module->context, path, llama, tensors, naming));
    weights->layers = td_arena_allocate(&module->arena, llama->layers, sizeof weights->layers[0]);
    if (weights->layers == NULL)
        return td_fail_memory(module->context);
    for (uint32_t layer = 0; layer < llama->layers; layer++) {
        for (fe_llama_role role = 0; role < FE_LLAMA_ROLE_COUNT; role++) {
            char name[NAME_ROOM];
            if (!in_layer(role, layer) || !is_wanted(llama, role))
                continue;
            write_name(role, naming, layer, name);
            TD_TRY(fe_tensor_constant(module, fe_tensors_find(tensors, name),
                                      roles[role].columns == NONE, &weights->layers[layer][role]));
        }
    }
    return TD_OK;
}

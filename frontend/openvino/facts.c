/* What a model says about itself besides its graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/facts.h"

#include "frontend/json_file.h"
#include "frontend/openvino/read_document.h"

#include <stddef.h>
#include <string.h>

/* Names in rt_info and in config.json. */
static const struct {
    const char *name, *config_name;
    size_t offset; /* in ov_facts */
} known[] = {
    {"context_length", "max_position_embeddings", offsetof(ov_facts, context_length)},
    {"bos_token_id", "bos_token_id", offsetof(ov_facts, bos_id)},
    {"eos_token_id", "eos_token_id", offsetof(ov_facts, eos_id)},
};

static int64_t *field(ov_facts *facts, size_t index)
{
    return (int64_t *)(void *)((char *)facts + known[index].offset);
}

void ov_facts_take(ov_facts *facts, const char *name, const char *value)
{
    uint64_t number;
    for (size_t i = 0; i < TD_COUNT_OF(known); i++)
        if (strcmp(name, known[i].name) == 0 && ov_parse_u64(value, &number) && number <= INT32_MAX)
            *field(facts, i) = (int64_t)number;
}

/* A number, the first of a list, or -1. */
static int64_t number_of(const json_t *config, const char *name)
{
    const json_t *value = json_object_get(config, name);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    const json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    return number >= 0 && number <= INT32_MAX ? number : -1;
}

td_status ov_facts_read_config(td_context *context, const char *path, ov_facts *facts)
{
    char *beside = td_path_beside(context, path, "config.json");
    if (beside == NULL)
        return td_fail_memory(context);
    json_t *config = NULL;
    td_status status = td_path_exists(beside) ? fe_json_read_path(context, beside, &config) : TD_OK;
    td_release(context, beside);
    if (status == TD_NO_MEMORY)
        return status;
    for (size_t i = 0; i < TD_COUNT_OF(known); i++)
        if (*field(facts, i) < 0)
            *field(facts, i) = number_of(config, known[i].config_name);
    json_decref(config);
    return TD_OK;
}

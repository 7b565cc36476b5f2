/* What a model says about itself besides its graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/facts.h"

#include "frontend/json_file.h"
#include "frontend/openvino/read_document.h"

#include <stddef.h>
#include <string.h>

/* Numbers by their names in rt_info and in JSON files. */
static const struct {
    const char *name, *config_name;
    size_t offset; /* in ov_facts */
} known[] = {
    {"context_length", "max_position_embeddings", offsetof(ov_facts, context_length)},
    {"bos_token_id", "bos_token_id", offsetof(ov_facts, bos_id)},
};

static int64_t *field(ov_facts *facts, size_t index)
{
    return (int64_t *)(void *)((char *)facts + known[index].offset);
}

static void add_end(ov_facts *facts, int64_t id)
{
    if (id >= 0 && id <= INT32_MAX && facts->end_count < TD_COUNT_OF(facts->end_ids))
        facts->end_ids[facts->end_count++] = (int32_t)id;
}

void ov_facts_take(ov_facts *facts, const char *name, const char *value)
{
    uint64_t number;
    if (!ov_parse_u64(value, &number) || number > INT32_MAX)
        return;
    if (strcmp(name, OV_END_FACT) == 0)
        add_end(facts, (int64_t)number);
    for (size_t i = 0; i < TD_COUNT_OF(known); i++)
        if (strcmp(name, known[i].name) == 0)
            *field(facts, i) = (int64_t)number;
}

/* --- files beside the document --- */

/* A number, the first of a list, or -1. */
static int64_t number_of(const json_t *config, const char *name)
{
    const json_t *value = json_object_get(config, name);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    const json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    return number >= 0 && number <= INT32_MAX ? number : -1;
}

/* A number or a list of them. */
static void read_ends(const json_t *config, ov_facts *facts)
{
    const json_t *value = json_object_get(config, "eos_token_id");
    const size_t count = json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        add_end(facts, json_is_integer(id) ? json_integer_value(id) : -1);
    }
}

static td_status read_config(td_context *context, const char *path, const char *name,
                             ov_facts *facts)
{
    char *beside = td_path_beside(context, path, name);
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
    if (facts->end_count == 0)
        read_ends(config, facts);
    json_decref(config);
    return TD_OK;
}

td_status ov_facts_read_configs(td_context *context, const char *path, ov_facts *facts)
{
    TD_TRY(read_config(context, path, "generation_config.json", facts));
    return read_config(context, path, "config.json", facts);
}

/* Hugging Face directories -> raised form: config.json, model.safetensors or the shards that
 * model.safetensors.index.json lists, and the tokenizer beside them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/huggingface_config.h"
#include "frontend/checkpoint/safetensors.h"

#include <string.h>

/* A file of the directory; NULL: no memory. */
static const char *join(ir_module *module, const char *directory, const char *name)
{
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/')
        length--;
    return td_arena_format(&module->arena, "%.*s/%s", (int)length, directory, name);
}

/* The path of a file of the directory, or NULL when there is none. */
static td_status join_existing(ir_module *module, const char *directory, const char *name,
                               const char **path)
{
    const char *joined = join(module, directory, name);
    if (joined == NULL)
        return td_fail_memory(module->context);
    *path = td_path_exists(joined) ? joined : NULL;
    return TD_OK;
}

static td_status index_file(ir_module *module, const char *path, fe_tensors *tensors)
{
    td_file *file;
    TD_TRY(fe_map_for_module(module, path, &file));
    return fe_safetensors_index(module->context, file, tensors);
}

/* --- shards --- */

/* Shards lie in the directory itself: the index must not lead anywhere else. */
static td_status check_shard_name(td_context *context, const char *index_path, const json_t *value)
{
    const char *name = json_string_value(value);
    if (name != NULL && name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL)
        return TD_OK;
    return td_fail(context, TD_INVALID,
                   "%s: \"weight_map\" must give the name of a file in the same directory for each "
                   "tensor",
                   index_path);
}

static td_status index_listed(ir_module *module, const char *directory, const char *index_path,
                              json_t *map, td_map *seen, fe_tensors *tensors)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value)
    {
        TD_TRY(check_shard_name(module->context, index_path, value));
        const char *name = json_string_value(value);
        if (td_map_get(seen, name) != NULL)
            continue;
        const char *path = join(module, directory, name);
        if (path == NULL || !td_map_put(seen, name, value))
            return td_fail_memory(module->context);
        TD_TRY(index_file(module, path, tensors));
    }
    return TD_OK;
}

static td_status index_shards(ir_module *module, const char *directory, const char *index_path,
                              fe_tensors *tensors)
{
    json_t *root;
    td_map seen;
    TD_TRY(fe_json_read_path(module->context, index_path, &root));
    json_t *map = json_object_get(root, "weight_map");
    td_map_init(&seen, module->context);
    const td_status status = json_is_object(map)
                                 ? index_listed(module, directory, index_path, map, &seen, tensors)
                                 : td_fail(module->context, TD_INVALID,
                                           "%s: \"weight_map\" must be an object", index_path);
    td_map_release(&seen);
    json_decref(root);
    return status;
}

static td_status index_weights(ir_module *module, const char *directory, fe_tensors *tensors)
{
    const char *single, *index;
    TD_TRY(join_existing(module, directory, "model.safetensors", &single));
    TD_TRY(join_existing(module, directory, "model.safetensors.index.json", &index));
    if (single != NULL)
        TD_TRY(index_file(module, single, tensors));
    else if (index != NULL)
        TD_TRY(index_shards(module, directory, index, tensors));
    else
        return td_fail(module->context, TD_INVALID,
                       "%s: neither model.safetensors nor model.safetensors.index.json is here",
                       directory);
    return fe_tensors_finish(tensors);
}

/* --- the directory --- */

static td_status build(ir_module *module, const char *directory, const char *config_path,
                       const json_t *config, const fe_options *options, fe_model *model)
{
    fe_llama llama;
    fe_tensors tensors;
    TD_TRY(fe_huggingface_parameters(module->context, config_path, config, &llama));
    fe_tensors_init(&tensors, module->context);
    td_status status = index_weights(module, directory, &tensors);
    if (status == TD_OK)
        status = fe_llama_build(module, directory, &llama, &tensors, FE_LLAMA_HUGGINGFACE, options,
                                model);
    fe_tensors_release(&tensors);
    return status;
}

static td_status read_tokens(ir_module *module, const char *path, const json_t *config,
                             fe_model *model)
{
    TD_TRY(fe_huggingface_token(module->context, path, config, "bos_token_id", model->vocabulary,
                                &model->bos_id));
    int32_t ends[FE_FURTHER_ENDS + 1];
    uint32_t count;
    TD_TRY(fe_huggingface_tokens(module->context, path, config, "eos_token_id", model->vocabulary,
                                 ends, FE_FURTHER_ENDS + 1, &count));
    model->eos_id = count > 0 ? ends[0] : -1;
    model->further_end_count = count > 0 ? count - 1 : 0;
    memcpy(model->further_end_ids, ends + 1, model->further_end_count * sizeof *ends);
    return TD_OK;
}

/* generation_config.json, where it is present, has the last word on where text ends. */
static td_status read_generation(ir_module *module, const char *directory, fe_model *model)
{
    const char *path;
    json_t *root;
    fe_model told = *model;
    TD_TRY(join_existing(module, directory, "generation_config.json", &path));
    if (path == NULL)
        return TD_OK;
    TD_TRY(fe_json_read_path(module->context, path, &root));
    const td_status status = read_tokens(module, path, root, &told);
    json_decref(root);
    if (told.bos_id >= 0)
        model->bos_id = told.bos_id;
    if (told.eos_id >= 0) {
        model->eos_id = told.eos_id;
        model->further_end_count = told.further_end_count;
        memcpy(model->further_end_ids, told.further_end_ids, sizeof told.further_end_ids);
    }
    return status;
}

static td_status find_tokenizer(ir_module *module, const char *directory, fe_model *model)
{
    TD_TRY(join_existing(module, directory, "tokenizer.json", &model->tokenizer_path));
    if (model->tokenizer_path != NULL)
        return TD_OK;
    return join_existing(module, directory, "tokenizer.model", &model->tokenizer_path);
}

static td_status import_into(ir_module *module, const char *directory, const fe_options *options,
                             fe_model *model)
{
    const char *path = join(module, directory, "config.json");
    json_t *config;
    if (path == NULL)
        return td_fail_memory(module->context);
    TD_TRY(fe_json_read_path(module->context, path, &config));
    td_status status = build(module, directory, path, config, options, model);
    if (status == TD_OK)
        status = read_tokens(module, path, config, model);
    json_decref(config);
    TD_TRY(status);
    TD_TRY(read_generation(module, directory, model));
    return find_tokenizer(module, directory, model);
}

td_status fe_import_huggingface(td_context *context, const char *path, const fe_options *options,
                                fe_model *model)
{
    return fe_llama_import(context, path, options, import_into, model);
}

/* OpenVINO IR to a raised model: the reader, the passes, and what the model says about itself.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "frontend/frontend.h"
#include "frontend/json_file.h"
#include "ir/passes/passes.h"

#include <libxml/xmlreader.h>
#include <limits.h>
#include <string.h>

/* What a model says about itself: in the document's rt_info (Tandem's own files), else in a
 * config.json beside it (other exporters). */
typedef struct model_facts {
    int64_t context_length, bos_id, eos_id; /* -1: unknown */
} model_facts;

/* --- rt_info --- */

static void take_fact(model_facts *facts, const char *name, const char *value)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = {
        {"context_length", offsetof(model_facts, context_length)},
        {"bos_token_id", offsetof(model_facts, bos_id)},
        {"eos_token_id", offsetof(model_facts, eos_id)},
    };
    for (size_t i = 0; i < TD_COUNT_OF(known); i++) {
        char *end = NULL;
        long long number = strcmp(name, known[i].name) == 0 ? strtoll(value, &end, 10) : -1;
        if (end != NULL && *end == '\0' && number >= 0 && number <= INT32_MAX)
            *(int64_t *)(void *)((char *)facts + known[i].offset) = number;
    }
}

/* net / rt_info / tandem / NAME value="NUMBER". Layers and edges are stepped over; a malformed
 * document is left to the reader proper. */
static void read_facts(xmlTextReaderPtr reader, model_facts *facts)
{
    int more = xmlTextReaderRead(reader);
    while (more == 1 && xmlTextReaderNodeType(reader) != XML_READER_TYPE_DOCUMENT_TYPE) {
        int depth = xmlTextReaderDepth(reader);
        const char *name = (const char *)xmlTextReaderConstLocalName(reader);
        bool element = xmlTextReaderNodeType(reader) == XML_READER_TYPE_ELEMENT;
        if (element && depth == 3) {
            xmlChar *value = xmlTextReaderGetAttribute(reader, (const xmlChar *)"value");
            if (value != NULL)
                take_fact(facts, name, (const char *)value);
            xmlFree(value);
        }
        bool enter = !element || depth == 0 || (depth == 1 && strcmp(name, "rt_info") == 0) ||
                     (depth == 2 && strcmp(name, "tandem") == 0);
        more = enter ? xmlTextReaderRead(reader) : xmlTextReaderNext(reader);
    }
}

static td_status read_rt_info(td_context *context, const char *path, model_facts *facts)
{
    td_file file;
    TD_TRY(td_file_map(context, path, &file));
    xmlTextReaderPtr reader = NULL;
    if (file.size <= INT_MAX)
        reader = xmlReaderForMemory((const char *)file.data, (int)file.size, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (reader != NULL)
        read_facts(reader, facts);
    xmlFreeTextReader(reader);
    td_file_unmap(context, &file);
    return TD_OK;
}

/* --- config.json --- */

static int64_t number_of(const json_t *config, const char *name)
{
    const json_t *value = json_object_get(config, name);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    const json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    return number >= 0 && number <= INT32_MAX ? number : -1;
}

/* A missing or malformed file says nothing. */
static td_status read_config(td_context *context, const char *path, model_facts *facts)
{
    char *beside = td_path_beside(context, path, "config.json");
    if (beside == NULL)
        return td_fail_memory(context);
    json_t *config = NULL;
    td_status status = td_path_exists(beside) ? fe_json_read_path(context, beside, &config) : TD_OK;
    td_release(context, beside);
    if (status == TD_NO_MEMORY)
        return status;
    if (facts->context_length < 0)
        facts->context_length = number_of(config, "max_position_embeddings");
    if (facts->bos_id < 0)
        facts->bos_id = number_of(config, "bos_token_id");
    if (facts->eos_id < 0)
        facts->eos_id = number_of(config, "eos_token_id");
    json_decref(config);
    return TD_OK;
}

/* --- the tokenizer --- */

static td_status find_tokenizer(ir_module *module, const char *path, const char **tokenizer)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    for (size_t i = 0; i < TD_COUNT_OF(names); i++) {
        char *beside = td_path_beside(module->context, path, names[i]);
        if (beside == NULL)
            return td_fail_memory(module->context);
        bool exists = td_path_exists(beside);
        *tokenizer = exists ? td_arena_string(&module->arena, beside) : NULL;
        td_release(module->context, beside);
        if (exists)
            return *tokenizer != NULL ? TD_OK : td_fail_memory(module->context);
    }
    return TD_OK;
}

/* --- the model --- */

/* Bounds of the symbols that raising adds. */
static void bound_rows(ir_module *module, const fe_options *options)
{
    ir_symbol rows;
    if (options->max_rows > 0 && ir_module_find_symbol(module, "rows", &rows))
        module->symbols.items[rows].bound = options->max_rows;
}

static void describe(ir_module *module, const model_facts *facts, fe_model *model)
{
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    ir_symbol slots;
    model->raised = forward != NULL;
    model->bos_id = (int32_t)facts->bos_id;
    model->eos_id = (int32_t)facts->eos_id;
    if (forward != NULL)
        model->vocabulary = (uint32_t)forward->outputs[0]->shape.dim[1].constant;
    if (ir_module_find_symbol(module, "slots", &slots))
        model->context_length = (uint32_t)module->symbols.items[slots].bound;
}

#ifdef NDEBUG
static const bool verify_passes = false;
#else
static const bool verify_passes = true;
#endif

/* Reads and raises. Under `summary` a graph that is no decoder is listed as it stands in the file:
 * it is read again, because a pass may have left it half way. */
static td_status raise_file(td_context *context, const char *path, const fe_options *options,
                            ir_module **module)
{
    TD_TRY(fe_read_openvino(context, path, options, module));
    td_status status =
        ir_run_passes(*module, ir_import_passes, options->print_after, verify_passes);
    if (status == TD_OK)
        return TD_OK;
    ir_module_release(*module);
    if (status == TD_NO_MEMORY)
        return status;
    if (!options->summary)
        return td_fail_within(context, status, "%s", path);
    td_progress(context, 1, "%s: listed as it is in the file: %s", path, context->message);
    return fe_read_openvino(context, path, options, module);
}

static td_status import_module(td_context *context, const char *path, const fe_options *options,
                               const model_facts *facts, fe_model *model)
{
    fe_model imported = {0};
    TD_TRY(raise_file(context, path, options, &imported.module));
    td_status status = find_tokenizer(imported.module, path, &imported.tokenizer_path);
    if (status != TD_OK) {
        ir_module_release(imported.module);
        return status;
    }
    bound_rows(imported.module, options);
    describe(imported.module, facts, &imported);
    *model = imported;
    return TD_OK;
}

td_status fe_import_openvino(td_context *context, const char *path, const fe_options *options,
                             fe_model *model)
{
    model_facts facts = {-1, -1, -1};
    fe_options bounded = *options;
    TD_TRY(read_rt_info(context, path, &facts));
    TD_TRY(read_config(context, path, &facts));
    if (facts.context_length > 0 && options->context_length > facts.context_length)
        return td_fail(context, TD_INVALID,
                       "%s: a context of %u tokens was asked for, the model was made for %lld",
                       path, options->context_length, (long long)facts.context_length);
    if (facts.context_length > 0 && options->context_length == 0)
        bounded.context_length = (uint32_t)facts.context_length;
    return import_module(context, path, &bounded, &facts, model);
}

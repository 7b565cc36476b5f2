/* Counts of tokens as a JSON file:
 *
 *     {"format": "tandem token counts", "version": 1, "kind": "target",
 *      "tokenizer": "8f0c0f1d3c2b5a69", "vocabulary": 4096,
 *      "total": 153, "drafted": 80, "accepted": 47,
 *      "counts": [[11, 90], [13, 63]]}
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/counts/counts.h"
#include "frontend/json_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FORMAT         "tandem token counts"
#define VERSION        1
#define PAIRS_PER_LINE 10

static const char *const kinds[] = {"raw", "drafter", "target", "drafted", "mixed"};

/* --- reading --- */

/* A whole number from 0 to `most` under a name. */
static td_status read_number(td_context *context, const json_t *root, const char *name,
                             uint64_t most, uint64_t *number)
{
    const json_t *value = json_object_get(root, name);
    const json_int_t integer = json_integer_value(value);
    if (!json_is_integer(value) || integer < 0 || (uint64_t)integer > most)
        return td_fail(context, TD_INVALID, "\"%s\" must be a whole number from 0 to %" PRIu64,
                       name, most);
    *number = (uint64_t)integer;
    return TD_OK;
}

static td_status read_kind(td_context *context, const json_t *root, fe_counts *counts)
{
    const char *kind = fe_json_text(root, "kind");
    for (size_t i = 0; i < TD_COUNT_OF(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0) {
            snprintf(counts->kind, sizeof counts->kind, "%s", kind);
            return TD_OK;
        }
    return td_fail(context, TD_INVALID,
                   "\"kind\" is \"%.40s\"; raw, drafter, target, drafted and mixed are known",
                   kind);
}

static td_status read_tokenizer(td_context *context, const json_t *root, fe_counts *counts)
{
    const char *text = fe_json_text(root, "tokenizer");
    uint64_t vocabulary = 0;
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return td_fail(context, TD_INVALID,
                       "\"tokenizer\" is \"%.40s\"; expected a hash of 16 hexadecimal digits",
                       text);
    sscanf(text, "%" SCNx64, &counts->tokenizer);
    TD_TRY(read_number(context, root, "vocabulary", INT32_MAX, &vocabulary));
    if (vocabulary == 0)
        return td_fail(context, TD_INVALID, "\"vocabulary\" is 0; a tokenizer has ids");
    counts->vocabulary = (uint32_t)vocabulary;
    return TD_OK;
}

static td_status read_pair(td_context *context, const json_t *pair, size_t place, fe_counts *counts)
{
    const json_t *id = json_array_get(pair, 0), *number = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(id) || !json_is_integer(number))
        return td_fail(context, TD_INVALID, "\"counts\", entry %zu: expected [id, count]", place);
    const json_int_t last =
        counts->items.count == 0 ? -1 : (json_int_t)counts->items.items[counts->items.count - 1].id;
    if (json_integer_value(id) <= last || json_integer_value(id) >= (json_int_t)counts->vocabulary)
        return td_fail(context, TD_INVALID,
                       "\"counts\", entry %zu: id %" JSON_INTEGER_FORMAT
                       "; ids must ascend and be below %" PRIu32,
                       place, json_integer_value(id), counts->vocabulary);
    if (json_integer_value(number) <= 0)
        return td_fail(context, TD_INVALID,
                       "\"counts\", entry %zu: count %" JSON_INTEGER_FORMAT "; counts are positive",
                       place, json_integer_value(number));
    const fe_count item = {(uint32_t)json_integer_value(id), (uint64_t)json_integer_value(number)};
    return td_array_push(context, &counts->items, item) ? TD_OK : td_fail_memory(context);
}

static td_status read_pairs(td_context *context, const json_t *root, fe_counts *counts)
{
    const json_t *pairs = json_object_get(root, "counts");
    uint64_t sum = 0;
    if (!json_is_array(pairs))
        return td_fail(context, TD_INVALID, "\"counts\" must be a list of [id, count]");
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        TD_TRY(read_pair(context, json_array_get(pairs, i), i, counts));
        if (!td_add(sum, counts->items.items[i].count, &sum))
            return td_fail(context, TD_INVALID, "the sum of \"counts\" does not fit 64 bits");
    }
    if (sum != counts->total)
        return td_fail(context, TD_INVALID,
                       "\"total\" is %" PRIu64 " but the counts add up to %" PRIu64, counts->total,
                       sum);
    return TD_OK;
}

static td_status read_root(td_context *context, const json_t *root, fe_counts *counts)
{
    uint64_t version = 0;
    const char *format = fe_json_text(root, "format");
    if (strcmp(format, FORMAT) != 0)
        return td_fail(context, TD_INVALID, "\"format\" is \"%.40s\"; expected \"" FORMAT "\"",
                       format);
    TD_TRY(read_number(context, root, "version", INT32_MAX, &version));
    if (version != VERSION)
        return td_fail(context, TD_INVALID, "\"version\" is %" PRIu64 "; version %d is known",
                       version, VERSION);
    TD_TRY(read_kind(context, root, counts));
    TD_TRY(read_tokenizer(context, root, counts));
    TD_TRY(read_number(context, root, "total", INT64_MAX, &counts->total));
    TD_TRY(read_number(context, root, "drafted", INT64_MAX, &counts->drafted));
    TD_TRY(read_number(context, root, "accepted", counts->drafted, &counts->accepted));
    return read_pairs(context, root, counts);
}

td_status fe_counts_read(td_context *context, const char *path, fe_counts *counts)
{
    json_t *root = NULL;
    fe_counts read = {0};
    TD_TRY(fe_json_read_path(context, path, &root));
    const td_status status = read_root(context, root, &read);
    json_decref(root);
    if (status != TD_OK) {
        fe_counts_release(context, &read);
        return td_fail_within(context, status, "%s", path);
    }
    *counts = read;
    return TD_OK;
}

/* --- writing --- */

td_status fe_counts_write(td_context *context, const fe_counts *counts, const char *path)
{
    td_output output;
    TD_TRY(td_output_open(context, path, &output));
    fprintf(output.stream,
            "{\"format\": \"" FORMAT "\", \"version\": %d, \"kind\": \"%s\",\n"
            " \"tokenizer\": \"%016" PRIx64 "\", \"vocabulary\": %" PRIu32 ",\n"
            " \"total\": %" PRIu64 ", \"drafted\": %" PRIu64 ", \"accepted\": %" PRIu64 ",\n"
            " \"counts\": [",
            VERSION, counts->kind, counts->tokenizer, counts->vocabulary, counts->total,
            counts->drafted, counts->accepted);
    for (size_t i = 0; i < counts->items.count; i++)
        fprintf(output.stream, "%s[%" PRIu32 ",%" PRIu64 "]",
                i == 0                    ? ""
                : i % PAIRS_PER_LINE == 0 ? ",\n  "
                                          : ",",
                counts->items.items[i].id, counts->items.items[i].count);
    fputs("]}\n", output.stream);
    return td_output_commit(context, &output, false);
}

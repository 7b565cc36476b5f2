/* Tokenizers and token ids, for the verbs that read texts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

td_status cli_read_tokenizer(td_context *context, const cli_options *options, const fe_model *model,
                             fe_tokenizer *blob, const rt_tokenizer **tokenizer)
{
    const char *path = options->tokenizer != NULL ? options->tokenizer : model->tokenizer_path;
    const char *problem;
    if (path == NULL)
        return td_fail(context, TD_INVALID, "no tokenizer lies with the model; give --tokenizer");
    TD_TRY(fe_read_tokenizer(context, path, blob));
    *tokenizer = rt_tokenizer_open(blob->blob, blob->bytes, &problem);
    return *tokenizer != NULL ? TD_OK : td_fail(context, TD_INTERNAL, "%s: %s", path, problem);
}

td_status cli_encode(td_context *context, const rt_tokenizer *tokenizer, const char *text,
                     size_t length, unsigned flags, cli_ids *ids)
{
    const size_t scratch_bytes = rt_tokenizer_scratch_bytes(length);
    void *scratch = td_allocate(context, scratch_bytes);
    if (scratch == NULL || !td_array_reserve(context, ids, rt_tokenizer_most_ids(length) + 2)) {
        td_release(context, scratch);
        return td_fail_memory(context);
    }
    const int64_t count = rt_tokenizer_encode(tokenizer, text, length, flags, scratch,
                                              scratch_bytes, ids->items, ids->capacity);
    td_release(context, scratch);
    if (count < 0 || (size_t)count > ids->capacity)
        return td_fail(context, TD_INVALID,
                       "the text of %zu bytes is too long to be tokenized; 1 GiB is accepted",
                       length);
    ids->count = (size_t)count;
    return TD_OK;
}

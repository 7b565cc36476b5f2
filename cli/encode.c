/* Text to token ids, for the verbs that read texts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include "runtime/tokenizer.h"

td_status cli_encode(td_context *context, const fe_tokenizer *tokenizer, const char *text,
                     size_t length, unsigned flags, cli_ids *ids)
{
    const char *problem = "no tokenizer lies with the model; give --tokenizer";
    const rt_tokenizer *opened =
        tokenizer->blob == NULL ? NULL
                                : rt_tokenizer_open(tokenizer->blob, tokenizer->bytes, &problem);
    if (opened == NULL)
        return td_fail(context, TD_INVALID, "%s", problem);
    const size_t scratch_bytes = rt_tokenizer_scratch_bytes(length);
    void *scratch = td_allocate(context, scratch_bytes);
    if (scratch == NULL || !td_array_reserve(context, ids, rt_tokenizer_most_ids(length) + 2)) {
        td_release(context, scratch);
        return td_fail_memory(context);
    }
    const int64_t count = rt_tokenizer_encode(opened, text, length, flags, scratch, scratch_bytes,
                                              ids->items, ids->capacity);
    td_release(context, scratch);
    if (count < 0 || (size_t)count > ids->capacity)
        return td_fail(context, TD_INVALID, "the text cannot be tokenized");
    ids->count = (size_t)count;
    return TD_OK;
}

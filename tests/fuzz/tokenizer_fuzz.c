/* Fuzz target of the tokenizer readers (libFuzzer): the input is a file of any of the formats, and
 * is then used as a text for the tokenizer that it was.
 *
 *     clang -fsanitize=fuzzer,address,undefined ... tests/fuzz/tokenizer_fuzz.c
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const fe_tokenizer *compiled, const char *text, size_t size)
{
    const rt_tokenizer *tokenizer = rt_tokenizer_open(compiled->blob, compiled->bytes, NULL);
    size_t scratch_bytes = rt_tokenizer_scratch_bytes(size), capacity = rt_tokenizer_most_ids(size);
    void *scratch = malloc(scratch_bytes);
    int32_t *ids = malloc(capacity * sizeof *ids);
    char *out = malloc(rt_decoder_most_bytes(tokenizer));
    if (scratch != NULL && ids != NULL && out != NULL) {
        int64_t count =
            rt_tokenizer_encode(tokenizer, text, size, RT_ENCODE_SPECIAL | RT_ENCODE_DEFAULTS,
                                scratch, scratch_bytes, ids, capacity);
        if (count < 0 || (uint64_t)count > capacity)
            abort();
        rt_decoder decoder = {0};
        for (int64_t i = 0; i < count; i++)
            rt_decoder_push(&decoder, tokenizer, ids[i], i % 2 != 0, out);
        rt_decoder_finish(&decoder, out);
    }
    free(scratch);
    free(ids);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    td_context context;
    td_context_init(&context);
    char path[64];
    int descriptor = memfd_create("tokenizer", 0);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    fe_tokenizer tokenizer;
    if (fe_read_tokenizer(&context, path, &tokenizer) == TD_OK) {
        use(&tokenizer, (const char *)data, size < 4096 ? size : 4096);
        fe_tokenizer_release(&context, &tokenizer);
    }
    close(descriptor);
    return 0;
}

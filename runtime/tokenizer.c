/* Opening a compiled tokenizer, and looking up its tokens.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/tokenizer.h"

#include "runtime/tokenizer_blob.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the blob is read in place");
_Static_assert(sizeof(rt_tokenizer) == 48 + 16 * RT_SECTION_COUNT, "the header has no gaps");

/* What is wrong with a blob, or NULL. */
static const char *problem_of(const void *blob, uint64_t bytes)
{
    const rt_tokenizer *tokenizer = blob;
    if (blob == NULL || bytes < sizeof *tokenizer)
        return "the tokenizer is shorter than its header";
    if ((uintptr_t)blob % 8 != 0)
        return "the tokenizer does not lie at a multiple of eight bytes";
    if (memcmp(tokenizer->magic, RT_TOKENIZER_MAGIC, sizeof tokenizer->magic) != 0)
        return "the tokenizer does not start with TANDEMTK";
    if (tokenizer->version != RT_TOKENIZER_VERSION)
        return "the tokenizer was compiled for another version of the runtime";
    if (tokenizer->bytes > bytes)
        return "the tokenizer is cut short";
    for (unsigned i = 0; i < RT_SECTION_COUNT; i++) {
        uint64_t offset = tokenizer->sections[i].offset, count = tokenizer->sections[i].count;
        if (offset % 8 != 0 || offset > tokenizer->bytes || count > UINT32_MAX ||
            count * rt_section_element(i) > tokenizer->bytes - offset)
            return "a section of the tokenizer does not lie inside of it";
    }
    uint32_t symbols = tokenizer->symbols, vocabulary = tokenizer->vocabulary;
    if (vocabulary > symbols || vocabulary > INT32_MAX ||
        rt_section_count(tokenizer, RT_SECTION_PIECE_STARTS) != (uint64_t)symbols + 1 ||
        rt_section_count(tokenizer, RT_SECTION_MERGE_STARTS) != (uint64_t)symbols + 1 ||
        rt_section_count(tokenizer, RT_SECTION_KINDS) != vocabulary ||
        rt_section_count(tokenizer, RT_SECTION_BYTES) != 256 ||
        rt_section_count(tokenizer, RT_SECTION_STAGES) > RT_TOKENIZER_MOST_STAGES)
        return "the sizes of the tokenizer's sections contradict each other";
    return NULL;
}

const rt_tokenizer *rt_tokenizer_open(const void *blob, uint64_t bytes, const char **problem)
{
    const char *found = problem_of(blob, bytes);
    if (found == NULL)
        return blob;
    if (problem != NULL)
        *problem = found;
    return NULL;
}

const void *rt_section_find(const rt_tokenizer *tokenizer, unsigned section,
                            uint64_t (*key_of)(const void *row), uint64_t key)
{
    const unsigned char *rows = rt_section(tokenizer, section);
    const uint64_t size = rt_section_element(section);
    const uint32_t count = rt_section_count(tokenizer, section);
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (key_of(rows + middle * size) < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count ? rows + low * size : NULL;
}

uint32_t rt_tokenizer_vocabulary(const rt_tokenizer *tokenizer)
{
    return tokenizer->vocabulary;
}

int32_t rt_tokenizer_bos(const rt_tokenizer *tokenizer)
{
    return tokenizer->bos_id;
}

int32_t rt_tokenizer_eos(const rt_tokenizer *tokenizer)
{
    return tokenizer->eos_id;
}

bool rt_tokenizer_adds_bos(const rt_tokenizer *tokenizer)
{
    return (tokenizer->flags & RT_TOKENIZER_ADD_BOS) != 0;
}

static uint8_t kind_of(const rt_tokenizer *tokenizer, int32_t id)
{
    const uint8_t *kinds = rt_section(tokenizer, RT_SECTION_KINDS);
    return id >= 0 && (uint32_t)id < tokenizer->vocabulary ? kinds[id] : RT_TOKEN_UNUSED;
}

bool rt_tokenizer_is_end(const rt_tokenizer *tokenizer, int32_t id)
{
    return (kind_of(tokenizer, id) & RT_TOKEN_END) != 0;
}

bool rt_tokenizer_is_special(const rt_tokenizer *tokenizer, int32_t id)
{
    unsigned kind = kind_of(tokenizer, id) & RT_TOKEN_KIND_MASK;
    return kind == RT_TOKEN_CONTROL || kind == RT_TOKEN_UNUSED;
}

const char *rt_tokenizer_piece(const rt_tokenizer *tokenizer, int32_t id, size_t *length)
{
    *length = 0;
    if (id < 0 || (uint32_t)id >= tokenizer->vocabulary)
        return "";
    return rt_symbol_piece(tokenizer, (uint32_t)id, length);
}

/* A tokenizer of eight tokens, for texts whose characters are spread over several of them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_RUNTIME_FAKE_TOKENIZER_H
#define TANDEM_TESTS_RUNTIME_FAKE_TOKENIZER_H

#include "runtime/tokenizer_blob.h"

#include <string.h>

enum { FAKE_A, FAKE_E2, FAKE_82, FAKE_AC, FAKE_SPACE_B, FAKE_BOS, FAKE_EOS, FAKE_E_ACUTE };
#define FAKE_TOKENS 8

static const char *const fake_pieces[FAKE_TOKENS] = {"a",  "\xe2", "\x82", "\xac",
                                                     " b", "<s>",  "</s>", "\xc3\xa9"};
static _Alignas(8) unsigned char fake_tokenizer[4096];

static uint64_t fake_add_section(rt_tokenizer *header, unsigned section, const void *elements,
                                 uint64_t count, uint64_t offset)
{
    uint64_t bytes = count * rt_section_element(section);
    header->sections[section].offset = offset;
    header->sections[section].count = count;
    if (bytes > 0)
        memcpy(fake_tokenizer + offset, elements, bytes);
    return (offset + bytes + 7) / 8 * 8;
}

/* Writes the blob and returns its size. */
static uint64_t fake_make_tokenizer(void)
{
    rt_tokenizer header = {.magic = "",
                           .version = RT_TOKENIZER_VERSION,
                           .flags = RT_TOKENIZER_BYTE_LEVEL | RT_TOKENIZER_ADD_BOS,
                           .vocabulary = FAKE_TOKENS,
                           .symbols = FAKE_TOKENS,
                           .bos_id = FAKE_BOS,
                           .eos_id = FAKE_EOS,
                           .unknown_id = -1,
                           .longest_piece = 4};
    memcpy(header.magic, RT_TOKENIZER_MAGIC, sizeof header.magic);
    uint32_t starts[FAKE_TOKENS + 1] = {0}, merges[FAKE_TOKENS + 1] = {0}, bytes[256];
    uint8_t kinds[FAKE_TOKENS];
    char pieces[64] = "";
    for (unsigned i = 0; i < FAKE_TOKENS; i++) {
        strcat(pieces, fake_pieces[i]);
        starts[i + 1] = (uint32_t)strlen(pieces);
        kinds[i] = i == FAKE_BOS   ? RT_TOKEN_CONTROL
                   : i == FAKE_EOS ? RT_TOKEN_CONTROL | RT_TOKEN_END
                                   : RT_TOKEN_NORMAL;
    }
    for (unsigned i = 0; i < 256; i++)
        bytes[i] = RT_NONE;
    bytes['a'] = FAKE_A;
    bytes[0xe2] = FAKE_E2;
    bytes[0x82] = FAKE_82;
    bytes[0xac] = FAKE_AC;
    uint64_t end = sizeof header;
    for (unsigned i = 0; i < RT_SECTION_COUNT; i++)
        header.sections[i].offset = end;
    end = fake_add_section(&header, RT_SECTION_PIECE_STARTS, starts, FAKE_TOKENS + 1, end);
    end = fake_add_section(&header, RT_SECTION_PIECES, pieces, strlen(pieces), end);
    end = fake_add_section(&header, RT_SECTION_KINDS, kinds, FAKE_TOKENS, end);
    end = fake_add_section(&header, RT_SECTION_MERGE_STARTS, merges, FAKE_TOKENS + 1, end);
    end = fake_add_section(&header, RT_SECTION_BYTES, bytes, 256, end);
    header.bytes = end;
    memcpy(fake_tokenizer, &header, sizeof header);
    return end;
}

#endif

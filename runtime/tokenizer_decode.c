/* Token ids to text, a token at a time, in whole characters.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/tokenizer_blob.h"
#include "runtime/utf8.h"

#include <string.h>

/* Every three bytes written stand for at least one byte of the token or of what was held back. */
size_t rt_decoder_most_bytes(const rt_tokenizer *tokenizer)
{
    return 3 * ((size_t)tokenizer->longest_piece + 4);
}

static size_t write_replacement(char *text)
{
    memcpy(text, "\xef\xbf\xbd", 3);
    return 3;
}

/* Whether the bytes held are the beginning of a character. */
static bool held_fits(const rt_decoder *decoder)
{
    unsigned length = rt_utf8_length(decoder->held[0]);
    if (length == 0 || decoder->held_count > length)
        return false;
    if (decoder->held_count > 1 && !rt_utf8_second_fits(decoder->held[0], decoder->held[1]))
        return false;
    for (unsigned i = 2; i < decoder->held_count; i++)
        if ((decoder->held[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* Takes one byte and writes what is settled by it. */
static size_t push_byte(rt_decoder *decoder, unsigned char byte, char *text)
{
    size_t written = 0;
    decoder->held[decoder->held_count++] = byte;
    if (!held_fits(decoder) && decoder->held_count > 1) {
        /* What was held is cut off by this byte, which may begin a character itself. */
        written += write_replacement(text);
        decoder->held[0] = byte;
        decoder->held_count = 1;
    }
    if (!held_fits(decoder)) {
        decoder->held_count = 0;
        return written + write_replacement(text + written);
    }
    if (decoder->held_count == rt_utf8_length(decoder->held[0])) {
        memcpy(text + written, decoder->held, decoder->held_count);
        written += decoder->held_count;
        decoder->held_count = 0;
    }
    return written;
}

size_t rt_decoder_push(rt_decoder *decoder, const rt_tokenizer *tokenizer, int32_t id,
                       bool show_special, char *text)
{
    bool special = rt_tokenizer_is_special(tokenizer, id);
    if (special && !show_special)
        return 0;
    size_t length, written = 0;
    const char *piece = rt_tokenizer_piece(tokenizer, id, &length);
    size_t from = !special && !decoder->started && length > 0 && piece[0] == ' ' &&
                  (tokenizer->flags & RT_TOKENIZER_STRIP_FIRST) != 0;
    decoder->started = decoder->started || !special;
    for (size_t i = from; i < length; i++)
        written += push_byte(decoder, (unsigned char)piece[i], text + written);
    return written;
}

size_t rt_decoder_finish(rt_decoder *decoder, char *text)
{
    size_t written = decoder->held_count > 0 ? write_replacement(text) : 0;
    decoder->held_count = 0;
    return written;
}

void rt_decoder_continue(rt_decoder *decoder)
{
    decoder->started = true;
}

/* The tokenizer of a generated program: text to token ids and back, straight from a compiled blob.
 *
 * SPDX-License-Identifier: MIT
 *
 * The blob lies in read-only memory and is used in place: nothing is built at start and nothing is
 * allocated. It is little-endian, holds offsets instead of pointers, and must lie at a multiple of
 * eight bytes. Its layout is in runtime/tokenizer_blob.h. */
#ifndef TANDEM_RUNTIME_TOKENIZER_H
#define TANDEM_RUNTIME_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The checked start of a blob. */
typedef struct rt_tokenizer rt_tokenizer;

/* Checks magic, version, alignment and that every section lies inside `bytes`. NULL when the blob
 * is not usable, with a sentence in *problem (which may be NULL). The contents of the sections are
 * trusted, as is the rest of a compiled artefact. Cost: constant. */
const rt_tokenizer *rt_tokenizer_open(const void *blob, uint64_t bytes, const char **problem);

uint32_t rt_tokenizer_vocabulary(const rt_tokenizer *tokenizer);
int32_t rt_tokenizer_bos(const rt_tokenizer *tokenizer);   /* -1: none */
int32_t rt_tokenizer_eos(const rt_tokenizer *tokenizer);   /* -1: none */
bool rt_tokenizer_adds_bos(const rt_tokenizer *tokenizer); /* texts start with it by default */

/* True for the end-of-text token and for control tokens that end a turn, such as <|eot_id|>. */
bool rt_tokenizer_is_end(const rt_tokenizer *tokenizer, int32_t id);

/* --- encoding --- */

enum {
    RT_ENCODE_SPECIAL = 1, /* control tokens written in the text, such as <|endoftext|>, count as
                              such; without it they are ordinary text */
    RT_ENCODE_DEFAULTS = 2 /* adds BOS and EOS where the model's texts have them by default */
};

/* Bytes of scratch that are enough for any text of this length (some 24 per byte of text; the
 * scratch must be aligned to 8 bytes). */
size_t rt_tokenizer_scratch_bytes(size_t text_bytes);

/* The most ids that a text of this length can have. */
size_t rt_tokenizer_most_ids(size_t text_bytes);

/* Writes the first `capacity` ids of the text and returns how many it has in all, which may be
 * more; -1 when a word of the text needs more scratch than there is or the text is longer than 1
 * GiB. Text that is not UTF-8 is taken byte by byte. Cost: O(n log n) in the longest word. */
int64_t rt_tokenizer_encode(const rt_tokenizer *tokenizer, const char *text, size_t text_bytes,
                            unsigned flags, void *scratch, size_t scratch_bytes, int32_t *ids,
                            size_t capacity);

/* --- decoding --- */

/* The bytes of one token as they stand in a text: a byte token's byte, a SentencePiece token with
 * spaces, a control token's name. Not NUL-terminated. Length 0 when there is no such id. */
const char *rt_tokenizer_piece(const rt_tokenizer *tokenizer, int32_t id, size_t *length);

/* True for tokens that are no text: control and unused ones. */
bool rt_tokenizer_is_special(const rt_tokenizer *tokenizer, int32_t id);

/* Text being written token by token. Start with {0}. */
typedef struct rt_decoder {
    bool started;       /* something was written: the leading space was dealt with */
    uint8_t held_count; /* bytes of a character that is not complete yet */
    unsigned char held[4];
} rt_decoder;

/* Bytes that one push or finish can write at most. */
size_t rt_decoder_most_bytes(const rt_tokenizer *tokenizer);

/* Appends a token; writes the characters that are complete now to `text` (which has room for
 * rt_decoder_most_bytes) and returns their bytes. Special tokens write nothing unless asked for.
 * Bytes that are no UTF-8 become U+FFFD. `text` is not NUL-terminated. */
size_t rt_decoder_push(rt_decoder *decoder, const rt_tokenizer *tokenizer, int32_t id,
                       bool show_special, char *text);

/* Ends the text: a character that is still incomplete becomes U+FFFD. */
size_t rt_decoder_finish(rt_decoder *decoder, char *text);

/* For the continuation of a prompt: the next token is not the first of its text, so a leading space
 * stays. */
void rt_decoder_continue(rt_decoder *decoder);

#endif

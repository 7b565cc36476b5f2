/* A tokenizer while it is being compiled: what all file formats are read into.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_VOCABULARY_H
#define TANDEM_FRONTEND_TOKENIZER_VOCABULARY_H

#include "frontend/checkpoint/gguf.h"
#include "frontend/frontend.h"
#include "frontend/tokenizer/pattern_compiler.h"
#include "runtime/tokenizer_blob.h"

/* A token, or a character that only occurs inside of tokens (kind 0). */
typedef struct fe_token {
    fe_span text;  /* of the arena; raw bytes, but with U+2581 for a space under `metaspace` */
    uint8_t kind;  /* RT_TOKEN_*; 0: not given, or no token */
    uint8_t takes; /* RT_SPECIAL_TAKES_* */
    float score;   /* SentencePiece: higher merges first */
} fe_token;

typedef struct fe_merge {
    uint32_t left, right, rank, result;
} fe_merge;

/* An entry of the index of token texts. */
typedef struct fe_token_entry {
    fe_span text;
    uint32_t symbol;
} fe_token_entry;

typedef struct fe_vocabulary {
    td_context *context;
    td_arena arena;
    TD_ARRAY(fe_token) tokens;        /* by id, then characters that are no tokens */
    uint32_t size;                    /* tokens; set by fe_vocabulary_finish */
    TD_ARRAY(fe_token_entry) entries; /* sorted by text, then id; built by fe_vocabulary_index */
    TD_ARRAY(fe_merge) merges;
    fe_patterns patterns;
    uint32_t flags; /* RT_TOKENIZER_* */
    bool metaspace; /* U+2581 stands for a space */
    int32_t bos_id, eos_id, unknown_id;
} fe_vocabulary;

#define FE_METASPACE "\xe2\x96\x81"

void fe_vocabulary_init(fe_vocabulary *vocabulary, td_context *context);
void fe_vocabulary_release(fe_vocabulary *vocabulary);

/* Sets token `id`, whose text is copied. The ids of a file must be below `bound`, which the caller
 * derives from the size of the file; TD_INVALID for ids beyond and for ids given twice. */
td_status fe_vocabulary_set(fe_vocabulary *vocabulary, uint64_t id, uint64_t bound, fe_span text,
                            uint8_t kind, float score);

/* The same for the kinds of SentencePiece and GGUF: the text of a byte token is "<0xNN>", and
 * becomes that byte. TD_INVALID for other texts of byte tokens. */
td_status fe_vocabulary_set_typed(fe_vocabulary *vocabulary, uint64_t id, uint64_t bound,
                                  fe_span text, uint8_t kind, float score);

/* The byte of "<0xNN>", or -1. */
int fe_vocabulary_byte(fe_span text);

/* Ends the list of tokens: ids that nobody gave become unused ones. TD_INVALID when there is none.
 */
td_status fe_vocabulary_finish(fe_vocabulary *vocabulary);

/* Builds the index of the texts of the kinds in `kinds` (bit RT_TOKEN_*; bit 0: characters). */
td_status fe_vocabulary_index(fe_vocabulary *vocabulary, uint32_t kinds);

/* The token (or character) of a text, the lowest id of several; RT_NONE when there is none. */
uint32_t fe_vocabulary_find(const fe_vocabulary *vocabulary, fe_span text);

/* The token of a text whatever its kind, by a search through all; -1 when there is none. */
int32_t fe_vocabulary_find_any(const fe_vocabulary *vocabulary, const char *text);

/* Copies bytes into the vocabulary's arena; data is NULL when memory ran out. */
fe_span fe_vocabulary_copy(fe_vocabulary *vocabulary, fe_span text);

/* --- merges --- */

/* Adds the merge of two texts, of the next rank; TD_INVALID when one of the three tokens is not in
 * the index. Under RT_TOKENIZER_BYTE_LEVEL the texts are written in the byte alphabet. */
td_status fe_vocabulary_add_merge(fe_vocabulary *vocabulary, fe_span left, fe_span right);

/* The same for "left right", as merges are written in files. */
td_status fe_vocabulary_add_merge_line(fe_vocabulary *vocabulary, fe_span line);

/* Derives the merges from the tokens: every way in which a normal token is made of two others. With
 * `by_score` the higher score goes first (SentencePiece), else the lower id (tiktoken). Characters
 * of tokens that are no tokens themselves become symbols; so this indexes anew. */
td_status fe_vocabulary_derive_merges(fe_vocabulary *vocabulary, bool by_score);

/* --- the byte alphabet of GPT-2, which writes bytes as printable characters --- */

/* Copies a text with its characters turned into the bytes they stand for. A text with characters of
 * no byte is copied as it is. data is NULL when memory ran out. */
fe_span fe_vocabulary_copy_bytes(fe_vocabulary *vocabulary, fe_span text);

/* --- pre-tokenizers known by name --- */

extern const char fe_pretokenizer_gpt2[];

/* Adds the stages of a pre-tokenizer by the name that GGUF gives it; TD_UNSUPPORTED names the known
 * ones. */
td_status fe_pretokenizer_add(fe_vocabulary *vocabulary, fe_span name);

/* --- formats; messages do not name the file, fe_read_tokenizer does --- */

/* tokenizer.json, or vocab.json with its merges beside it. */
td_status fe_vocabulary_read_json(fe_vocabulary *vocabulary, const td_file *file);

/* tiktoken's list of ranks; only Llama 3's. */
td_status fe_vocabulary_read_ranks(fe_vocabulary *vocabulary, const td_file *file);

td_status fe_vocabulary_read_sentencepiece(fe_vocabulary *vocabulary, const td_file *file);
td_status fe_vocabulary_read_gguf(fe_vocabulary *vocabulary, td_file *file);

/* What tokenizer_config.json beside `path` says: bos_token, eos_token, and added_tokens_decoder
 * when `added` (call it before indexing then). No such file is fine. *tokenizer_class is a string
 * of the arena or NULL. */
td_status fe_vocabulary_read_config(fe_vocabulary *vocabulary, const char *path, bool added,
                                    const char **tokenizer_class);

/* Settles bos and eos that are still unknown by the names they usually have, and marks the tokens
 * that end a text or a turn. */
void fe_vocabulary_settle(fe_vocabulary *vocabulary);

/* Writes the blob. */
td_status fe_vocabulary_write(fe_vocabulary *vocabulary, fe_tokenizer *tokenizer);

#endif

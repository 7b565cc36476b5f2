/* Files to IR. Model files are untrusted: whatever they hold, there is no crash, no hang, no read
 * out of bounds, and memory is bounded by the size of the input.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_FRONTEND_H
#define TANDEM_FRONTEND_FRONTEND_H

#include "ir/ir.h"

typedef struct fe_options {
    const char *constants; /* JSON file: offset -> values, for a missing .bin; or NULL */
    bool random_weights;   /* --weights=random:SEED fills weights that have no data */
    uint64_t random_seed;
    bool listing;            /* nothing is computed: weights may be missing, and small constants
                                that are missing are assumed by pattern and reported */
    bool summary;            /* listing, and unknown operations are accepted as opaque */
    uint32_t max_tokens;     /* bound of "tokens"; 0: 64 */
    uint32_t max_rows;       /* bound of "rows"; 0: 32 */
    uint32_t context_length; /* bound of "slots"; 0: what the model says, else 2048 */
    const char *print_after; /* a pass name, "all" or NULL */
    td_text *assumed;        /* receives the constants that were assumed (listing) as lines
                                "offset": [values], as `constants` reads them; or NULL */
} fe_options;

#define FE_FURTHER_ENDS 7

/* What a model file says about itself besides its graph. Strings live in the module's arena. */
typedef struct fe_model {
    ir_module *module; /* raised: graphs "forward" and "commit"; as imported under `summary` when it
                          could not be raised */
    bool raised;
    uint32_t vocabulary, context_length;
    /* A trimmed head: the id of each column of the logits, ascending. NULL: column j is id j. */
    const int32_t *head_ids;
    uint32_t head_count;
    int32_t bos_id, eos_id;                   /* -1: unknown */
    int32_t further_end_ids[FE_FURTHER_ENDS]; /* ids that end a text beside eos_id */
    uint32_t further_end_count;
    const char *tokenizer_path; /* a tokenizer found with the model, or NULL */
} fe_model;

/* Reads a model by what the path is: a directory (Hugging Face), .gguf, .xml (OpenVINO IR). */
td_status fe_import(td_context *context, const char *path, const fe_options *options,
                    fe_model *model);

/* The importers behind it. */
td_status fe_import_openvino(td_context *context, const char *path, const fe_options *options,
                             fe_model *model);
td_status fe_import_huggingface(td_context *context, const char *path, const fe_options *options,
                                fe_model *model);
td_status fe_import_gguf(td_context *context, const char *path, const fe_options *options,
                         fe_model *model);

/* Only the reader: OpenVINO IR -> imported form (core ops, states), before any pass. */
td_status fe_read_openvino(td_context *context, const char *path, const fe_options *options,
                           ir_module **module);

/* Writes a raised module as OpenVINO IR (stateful, version 11): path.xml and the .bin beside it.
 * The map of a trimmed head is a result that is the constant "d2t", i64[columns] of id - column, as
 * EAGLE-3 drafters have it; fe_import_openvino takes it back. */
td_status fe_write_openvino(const fe_model *model, const char *path);

/* Writes an OpenVINO IR again with its layers in another order: `names` lists layers, and each
 * comes after what it needs and otherwise as they are listed. Parameters, results and assignments
 * keep their order among themselves; layers that are not listed come right before the first that
 * needs them. Every other byte stays, and so does the .bin. */
td_status fe_reorder_openvino(td_context *context, const char *path, const char *const *names,
                              uint32_t name_count, const char *output);

/* --- tokenizers --- */

/* A tokenizer compiled to the runtime's blob (runtime/tokenizer.h). */
typedef struct fe_tokenizer {
    unsigned char *blob; /* td_release */
    size_t bytes;
    uint32_t vocabulary;
    int32_t bos_id, eos_id; /* -1: none */
} fe_tokenizer;

/* Reads tokenizer.json (byte-level BPE), tokenizer.model (SentencePiece BPE) or the tokenizer
 * inside a GGUF file, chosen by content. */
td_status fe_read_tokenizer(td_context *context, const char *path, fe_tokenizer *tokenizer);
void fe_tokenizer_release(td_context *context, fe_tokenizer *tokenizer);

/* Compares two tokenizers' token strings id by id; a padded tail of the longer one is fine.
 * TD_INVALID names the first id that differs. */
td_status fe_tokenizers_match(td_context *context, const fe_tokenizer *a, const fe_tokenizer *b);

#endif

/* The steps of tokenizer.json around its model: normalizer, pre_tokenizer, decoder, post_processor.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_TOKENIZER_STEPS_H
#define TANDEM_FRONTEND_TOKENIZER_TOKENIZER_STEPS_H

#include "frontend/tokenizer/vocabulary.h"

#include <jansson.h>

/* Settles flags, `metaspace` and patterns from normalizer, pre_tokenizer and decoder.
 * TD_UNSUPPORTED names the step that has no equal here. To be called before tokens are read. */
td_status fe_tokenizer_steps_read(fe_vocabulary *vocabulary, const json_t *root);

/* Settles bos and eos from post_processor; the tokens are known. */
td_status fe_tokenizer_steps_read_template(fe_vocabulary *vocabulary, const json_t *root);

/* Sets the tokens of a vocabulary (text: id), by the alphabet that the flags say. */
td_status fe_vocabulary_set_all(fe_vocabulary *vocabulary, json_t *vocab, uint64_t bound);

/* Sets an added token, in place of one that had its id. */
td_status fe_vocabulary_add_token(fe_vocabulary *vocabulary, uint64_t id, uint64_t bound,
                                  const json_t *token);

/* Reads vocab.json (text: id), which is `root`, and the merges beside it. */
td_status fe_vocabulary_read_pair(fe_vocabulary *vocabulary, const td_file *file, json_t *root);

#endif

/* The tables of normalisation form C (runtime/normalize.h), from Unicode's data in utf8proc.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_TOKENIZER_NORMALIZATION_H
#define TANDEM_FRONTEND_TOKENIZER_NORMALIZATION_H

#include "base/memory.h"
#include "runtime/tokenizer_blob.h"

/* Some 60 KiB. Start with {0}; released by the caller also when making it failed. */
typedef struct fe_normalization {
    TD_ARRAY(rt_combining) combining;
    TD_ARRAY(rt_decomposition) decompositions;
    TD_ARRAY(rt_composition) compositions;
} fe_normalization;

td_status fe_normalization_make(td_context *context, fe_normalization *tables);
void fe_normalization_release(td_context *context, fe_normalization *tables);

#endif

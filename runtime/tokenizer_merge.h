/* Byte-pair merging of one word.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_TOKENIZER_MERGE_H
#define TANDEM_RUNTIME_TOKENIZER_MERGE_H

#include "runtime/tokenizer_blob.h"

/* A symbol of the word, in a list that is linked both ways by index (RT_NONE: the end). */
typedef struct rt_word_symbol {
    uint32_t symbol;
    uint32_t previous, next;
    uint32_t merge; /* of this symbol with the next one: index of an rt_merge, or RT_NONE */
    uint32_t place; /* of `merge` in the heap, or RT_NONE */
} rt_word_symbol;

/* Merges the `count` > 0 symbols of a word, whose `symbol` fields are set, and links what is left
 * from index 0 on. `heap` has room for `count` numbers. Cost: O(n log n). */
void rt_tokenizer_merge(const rt_tokenizer *tokenizer, rt_word_symbol *word, uint32_t count,
                        uint32_t *heap);

#endif

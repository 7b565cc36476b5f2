/* How many bytes an eviction policy keeps beside a model's cache: one formula for the compiler's
 * plan and the program's start.
 *
 * SPDX-License-Identifier: MIT
 *
 * Of each session and model, in this order, each part beginning at a multiple of 64 bytes:
 *   observed f32[needs.observed][width]   queries of the last tokens, in row position % observed
 *   sums     f32[heads of all layers][slots]   accumulated attention of committed slots
 *   positions   int32[KV heads of all layers][slots]   of the tokens in the slots, as far as they
 *               were there at the last eviction; only where a layer has a sliding window
 *   tail     f32[max_tokens][width]       queries of the tokens that stand in the tail
 *   scratch  f32[workers][rows][slots]    of eviction itself
 * where width is the sum of heads * head_size over the layers. Between rounds only the first three
 * matter. */
#ifndef TANDEM_RUNTIME_EVICT_PLAN_H
#define TANDEM_RUNTIME_EVICT_PLAN_H

#include "runtime/abi.h"

#include <stdbool.h>

/* Parts that scoring is cut into at most: more threads than these find nothing to do. */
#define TANDEM_EVICT_WORKERS 4u

/* What a policy needs. All zero: nothing, and it drops nothing. */
typedef struct tandem_evict_needs {
    bool drops;        /* slots, when all are taken: texts may be longer than these */
    uint32_t observed; /* queries of so many last tokens; 0: none */
    bool sums;         /* attention that slots received so far, which takes queries too */
    bool scores;       /* scores slots at all */
} tandem_evict_needs;

typedef struct tandem_evict_bytes {
    uint64_t observed, tail;           /* whatever the number of slots */
    uint64_t sums, positions, scratch; /* per slot; slots are a multiple of 16 */
} tandem_evict_bytes;

/* All that does not depend on the number of slots. */
uint64_t tandem_evict_fixed(const tandem_evict_bytes *bytes);

/* What each slot adds. */
uint64_t tandem_evict_per_slot(const tandem_evict_bytes *bytes);

/* Bytes from the start on that a saved session needs. */
uint64_t tandem_evict_saved(const tandem_evict_bytes *bytes, uint32_t slots);

/* Whether passes have to hand out the queries of their tokens. */
bool tandem_evict_wants_queries(const tandem_evict_needs *needs);

/* f32 of all layers' queries of one token. */
uint64_t tandem_evict_width(const tandem_model_info *info);

/* Query heads that read one KV head. */
uint32_t tandem_evict_group(const tandem_cache_info *cache);

/* Rows of scratch that one worker has: for each query head of a group the weights of one query and
 * their sums, and the scores. */
uint32_t tandem_evict_scratch_rows(const tandem_model_info *info);

/* What a policy keeps of one model in one session. Of `info` only layers, max_tokens and the
 * caches' heads, kv_heads, head_size and window are read.
 */
tandem_evict_bytes tandem_evict_sizes(const tandem_model_info *info,
                                      const tandem_evict_needs *needs);

#endif

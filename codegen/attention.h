/* Attention over a cache: what its kernels share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_ATTENTION_H
#define TANDEM_CODEGEN_ATTENTION_H

#include "codegen/lower.h"
#include "ir/numerics.h"

#define CG_ATTENTION_ROWS       8  /* most query rows that share the loads of K and V */
#define CG_ATTENTION_MAX_CHUNKS 32 /* of 16: head sizes up to 512 */

/* Operands of the kernels that write the tail and that attend. */
enum {
    CG_ATTENTION_Q,
    CG_ATTENTION_K,
    CG_ATTENTION_V,
    CG_ATTENTION_ANCESTORS,
    CG_ATTENTION_OUT,
    CG_ATTENTION_COUNTS,
    CG_ATTENTION_KEYS,
    CG_ATTENTION_VALUES,
    CG_ATTENTION_TABLE, /* rotary; unused where nothing turns */
    CG_ATTENTION_OPERANDS
};

/* --- the cache (kernel_cache.c) --- */

/* One cache as a kernel sees it; runtime/abi.h says how it lies. */
typedef struct cg_cache_view {
    cg_build *build;
    ir_type type;
    uint64_t kv_heads, size;
    unsigned element_bytes;
    LLVMValueRef slots; /* capacity */
    LLVMValueRef tail;  /* places of the tail that earlier passes took */
} cg_cache_view;

cg_cache_view cg_cache_see(cg_build *build, const cg_kernel *kernel, const ir_state *state);

/* Committed slots of a head, as an i64. */
LLVMValueRef cg_cache_count(const cg_cache_view *cache, LLVMValueRef counts, LLVMValueRef head);
/* Start of a head's rows in K or V, and of its scales (f16; only in caches of type i8). */
LLVMValueRef cg_cache_head(const cg_cache_view *cache, LLVMValueRef start, LLVMValueRef head);
LLVMValueRef cg_cache_scales(const cg_cache_view *cache, LLVMValueRef start, LLVMValueRef head);
/* Bytes of 16 keys of a head, which lie side by side. */
uint64_t cg_cache_panel_bytes(const cg_cache_view *cache);

/* Which heads turn on their way, and how. */
typedef struct cg_turn {
    bool keys, queries, interleaved;
} cg_turn;

/* The kernel that writes k and v of the pass into the tail. */
void cg_emit_write_tail(const cg_cache_view *cache, const cg_kernel *kernel, const cg_turn *turn);

/* Counts, K and V of a node's cache, into three addresses. */
td_status cg_cache_addresses(const cg_entry *entry, const ir_node *node, const cg_cache **cache,
                             LLVMValueRef *addresses);

/* --- one block of 64 keys (attention_block.c) --- */

/* What an attention kernel is made for, its memory, and the head at hand. Rows are pairs of a token
 * and a query head, all of one KV head: row i is head i % heads of token i / heads. */
typedef struct cg_attention {
    cg_build *build;
    const cg_kernel *kernel;
    cg_cache_view cache;
    unsigned accumulators;           /* sums of 16 that stay in registers */
    uint64_t all_heads, size, words; /* query heads in all; words of ancestors */
    unsigned heads;                  /* query heads that share the loads of K and V */
    unsigned chunks;                 /* of 16 lanes, the last one maybe partial */
    float scale, softcap;
    int64_t window;
    cg_turn turn;
    /* memory, [CG_ATTENTION_ROWS] each */
    LLVMValueRef scores;                               /* f32[64] */
    LLVMValueRef totals;                               /* f32[chunks][16]: o */
    LLVMValueRef largest, sum;                         /* f32: m and l */
    LLVMValueRef block_largest, block_sum, old, fresh; /* f32: of the block; its merging factors */
    LLVMValueRef found;   /* f32[16]: scores of 16 neighbouring slots */
    LLVMValueRef places;  /* i32[65]: slots of the block's logical indices */
    LLVMValueRef queries; /* f32[size]: rotated q, where queries turn */
    /* of the KV head */
    LLVMValueRef keys, values, key_scales, value_scales;
} cg_attention;

/* Rows that are computed together, and what they see of a block. */
typedef struct cg_attention_rows {
    unsigned count;
    LLVMValueRef first; /* their first place in the kernel's memory, an i64 */
    LLVMValueRef q;     /* of their first token and head */
    LLVMValueRef base;  /* logical index at which the block begins */
    /* Logical indices base + lower .. base + upper - 1 take part; NULL: all 64, which lie in the
     * slots base .. base + 63. */
    LLVMValueRef lower, upper;
} cg_attention_rows;

unsigned cg_attention_chunk_lanes(const cg_attention *self, unsigned chunk);

/* Scores of logical indices 16 * first .. 16 * end - 1 of the block, which lie in the slots of
 * those numbers. */
void cg_attention_direct_scores(const cg_attention *self, const cg_attention_rows *rows,
                                LLVMValueRef first, LLVMValueRef end, bool several);
/* Scores of indices begin .. upper - 1 of the block, whose slots are listed in `places`. */
void cg_attention_listed_scores(const cg_attention *self, const cg_attention_rows *rows,
                                LLVMValueRef begin);
/* From scores to m, l and o. */
void cg_attention_merge(const cg_attention *self, const cg_attention_rows *rows);

#endif

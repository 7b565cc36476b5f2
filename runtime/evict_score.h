/* What each slot of one KV head is worth: attention weights, the policies' scores, and CAOTE.
 *
 * SPDX-License-Identifier: MIT
 *
 * Keys and queries are multiplied in f32, a lane per slot, and exponentials are a polynomial
 * without fused operations, so that every processor gets the same bits; sums over slots are in f64,
 * by ascending slot. */
#ifndef TANDEM_RUNTIME_EVICT_SCORE_H
#define TANDEM_RUNTIME_EVICT_SCORE_H

#include "runtime/evict.h"
#include "runtime/evict_cache.h"

/* A KV head whose slots are to be scored. Rows of scratch have `slots` places. */
typedef struct rt_scoring {
    rt_head head;
    uint32_t count;         /* committed slots, the newest last */
    uint32_t group;         /* query heads that read this KV head */
    const float *queries;   /* of the first of them: the ring of queries, */
    uint64_t query_stride;  /* f32 from one token to the next, */
    uint32_t observed;      /* tokens that it holds */
    uint32_t newest;        /* place in it of the newest committed token */
    uint32_t window;        /* how many of the newest tokens to look at */
    const float *sums;      /* [group][slots]: attention so far, or NULL */
    float *weights, *votes; /* scratch [group][slots] each */
    float *scores;          /* result [slots]: the lowest are the least worth */
} rt_scoring;

/* Attention of one query of each head of the group over slots 0 .. count - 1, as the model has it:
 * softmax of scaled, soft-capped products within the layer's window. Query g is queries + g *
 * head_size; row g of `weights` gets its weights. `scratch` has one row. */
void rt_attention_weights(const rt_head *head, uint32_t group, const float *queries, uint32_t count,
                          float *scratch, float *weights);

/* A base policy. */
struct rt_evict_policy {
    const char *name;
    tandem_evict_needs needs;
    /* Fills the first rows of scoring->weights with non-negative numbers and returns how many rows:
     * one per query head, or one for the KV head. NULL: nothing is ever dropped, or by age alone.
     */
    uint32_t (*weigh)(const rt_scoring *scoring);
    const char *summary;
};

extern const rt_evict_policy rt_evict_policies[]; /* ended by a row without a name */

/* Fills scoring->scores, for a policy that has scores. */
void rt_score_slots(const rt_eviction *eviction, const rt_scoring *scoring);

/* CAOTE, closed form: the change of the attention output when slot j alone is dropped and the
 * others' weights are renormalised, c_j = sqrt(sum over g of (a_gj / (1 - a_gj))^2 * ||o_g -
 * v_j||^2),   a_gj = h_gj / sum_j h_gj, Theorem 3.2 jointly over the query heads that share v_j;
 * o_g = sum over j of a_gj v_j, or under FastCAOTE the mean of all v_j. Rows of h have head->slots
 * places. 1 - a is taken to be at least 1e-6. */
void rt_caote(const rt_head *head, rt_rescore rescore, const float *h, uint32_t rows,
              uint32_t count, float *scores);

#endif

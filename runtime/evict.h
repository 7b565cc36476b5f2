/* Which committed tokens a full cache keeps.
 *
 * SPDX-License-Identifier: MIT
 *
 * The slots of a model are the clock. A commit that fills the last of them drops every KV head of
 * every layer to its quota at once, so that `slots - quota` tokens can be committed before the next
 * time. No pass crosses such a point, because its tail has to fit into the slots that are left.
 * What is dropped depends on committed keys, values and queries only, in the order of positions:
 * chunk sizes, drafts and threads change neither the slots that survive nor the text.
 *
 * Never dropped are the first tokens (sinks) and the newest ones; among equals the oldest goes
 * first. What stays moves to the front in order. Keys keep the positions of their tokens, or, with
 * compact positions, are turned to those of their ranks. docs/eviction.md has the formulas. */
#ifndef TANDEM_RUNTIME_EVICT_H
#define TANDEM_RUNTIME_EVICT_H

#include "runtime/evict_plan.h"
#include "runtime/tandem.h"

/* The most tokens whose queries are looked at, and which are never dropped. */
#define RT_EVICT_WINDOW 32u
#define RT_EVICT_SINKS  4u

/* How the scores of a policy are changed before the lowest are dropped. */
typedef enum rt_rescore {
    RT_RESCORE_NONE,
    RT_RESCORE_CAOTE,    /* arXiv:2504.14051, Theorem 3.2: the change of the attention output */
    RT_RESCORE_FASTCAOTE /* the same with the mean of the values in place of the output */
} rt_rescore;

typedef struct rt_evict_policy rt_evict_policy;

/* A policy as it is named: "none", "recent", "tova", "tova+caote". */
typedef struct rt_eviction {
    const rt_evict_policy *policy;
    rt_rescore rescore;
    uint32_t step; /* tokens that can be committed between evictions; 0: as many as are usual */
    bool compact;  /* keys are turned back as slots move to the front: a slot's position is its rank
                    */
} rt_eviction;

/* Finds a policy by name. TANDEM_INVALID names what there is. */
tandem_status rt_evict_find(const char *name, tandem_error *error, rt_eviction *eviction);
/* Whether anything is ever dropped. */
bool rt_evict_drops(const rt_eviction *eviction);
tandem_evict_needs rt_evict_needs(const rt_eviction *eviction);
/* TANDEM_REFUSED when the policy needs queries that the model was compiled without. */
tandem_status rt_evict_check(const rt_eviction *eviction, const char *name,
                             const tandem_model_info *info, tandem_error *error);

/* Reads "absolute" (or NULL) or "compact" into eviction->compact. TANDEM_REFUSED when the model's
 * keys cannot be turned: other rotations than one for all layers, or caches of 8 bits, which would
 * lose precision each time. TANDEM_INVALID with steps so short that queries would be looked at
 * which were made before the last eviction. */
tandem_status rt_evict_positions(const char *positions, const tandem_model_info *info,
                                 tandem_error *error, rt_eviction *eviction);

/* Tokens that each head keeps of full slots: all but the step, at least half of them. */
uint32_t rt_evict_quota(const rt_eviction *eviction, uint32_t slots);
/* First and newest tokens that are kept whatever their scores. */
uint32_t rt_evict_sinks(uint32_t quota);
uint32_t rt_evict_window(uint32_t quota);

/* One model's cache in one session, as eviction sees it. */
typedef struct rt_evict_cache {
    const tandem_model_info *info;
    rt_eviction eviction;
    uint32_t slots;
    unsigned char *state;       /* counts, keys and values: runtime/abi.h */
    unsigned char *memory;      /* tandem_evict_sizes() bytes; NULL when there are none */
    const unsigned char *arena; /* where a pass leaves its queries */
    tandem_share share;         /* NULL: this thread alone */
    void *share_self;
} rt_evict_cache;

/* Slots that are taken, the same in every head. */
static inline uint32_t rt_evict_count(const rt_evict_cache *cache)
{
    return (uint32_t) * (const int32_t *)(const void *)cache->state;
}

/* To be called after every pass: keeps the queries of its tokens, which stand at places
 * tail .. tail + tokens - 1 of the tail. */
void rt_evict_saw(const rt_evict_cache *cache, uint32_t tail, uint32_t tokens);

/* To be called after every commit of the tail's tokens path[0 .. count - 1] (ascending places).
 * `committed` is the number of tokens committed since the session began, these included. Updates
 * the scores and, when all slots are taken, evicts. Returns whether it did. */
bool rt_evict_commit(const rt_evict_cache *cache, const int32_t *path, uint32_t count,
                     uint64_t committed);

#endif

/* What the runtime's files share: the model handle, its threads, sessions and passes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_INTERNAL_H
#define TANDEM_RUNTIME_INTERNAL_H

#include "runtime/choose.h"
#include "runtime/draft.h"
#include "runtime/evict.h"
#include "runtime/plan.h"
#include "runtime/pool.h"
#include "runtime/stop_text.h"
#include "runtime/tandem.h"
#include "runtime/tokenizer.h"
#include "runtime/tree.h"
#include "runtime/warp.h"

#define RT_MAX_MODELS   TANDEM_PLAN_MODELS
#define RT_MAX_SESSIONS TANDEM_MAX_SESSIONS
#define RT_PIECE_BYTES  8192 /* text of one callback */

enum { RT_TARGET, RT_DRAFTER };

/* Records a sentence in *error (which may be NULL) and returns the status. */
tandem_status rt_fail(tandem_error *error, tandem_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static inline uint32_t rt_smaller(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

/* --- what an artefact needs --- */

/* TANDEM_REFUSED names the first feature of the comma separated list that this processor lacks or
 * that this runtime does not know. */
tandem_status rt_check_processor(const char *features, tandem_error *error);

/* The payload, mapped read-only. */
typedef struct rt_payload {
    const unsigned char *bytes; /* NULL when the artefact has none */
    void *mapping;              /* whole pages around it */
    size_t mapping_bytes;
} rt_payload;

/* Finds the file that ends with the artefact's payload (its own executable or shared library, or
 * `path`), compares the trailer and maps the payload. `populate` reads it into memory at once. */
tandem_status rt_payload_map(const tandem_artefact *artefact, const char *path, bool populate,
                             tandem_error *error, rt_payload *payload);
/* Gives the mapping back. A payload without one is allowed. */
void rt_payload_unmap(rt_payload *payload);

/* --- memory --- */

/* Inputs of one model's passes. */
typedef struct rt_inputs {
    int32_t *ids, *positions, *rows, *path;
    uint64_t *ancestors;
} rt_inputs;

/* --- sessions --- */

/* One model's cache in one session. */
typedef struct rt_cache {
    unsigned char *state;
    unsigned char *policy; /* what eviction keeps: tandem_plan_policy() bytes, 64-byte aligned */
    uint32_t fed;       /* tokens of the text that were committed: the first `fed` of the session,
                           less those that the drafter has left out */
    uint32_t tail;      /* tokens that were passed since and are not committed: */
    uint32_t tail_text; /* so many of the text, the rest nodes 1, 2, ... of the draft tree */
} rt_cache;

/* Figures gathered while generating. */
typedef struct rt_counts {
    uint64_t prompt_tokens, tokens, rounds, plain_rounds, idle_rounds, drafted, accepted;
    uint64_t copied, drafter_passes, catch_up_tokens, evictions;
    uint64_t tried[TANDEM_STATS_DEPTHS], kept[TANDEM_STATS_DEPTHS]; /* by depth of the children */
    double prefill_seconds, seconds;
    double pass_seconds[RT_MAX_MODELS];
    double plain_seconds; /* of rounds without a draft */
    tandem_stop stop;
} rt_counts;

/* A session's text is one array of ids. All of them but the last have been through the target when
 * a round starts; the last one is the root of the round's draft tree. */
struct tandem_session {
    tandem_model *model;
    bool taken;
    uint64_t number; /* key of its draws: how many sessions were made before it */
    uint64_t round;  /* key of its draws */
    int32_t *ids;    /* [model->tokens + 1 + max_draft] */
    uint32_t length;
    rt_cache caches[RT_MAX_MODELS];
    rt_decoder decoder;
    rt_counts counts;
    rt_tree tree;
    char text[RT_PIECE_BYTES];
};

struct tandem_model {
    const tandem_artefact *artefact;
    const rt_tokenizer *tokenizer; /* NULL when the artefact has none */
    rt_payload payload;
    unsigned char *mapping;
    uint64_t mapping_bytes, planned_bytes, budget_bytes;
    unsigned char *arena, *text_scratch;
    uint64_t text_scratch_bytes;
    unsigned char *stacks;
    rt_eviction eviction;
    uint32_t slots[RT_MAX_MODELS]; /* of each session */
    uint32_t tokens;               /* of each session: its longest text */
    uint32_t threads, session_count;
    uint64_t sessions_made;
    rt_inputs inputs[RT_MAX_MODELS];
    tandem_session *sessions[RT_MAX_SESSIONS];
    tandem_error error;
    rt_pool pool;
    rt_chooser chooser; /* of all sessions: costs and acceptances are carried on */
};

static inline const tandem_model_info *rt_info(const tandem_session *session, unsigned which)
{
    return &session->model->artefact->models[which];
}

/* Chooses slots and threads within budget and plan, takes the mapping, populates it and puts the
 * model handle and its sessions into it. */
tandem_status rt_memory_make(const tandem_artefact *artefact, const tandem_options *options,
                             const rt_eviction *eviction, tandem_error *error,
                             tandem_model **model);
/* Unmaps all of it, the handle included. Threads and payload are gone by then. */
void rt_memory_free(tandem_model *model);

/* How long the text of a prompt may be. */
typedef struct rt_text_limit {
    uint64_t bytes;
    uint32_t tokens; /* of the longest text, as many as the slots can hold ... */
    uint64_t budget; /* ... unless this budget has no room for its bytes; 0: it has */
} rt_text_limit;

/* The longest text that options.text_bytes can announce without rt_memory_make() refusing it.
 * Refuses what rt_memory_make() refuses whatever the text is, such as a budget that is too small.
 */
tandem_status rt_memory_text(const tandem_artefact *artefact, const tandem_options *options,
                             const rt_eviction *eviction, tandem_error *error,
                             rt_text_limit *limit);

/* The same for an artefact that was not checked yet, under the eviction that is asked for. Nothing
 * is loaded. */
tandem_status rt_find_text_limit(const tandem_artefact *artefact, const tandem_options *options,
                                 tandem_error *error, rt_text_limit *limit);

/* --- passes (pass.c) --- */

/* What one pass takes up: the next tokens of the text, then the next nodes of the draft tree, whose
 * root has to be the last token of the text. All of them join the tail of the cache. */
typedef struct rt_pass {
    uint32_t text, nodes; /* 1 .. max_tokens in all */
    uint32_t rows;        /* logits are wanted for the last so many of them */
    bool best;            /* only the id of the largest logit is: rt_best instead of rt_logits */
} rt_pass;

/* Runs a model's forward pass over what *pass names, which rt_room() has room for. Logits of its
 * rows, or their best ids, stand in the arena until the next pass of any model or session. Cost:
 * the weights are read once, whatever the tokens. */
void rt_forward(tandem_session *session, unsigned which, const rt_pass *pass);
/* The tail's tokens of the text join the cache and, of its nodes, those among path[0 .. count - 1],
 * which ascend. The others are gone. */
void rt_commit(tandem_session *session, unsigned which, const uint32_t *path, uint32_t count);
/* Passes and commits tokens of the text, in chunks, until the cache has seen the first `count`. */
void rt_catch_up(tandem_session *session, unsigned which, uint32_t count);
/* Tokens that a cache can take up before its slots are full, or before it next evicts: no pass may
 * have more. The tail counts as not taken up. */
uint32_t rt_room(const tandem_session *session, unsigned which);
/* Tokens of a text as far as a model's positions go. */
uint32_t rt_longest_text(const tandem_session *session, unsigned which);
/* Whether a cache can take up a text of `count` tokens at all, in passes of any size. */
bool rt_holds(const tandem_session *session, unsigned which, uint32_t count);
/* Row `row` of the logits of a model's last pass. They may be overwritten. */
rt_row rt_logits(const tandem_session *session, unsigned which, uint32_t row);
/* The id of the largest logit of a row, after a pass that wanted `best`. */
int32_t rt_best(const tandem_session *session, unsigned which, uint32_t row);
/* Whether a model can be asked for `best`. */
bool rt_has_best(const tandem_session *session, unsigned which);

/* --- sessions (session.c) --- */

/* These four are what tandem_api says of session_create, session_destroy, feed and feed_text. */
tandem_status rt_session_create(tandem_model *model, tandem_session **session);
void rt_session_destroy(tandem_session *session);
tandem_status rt_feed(tandem_session *session, const int32_t *ids, size_t count);
tandem_status rt_feed_text(tandem_session *session, const char *text, size_t bytes);
/* Makes a session empty; it keeps its number. */
void rt_session_clear(tandem_session *session);
/* TANDEM_FULL, for a text that rt_tokenizer_encode() had no room for. */
tandem_status rt_refuse_text(tandem_model *model, size_t bytes);
/* The arena when it is large enough (no pass is running), else memory kept for it. */
void *rt_text_scratch(const tandem_model *model, uint64_t *bytes);

/* --- decoding --- */

/* How a generation decides. */
typedef struct rt_rule {
    rt_warp warp;
    uint64_t seed;
    rt_shape shape;
    bool ignore_end; /* goes on behind the end-of-text token */
    bool show_special;
    const rt_stop_text *stop; /* as far as the text was handed out */
} rt_rule;

/* One round: drafts a tree within rule->shape, verifies it with one target pass and appends what
 * was accepted, and the token drawn behind it, to the text: 1 .. `left` tokens, of which all but
 * the last are in the target's cache then. The tokens behind an end-of-text token, or behind the
 * one that completes a stop text, are dropped. Returns whether there was one. */
bool rt_round(tandem_session *session, const rt_rule *rule, uint32_t left);

/* A generation between two of its rounds. */
typedef struct rt_generation {
    tandem_session *session;
    rt_rule rule;
    rt_stop_text stop;
    tandem_callback callback; /* may be NULL */
    void *user;
    uint32_t most;  /* tokens */
    bool cancelled; /* by the callback */
} rt_generation;

/* Begins to generate: passes the prompt through the models. `generation` must stay where it is
 * until it ends. On failure it has not begun. */
tandem_status rt_generation_begin(tandem_session *session, const tandem_generate_options *options,
                                  tandem_callback callback, void *user, rt_generation *generation);
/* One round; false when none is possible any more. Other sessions of the model may have rounds in
 * between. */
bool rt_generation_step(rt_generation *generation);
/* Hands out what was held back. */
void rt_generation_end(rt_generation *generation);

/* All of it: what tandem_api says of generate. */
tandem_status rt_generate(tandem_session *session, const tandem_generate_options *options,
                          tandem_callback callback, void *user);

/* --- saved sessions (save.c) --- */

/* What tandem_api says of save and restore. Cost: the slots that are taken, written or read once;
 * restoring reads the file twice, to check it first. */
tandem_status rt_save(tandem_session *session, const char *path);
tandem_status rt_restore(tandem_session *session, const char *path);

/* --- figures --- */

/* The figures of the session's last generation. Cost: one small file of /proc is read. */
void rt_stats(const tandem_session *session, tandem_stats *stats);
/* One JSON object in one line; returns its length as snprintf does. */
int rt_stats_json(const tandem_stats *stats, char *text, size_t capacity);
/* Lines for people; returns their length likewise. */
int rt_stats_text(const tandem_stats *stats, char *text, size_t capacity);
double rt_seconds(void); /* of a clock that only goes forward */

#endif

/* What the runtime's files share: the model handle, its threads, sessions and passes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_INTERNAL_H
#define TANDEM_RUNTIME_INTERNAL_H

#include "runtime/plan.h"
#include "runtime/pool.h"
#include "runtime/sample.h"
#include "runtime/tandem.h"
#include "runtime/tokenizer.h"

#define RT_MAX_MODELS   2
#define RT_MAX_SESSIONS 64u
#define RT_MAX_DRAFT    64u  /* longest draft that any artefact may have room for */
#define RT_PIECE_BYTES  8192 /* text of one callback */

enum { RT_TARGET, RT_DRAFTER };

/* Records a sentence in *error (which may be NULL) and returns the status. */
tandem_status rt_fail(tandem_error *error, tandem_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

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
void rt_payload_unmap(rt_payload *payload);

/* --- memory --- */

/* Inputs of one model's passes. */
typedef struct rt_inputs {
    int32_t *ids, *positions, *rows, *path;
    uint64_t *ancestors; /* of a chain: row i sees tail tokens 0 .. i */
} rt_inputs;

/* --- sessions --- */

/* One model's cache in one session. */
typedef struct rt_cache {
    unsigned char *state;
    uint32_t fed; /* tokens in the cache: the first `fed` of the session */
} rt_cache;

/* Figures gathered while generating. */
typedef struct rt_counts {
    uint64_t prompt_tokens, tokens, rounds, drafted, accepted;
    double prefill_seconds, seconds;
    tandem_stop stop;
} rt_counts;

/* A session's text is one array of ids. The first `length` are committed; all of them but the last
 * are in the target's cache when a round starts. A draft stands behind them, so that passes read
 * their tokens from one place. */
struct tandem_session {
    tandem_model *model;
    bool taken;
    uint64_t number; /* key of its draws: how many sessions were made before it */
    uint64_t round;  /* key of its draws */
    int32_t *ids;    /* [slots + 1 + max_draft] */
    uint32_t length;
    rt_cache caches[RT_MAX_MODELS];
    rt_decoder decoder;
    rt_counts counts;
    double draft_totals[RT_MAX_DRAFT]; /* sums of the drafter's weights, by level */
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
    uint32_t slots, threads, session_count;
    uint64_t sessions_made;
    rt_inputs inputs[RT_MAX_MODELS];
    tandem_session *sessions[RT_MAX_SESSIONS];
    tandem_error error;
    rt_pool pool;
};

/* Sizes of an artefact for the formula in plan.h. */
tandem_plan_sizes rt_plan_sizes(const tandem_artefact *artefact);

/* Chooses slots and threads within budget and plan, takes the mapping, populates it and puts the
 * model handle and its sessions into it. */
tandem_status rt_memory_make(const tandem_artefact *artefact, const tandem_options *options,
                             tandem_error *error, tandem_model **model);
void rt_memory_free(tandem_model *model);

/* --- passes (session.c) --- */

/* Passes the next `count` tokens (1 .. max_tokens) of the session through a model as its cache's
 * tail; logits are computed for the last `rows` of them. */
void rt_forward(tandem_session *session, unsigned which, uint32_t count, uint32_t rows);
/* The first `count` tokens of the tail join the cache. */
void rt_commit(tandem_session *session, unsigned which, uint32_t count);
/* Drops all but the first `count` tokens from the cache; no effect when it holds fewer. */
void rt_truncate(tandem_session *session, unsigned which, uint32_t count);
/* Passes tokens through a model, in chunks, until its cache holds the first `count`. */
void rt_catch_up(tandem_session *session, unsigned which, uint32_t count);
/* Row `row` of the logits of a model's last pass. */
const float *rt_logits(const tandem_session *session, unsigned which, uint32_t row);

tandem_status rt_session_create(tandem_model *model, tandem_session **session);
void rt_session_destroy(tandem_session *session);
tandem_status rt_feed(tandem_session *session, const int32_t *ids, size_t count);
tandem_status rt_feed_text(tandem_session *session, const char *text, size_t bytes);
/* The arena when it is large enough (no pass is running), else memory kept for it. */
void *rt_text_scratch(const tandem_model *model, uint64_t *bytes);

/* --- decoding --- */

/* How a round decides. */
typedef struct rt_rule {
    double temperature; /* 0: greedy */
    uint64_t seed;
} rt_rule;

/* One round: drafts `draft` tokens (0: none), verifies them with one target pass and draws one
 * token more. The accepted ones and that one stand at ids[length ..] afterwards, 1 .. draft + 1 in
 * number. The caller adds them to `length`, or fewer of them, and truncates both caches to all but
 * the last of the then committed tokens; the drafter's holds rejected ones. */
uint32_t rt_round(tandem_session *session, const rt_rule *rule, uint32_t draft);

tandem_status rt_generate(tandem_session *session, const tandem_generate_options *options,
                          tandem_callback callback, void *user);

/* --- figures --- */

void rt_stats(const tandem_session *session, tandem_stats *stats);
const char *rt_stop_name(tandem_stop stop);
/* One JSON object in one line; returns its length as snprintf does. */
int rt_stats_json(const tandem_stats *stats, char *text, size_t capacity);
/* Lines for people. */
int rt_stats_text(const tandem_stats *stats, char *text, size_t capacity);
double rt_seconds(void); /* of a clock that only goes forward */

#endif

/* The C interface of compiled models: what an application includes beside the generated header.
 *
 * SPDX-License-Identifier: MIT
 *
 *     const tandem_artefact *artefact = tandem_story_query(TANDEM_ABI_VERSION);
 *     const tandem_api *tandem = artefact->api;
 *     tandem_model *model;
 *     tandem_session *session;
 *     tandem_error error;
 *     if (tandem->open(artefact, NULL, &error, &model) != TANDEM_OK)
 *         fprintf(stderr, "%s\n", error.text);
 *     tandem->session_create(model, &session);
 *     tandem->feed_text(session, "Once upon a time", 16);
 *     tandem->generate(session, NULL, write_piece, stdout);
 *     tandem->close(model);
 *
 * A model runs one pass at a time: its functions and those of its sessions may be called from any
 * thread, but not from two at once. All memory is taken by open(); after it nothing is allocated.
 */
#ifndef TANDEM_RUNTIME_TANDEM_H
#define TANDEM_RUNTIME_TANDEM_H

#include "abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tandem_model tandem_model;     /* weights, threads and arena of one artefact */
typedef struct tandem_session tandem_session; /* the caches and the text of one conversation */

typedef enum tandem_status {
    TANDEM_OK = 0,
    TANDEM_INVALID, /* an argument is at fault */
    TANDEM_FULL,    /* tokens or sessions do not fit */
    TANDEM_REFUSED, /* the artefact does not fit this machine, this runtime or the budget, or a file
                       or a text does not fit the artefact */
    TANDEM_FAILED   /* the operating system refused */
} tandem_status;

/* One sentence, NUL-terminated. */
typedef struct tandem_error {
    char text[512];
} tandem_error;

/* Choices made when a model is opened. All zero: the defaults. */
typedef struct tandem_options {
    uint32_t threads;       /* 0: the processors it may use, at most 16 */
    uint32_t slots;         /* tokens per session; 0: as many as the budget and the plan allow */
    uint32_t drafter_slots; /* the drafter's, at most `slots`; 0: as many as are of use to it */
    uint32_t sessions;      /* how many can exist at once; 0: those of the compilation */
    uint64_t memory_budget; /* bytes of resident memory; 0: the budget of the compilation */
    uint64_t text_bytes;    /* the longest text that will be tokenized; 0: 2048 */
    const char *payload;    /* file that ends with the weights; NULL: the artefact's own file */
    const char *eviction;   /* what full caches drop, such as "tova+caote"; NULL: the artefact's
                               default; "none": nothing, the text ends */
    uint32_t evict_step;    /* tokens between evictions, at most half of the slots; 0: the smaller
                               of 128 and a quarter of the slots */
    const char *positions;  /* of tokens behind dropped ones: "absolute" (or NULL), up to the
                               model's context, or "compact", by their ranks, for longer texts */
    const char *costs;      /* file of save_costs(): what --draft=auto decides by instead of times
                               that it takes, so that a seed repeats a text; NULL: none */
} tandem_options;

#define TANDEM_DRAFT_DEFAULT  "auto"
#define TANDEM_TOKENS_DEFAULT 256u
#define TANDEM_STOP_BYTES     256 /* a stop text is shorter */

/* Choices of one generation. All zero: greedy, TANDEM_TOKENS_DEFAULT tokens, the default draft. */
typedef struct tandem_generate_options {
    uint32_t max_tokens; /* at most this many new tokens; 0: TANDEM_TOKENS_DEFAULT */
    /* What is drafted per round: "0" (plain decoding), "3" (a chain of three tokens),
     * "rsd-c:2,2,1" (children of each node, level by level), "rsd-s:4x3" (a beam of four, three
     * levels) or "auto"; NULL: TANDEM_DRAFT_DEFAULT. Refused when the tree may have more tokens
     * than artefact.max_draft; what slots or text have no room for is left out. */
    const char *draft;
    double temperature; /* 0: the most probable token each time (ties: the lowest id) */
    uint64_t seed;      /* of the draws, when temperature > 0 */
    bool ignore_end;    /* go on after the end-of-text token */
    bool show_special;  /* write control tokens by their names */
    /* Applied in this order, the temperature behind the penalty; 0 turns each off. */
    double repetition_penalty; /* logits of tokens that occurred are divided by it (multiplied where
                                  negative) */
    uint32_t repetition_window; /* how many of the last tokens it looks at; 0: all */
    uint32_t top_k;             /* keeps the k most probable tokens (ties: the lowest ids) */
    double top_p; /* keeps the most probable tokens until they have this part of the mass */
    double min_p; /* keeps tokens with at least this part of the largest probability */
    /* Texts (NUL-terminated) that end the generation: the first one that is complete, and all that
     * would come behind it, is not handed out. */
    const char *const *stop;
    uint32_t stop_count;
} tandem_generate_options;

/* What one round added. Text holds whole UTF-8 characters; an incomplete one comes with a later
 * piece. Valid during the call only. */
typedef struct tandem_piece {
    const char *text; /* not NUL-terminated */
    size_t bytes;
    const int32_t *ids;
    size_t count; /* 0 in a last piece that only completes the text */
} tandem_piece;

/* Returns false to stop after this piece. */
typedef bool (*tandem_callback)(void *user, const tandem_piece *piece);

typedef enum tandem_stop {
    TANDEM_STOP_NONE = 0,  /* nothing was generated yet */
    TANDEM_STOP_LENGTH,    /* max_tokens */
    TANDEM_STOP_END,       /* the end-of-text token */
    TANDEM_STOP_SLOTS,     /* all slots are taken */
    TANDEM_STOP_CONTEXT,   /* the positions that the model was made for are used up */
    TANDEM_STOP_CANCELLED, /* the callback asked for it */
    TANDEM_STOP_TEXT       /* one of the texts in options.stop */
} tandem_stop;

#define TANDEM_STATS_DEPTHS 16u

/* Figures of a session's last generation, and of its model. */
typedef struct tandem_stats {
    uint64_t prompt_tokens;     /* tokens fed before it and not yet passed through the target */
    uint64_t tokens;            /* generated, the end-of-text token included */
    double prefill_seconds;     /* passing the prompt; through the drafter too, unless it is left
                                   for later or not needed */
    double seconds;             /* generating, without prefill */
    double tokens_per_second;   /* tokens / seconds */
    uint64_t rounds;            /* target passes while generating */
    uint64_t drafted, accepted; /* draft tokens */
    uint64_t copied;            /* of these, how many auto took from the text itself, where it had
                                   the same last tokens before */
    uint64_t drafter_passes;    /* that drafted: one for each level of a tree */
    uint64_t catch_up_tokens;   /* that the drafter passed beside the last one of the text and its
                                   own, since it had not seen them: what was accepted at the deepest
                                   level, and the text of rounds without a draft */
    uint64_t plain_rounds;      /* rounds in which nothing was drafted */
    uint64_t idle_rounds;       /* rounds in which auto left the drafter alone, mostly because
                                   drafting does not pay */
    uint64_t evictions;         /* times that slots were freed, of both models */
    double block_efficiency;    /* tokens / rounds */
    double acceptance;          /* accepted / drafted; 0 when nothing was drafted */
    double mbsu;     /* memory-bound speed-up: block_efficiency / (1 + c * drafter_passes /
                        rounds), c = the weights read by a drafter pass / by a target pass */
    double speed_up; /* tokens_per_second over that of its rounds without a draft; 0:
                        fewer than eight of them, so not known */
    /* At depth i + 1 of the trees, in so many rounds there was a token to verify, and was one kept.
     */
    uint64_t tried_by_depth[TANDEM_STATS_DEPTHS], kept_by_depth[TANDEM_STATS_DEPTHS];
    double target_seconds, drafter_seconds; /* in passes while generating */
    tandem_stop stop;
    uint32_t slots, threads;
    uint64_t planned_bytes; /* resident memory by the plan for these slots and threads */
    uint64_t peak_bytes;    /* of the whole process until now (VmHWM); 0 when not known */
    uint64_t budget_bytes;  /* 0: none */
} tandem_stats;

/* The functions of a compiled model. Those that return a status leave a sentence in error() (open
 * and check in *error, which may be NULL) and their out-parameters alone when they fail. */
typedef struct tandem_api {
    uint32_t abi_version;
    uint32_t size; /* sizeof(tandem_api) */

    /* Checks the artefact against this machine, maps its weights, takes and populates all memory
     * and starts the threads. `options` may be NULL. */
    tandem_status (*open)(const tandem_artefact *artefact, const tandem_options *options,
                          tandem_error *error, tandem_model **model);
    /* Ends the threads and frees the model with all its sessions. NULL is allowed. */
    void (*close)(tandem_model *model);
    /* The sentence of the last failure; "" when there was none. */
    const char *(*error)(const tandem_model *model);
    /* Reads the whole payload and compares its hash; `options` (or NULL) names the file. */
    tandem_status (*check)(const tandem_artefact *artefact, const tandem_options *options,
                           tandem_error *error);

    /* TANDEM_FULL when options.sessions exist already. A new session is empty. */
    tandem_status (*session_create)(tandem_model *model, tandem_session **session);
    void (*session_destroy)(tandem_session *session);
    /* Appends tokens to the session's text; they are passed through the models by generate().
     * TANDEM_FULL when slots or context cannot hold them; then nothing is appended. */
    tandem_status (*feed)(tandem_session *session, const int32_t *ids, size_t count);
    /* The same for text. In an empty session the tokens that texts start with (BOS) come first. */
    tandem_status (*feed_text)(tandem_session *session, const char *text, size_t bytes);
    /* Generates from what was fed. `options` NULL: all zero.
     * `callback` (or NULL) is called once per round. Running out of slots or context is not a
     * failure; stats() tells it. */
    tandem_status (*generate)(tandem_session *session, const tandem_generate_options *options,
                              tandem_callback callback, void *user);
    void (*stats)(const tandem_session *session, tandem_stats *stats);
    /* All tokens of the session, prompt and generated. */
    size_t (*tokens)(const tandem_session *session, const int32_t **ids);

    /* Ids of a text, without BOS; control tokens written in it count as such. Writes the first
     * `capacity` and says in *count how many there are in all. */
    tandem_status (*tokenize)(tandem_model *model, const char *text, size_t bytes, int32_t *ids,
                              size_t capacity, size_t *count);
    /* Text of some ids, likewise; not NUL-terminated. */
    tandem_status (*detokenize)(tandem_model *model, const int32_t *ids, size_t count, char *text,
                                size_t capacity, size_t *bytes);

    /* Writes the session to a file, beside it first: its tokens and, passed through both models
     * where that has not been done yet, their caches. */
    tandem_status (*save)(tandem_session *session, const char *path);
    /* Makes an empty session what it was when it was saved, by a model of the same artefact (with
     * eviction also: with as many slots and the same policy): it generates the same text. A file
     * that does not fit or is damaged is refused, and the session stays empty. */
    tandem_status (*restore)(tandem_session *session, const char *path);
    /* Writes what passes cost on this device, as far as it was measured, for options.costs. */
    tandem_status (*save_costs)(tandem_model *model, const char *path);
} tandem_api;

/* The table itself; artefacts point at it. */
extern const tandem_api tandem_runtime_api __attribute__((visibility("hidden")));

#ifdef __cplusplus
}
#endif

#endif

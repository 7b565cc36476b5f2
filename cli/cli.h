/* The `tandem` command: one file per verb, and the pipeline that the verbs share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CLI_CLI_H
#define TANDEM_CLI_CLI_H

#include "codegen/codegen.h"
#include "frontend/counts/counts.h"
#include "frontend/frontend.h"
#include "ir/passes/passes.h"
#include "runtime/tokenizer.h"

#include <argp.h>

/* One verb. `run` returns the exit status: 0, 1 (the input is at fault) or 2 (usage). argv[0] is
 * "tandem VERB" for messages. */
typedef struct cli_verb {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} cli_verb;

int cli_import(int argc, char **argv);
int cli_compile(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_run(int argc, char **argv);
int cli_perplexity(int argc, char **argv);
int cli_calibrate(int argc, char **argv);
int cli_schedule(int argc, char **argv);
int cli_arena(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_train_orderer(int argc, char **argv);
int cli_targets(int argc, char **argv);
int cli_version(int argc, char **argv);

/* Prints "tandem: <message>" for a failure and turns a status into an exit status. */
int cli_exit_status(const td_context *context, td_status status);

/* From now on the process ends with a sentence and exit status 1, not with a signal, when memory
 * runs out inside LLVM. */
void cli_end_when_out_of_memory(void);

/* TD_INVALID when writing `output` would destroy `input`: they are one file, or the output is the
 * .bin of the input, or a part of the input's checkpoint folder. Either may be NULL. */
td_status cli_keep_input(td_context *context, const char *input, const char *output);

/* --- options that several verbs share, as argp children --- */

/* How the drafter's head is trimmed. */
typedef struct cli_trim_options {
    uint32_t rows;          /* 0: not at all */
    bool automatic;         /* as many rows as pay */
    const char *counts[16]; /* files, added up */
    size_t count;
} cli_trim_options;

typedef struct cli_options {
    /* models */
    const char *target, *drafter, *tokenizer;
    const char *weights;     /* keep, f32, f16, q8, q4 */
    const char *activations; /* f32, q8 */
    const char *kv;          /* "f32", "f16", "q8" */
    const char *eviction;    /* "none", or a policy of runtime/evict.h */
    bool random_weights;
    uint64_t random_seed;
    const char *constants, *print_after;
    uint32_t context_length; /* 0: what the model says */
    uint32_t layers;         /* 0: all */
    uint32_t max_draft;
    cli_trim_options trim;
    const char *orderer;
    /* device */
    const char *triple, *cpu;
    uint64_t memory_budget; /* 0: none */
    uint32_t slots;         /* 0: as many as fit */
    uint32_t threads;       /* 0: one */
    uint32_t sessions;      /* 0: one */
    /* output */
    cg_emit emit;
    const char *name, *output;
    bool verbose;
} cli_options;

void cli_options_init(cli_options *options);
/* Input of each: cli_options. `pair`: --target, --drafter, --tokenizer; `model`: how any model is
 * read; `device`: what a program is made for; `program`: all of these, and --target is required. */
extern const struct argp cli_pair_argp, cli_model_argp, cli_device_argp, cli_program_argp;
/* --vocab-trim and --counts; input: cli_options. */
extern const struct argp cli_trim_argp;

/* Parses a command line. What it cannot understand is refused in one sentence with status 2; argp's
 * parsers refuse with cli_usage_error, not with argp_error, which is silent here. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);
_Noreturn void cli_usage_error(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes the one argument of a verb that is no option; a second one is refused. `what` says in the
 * singular what it is. */
void cli_take_argument(const struct argp_state *state, const char *what, const char *argument,
                       const char **taken);

/* A whole number from 0, or from 1, to `largest`; refused through cli_usage_error. */
uint64_t cli_parse_number(struct argp_state *state, const char *option, const char *text,
                          uint64_t largest);
uint64_t cli_parse_count(struct argp_state *state, const char *option, const char *text,
                         uint64_t largest);

/* A number from 0 to `largest`, with or without a fraction; refused through cli_usage_error. */
double cli_parse_real(struct argp_state *state, const char *option, const char *text,
                      double largest);

/* --- the pipeline: from options to a program --- */

/* A trimmed head, and what passes of the drafter read with the whole one. */
typedef struct cli_trimmed {
    fe_head head; /* td_release(head.ids) */
    ir_traffic whole;
    uint64_t total; /* of the counts */
} cli_trimmed;

typedef struct cli_program {
    fe_model models[2]; /* target, drafter */
    cg_model lowered[2];
    size_t model_count;
    fe_tokenizer tokenizer;
    bool has_tokenizer;
    cli_trimmed trimmed; /* the drafter's head; {0}: whole */
    sched_plan plan;
    cg_request request;
    char *runtime_root; /* owned */
} cli_program;

/* Imports, converts, orders and plans; what is left is cg_make_plan or cg_compile. */
td_status cli_prepare(td_context *context, const cli_options *options, cli_program *program);
void cli_program_release(td_context *context, cli_program *program);

/* Prints the plan for people. */
void cli_print_plan(const cli_program *program, const cg_plan *plan);

/* Changes a raised module as the options ask: first `layers` and `weights`; then, when its head
 * was trimmed if it is to be, `activations` and `kv`. */
td_status cli_convert_model(const cli_options *options, ir_module *module);
td_status cli_finish_model(const cli_options *options, ir_module *module);

/* Trims the head of a converted drafter as options->trim says, so that its head_ids are those of
 * *trimmed; does nothing when it says nothing. Under `auto` the curve is printed to standard error,
 * and `target` (converted, too) must be there. `tokenizer` is NULL when there is none. */
td_status cli_trim_head(td_context *context, const cli_options *options,
                        const fe_tokenizer *tokenizer, const ir_module *target, fe_model *drafter,
                        cli_trimmed *trimmed);

/* Says what trimming saves; nothing for a whole head. */
void cli_print_trim(const cli_trimmed *trimmed);

/* Imports one model and changes it by both functions above; a trimmed head is refused. */
td_status cli_import_model(td_context *context, const cli_options *options, const char *path,
                           fe_model *model);

/* --- texts, for verbs that run the reference evaluator --- */

/* Reads the tokenizer that was given, else the one that lies with the model; TD_INVALID when there
 * is none. fe_tokenizer_release *blob, also on failure. */
td_status cli_read_tokenizer(td_context *context, const cli_options *options, const fe_model *model,
                             fe_tokenizer *blob, const rt_tokenizer **tokenizer);

/* The ids of a text; `flags` as of rt_tokenizer_encode. The list is released by the caller, also
 * on failure. */
typedef TD_ARRAY(int32_t) cli_ids;
td_status cli_encode(td_context *context, const rt_tokenizer *tokenizer, const char *text,
                     size_t length, unsigned flags, cli_ids *ids);

#endif

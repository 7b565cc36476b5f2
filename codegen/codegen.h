/* Lowering to machine code through the LLVM C API, packing of weights, linking.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_CODEGEN_H
#define TANDEM_CODEGEN_CODEGEN_H

#include "ir/ir.h"
#include "runtime/evict_plan.h"
#include "runtime/plan.h"
#include "sched/sched.h"

#include <stdio.h>

/* --- targets --- */

/* Sums of products of bytes in 32 bits that a CPU has an instruction for. */
typedef enum cg_dot {
    CG_DOT_NONE,        /* widen, multiply, add (NEON smlal, RVV vwmacc) */
    CG_DOT_PAIRS,       /* x86 pmaddwd: pairs of 16 bits, in registers of vector_bits */
    CG_DOT_AVX_VNNI,    /* vpdpbusd u8 x i8 in 256 bits */
    CG_DOT_AVX512_VNNI, /* vpdpbusd u8 x i8 in 512 bits */
    CG_DOT_NEON,        /* sdot i8 x i8 */
    CG_DOT_NEON_I8MM,   /* smmla i8 x i8, 2 x 8 by 8 x 2, beside sdot */
} cg_dot;

typedef struct cg_cpu {
    const char *name; /* "x86-64-v3", "native", "generic" */
    const char *llvm_cpu, *llvm_features;
    const char *runtime_check; /* features the runtime checks at start, comma separated */
    bool has_fma;
    unsigned vector_bits;  /* of one register */
    unsigned accumulators; /* sums of 16 f32 that a product keeps in registers beside operands */
    cg_dot dot;
    bool has_half; /* converts f16 to and from f32, in vectors */
    /* For a program that holds code for several CPUs and chooses at start (--cpu=multi): their
     * names from the weakest to the strongest, ended by NULL; the row itself says what all have. */
    const char *const *levels;
} cg_cpu;

typedef struct cg_target {
    const char *name;           /* "x86_64", "aarch64", "riscv64" */
    const char *triple;         /* normalised LLVM triple */
    const char *linker;         /* C compiler driver that links for it */
    const char *runtime_folder; /* below the folder of runtimes */
    const char *usual_cpu;      /* the default, except on this machine */
    const cg_cpu *cpus;         /* from the weakest on, ended by a row without a name */
    void (*initialize)(void);   /* the LLVM back end's Initialize functions */
} cg_target;

extern const cg_target cg_targets[]; /* ended by a row without a name */

/* Finds a target by triple or by name (NULL: this machine) and a CPU of it (NULL: the default;
 * "native": this machine's). Unknown ones are refused with the list of known ones. `resolved` is
 * filled with the CPU's row, for "native" with what LLVM found here. */
td_status cg_find_target(td_context *context, const char *triple, const char *cpu,
                         const cg_target **target, cg_cpu *resolved);

/* The row of a target's CPU, NULL when there is none of that name. */
const cg_cpu *cg_find_cpu(const cg_target *target, const char *name);

/* Whether this machine runs code for the CPU. */
bool cg_runs_here(const cg_target *target, const cg_cpu *cpu);

/* --- compiling --- */

/* Entry points of a model, each made of a graph of the same name. */
typedef enum cg_graph { CG_FORWARD, CG_COMMIT, CG_GREEDY, CG_GRAPHS } cg_graph;

extern const char *const cg_graph_names[CG_GRAPHS];

/* One model of a program: its module holds graphs "forward", "commit" and perhaps "greedy". */
typedef struct cg_model {
    const char *name; /* "target", "drafter" */
    ir_module *module;
    ir_graph *forward, *commit;
    ir_graph *greedy; /* NULL: none */
    uint32_t vocabulary, context_length, max_tokens, max_rows;
    /* A trimmed head (ir_pass_trim_head): the id of each column of the logits, ascending. NULL:
     * column j is id j. */
    const int32_t *head_ids;
    uint32_t head_count;
} cg_model;

typedef enum cg_emit { CG_EXECUTABLE, CG_SHARED, CG_OBJECT, CG_BITCODE, CG_LLVM_IR } cg_emit;

typedef struct cg_request {
    const char *name; /* of the artefact: tandem_<name>_query */
    const cg_target *target;
    cg_cpu cpu;
    cg_emit emit;
    cg_model *models;
    size_t model_count;
    const sched_plan *plan;            /* of the graphs of all models */
    const char *activations;           /* "f32" or "q8": what the modules were made for; recorded */
    const char *eviction;              /* the program's default policy; NULL: "none"; recorded */
    tandem_evict_needs eviction_needs; /* of that policy */
    uint32_t max_draft;
    const unsigned char *tokenizer; /* blob or NULL */
    size_t tokenizer_bytes;
    int32_t bos_id, eos_id;
    const int32_t *further_end_ids; /* at most TANDEM_FURTHER_ENDS other ids that end a text */
    uint32_t further_end_count;
    uint64_t memory_budget;   /* 0: none */
    uint32_t slots;           /* 0: as many as the budget and the context allow */
    uint32_t threads;         /* planned for; 0: one */
    uint32_t sessions;        /* planned for, and the default at start; 0: one */
    const char *runtime_root; /* folder that holds <runtime_folder>/libtandem_runtime.a */
    const char *output;       /* path; anything but an executable gets a header
                                 beside it */
} cg_request;

/* The graph of an entry point, NULL where the model has none. */
ir_graph *cg_model_graph(const cg_model *model, cg_graph which);
/* Lists the graphs of models, at most CG_GRAPHS each; returns how many. */
size_t cg_list_graphs(const cg_model *models, size_t count, ir_graph **graphs);
/* The plan of a graph (NULL is fine), NULL when it was not planned. */
const sched_graph_plan *cg_find_plan(const sched_plan *plan, const ir_graph *graph);

/* What the plan comes to; also without weights (`tandem plan`). Its parts, in bytes, add up to
 * `resident`. */
typedef struct cg_plan {
    uint64_t weights, arena, caches, tokenizer, code, overhead;
    uint64_t slot_bytes;           /* of all models, per slot */
    uint32_t minimum_slots, slots; /* of the target */
    uint64_t resident;             /* for these slots */
    uint64_t smallest;             /* for the fewest */
    uint64_t address_space;
    tandem_plan_sizes sizes; /* for the same figures under another choice */
    tandem_plan_choice choice;
} cg_plan;

/* Computes packed sizes and slot counts; a budget that is too small is refused with the smallest
 * that works. */
td_status cg_make_plan(td_context *context, const cg_request *request, cg_plan *plan);

/* The whole back end: lower, optimise, emit, pack weights, link, append the payload, rename. */
td_status cg_compile(td_context *context, const cg_request *request, cg_plan *plan);

/* Compiles the first model of the request with a buffer for every value, runs it with one and two
 * threads (prefill, single tokens, a tree, commits) and compares every value with the reference
 * evaluator, node by node. `report` receives a table by op and the first node that differs. *equal:
 * every bit agrees (on a target without FMA: within a small tolerance). Only for this machine's
 * triple; request->plan and request->output are not used. */
td_status cg_verify(td_context *context, const cg_request *request, FILE *report, bool *equal);

#endif

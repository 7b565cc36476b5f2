/* A program being made: layouts of its models, its code and its tables.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_CODEGEN_PROGRAM_H
#define TANDEM_CODEGEN_PROGRAM_H

#include "codegen/emit.h"
#include "codegen/layout.h"

#include "base/file.h"

#define CG_MAX_MODELS 2
#define CG_MAX_LEVELS 4

/* The entry points for one CPU. A program has one such level, or several to choose from at start:
 * all of them read the same weights, caches and arena. */
typedef struct cg_level {
    const cg_cpu *cpu;
    cg_unit unit;               /* defines functions named by cg_entry_name */
    LLVMMemoryBufferRef object; /* the same in machine code; NULL before cg_program_emit */
} cg_level;

typedef struct cg_program {
    td_context *context;
    const cg_request *request;
    bool bare; /* without the runtime: the table has no functions */
    cg_weights weights[CG_MAX_MODELS];
    cg_caches caches[CG_MAX_MODELS];
    uint64_t weights_offset[CG_MAX_MODELS]; /* in the payload */
    uint64_t payload_bytes, payload_hash;
    uint64_t header_hash;
    cg_level levels[CG_MAX_LEVELS]; /* from the weakest CPU on */
    size_t level_count;
    cg_unit tables;
} cg_program;

/* Checks the request and lays out weights and caches; reads no data. */
td_status cg_program_create(td_context *context, const cg_request *request, cg_program *program);
void cg_program_release(cg_program *program);

/* The name of an entry point's function: "target.forward", or "target.forward.x86-64-v4" where
 * there are several levels. False where the model has no such graph. */
#define CG_ENTRY_NAME_BYTES 128
bool cg_entry_name(const cg_program *program, const cg_level *level, size_t model, cg_graph which,
                   char name[CG_ENTRY_NAME_BYTES]);

/* Code comes first and is emitted once; the tables, which say how large it is, are a unit beside
 * it. Lowers, optimises and emits the entry points of all levels. */
td_status cg_program_emit(cg_program *program);
/* Fills program->tables: the tables of runtime/abi.h and the query function. */
td_status cg_program_add_tables(cg_program *program, const cg_plan *plan);
/* Bytes of the tables without the tokenizer, with room for relocations. */
uint64_t cg_table_bytes(const cg_program *program);

/* What the attention over a cache does with it, as in the tables, without what is in the arena. */
void cg_describe_cache(const cg_model *model, const cg_cache *cache, tandem_cache_info *info);

/* Refuses a number of slots that the target's context cannot use. */
td_status cg_check_slots(td_context *context, const cg_request *request);
/* The plan of a program whose code was emitted: how large it is enters. */
td_status cg_program_plan(const cg_program *program, cg_plan *plan);

/* Writes the packed weights of all models to `stream`, one panel at a time, and sets
 * payload_hash. */
td_status cg_pack(cg_program *program, FILE *stream);

/* Refuses a target whose runtime was not built with Tandem. */
td_status cg_check_runtime(const cg_program *program);
/* Links the code of all levels with the object of the tables (and with the runtime, unless bare)
 * and writes the result to `output`. */
td_status cg_link(const cg_program *program, LLVMMemoryBufferRef tables, FILE *output);

/* Whether a linker makes the output; other kinds are one module. */
static inline bool cg_is_linked(const cg_request *request)
{
    return request->emit == CG_EXECUTABLE || request->emit == CG_SHARED;
}

/* Writes and commits the output with what belongs to it: the weights, at its end or in a file
 * beside it, and the header. Needs code, tables and the packed weights in `payload`. */
td_status cg_write_program(cg_program *program, FILE *payload, td_output *output);

/* Writes the C header of what an application links beside it. */
td_status cg_write_header(const cg_program *program);

/* The whole back end for a program that has been created. */
td_status cg_program_compile(cg_program *program, cg_plan *plan);

#endif

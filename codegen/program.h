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
    LLVMValueRef entries[CG_MAX_MODELS][CG_GRAPHS]; /* NULL: there is no such graph */
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
    cg_unit unit;
} cg_program;

/* Checks the request and lays out weights and caches; reads no data. */
td_status cg_program_create(td_context *context, const cg_request *request, cg_program *program);
void cg_program_release(cg_program *program);

/* Lowers and optimises the entry points into program->unit. */
td_status cg_program_lower(cg_program *program);

/* Adds the tables of runtime/abi.h and the query function to the lowered module. */
td_status cg_program_add_tables(cg_program *program, const cg_plan *plan);
/* Bytes of those tables without the tokenizer, with room for relocations. */
uint64_t cg_table_bytes(const cg_program *program);

/* What the attention over a cache does with it, as in the tables, without what is in the arena. */
void cg_describe_cache(const cg_model *model, const cg_cache *cache, tandem_cache_info *info);

/* The plan of a program whose code (tables included) has `code` bytes. */
td_status cg_plan_program(const cg_program *program, uint64_t code, cg_plan *plan);
/* Bytes that an object file's sections take in memory. */
td_status cg_measure_code(td_context *context, const cg_unit *unit, uint64_t *bytes);

/* Writes the packed weights of all models to `stream`, one panel at a time, and sets
 * payload_hash. */
td_status cg_pack(cg_program *program, FILE *stream);

/* Links an object (with the runtime unless bare) and writes the result to `output`. */
td_status cg_link(const cg_program *program, const void *object, size_t bytes, FILE *output);

/* Makes a folder of its own below TMPDIR or /tmp; its path lives in the arena. */
td_status cg_make_folder(td_arena *arena, char **folder);

/* Writes the C header of what an application links beside it. */
td_status cg_write_header(const cg_program *program);

/* The whole back end for a program that has been created. */
td_status cg_program_compile(cg_program *program, cg_plan *plan);

#endif

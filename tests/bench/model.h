/* A model of TinyLlama's shape with random weights, compiled, loaded, and run pass by pass without
 * a runtime around it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_MODEL_H
#define TANDEM_TESTS_BENCH_MODEL_H

#include "base/file.h"
#include "codegen/codegen.h"
#include "runtime/abi.h"
#include "runtime/pool.h"

#define BENCH_MAX_TOKENS 64 /* of one pass */
#define BENCH_COMMITTED  256
#define BENCH_PREFILL    512

/* A row of the table of what is measured. */
typedef struct bench_configuration {
    const char *name;                  /* prefix of its figures: "q8" */
    const char *weights, *activations; /* "q8", "f32" */
    ir_type type;                      /* stored weights; integers have f16 scales per 32 */
    bool has_zero;
    uint32_t layers; /* fewer than 22 keep the files of wide types small */
} bench_configuration;

/* The whole pass, or its products alone (the same weights, in the same library). */
typedef enum bench_part { BENCH_WHOLE, BENCH_PRODUCTS, BENCH_PART_COUNT } bench_part;

typedef struct bench_model {
    const bench_configuration *configuration;
    double compile_seconds; /* also when the library comes from an earlier run */
    double products_per_token, products_per_row; /* multiplications */
    td_file file;
    void *library;
    const tandem_artefact *artefact;
    const tandem_model_info *info;
    tandem_entry entries[BENCH_PART_COUNT];
    const unsigned char *weights;
    unsigned char *arena, *state;
    int32_t ids[BENCH_MAX_TOKENS], positions[BENCH_MAX_TOKENS], rows[BENCH_MAX_TOKENS];
    uint64_t ancestors[BENCH_MAX_TOKENS];
} bench_model;

/* Compiles into `folder`, or finds the library that the same compiler made there before, and loads
 * it. TD_UNSUPPORTED: this compiler has no such kernels. */
td_status bench_model_open(td_context *context, const bench_configuration *configuration,
                           const char *folder, bench_model *model);
void bench_model_close(td_context *context, bench_model *model);

/* A chain of `tokens` tokens behind `committed` slots, with the logits of the last `rows` of them;
 * nothing is committed. */
void bench_pass(bench_model *model, bench_part part, rt_pool *pool, uint32_t threads,
                uint32_t committed, uint32_t tokens, uint32_t rows);

/* BENCH_PREFILL tokens from the first on, in passes of BENCH_MAX_TOKENS, without logits. */
void bench_prefill(bench_model *model, bench_part part, rt_pool *pool, uint32_t threads);

#endif

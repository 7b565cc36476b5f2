/* A module with one graph, built node by node and evaluated, for the evaluator's tests.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_IR_EVALUATE_BENCH_H
#define TANDEM_TESTS_IR_EVALUATE_BENCH_H

#include "base/hash.h"
#include "ir/evaluate.h"
#include "tests/test.h"

#include <math.h>

#define BENCH_INPUTS 16

typedef struct test_bench {
    td_context context;
    ir_module *module;
    ir_graph *graph;
    ir_evaluator *evaluator;
    ir_tensor inputs[BENCH_INPUTS];
    size_t count;
    bool failed; /* something could not be built; context.message tells */
} test_bench;

static inline test_bench *bench_open(uint32_t slots)
{
    test_bench *made = calloc(1, sizeof *made);
    if (made == NULL)
        abort();
    td_context_init(&made->context);
    if (ir_module_create(&made->context, "bench", &made->module) != TD_OK ||
        ir_module_add_graph(made->module, "main", &made->graph) != TD_OK ||
        ir_evaluator_create(made->module, slots, &made->evaluator) != TD_OK)
        abort();
    return made;
}

static inline void bench_close(test_bench *bench)
{
    ir_evaluator_release(bench->evaluator);
    ir_module_release(bench->module);
    free(bench);
}

/* A graph input of fixed shape that reads `data`. */
static inline ir_value *bench_input(test_bench *bench, ir_type type, uint32_t rank,
                                    const int64_t *dims, const void *data)
{
    ir_shape shape = ir_shape_of(rank, dims);
    ir_value *value = NULL;
    char name[16];
    union {
        const void *given;
        void *kept; /* the evaluator never writes to inputs */
    } pointer = {data};
    snprintf(name, sizeof name, "x%zu", bench->count);
    if (bench->count == BENCH_INPUTS ||
        ir_graph_add_input(bench->graph, name, type, &shape, &value) != TD_OK)
        abort();
    ir_tensor *tensor = &bench->inputs[bench->count++];
    *tensor = (ir_tensor){.type = type, .rank = rank, .elements = 1, .data = pointer.kept};
    for (uint32_t i = 0; i < rank; i++) {
        tensor->dim[i] = dims[i];
        tensor->elements *= (uint64_t)dims[i];
    }
    return value;
}

#define DIMS(...)                                                                                  \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                    \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define SCALAR                     0, NULL
#define FLOATS(bench, dims, ...)   bench_input(bench, IR_F32, dims, (float[]){__VA_ARGS__})
#define INTEGERS(bench, dims, ...) bench_input(bench, IR_I64, dims, (int64_t[]){__VA_ARGS__})
#define BOOLS(bench, dims, ...)    bench_input(bench, IR_BOOL, dims, (uint8_t[]){__VA_ARGS__})

/* A node; attributes are set before bench_infer. */
static inline ir_node *bench_node(test_bench *bench, ir_opcode op, size_t outputs, size_t count,
                                  ir_value *const *inputs)
{
    ir_node *node = NULL;
    if (ir_graph_add_node(bench->graph, op, "tested", count, inputs, outputs, &node) != TD_OK) {
        printf("    %s\n", bench->context.message);
        abort();
    }
    return node;
}

#define NODE(bench, op, outputs, ...)                                                              \
    bench_node(bench, IR_OP_##op, outputs,                                                         \
               sizeof((ir_value *[]){__VA_ARGS__}) / sizeof(ir_value *),                           \
               (ir_value *[]){__VA_ARGS__})

static inline ir_node *bench_infer(test_bench *bench, ir_node *node)
{
    if (!bench->failed && ir_node_infer(node) != TD_OK)
        bench->failed = true;
    return node;
}

/* Infers the node, makes its outputs graph outputs, runs; NULL when anything failed. */
static inline const ir_tensor *bench_run(test_bench *bench, ir_node *node)
{
    bench_infer(bench, node);
    for (uint32_t i = 0; i < node->output_count && !bench->failed; i++) {
        char name[16];
        snprintf(name, sizeof name, "y%u", i);
        bench->failed = ir_graph_add_output(bench->graph, name, node->outputs[i]) != TD_OK;
    }
    if (bench->failed ||
        ir_evaluator_run(bench->evaluator, bench->graph, NULL, bench->inputs, false) != TD_OK)
        return NULL;
    return node->output_count > 0 ? ir_evaluator_value(bench->evaluator, node->outputs[0]) : NULL;
}

static inline bool same_dims(const ir_tensor *tensor, uint32_t rank, const int64_t *dims)
{
    bool same = tensor != NULL && tensor->rank == rank;
    for (uint32_t i = 0; same && i < rank; i++)
        same = tensor->dim[i] == dims[i];
    return same;
}

/* Equal bits, except that any NaN equals any other. */
static inline bool same_floats(const ir_tensor *tensor, size_t count, const float *expected)
{
    if (tensor == NULL || tensor->type != IR_F32 || tensor->elements != count)
        return false;
    const float *numbers = tensor->data;
    for (size_t i = 0; i < count; i++)
        if (memcmp(&numbers[i], &expected[i], sizeof(float)) != 0 &&
            !(isnan(numbers[i]) && isnan(expected[i]))) {
            printf("    number %zu is %a, expected %a\n", i, (double)numbers[i],
                   (double)expected[i]);
            return false;
        }
    return true;
}

static inline bool same_integers(const ir_tensor *tensor, size_t count, const int64_t *expected)
{
    if (tensor == NULL || tensor->elements != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t number = tensor->type == IR_I64   ? ((const int64_t *)tensor->data)[i]
                         : tensor->type == IR_I32 ? ((const int32_t *)tensor->data)[i]
                         : tensor->type == IR_I8 || tensor->type == IR_I4
                             ? ((const int8_t *)tensor->data)[i]
                             : ((const uint8_t *)tensor->data)[i];
        if (number != expected[i]) {
            printf("    number %zu is %lld, expected %lld\n", i, (long long)number,
                   (long long)expected[i]);
            return false;
        }
    }
    return true;
}

#define CHECK_DIMS(tensor, ...) CHECK(same_dims(tensor, DIMS(__VA_ARGS__)))
#define CHECK_FLOATS(tensor, ...)                                                                  \
    CHECK(same_floats(tensor, sizeof((float[]){__VA_ARGS__}) / sizeof(float),                      \
                      (float[]){__VA_ARGS__}))
#define CHECK_INTEGERS(tensor, ...)                                                                \
    CHECK(same_integers(tensor, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),                \
                        (int64_t[]){__VA_ARGS__}))
#define CHECK_FAILS(bench, node, part)                                                             \
    do {                                                                                           \
        CHECK(bench_run(bench, node) == NULL);                                                     \
        CHECK_MESSAGE(strstr((bench)->context.message, part) != NULL, "%s",                        \
                      (bench)->context.message);                                                   \
    } while (0)

/* Numbers in (-1, 1), the same for a seed. */
static inline void random_floats(uint64_t seed, size_t count, float *numbers)
{
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)((double)(td_random_next(&seed) >> 40) * 0x1p-23 - 1.0);
}

#endif

/* How many bytes a program needs: one formula for the compiler's plan and the program's start.
 *
 * SPDX-License-Identifier: MIT
 *
 * Resident bytes are the weights (mapped from the file), the artefact's code, tables and tokenizer,
 * one anonymous mapping that is populated at start and holds everything that is written, and
 * TANDEM_PROCESS_BYTES for what every process has: libc, the runtime's own code, the first stack.
 */
#ifndef TANDEM_RUNTIME_PLAN_H
#define TANDEM_RUNTIME_PLAN_H

#include <stdint.h>

#define TANDEM_PAGE_BYTES    UINT64_C(4096)
#define TANDEM_SLOT_MULTIPLE UINT32_C(16) /* slot counts are multiples of this */
#define TANDEM_MAX_THREADS   UINT32_C(64)
#define TANDEM_PLAN_THREADS  UINT32_C(16) /* the compiler plans for this many threads */

#define TANDEM_STACK_BYTES   (UINT64_C(128) << 10) /* of each thread but the first */
#define TANDEM_HANDLE_BYTES  (UINT64_C(32) << 10)  /* the model handle with its thread pool */
#define TANDEM_SESSION_BYTES (UINT64_C(16) << 10)  /* a session without its caches */
#define TANDEM_TEXT_BYTES    (UINT64_C(64) << 10)  /* default room for tokenizing a text */
#define TANDEM_PROCESS_BYTES (UINT64_C(1536) << 10)

/* What of an artefact determines its size in memory; sums are over its models. */
typedef struct tandem_plan_sizes {
    uint64_t weights;     /* payload_bytes */
    uint64_t arena;       /* arena_bytes */
    uint64_t tokenizer;   /* tokenizer_bytes */
    uint64_t code;        /* machine code and tables of the artefact */
    uint64_t inputs;      /* sum of tandem_plan_inputs() */
    uint64_t state_fixed; /* sum of state_fixed_bytes */
    uint64_t slot_bytes;  /* sum of state_slot_bytes */
} tandem_plan_sizes;

/* What is chosen at start. */
typedef struct tandem_plan_choice {
    uint32_t slots, threads, sessions;
    uint64_t text; /* bytes for tokenizing */
} tandem_plan_choice;

static inline uint64_t tandem_plan_round(uint64_t bytes, uint64_t multiple)
{
    return (bytes + multiple - 1) / multiple * multiple;
}

/* Inputs of one model's passes: ids, positions, ancestor masks, rows, path. */
static inline uint64_t tandem_plan_inputs(uint32_t max_tokens, uint32_t max_rows)
{
    uint64_t words = (max_tokens + UINT64_C(63)) / 64;
    return 3 * tandem_plan_round(4 * (uint64_t)max_tokens, 64) +
           tandem_plan_round(4 * (uint64_t)max_rows, 64) +
           tandem_plan_round(8 * words * max_tokens, 64);
}

/* One session: its caches and the ids of its tokens. */
static inline uint64_t tandem_plan_session(const tandem_plan_sizes *sizes, uint32_t slots)
{
    return TANDEM_SESSION_BYTES + sizes->state_fixed +
           slots * (sizes->slot_bytes + (uint64_t)sizeof(int32_t));
}

/* The anonymous mapping. */
static inline uint64_t tandem_plan_mapping(const tandem_plan_sizes *sizes,
                                           const tandem_plan_choice *choice)
{
    uint64_t bytes = TANDEM_HANDLE_BYTES + tandem_plan_round(sizes->arena, 64) + sizes->inputs +
                     tandem_plan_round(choice->text, 64) +
                     choice->sessions * tandem_plan_session(sizes, choice->slots);
    return tandem_plan_round(bytes, TANDEM_PAGE_BYTES) +
           (choice->threads - 1) * (TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES);
}

/* All that is resident; what the budget is compared with and what VmHWM must not exceed. */
static inline uint64_t tandem_plan_resident(const tandem_plan_sizes *sizes,
                                            const tandem_plan_choice *choice)
{
    return tandem_plan_round(sizes->weights, TANDEM_PAGE_BYTES) + sizes->tokenizer + sizes->code +
           tandem_plan_mapping(sizes, choice) + TANDEM_PROCESS_BYTES;
}

#endif

/* How many bytes a program needs: one formula for the compiler's plan and the program's start.
 *
 * SPDX-License-Identifier: MIT
 *
 * Resident bytes are the weights (mapped from the file), the artefact's code, tables and tokenizer,
 * one anonymous mapping that is populated at start and holds everything that is written but the
 * prompt's text, that text, and TANDEM_PROCESS_BYTES for what every process has: libc, the
 * runtime's own code, the first stack, a prompt of usual length.
 *
 * Slots are shared out by effect. Without eviction a drafter whose slots are taken can guess no
 * more, so both models have as many. With eviction the drafter goes on with what it keeps, and
 * beyond some 50 slots more of them bring no more accepted tokens (docs/runtime.md): it gets
 * TANDEM_DRAFTER_SLOTS at most, and the rest goes to the target. */
#ifndef TANDEM_RUNTIME_PLAN_H
#define TANDEM_RUNTIME_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define TANDEM_PAGE_BYTES    UINT64_C(4096)
#define TANDEM_SLOT_MULTIPLE UINT32_C(16) /* slot counts are multiples of this */
#define TANDEM_MAX_THREADS   UINT32_C(64)
#define TANDEM_USUAL_THREADS UINT32_C(16) /* the most that are taken without being asked for */
#define TANDEM_MAX_SESSIONS  UINT32_C(64)
#define TANDEM_PLAN_MODELS   2 /* target, drafter */
#define TANDEM_DRAFTER_SLOTS UINT32_C(128)

#ifndef TANDEM_STACK_BYTES                       /* a sanitizer needs more */
#define TANDEM_STACK_BYTES (UINT64_C(128) << 10) /* of each thread but the first */
#endif
#define TANDEM_HANDLE_BYTES  (UINT64_C(32) << 10) /* the model handle with its thread pool */
#define TANDEM_SESSION_BYTES (UINT64_C(16) << 10) /* a session without its caches */
#define TANDEM_TEXT_BYTES    (UINT64_C(64) << 10) /* room for tokenizing a text of 2 KiB */
#define TANDEM_PROMPT_BYTES  (UINT64_C(64) << 10) /* of the next, for a text to be tokenized */
#define TANDEM_PROCESS_BYTES (UINT64_C(1536) << 10)
/* Address space beyond what is resident: pages of libc that nobody touches, the kernel's own, and
 * the ends of mappings. */
#define TANDEM_ADDRESS_BYTES (UINT64_C(512) << 10)

/* What one model takes, in bytes. A policy is that of eviction; without one both are 0. */
typedef struct tandem_plan_model {
    uint64_t inputs;            /* tandem_plan_inputs() */
    uint64_t state_fixed;       /* of each session: state_fixed_bytes */
    uint64_t slot_bytes;        /* of each session and slot: state_slot_bytes */
    uint64_t policy_fixed;      /* of each session: what the policy keeps, whatever the slots */
    uint64_t policy_slot_bytes; /* of each session and slot */
} tandem_plan_model;

/* What of an artefact determines its size in memory. */
typedef struct tandem_plan_sizes {
    uint64_t weights;   /* payload_bytes */
    uint64_t arena;     /* arena_bytes */
    uint64_t tokenizer; /* tokenizer_bytes */
    uint64_t code;      /* machine code and tables of the artefact */
    tandem_plan_model models[TANDEM_PLAN_MODELS];
    uint32_t model_count;
    uint32_t tokens;        /* the longest text; 0: as long as the target has slots */
    uint32_t drafter_slots; /* the most that a drafter is given; 0: as many as the target */
    bool evicts;            /* a drafter is given no more than TANDEM_DRAFTER_SLOTS, either */
    uint32_t fewest_slots;  /* of the target; 0: TANDEM_SLOT_MULTIPLE */
} tandem_plan_sizes;

/* What is chosen at start. */
typedef struct tandem_plan_choice {
    uint32_t slots; /* of the target */
    uint32_t threads, sessions;
    uint64_t text; /* bytes for tokenizing */
    uint64_t
        prompt; /* bytes of the text itself, beyond TANDEM_PROMPT_BYTES: tandem_plan_prompt() */
} tandem_plan_choice;

/* Rounded up. */
static inline uint64_t tandem_plan_round(uint64_t bytes, uint64_t multiple)
{
    return (bytes + multiple - 1) / multiple * multiple;
}

/* Bytes of one model's inputs to a pass: ids, positions, ancestor masks, rows, path. */
uint64_t tandem_plan_inputs(uint32_t max_tokens, uint32_t max_rows);

/* Room for tokenizing beyond what the arena lends: none where the arena is as large. */
uint64_t tandem_plan_text(const tandem_plan_sizes *sizes, uint64_t bytes);

/* What a text of so many bytes takes itself, beside the mapping, beyond what every process has. */
uint64_t tandem_plan_prompt(uint64_t bytes);

/* For messages: in MiB, rounded up to hundredths, so that what is printed is enough. */
double tandem_plan_mebibytes(uint64_t bytes);

/* --- slots --- */

/* Slots of one model where the target has `slots`. */
uint32_t tandem_plan_slots(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots);

/* The fewest slots that the target can be given. */
uint32_t tandem_plan_fewest_slots(const tandem_plan_sizes *sizes);

/* The longest text of a session, in tokens. */
uint32_t tandem_plan_tokens(const tandem_plan_sizes *sizes, uint32_t slots);

/* --- bytes --- */

/* Caches of one model in one session. */
uint64_t tandem_plan_state(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots);

/* What eviction keeps of one model in one session. */
uint64_t tandem_plan_policy(const tandem_plan_sizes *sizes, unsigned which, uint32_t slots);

/* Caches of all models in one session, with what eviction keeps. */
uint64_t tandem_plan_caches(const tandem_plan_sizes *sizes, uint32_t slots);

/* One session: its caches and the ids of its tokens. */
uint64_t tandem_plan_session(const tandem_plan_sizes *sizes, uint32_t slots);

/* The anonymous mapping. */
uint64_t tandem_plan_mapping(const tandem_plan_sizes *sizes, const tandem_plan_choice *choice);

/* All that is resident; what the budget is compared with and what VmHWM must not exceed. */
uint64_t tandem_plan_resident(const tandem_plan_sizes *sizes, const tandem_plan_choice *choice);

/* What a statically linked program maps at most (RLIMIT_AS). */
uint64_t tandem_plan_address_space(const tandem_plan_sizes *sizes,
                                   const tandem_plan_choice *choice);

/* --- choosing --- */

/* Threads that were not asked for by number are given up before slots are fewer than this. */
#define TANDEM_GOOD_SLOTS UINT32_C(256)

/* The most slots, at most choice.slots, whose plan fits the budget; 0: not even 16 do. */
uint32_t tandem_plan_most_slots(const tandem_plan_sizes *sizes, tandem_plan_choice choice,
                                uint64_t budget);

/* Fits a choice into a budget by lowering its slots, not below `fewest_slots`, and its threads, not
 * below `fewest_threads`. False when nothing fits; *choice is then the smallest there is. */
bool tandem_plan_fit(const tandem_plan_sizes *sizes, uint64_t budget, uint32_t fewest_slots,
                     uint32_t fewest_threads, tandem_plan_choice *choice);

#endif

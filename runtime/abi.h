/* The contract between generated code and the runtime. Versioned; plain C; no pointers to the heap.
 *
 * SPDX-License-Identifier: MIT
 *
 * A compiled program consists of generated code (which defines `tandem_<name>_query`), the runtime,
 * and a payload of packed weights. All addresses inside the arena, the states and the payload are
 * fixed at compile time; the only run-time quantities are the symbols of an entry point (tokens,
 * rows, slots, accepted). */
#ifndef TANDEM_RUNTIME_ABI_H
#define TANDEM_RUNTIME_ABI_H

#include <stddef.h>
#include <stdint.h>

#define TANDEM_ABI_VERSION UINT32_C(3)

/* Symbols of an entry point, in this order in tandem_frame.symbols. */
enum {
    TANDEM_SYMBOL_TOKENS,   /* tokens of this pass: 1 .. model.max_tokens */
    TANDEM_SYMBOL_ROWS,     /* rows of logits asked for: 0 .. model.max_rows */
    TANDEM_SYMBOL_SLOTS,    /* capacity of every cache, in tokens, committed and tail together */
    TANDEM_SYMBOL_ACCEPTED, /* commit: tail slots that become committed */
    TANDEM_SYMBOL_TAIL,     /* tokens of earlier passes that stand in the tail already; token i of
                               this pass takes place tail + i there; tail + tokens is at most
                               model.max_tokens */
    TANDEM_SYMBOL_COUNT
};

/* Inputs of an entry point, in this order in tandem_frame.inputs; absent ones are NULL. */
enum {
    TANDEM_INPUT_IDS,       /* int32[tokens]: token ids */
    TANDEM_INPUT_POSITIONS, /* int32[tokens]: rotary positions */
    TANDEM_INPUT_ANCESTORS, /* uint64[tokens][model.ancestor_words]: bit j of row i: the token at
                               place j of the tail is visible to token i of this pass; its own bit,
                               tail + i, is set and none above it; the tail is in depth order */
    TANDEM_INPUT_ROWS,      /* int32[rows]: which tokens' logits are wanted */
    TANDEM_INPUT_PATH,      /* commit: int32[accepted], ascending tail slots */
    TANDEM_INPUT_COUNT
};

/* Does part `part` (0 .. parts - 1) of a kernel's work. Who does a part, in which order parts are
 * done, and how many there are never changes a bit of the result. */
typedef void (*tandem_kernel)(const void *arguments, uint64_t part, uint64_t parts);
/* Runs a kernel in as many parts as it pleases, on any threads, and returns when all are done.
 * `work` estimates how many nanoseconds one thread needs. */
typedef void (*tandem_share)(void *self, tandem_kernel kernel, const void *arguments,
                             uint64_t work);

/* Everything an entry point reads. */
typedef struct tandem_frame {
    int64_t symbols[TANDEM_SYMBOL_COUNT];
    const void *inputs[TANDEM_INPUT_COUNT];
    unsigned char *arena;         /* artefact.arena_bytes, 64-byte aligned */
    const unsigned char *weights; /* start of this model's weights, 64-byte aligned */
    unsigned char *state;         /* this session's caches of this model, 64-byte aligned */
    tandem_share share;           /* NULL: the calling thread runs every kernel, as one part */
    void *share_self;
} tandem_frame;

/* Runs one pass on the calling thread, which may share its kernels with others. */
typedef void (*tandem_entry)(const tandem_frame *frame);

/* State memory of one model and session:
 *   int32 count[layers][max kv_heads]     committed slots per layer and KV head, at count_offset
 *   then per cache: K [kv_heads][slots / 16][head_size][16 slots], V [kv_heads][slots][head_size],
 *   and where elements have one byte (int8), behind K and behind V f16 scales [kv_heads][slots].
 * A cache's K starts at fixed_offset + slots * slot_offset (both multiples of 64 bytes once
 * multiplied: slots is a multiple of 16). Place i of the tail is slot count + i. */

/* A named result in the arena; bytes is 0 where there is none. */
typedef struct tandem_output_info {
    const char *name; /* "logits" */
    uint64_t offset;  /* in the arena */
    uint64_t bytes;   /* at the bounds */
    uint32_t columns; /* f32[rows][columns] */
} tandem_output_info;

typedef struct tandem_cache_info {
    const char *name;
    uint32_t kv_heads, head_size;
    uint32_t element_bytes;     /* 4: f32, 2: f16, 1: int8 with f16 scales */
    uint32_t heads;             /* query heads; head h reads KV head h / (heads / kv_heads) */
    float scale, softcap;       /* of scores; softcap 0: none */
    int64_t window;             /* tokens that are visible; 0: all */
    uint64_t key_slot_offset;   /* K at fixed_offset + slots * key_slot_offset */
    uint64_t value_slot_offset; /* V at fixed_offset + slots * value_slot_offset */
    tandem_output_info queries; /* "queries": f32[tokens][heads * head_size] of the last forward
                                   pass, after the rotation; made only for eviction by scores */
} tandem_cache_info;

/* How positions turn queries and keys; frequencies NULL: not at all, or in several ways. */
typedef struct tandem_rotary_info {
    const float *frequencies; /* f32[count]: angle per position of each pair of a head's elements */
    uint32_t count;           /* half of the head size */
    uint32_t interleaved;     /* pairs are 2i, 2i + 1; else i, i + count */
} tandem_rotary_info;

typedef struct tandem_model_info {
    const char *name;        /* "target" or "drafter" */
    uint32_t vocabulary;     /* ids it knows; logits.columns of them have a row */
    uint32_t context_length; /* positions the model was made for */
    uint32_t max_tokens;     /* per pass */
    uint32_t max_rows;       /* logits rows per pass */
    uint32_t ancestor_words; /* (max_tokens + 63) / 64 */
    uint32_t layers;         /* caches */
    uint32_t count_stride;   /* kv_heads of the widest cache: count[layer * count_stride + head] */
    uint64_t state_fixed_bytes;             /* the counts; caches start here */
    uint64_t state_slot_bytes;              /* bytes per slot over all caches */
    uint64_t weights_offset, weights_bytes; /* within the payload */
    uint64_t weights_read_per_pass;         /* bytes streamed by one forward pass (for MBSU) */
    const tandem_cache_info *caches;        /* [layers] */
    tandem_rotary_info rotary;
    tandem_output_info logits;
    tandem_output_info best; /* "best": int32[rows][1] of `greedy`: the row j of the largest logit,
                                ties the lowest, NaN never */
    tandem_entry forward, commit;
    /* As forward, but leaves `best` and no logits; NULL where there is none. */
    tandem_entry greedy;
    /* id of row j of the logits, ascending, or NULL when row j is id j (no trimmed head) */
    const int32_t *head_ids;
} tandem_model_info;

/* Named places in the arena for the runtime's own needs, planned together with the passes. */
enum {
    TANDEM_SCRATCH_DRAFT_PROBABILITIES, /* f32[max_draft][drafter's logits.columns] */
    TANDEM_SCRATCH_PROBABILITIES,       /* f64[target vocabulary]: a row being verified */
    TANDEM_SCRATCH_COUNT
};

typedef struct tandem_scratch_info {
    uint64_t offset, bytes;
} tandem_scratch_info;

#define TANDEM_FURTHER_ENDS 7

/* Parts of the plan, in bytes, as printed by `tandem plan`; resident = their sum. */
typedef struct tandem_plan_info {
    uint64_t weights, arena, tokenizer, code, overhead; /* overhead: libc, stacks, tables */
    uint64_t slot_bytes;                                /* of both models per slot */
    uint32_t minimum_slots, slots; /* slots: the most this artefact may be started with */
    uint32_t drafter_slots;        /* the most that are of use to the drafter */
    uint32_t threads, sessions;    /* planned for; sessions: the default at start */
    uint64_t budget;               /* --memory-budget, 0: none was given */
    uint64_t resident;             /* at `slots`, `threads`, `sessions` */
    uint64_t address_space;
} tandem_plan_info;

typedef struct tandem_artefact {
    uint32_t abi_version;
    uint32_t size; /* sizeof(tandem_artefact) */
    const char *name;
    const char *triple, *cpu, *features; /* features: comma separated, as the runtime checks them */
    const char *compiler;                /* "tandem 0.1.0" */
    const char *activations;             /* "f32" */
    const char *eviction;                /* default policy, "none" */
    uint64_t header_hash;                /* of this table's contents and the payload's header */
    uint64_t payload_bytes, payload_hash;
    uint64_t arena_bytes;
    uint32_t max_draft;   /* most nodes of a draft tree, the root not counted; a chain's length */
    uint32_t model_count; /* 1: target alone; 2: target, drafter */
    const tandem_model_info *models;
    tandem_scratch_info scratch[TANDEM_SCRATCH_COUNT];
    const unsigned char *tokenizer; /* blob, see runtime/tokenizer.h; NULL when there is none */
    uint64_t tokenizer_bytes;
    int32_t bos_id, eos_id; /* -1: none */
    uint32_t further_end_count;
    int32_t further_end_ids[TANDEM_FURTHER_ENDS]; /* other ids that end a text */
    tandem_plan_info plan;
    /* The runtime's functions (runtime/tandem.h), so that a shared library exports one symbol only.
     */
    const struct tandem_api *api;
} tandem_artefact;

/* Every artefact defines one such function, called tandem_<name>_query. NULL when the artefact
 * needs a newer ABI than max_abi. */
typedef const tandem_artefact *(*tandem_query)(uint32_t max_abi);

#ifdef __cplusplus
extern "C" {
#endif

/* An executable's object also defines this, for the runtime's main(). */
extern const tandem_query tandem_program;

/* What a query function that chooses between several levels of code asks the runtime: 1 when this
 * processor has every feature of the comma separated list. */
uint32_t tandem_runtime_has(const char *features);

#ifdef __cplusplus
}
#endif

/* The payload: packed weights, appended to the executable or shared library (or in a file of its
 * own), starting at a multiple of 4096 bytes of that file, followed by this trailer, which ends
 * the file. */
typedef struct tandem_payload_trailer {
    char magic[8]; /* "TANDEMPL" */
    uint64_t offset, bytes;
    uint64_t hash; /* FNV-1a of the payload's 64-bit words */
    uint64_t header_hash;
} tandem_payload_trailer;

#endif

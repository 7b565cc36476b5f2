/* Runs the entry points of a compiled object, through its tables alone, over a short script (a
 * prompt, single tokens, a tree, commits) and prints a hash of each pass's logits. Two builds of
 * the same models for different machines must print the same lines.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/abi.h"
#include "runtime/payload_hash.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT  64
#define MAX_TOKENS 8
#define COMMITTED  48 /* more than the script commits */

const tandem_artefact *tandem_model_query(uint32_t max_abi);

typedef struct run {
    const tandem_artefact *artefact;
    const tandem_model_info *model;
    tandem_frame frame;
    int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], rows[MAX_TOKENS], path[MAX_TOKENS];
    uint64_t *ancestors;
    int32_t committed;
    uint32_t random;
} run;

static void *zeros(uint64_t bytes)
{
    bytes = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    void *block = aligned_alloc(ALIGNMENT, (size_t)bytes);
    if (block == NULL)
        exit(2);
    return memset(block, 0, (size_t)bytes);
}

/* The payload of a weights file, at an aligned address. */
static unsigned char *read_payload(const char *path)
{
    tandem_payload_trailer trailer;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, -(long)sizeof trailer, SEEK_END) != 0 ||
        fread(&trailer, sizeof trailer, 1, file) != 1)
        exit(2);
    unsigned char *payload = zeros(trailer.bytes);
    if (fseek(file, (long)trailer.offset, SEEK_SET) != 0 ||
        fread(payload, 1, (size_t)trailer.bytes, file) != trailer.bytes)
        exit(2);
    fclose(file);
    return payload;
}

/* One pass over tokens with these parents (-1: the last committed token; NULL: a chain), asking
 * for all logits, then a commit of the path from the root to the last token. */
static void pass(run *self, const char *step, int tokens, const int *parents)
{
    const uint32_t words = self->model->ancestor_words;
    int chain[MAX_TOKENS], length = 0;
    memset(self->ancestors, 0, (size_t)tokens * words * sizeof *self->ancestors);
    for (int i = 0; i < tokens; i++) {
        uint64_t *mask = self->ancestors + (size_t)i * words;
        const int parent = parents == NULL ? i - 1 : parents[i];
        self->random = self->random * UINT32_C(1664525) + UINT32_C(1013904223);
        self->ids[i] = (int32_t)((self->random >> 8) % self->model->vocabulary);
        self->positions[i] = parent < 0 ? self->committed : self->positions[parent] + 1;
        self->rows[i] = i;
        if (parent >= 0)
            memcpy(mask, self->ancestors + (size_t)parent * words, words * sizeof *mask);
        mask[0] |= UINT64_C(1) << i;
    }
    self->frame.symbols[TANDEM_SYMBOL_TOKENS] = tokens;
    self->frame.symbols[TANDEM_SYMBOL_ROWS] = tokens;
    self->model->forward(&self->frame);

    const tandem_output_info *info = &self->model->logits;
    const unsigned char *logits = self->frame.arena + info->offset;
    const size_t bytes = (size_t)tokens * info->columns * sizeof(float);
    bool finite = true;
    for (size_t i = 0; i < bytes; i += sizeof(float)) {
        float value;
        memcpy(&value, logits + i, sizeof value);
        finite = finite && isfinite(value);
    }
    printf("%s %s: %016" PRIx64 "%s\n", self->model->name, step,
           tandem_payload_hash(TANDEM_PAYLOAD_HASH_START, logits, bytes),
           finite ? "" : " not finite");

    for (int at = tokens - 1; at >= 0; at = parents == NULL ? at - 1 : parents[at])
        chain[length++] = at;
    for (int i = 0; i < length; i++)
        self->path[i] = chain[length - 1 - i];
    self->frame.symbols[TANDEM_SYMBOL_ACCEPTED] = length;
    self->model->commit(&self->frame);
    self->committed += length;
}

static void run_model(run *self)
{
    static const int tree[] = {-1, 0, 0, 1, 2, 4};
    const tandem_model_info *model = self->model;
    const uint64_t slots = (COMMITTED + model->max_tokens + 15) / 16 * 16;
    self->committed = 0;
    self->random = 1;
    self->ancestors = zeros(MAX_TOKENS * model->ancestor_words * sizeof *self->ancestors);
    self->frame.inputs[TANDEM_INPUT_IDS] = self->ids;
    self->frame.inputs[TANDEM_INPUT_POSITIONS] = self->positions;
    self->frame.inputs[TANDEM_INPUT_ANCESTORS] = self->ancestors;
    self->frame.inputs[TANDEM_INPUT_ROWS] = self->rows;
    self->frame.inputs[TANDEM_INPUT_PATH] = self->path;
    self->frame.symbols[TANDEM_SYMBOL_SLOTS] = (int64_t)slots;
    self->frame.state = zeros(model->state_fixed_bytes + slots * model->state_slot_bytes);
    pass(self, "prompt", 7, NULL);
    pass(self, "token", 1, NULL);
    pass(self, "tree", 6, tree);
    pass(self, "pair", 2, NULL);
    pass(self, "token", 1, NULL);
    free(self->frame.state);
    free(self->ancestors);
}

int main(int argc, char **argv)
{
    run self = {.artefact = tandem_model_query(TANDEM_ABI_VERSION)};
    if (argc != 2 || self.artefact == NULL)
        return 2;
    unsigned char *payload = read_payload(argv[1]);
    self.frame.arena = zeros(self.artefact->arena_bytes);
    for (uint32_t i = 0; i < self.artefact->model_count; i++) {
        self.model = &self.artefact->models[i];
        self.frame.weights = payload + self.model->weights_offset;
        run_model(&self);
    }
    free(self.frame.arena);
    free(payload);
    return 0;
}

/* Prompts of measurements: pieces of a text file, spread evenly over it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_SPECULATION_PROMPTS_H
#define TANDEM_TESTS_BENCH_SPECULATION_PROMPTS_H

#include <stdio.h>
#include <stdlib.h>

#define MOST_PROMPTS 512
#define PROMPT_BYTES 240
#define MOST_TEXT    (1u << 24)

static inline _Noreturn void fail(const char *what, const char *name)
{
    fprintf(stderr, "speculation: %s: %s\n", name, what);
    exit(1);
}

typedef struct prompt_text {
    char *text;
    size_t bytes;
    unsigned prompts;
} prompt_text;

/* Reads the file; `prompts` is the number asked for, as it was given. */
static inline prompt_text read_prompts(const char *name, const char *prompts)
{
    prompt_text self = {.text = malloc(MOST_TEXT), .prompts = (unsigned)atoi(prompts)};
    FILE *file = fopen(name, "r");
    if (file == NULL || self.text == NULL)
        fail("cannot be read", name);
    self.bytes = fread(self.text, 1, MOST_TEXT, file);
    fclose(file);
    if (self.prompts == 0 || self.prompts > MOST_PROMPTS || self.bytes < 4 * PROMPT_BYTES)
        fail("1 to 512 prompts out of a longer text are possible", prompts);
    return self;
}

/* The PROMPT_BYTES of the text that are prompt `number`, from a word's beginning on. */
static inline const char *prompt_at(const prompt_text *self, unsigned number)
{
    size_t place = (self->bytes - 2 * PROMPT_BYTES) / self->prompts * number;
    for (size_t i = 0; i < PROMPT_BYTES && self->text[place] != ' '; i++)
        place++;
    return self->text + place;
}

#endif

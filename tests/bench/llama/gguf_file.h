/* A GGUF file of TinyLlama's shape with random weights, for llama.cpp to read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_LLAMA_GGUF_FILE_H
#define TANDEM_TESTS_BENCH_LLAMA_GGUF_FILE_H

#include <stdbool.h>

/* GGUF's numbers of the types of matrices. */
typedef enum gguf_type { GGUF_Q4_0 = 2, GGUF_Q8_0 = 8 } gguf_type;

/* Writes the file unless it is there; some 1.2 GB. False, with a line on standard error, when it
 * cannot be written. */
bool gguf_write(const char *path, gguf_type type);

#endif

/* llama.cpp's shared library, as far as passes of a few tokens need it.
 *
 * No header of it is there: parameters are taken as its defaults, whose size it alone knows.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_BENCH_LLAMA_LIBRARY_H
#define TANDEM_TESTS_BENCH_LLAMA_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct llama_library llama_library;

/* Loads the libraries of a folder and chooses the back end that fits this processor. NULL, with a
 * line on standard error, when they are not there or other ones than expected. */
llama_library *llama_library_open(const char *folder);

typedef struct llama_session llama_session;

/* A model with a context of the default length (512 tokens). */
llama_session *llama_session_open(const llama_library *library, const char *path);
void llama_session_close(llama_session *session);

/* Passes `tokens` tokens behind `committed` ones, with the logits of all, and forgets what was
 * there behind `committed` before. */
bool llama_pass(llama_session *session, uint32_t threads, uint32_t committed, uint32_t tokens);

#endif

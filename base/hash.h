/* Hashing for tables, and a stream of random numbers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_BASE_HASH_H
#define TANDEM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define TD_HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a over bytes, chained: start with TD_HASH_START. */
uint64_t td_hash_bytes(uint64_t hash, const void *data, size_t size);

/* splitmix64: the next number of a stream, advancing *state. Used for random weights and tests. */
uint64_t td_random_next(uint64_t *state);

#endif

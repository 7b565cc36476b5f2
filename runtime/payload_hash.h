/* The hash of a payload, for the compiler that writes it and the program that checks it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_PAYLOAD_HASH_H
#define TANDEM_RUNTIME_PAYLOAD_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TANDEM_PAYLOAD_HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a with 64-bit words (in the order of the machine, which is little-endian on all targets)
 * instead of bytes. Start with TANDEM_PAYLOAD_HASH_START and go on with the result: every part but
 * the last must be a multiple of 8 bytes; the last is filled up with zeros. */
static inline uint64_t tandem_payload_hash(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *next = (const unsigned char *)bytes;
    while (count > 0) {
        uint64_t word = 0;
        size_t part = count < sizeof word ? count : sizeof word;
        memcpy(&word, next, part);
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
        next += part;
        count -= part;
    }
    return hash;
}

#endif

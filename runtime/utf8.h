/* UTF-8 in text that may not be UTF-8.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_UTF8_H
#define TANDEM_RUNTIME_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stands for a byte that is part of no character. */
#define RT_UTF8_INVALID     UINT32_MAX
#define RT_UTF8_REPLACEMENT UINT32_C(0xfffd)

/* How many bytes the character that starts with this byte has; 0: no character starts so. */
static inline unsigned rt_utf8_length(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead < 0xe0)
        return 2;
    if (lead >= 0xe0 && lead < 0xf0)
        return 3;
    return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/* Whether the second byte can follow the lead: no overlong form, no surrogate, at most U+10FFFF. */
static inline bool rt_utf8_second_fits(unsigned char lead, unsigned char second)
{
    unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= least && second <= most;
}

/* Reads the character at the start of `size` > 0 bytes and returns its bytes. A byte that starts no
 * whole character is one of its own: 1 and RT_UTF8_INVALID. */
static inline size_t rt_utf8_decode(const char *text, size_t size, uint32_t *code_point)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned length = rt_utf8_length(bytes[0]);
    *code_point = bytes[0];
    if (length == 1)
        return 1;
    *code_point = RT_UTF8_INVALID;
    if (length == 0 || length > size || !rt_utf8_second_fits(bytes[0], bytes[1]))
        return 1;
    uint32_t value = bytes[0] & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 1;
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    *code_point = value;
    return length;
}

/* Bytes of the character that ends at `end` > 0, by the same rules. */
static inline size_t rt_utf8_before(const char *text, size_t end)
{
    for (size_t length = 2; length <= 4 && length <= end; length++) {
        uint32_t code_point;
        if (rt_utf8_decode(text + end - length, length, &code_point) == length)
            return length;
    }
    return 1;
}

/* White space, as Unicode defines it. */
static inline bool rt_utf8_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

#endif

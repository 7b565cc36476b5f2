/* Strings as JSON.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/json.h"

#include <stdbool.h>

/* How UTF-8 starts: bits of the first byte that are fixed, what they are, length, least value. */
static const struct {
    unsigned char mask, lead;
    unsigned length;
    uint32_t least;
} utf8_forms[] = {
    {0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

static bool is_scalar(uint32_t code)
{
    return code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

/* Reads one character; returns its length, 0 when the bytes are no UTF-8. Stops at a NUL. */
static unsigned read_character(const unsigned char *at, uint32_t *code)
{
    for (size_t form = 0; form < sizeof utf8_forms / sizeof *utf8_forms; form++) {
        if ((at[0] & utf8_forms[form].mask) != utf8_forms[form].lead)
            continue;
        const unsigned length = utf8_forms[form].length;
        *code = at[0] & (unsigned char)~utf8_forms[form].mask;
        for (unsigned i = 1; i < length; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return 0;
            *code = *code << 6 | (at[i] & 0x3f);
        }
        return *code >= utf8_forms[form].least && is_scalar(*code) ? length : 0;
    }
    return 0;
}

static bool needs_escape(uint32_t code)
{
    return code < 0x20 || code == 0x7f || code == '"' || code == '\\' || code == '<' ||
           code == 0x2028 || code == 0x2029;
}

void inspect_json_string(FILE *stream, const char *text)
{
    putc('"', stream);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        uint32_t code;
        unsigned length = read_character(at, &code);
        if (length == 0) {
            fputs("\\ufffd", stream);
            length = 1;
        } else if (needs_escape(code)) {
            fprintf(stream, "\\u%04x", (unsigned)code);
        } else {
            fwrite(at, 1, length, stream);
        }
        at += length;
    }
    putc('"', stream);
}

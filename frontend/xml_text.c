/* The walk over tags that fe_xml_check does. It agrees with libxml2 on where tags begin and end as
 * far as the text is well-formed, and libxml2 stops where it is not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/xml_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MAXIMUM_ATTRIBUTES = 256 };

/* A file and a place in it. */
typedef struct xml_walk {
    td_context *context;
    const td_file *file;
    const unsigned char *at, *end;
} xml_walk;

/* What is skipped whole: no tag is one in there. The end is looked for behind the start, since
 * "<!-->" ends no comment. */
static const struct skipped_text {
    const char *start, *end;
} skipped_texts[] = {{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}};

static td_status refuse(const xml_walk *walk, const char *what)
{
    uint64_t line = 1;
    for (const unsigned char *at = walk->file->data; at < walk->at; at++)
        line += *at == '\n';
    return td_fail(walk->context, TD_INVALID, "%s: line %" PRIu64 ": %s", walk->file->path, line,
                   what);
}

static bool starts_with(const xml_walk *walk, const char *word)
{
    const size_t length = strlen(word);
    return (size_t)(walk->end - walk->at) >= length && memcmp(walk->at, word, length) == 0;
}

static const unsigned char *find(const xml_walk *walk, const char *word)
{
    return memmem(walk->at, (size_t)(walk->end - walk->at), word, strlen(word));
}

/* Whether the XML declaration, at which the walk stands, names an encoding that has ASCII's bytes
 * for ASCII and no others: in another one, tags could hide from this walk. */
static bool is_utf8_declared(const xml_walk *walk)
{
    static const char *const accepted[] = {"UTF-8", "US-ASCII", "ASCII"};
    const char *close = (const char *)find(walk, "?>"), *at = (const char *)walk->at;
    const char *encoding = close == NULL ? NULL : memmem(at, (size_t)(close - at), "encoding", 8);
    if (encoding == NULL)
        return true;
    encoding += strlen("encoding");
    while (encoding < close && (isspace((unsigned char)*encoding) || *encoding == '='))
        encoding++;
    for (size_t i = 0; i < TD_COUNT_OF(accepted); i++) {
        const size_t length = strlen(accepted[i]);
        if (close - encoding >= (ptrdiff_t)length + 2 &&
            strncasecmp(encoding + 1, accepted[i], length) == 0 &&
            encoding[length + 1] == *encoding)
            return true;
    }
    return false;
}

/* Libraries guess encodings from the first bytes: those must be UTF-8's of "<". */
static td_status check_encoding(xml_walk *walk)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (memchr(walk->at, '\0', (size_t)(walk->end - walk->at)) != NULL)
        return refuse(walk, "there are zero bytes; XML is expected as UTF-8");
    if (starts_with(walk, byte_order_mark))
        walk->at += strlen(byte_order_mark);
    while (walk->at < walk->end && isspace(*walk->at))
        walk->at++;
    if (walk->at == walk->end || *walk->at != '<')
        return refuse(walk, "this is no XML; it begins with <");
    return !starts_with(walk, "<?xml") || is_utf8_declared(walk)
               ? TD_OK
               : refuse(walk, "the encoding must be UTF-8");
}

/* Moves from a tag's "<" behind its ">", which may also stand in quotes. */
static td_status pass_tag(xml_walk *walk)
{
    const unsigned char *at = walk->at;
    unsigned attributes = 0;
    for (unsigned char quote = 0; at < walk->end && (quote != 0 || *at != '>'); at++) {
        if (quote != 0)
            quote = *at == quote ? 0 : quote;
        else if (*at == '"' || *at == '\'')
            quote = *at;
        else
            attributes += *at == '=';
    }
    if (attributes > MAXIMUM_ATTRIBUTES)
        return refuse(walk, "an element has more than 256 attributes");
    walk->at = at < walk->end ? at + 1 : at;
    return TD_OK;
}

/* Moves behind a comment or the like; false when there is none. */
static bool pass_skipped(xml_walk *walk, td_status *status)
{
    for (size_t i = 0; i < TD_COUNT_OF(skipped_texts); i++) {
        const struct skipped_text *skipped = &skipped_texts[i];
        if (!starts_with(walk, skipped->start))
            continue;
        const unsigned char *start = walk->at;
        walk->at += strlen(skipped->start);
        const unsigned char *close = find(walk, skipped->end);
        walk->at = close == NULL ? start : close + strlen(skipped->end);
        if (close == NULL)
            *status = refuse(walk, "a comment, CDATA section or instruction has no end");
        return true;
    }
    return false;
}

td_status fe_xml_check(td_context *context, const td_file *file)
{
    xml_walk walk = {context, file, file->data, file->data + file->size};
    td_status status = TD_OK;
    if (file->size == 0)
        return refuse(&walk, "the file is empty");
    TD_TRY(check_encoding(&walk));
    while (status == TD_OK &&
           (walk.at = memchr(walk.at, '<', (size_t)(walk.end - walk.at))) != NULL) {
        if (pass_skipped(&walk, &status))
            continue;
        if (starts_with(&walk, "<!"))
            return refuse(&walk, "document type declarations and entities are not accepted");
        status = pass_tag(&walk);
    }
    return status;
}

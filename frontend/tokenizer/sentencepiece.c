/* SentencePiece's tokenizer.model: a protocol buffer, of which a few fields matter.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/tokenizer/vocabulary.h"

#include <string.h>

/* --- the wire format --- */

typedef enum wire_type { WIRE_NUMBER = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire_type;

/* A field of a message: its bytes, or its number. */
typedef struct field {
    uint32_t tag;
    wire_type type;
    uint64_t number;
    fe_span bytes;
} field;

static bool read_number(fe_span *message, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; shift < 64 && message->size > 0; shift += 7) {
        unsigned char byte = (unsigned char)*message->data++;
        message->size--;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Steps over the next field of a message that is not empty; false when it is malformed. */
static bool next_field(fe_span *message, field *f)
{
    uint64_t key, size;
    if (!read_number(message, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    f->tag = (uint32_t)(key >> 3);
    f->type = (wire_type)(key & 7);
    f->number = 0;
    if (f->type == WIRE_NUMBER)
        return read_number(message, &f->number);
    if (f->type == WIRE_64 || f->type == WIRE_32)
        size = f->type == WIRE_64 ? 8 : 4;
    else if (f->type != WIRE_BYTES || !read_number(message, &size))
        return false;
    if (size > message->size)
        return false;
    f->bytes = (fe_span){message->data, size};
    message->data += size;
    message->size -= size;
    return true;
}

static td_status malformed(fe_vocabulary *v, const char *where)
{
    return td_fail(v->context, TD_INVALID, "%s is cut short or malformed", where);
}

/* --- the messages --- */

enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum {
    TRAINER_MODEL_TYPE = 3,
    TRAINER_WHITESPACE_SUFFIX = 24,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNKNOWN = 40,
    TRAINER_BOS = 41,
    TRAINER_EOS = 42,
};
enum {
    NORMALIZER_NAME = 1,
    NORMALIZER_CHARSMAP = 2,
    NORMALIZER_PREFIX = 3,
    NORMALIZER_TRIM = 4,
    NORMALIZER_ESCAPE = 5,
};
enum { MODEL_TYPE_UNIGRAM = 1, MODEL_TYPE_BPE = 2, MODEL_TYPE_COUNT = 5 };

static td_status read_piece(fe_vocabulary *v, fe_span message, uint64_t id, uint64_t bound)
{
    fe_span text = {"", 0};
    float score = 0;
    uint64_t type = RT_TOKEN_NORMAL;
    field f = {0};
    while (message.size > 0) {
        if (!next_field(&message, &f))
            return malformed(v, "a piece");
        if (f.tag == PIECE_TEXT && f.type == WIRE_BYTES)
            text = f.bytes;
        else if (f.tag == PIECE_SCORE && f.type == WIRE_32)
            memcpy(&score, f.bytes.data, sizeof score);
        else if (f.tag == PIECE_TYPE && f.type == WIRE_NUMBER)
            type = f.number;
    }
    if (type < RT_TOKEN_NORMAL || type > RT_TOKEN_BYTE)
        return td_fail(v->context, TD_INVALID, "piece %llu has type %llu; accepted are 1 to 6",
                       (unsigned long long)id, (unsigned long long)type);
    return fe_vocabulary_set_typed(v, id, bound, text, (uint8_t)type, score);
}

static td_status read_trainer(fe_vocabulary *v, fe_span message)
{
    static const char *const types[MODEL_TYPE_COUNT] = {"?", "Unigram", "BPE", "Word", "Char"};
    uint64_t type = MODEL_TYPE_UNIGRAM;
    bool suffix = false;
    field f = {0};
    v->unknown_id = 0;
    v->bos_id = 1;
    v->eos_id = 2;
    while (message.size > 0) {
        if (!next_field(&message, &f))
            return malformed(v, "trainer_spec");
        if (f.type != WIRE_NUMBER)
            continue;
        /* A negative id, which says that there is none, comes as a large number. */
        int32_t id = f.number <= INT32_MAX ? (int32_t)f.number : -1;
        if (f.tag == TRAINER_MODEL_TYPE)
            type = f.number;
        else if (f.tag == TRAINER_WHITESPACE_SUFFIX)
            suffix = f.number != 0;
        else if (f.tag == TRAINER_BYTE_FALLBACK && f.number != 0)
            v->flags |= RT_TOKENIZER_BYTE_FALLBACK;
        else if (f.tag == TRAINER_UNKNOWN)
            v->unknown_id = id;
        else if (f.tag == TRAINER_BOS)
            v->bos_id = id;
        else if (f.tag == TRAINER_EOS)
            v->eos_id = id;
    }
    if (type != MODEL_TYPE_BPE)
        return td_fail(v->context, TD_UNSUPPORTED,
                       "a SentencePiece model of type %s; accepted is BPE",
                       types[type < MODEL_TYPE_COUNT ? type : 0]);
    return suffix ? td_fail(v->context, TD_UNSUPPORTED,
                            "treat_whitespace_as_suffix is set; accepted is false")
                  : TD_OK;
}

static td_status read_normalizer(fe_vocabulary *v, fe_span message)
{
    bool prefix = true, trim = true, escape = true;
    fe_span name = {"", 0}, charsmap = {"", 0};
    field f = {0};
    while (message.size > 0) {
        if (!next_field(&message, &f))
            return malformed(v, "normalizer_spec");
        if (f.tag == NORMALIZER_NAME && f.type == WIRE_BYTES)
            name = f.bytes;
        else if (f.tag == NORMALIZER_CHARSMAP && f.type == WIRE_BYTES)
            charsmap = f.bytes;
        else if (f.tag == NORMALIZER_PREFIX && f.type == WIRE_NUMBER)
            prefix = f.number != 0;
        else if (f.tag == NORMALIZER_TRIM && f.type == WIRE_NUMBER)
            trim = f.number != 0;
        else if (f.tag == NORMALIZER_ESCAPE && f.type == WIRE_NUMBER)
            escape = f.number != 0;
    }
    if (charsmap.size > 0)
        return td_fail(v->context, TD_UNSUPPORTED,
                       "normalizer \"%.*s\" rewrites characters; accepted is \"identity\"",
                       (int)(name.size < 64 ? name.size : 64), name.data);
    if (!escape)
        return td_fail(v->context, TD_UNSUPPORTED,
                       "escape_whitespaces is not set; accepted is true");
    v->flags |= prefix ? RT_TOKENIZER_PREFIX | RT_TOKENIZER_STRIP_FIRST : 0;
    v->flags |= trim ? RT_TOKENIZER_TRIM_SPACES : 0;
    return TD_OK;
}

td_status fe_vocabulary_read_sentencepiece(fe_vocabulary *v, const td_file *file)
{
    fe_span message = {(const char *)file->data, file->size};
    fe_span trainer = {"", 0}, normalizer = {"", 0};
    uint64_t count = 0;
    field f = {0};
    v->metaspace = true;
    v->flags |= RT_TOKENIZER_FUSE_UNKNOWN;
    while (message.size > 0) {
        if (!next_field(&message, &f))
            return malformed(v, "the SentencePiece model");
        if (f.tag == MODEL_PIECES && f.type == WIRE_BYTES)
            TD_TRY(read_piece(v, f.bytes, count++, file->size));
        else if (f.tag == MODEL_TRAINER && f.type == WIRE_BYTES)
            trainer = f.bytes;
        else if (f.tag == MODEL_NORMALIZER && f.type == WIRE_BYTES)
            normalizer = f.bytes;
    }
    TD_TRY(read_trainer(v, trainer));
    TD_TRY(read_normalizer(v, normalizer));
    if (v->bos_id >= 0)
        v->flags |= RT_TOKENIZER_ADD_BOS;
    TD_TRY(fe_vocabulary_finish(v));
    return fe_vocabulary_derive_merges(v, true);
}

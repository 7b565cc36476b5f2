/* The layout of a compiled tokenizer: a header, then sections at offsets that are multiples of
 * eight.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_TOKENIZER_BLOB_H
#define TANDEM_RUNTIME_TOKENIZER_BLOB_H

#include "runtime/pattern.h"
#include "runtime/tokenizer.h"

#define RT_TOKENIZER_MAGIC   "TANDEMTK"
#define RT_TOKENIZER_VERSION UINT32_C(2)

/* Most pre-tokenizer stages that follow one another. */
#define RT_TOKENIZER_MOST_STAGES 8

/* No token, no symbol, no merge. */
#define RT_NONE UINT32_MAX

/* Kinds of tokens, numbered as SentencePiece and GGUF do. */
enum {
    RT_TOKEN_NORMAL = 1,
    RT_TOKEN_UNKNOWN = 2,
    RT_TOKEN_CONTROL = 3,      /* never text; found in a text only when asked for */
    RT_TOKEN_USER_DEFINED = 4, /* found in a text before anything else */
    RT_TOKEN_UNUSED = 5,
    RT_TOKEN_BYTE = 6,
    RT_TOKEN_KIND_MASK = 7,
    RT_TOKEN_END = 128, /* ends a text or a turn */
};

/* rt_tokenizer.flags */
enum {
    RT_TOKENIZER_BYTE_LEVEL = 1 << 0, /* symbols start as bytes; without it as characters */
    RT_TOKENIZER_ADD_BOS = 1 << 1,
    RT_TOKENIZER_ADD_EOS = 1 << 2,
    RT_TOKENIZER_PREFIX = 1 << 3,        /* a space is put before the text */
    RT_TOKENIZER_PREFIX_EVERY = 1 << 4,  /* ... and before what follows any special token; without
                                            it only after control tokens */
    RT_TOKENIZER_PREFIX_UNLESS = 1 << 5, /* ... unless there is one already */
    RT_TOKENIZER_STRIP_FIRST = 1 << 6,   /* decoding drops the first token's leading space */
    RT_TOKENIZER_WHOLE_WORDS = 1 << 7,   /* a word that is a token is not merged from its parts */
    RT_TOKENIZER_BYTE_FALLBACK = 1 << 8, /* unknown characters become byte tokens */
    RT_TOKENIZER_FUSE_UNKNOWN = 1 << 9,  /* unknown characters in a row become one token */
    RT_TOKENIZER_TRIM_SPACES = 1 << 10,  /* spaces in a row count as one, none at both ends */
    RT_TOKENIZER_NFC = 1 << 11,          /* texts are put into normalisation form C */
};

/* Sections, in the order of the file. Symbols are tokens, followed by characters that only occur
 * inside of tokens. */
enum {
    RT_SECTION_PIECE_STARTS,   /* uint32_t[symbols + 1]: where each symbol's bytes begin */
    RT_SECTION_PIECES,         /* bytes */
    RT_SECTION_KINDS,          /* uint8_t[vocabulary] */
    RT_SECTION_MERGE_STARTS,   /* uint32_t[symbols + 1]: where merges of each left symbol begin */
    RT_SECTION_MERGES,         /* rt_merge[], sorted by left and right symbol */
    RT_SECTION_BYTES,          /* uint32_t[256]: symbol of each byte, or RT_NONE */
    RT_SECTION_LETTERS,        /* rt_letter[], sorted by code point; none when byte-level */
    RT_SECTION_SORTED,         /* uint32_t[]: normal tokens in the order of their bytes; only with
                                  RT_TOKENIZER_WHOLE_WORDS */
    RT_SECTION_SPECIALS,       /* rt_special[], in the order of their bytes */
    RT_SECTION_STAGES,         /* uint32_t[]: first instruction of each stage's pattern */
    RT_SECTION_INSTRUCTIONS,   /* rt_pattern_instruction[] */
    RT_SECTION_SETS,           /* rt_pattern_set[] */
    RT_SECTION_RANGES,         /* rt_pattern_range[] */
    RT_SECTION_COMBINING,      /* rt_combining[], ascending; this and the next two only with
                                  RT_TOKENIZER_NFC */
    RT_SECTION_DECOMPOSITIONS, /* rt_decomposition[], by code point */
    RT_SECTION_COMPOSITIONS,   /* rt_composition[], by first and second */
    RT_SECTION_COUNT
};

/* Two neighbouring symbols that may become one; lower ranks go first, then places further left. */
typedef struct rt_merge {
    uint32_t right, rank, result;
} rt_merge;

typedef struct rt_letter {
    uint32_t code_point, symbol;
} rt_letter;

enum {
    RT_SPECIAL_TAKES_LEFT = 1,  /* white space before it belongs to it */
    RT_SPECIAL_TAKES_RIGHT = 2, /* white space after it belongs to it */
};

/* Code points first .. last have this combining class, which is not 0. */
typedef struct rt_combining {
    uint32_t first, last, combining_class;
} rt_combining;

#define RT_MOST_PARTS 4

/* The canonical decomposition of a code point, as far as it goes; zeros behind it. */
typedef struct rt_decomposition {
    uint32_t code_point, parts[RT_MOST_PARTS];
} rt_decomposition;

typedef struct rt_composition {
    uint32_t first, second, result;
} rt_composition;

/* A token that is looked for in the text before it is cut into words. */
typedef struct rt_special {
    uint32_t id, flags;
} rt_special;

struct rt_tokenizer {
    char magic[8];
    uint32_t version, flags;
    uint64_t bytes; /* of the whole blob */
    uint32_t vocabulary, symbols;
    int32_t bos_id, eos_id, unknown_id; /* -1: none */
    uint32_t longest_piece;             /* bytes */
    struct {
        uint64_t offset, count; /* count: elements */
    } sections[RT_SECTION_COUNT];
};

/* Bytes of an element of each section. */
static inline uint64_t rt_section_element(unsigned section)
{
    static const uint8_t elements[RT_SECTION_COUNT] = {
        [RT_SECTION_PIECE_STARTS] = sizeof(uint32_t),
        [RT_SECTION_PIECES] = 1,
        [RT_SECTION_KINDS] = 1,
        [RT_SECTION_MERGE_STARTS] = sizeof(uint32_t),
        [RT_SECTION_MERGES] = sizeof(rt_merge),
        [RT_SECTION_BYTES] = sizeof(uint32_t),
        [RT_SECTION_LETTERS] = sizeof(rt_letter),
        [RT_SECTION_SORTED] = sizeof(uint32_t),
        [RT_SECTION_SPECIALS] = sizeof(rt_special),
        [RT_SECTION_STAGES] = sizeof(uint32_t),
        [RT_SECTION_INSTRUCTIONS] = sizeof(rt_pattern_instruction),
        [RT_SECTION_SETS] = sizeof(rt_pattern_set),
        [RT_SECTION_RANGES] = sizeof(rt_pattern_range),
        [RT_SECTION_COMBINING] = sizeof(rt_combining),
        [RT_SECTION_DECOMPOSITIONS] = sizeof(rt_decomposition),
        [RT_SECTION_COMPOSITIONS] = sizeof(rt_composition),
    };
    return elements[section];
}

/* The elements of a section. */
static inline const void *rt_section(const rt_tokenizer *tokenizer, unsigned section)
{
    return (const unsigned char *)tokenizer + tokenizer->sections[section].offset;
}

/* How many elements a section has. */
static inline uint32_t rt_section_count(const rt_tokenizer *tokenizer, unsigned section)
{
    return (uint32_t)tokenizer->sections[section].count;
}

/* The first row of a section, sorted by a key, whose key is not below the given one; NULL: none. */
const void *rt_section_find(const rt_tokenizer *tokenizer, unsigned section,
                            uint64_t (*key_of)(const void *row), uint64_t key);

/* Where a symbol's bytes are; `symbol` is below tokenizer->symbols. */
static inline const char *rt_symbol_piece(const rt_tokenizer *tokenizer, uint32_t symbol,
                                          size_t *length)
{
    const uint32_t *starts = rt_section(tokenizer, RT_SECTION_PIECE_STARTS);
    const char *pieces = rt_section(tokenizer, RT_SECTION_PIECES);
    *length = starts[symbol + 1] - starts[symbol];
    return pieces + starts[symbol];
}

#endif

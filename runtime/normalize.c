/* Normalisation form C (Unicode Standard Annex 15): characters are decomposed, marks behind a
 * character are put in the order of their combining classes, and pairs are composed again.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/normalize.h"
#include "runtime/utf8.h"

#include <string.h>

/* Characters on their way: a code point, its combining class above it, or a byte that is none. */
#define CLASS_SHIFT 21
#define CODE_POINT  ((UINT32_C(1) << CLASS_SHIFT) - 1)
#define RAW_BYTE    (UINT32_C(1) << 31)

/* Syllables of Hangul are composed of letters L V or L V T by arithmetic. */
enum {
    HANGUL_S = 0xac00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11a7,
    HANGUL_L_COUNT = 19,
    HANGUL_V_COUNT = 21,
    HANGUL_T_COUNT = 28,
    HANGUL_S_COUNT = HANGUL_L_COUNT * HANGUL_V_COUNT * HANGUL_T_COUNT,
};

typedef struct normalizer {
    const rt_tokenizer *tokenizer;
    uint32_t *characters; /* [room] */
    uint32_t *sorted;     /* [room]: while a run of marks is put in order */
    size_t count, room;
} normalizer;

static unsigned class_of(uint32_t character)
{
    return (character & RAW_BYTE) != 0 ? 0 : character >> CLASS_SHIFT;
}

/* --- tables --- */

static uint64_t last_of_range(const void *row)
{
    return ((const rt_combining *)row)->last;
}

static unsigned find_class(const rt_tokenizer *t, uint32_t code_point)
{
    const rt_combining *range = rt_section_find(t, RT_SECTION_COMBINING, last_of_range, code_point);
    return range != NULL && range->first <= code_point ? range->combining_class : 0;
}

static uint64_t decomposed(const void *row)
{
    return ((const rt_decomposition *)row)->code_point;
}

/* The characters that a code point consists of, ended by zeros; NULL: itself. */
static const rt_decomposition *find_decomposition(const rt_tokenizer *t, uint32_t code_point)
{
    const rt_decomposition *row =
        rt_section_find(t, RT_SECTION_DECOMPOSITIONS, decomposed, code_point);
    return row != NULL && row->code_point == code_point ? row : NULL;
}

static uint64_t pair_key(uint32_t first, uint32_t second)
{
    return (uint64_t)first << 32 | second;
}

static uint64_t composed_pair(const void *row)
{
    const rt_composition *composition = row;
    return pair_key(composition->first, composition->second);
}

/* What two code points compose to; 0: nothing. */
static uint32_t find_composition(const rt_tokenizer *t, uint32_t first, uint32_t second)
{
    const uint64_t key = pair_key(first, second);
    const rt_composition *row = rt_section_find(t, RT_SECTION_COMPOSITIONS, composed_pair, key);
    return row != NULL && composed_pair(row) == key ? row->result : 0;
}

/* --- decomposition --- */

static bool add(normalizer *n, uint32_t code_point)
{
    if (n->count == n->room)
        return false;
    n->characters[n->count++] = code_point | find_class(n->tokenizer, code_point) << CLASS_SHIFT;
    return true;
}

static bool add_syllable(normalizer *n, uint32_t index)
{
    const uint32_t last = index % HANGUL_T_COUNT, pair = index / HANGUL_T_COUNT;
    return add(n, HANGUL_L + pair / HANGUL_V_COUNT) && add(n, HANGUL_V + pair % HANGUL_V_COUNT) &&
           (last == 0 || add(n, HANGUL_T + last));
}

static bool add_decomposed(normalizer *n, uint32_t code_point)
{
    if (code_point >= HANGUL_S && code_point < HANGUL_S + HANGUL_S_COUNT)
        return add_syllable(n, code_point - HANGUL_S);
    const rt_decomposition *parts = find_decomposition(n->tokenizer, code_point);
    if (parts == NULL)
        return add(n, code_point);
    for (size_t i = 0; i < RT_MOST_PARTS && parts->parts[i] != 0; i++)
        if (!add(n, parts->parts[i]))
            return false;
    return true;
}

static bool decompose(normalizer *n, const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        uint32_t code_point;
        const size_t size = rt_utf8_decode(text + at, length - at, &code_point);
        if (code_point != RT_UTF8_INVALID) {
            if (!add_decomposed(n, code_point))
                return false;
        } else if (n->count < n->room) {
            n->characters[n->count++] = RAW_BYTE | (unsigned char)text[at];
        } else {
            return false;
        }
        at += size;
    }
    return true;
}

/* --- order --- */

/* Puts a run of marks in the order of their classes, equal ones as they stand, in linear time
 * however long the run is. */
static void sort_run(uint32_t *run, size_t count, uint32_t *sorted)
{
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++)
        starts[class_of(run[i]) + 1]++;
    for (size_t i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < count; i++)
        sorted[starts[class_of(run[i])]++] = run[i];
    memcpy(run, sorted, count * sizeof *run);
}

static void sort_marks(normalizer *n)
{
    for (size_t from = 0, to; from < n->count; from = to + 1) {
        bool sorted = true;
        for (to = from; to < n->count && class_of(n->characters[to]) != 0; to++)
            sorted = sorted &&
                     (to == from || class_of(n->characters[to - 1]) <= class_of(n->characters[to]));
        if (!sorted)
            sort_run(n->characters + from, to - from, n->sorted);
    }
}

/* --- composition --- */

static uint32_t compose_pair(const rt_tokenizer *t, uint32_t first, uint32_t second)
{
    if (((first | second) & RAW_BYTE) != 0)
        return 0;
    const uint32_t a = first & CODE_POINT, b = second & CODE_POINT;
    if (a - HANGUL_L < HANGUL_L_COUNT && b - HANGUL_V < HANGUL_V_COUNT)
        return HANGUL_S + ((a - HANGUL_L) * HANGUL_V_COUNT + (b - HANGUL_V)) * HANGUL_T_COUNT;
    if (a - HANGUL_S < HANGUL_S_COUNT && (a - HANGUL_S) % HANGUL_T_COUNT == 0 && b > HANGUL_T &&
        b < HANGUL_T + HANGUL_T_COUNT)
        return a + (b - HANGUL_T);
    return find_composition(t, a, b);
}

/* A character joins the last one of class 0 before it, unless a mark of its class or a higher one,
 * or another character of class 0, stands between them. */
static void compose(normalizer *n)
{
    size_t kept = 0, starter = SIZE_MAX;
    unsigned last = 0; /* class of what was kept last behind the starter; 0: nothing was */
    for (size_t i = 0; i < n->count; i++) {
        const uint32_t character = n->characters[i];
        const unsigned own = class_of(character);
        const bool adjacent = starter != SIZE_MAX && kept == starter + 1;
        if (starter != SIZE_MAX && (adjacent || last < own)) {
            const uint32_t composed = compose_pair(n->tokenizer, n->characters[starter], character);
            if (composed != 0) {
                n->characters[starter] = composed; /* composites have class 0 */
                continue;
            }
        }
        if (own == 0)
            starter = kept;
        last = own;
        n->characters[kept++] = character;
    }
    n->count = kept;
}

/* --- UTF-8 --- */

static size_t encode(uint32_t code_point, char *text)
{
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const size_t size = code_point < 0x80      ? 1
                        : code_point < 0x800   ? 2
                        : code_point < 0x10000 ? 3
                                               : 4;
    for (size_t i = size; i-- > 1; code_point >>= 6)
        text[i] = (char)(0x80 | (code_point & 0x3f));
    text[0] = (char)(leads[size] | code_point);
    return size;
}

/* Writes the characters before `end`; SIZE_MAX when there is not so much room. */
static size_t write_text(const normalizer *n, char *text, const char *end)
{
    char *at = text;
    for (size_t i = 0; i < n->count; i++) {
        const uint32_t character = n->characters[i];
        if (end - at < 4)
            return SIZE_MAX;
        if ((character & RAW_BYTE) != 0)
            *at++ = (char)(character & 0xff);
        else
            at += encode(character & CODE_POINT, at);
    }
    return (size_t)(at - text);
}

size_t rt_normalize(const rt_tokenizer *tokenizer, const char *text, size_t length, void *scratch,
                    size_t scratch_bytes)
{
    /* The text to be written, and behind it two lists of characters: no byte of a text becomes
     * more than one and a half. */
    const size_t room = length + length / 2 + 4, lists = 2 * room * sizeof(uint32_t);
    if (scratch_bytes < lists + 8)
        return SIZE_MAX;
    const size_t front = (scratch_bytes - lists) / 8 * 8;
    uint32_t *characters = (uint32_t *)(void *)((char *)scratch + front);
    normalizer n = {.tokenizer = tokenizer,
                    .characters = characters,
                    .sorted = characters + room,
                    .room = room};
    if (!decompose(&n, text, length))
        return SIZE_MAX;
    sort_marks(&n);
    compose(&n);
    return write_text(&n, scratch, (char *)scratch + front);
}

bool rt_is_normal(const char *text, size_t length)
{
    const unsigned char first_mark = 0xcc; /* U+0300 is cc 80 */
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= first_mark)
            return false;
    return true;
}

/* The pattern matcher: backtracking with a fixed stack of choices.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/pattern.h"

#include "runtime/utf8.h"

#define NO_MATCH SIZE_MAX

/* Where to go on when the present way fails: at `instruction`, with one character less for as long
 * as `position` is beyond `least`, or once at `position` when both are equal. */
typedef struct choice {
    uint32_t instruction;
    size_t position, least;
} choice;

static bool set_has(const rt_pattern *pattern, uint32_t index, uint32_t code_point)
{
    const rt_pattern_set *set = &pattern->sets[index];
    if (code_point < 128)
        return (set->ascii[code_point / 64] >> code_point % 64 & 1) != 0;
    if (code_point == RT_UTF8_INVALID)
        code_point = RT_UTF8_REPLACEMENT;
    if (set->count == 0)
        return false;
    const rt_pattern_range *ranges = pattern->ranges + set->first;
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (code_point > ranges[middle].high)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && code_point >= ranges[low].low;
}

/* Takes as many characters of the instruction's set as it may. Returns the position after them and
 * the one after the fewest it must take in *least; NO_MATCH when there are too few. */
static size_t take(const rt_pattern *pattern, const rt_pattern_instruction *instruction,
                   const char *text, size_t size, size_t position, size_t *least)
{
    *least = position;
    for (uint32_t taken = 0; taken < instruction->maximum; taken++) {
        if (taken == instruction->minimum)
            *least = position;
        uint32_t code_point = 0;
        size_t length =
            position < size ? rt_utf8_decode(text + position, size - position, &code_point) : 0;
        if (length == 0 || !set_has(pattern, instruction->operand, code_point))
            return taken < instruction->minimum ? NO_MATCH : position;
        position += length;
    }
    if (instruction->minimum == instruction->maximum)
        *least = position;
    return position;
}

/* The end of the match that begins at `position`, or NO_MATCH. The recursion is over lookaheads
 * within lookaheads, at most RT_PATTERN_MOST_DEPTH of them. */
static size_t run(const rt_pattern *pattern, uint32_t at, const char *text, size_t size,
                  size_t position)
{
    choice choices[RT_PATTERN_MOST_CHOICES];
    size_t depth = 0;
    for (;;) {
        const rt_pattern_instruction *instruction = &pattern->instructions[at];
        bool failed = false;
        size_t least;
        switch (instruction->operation) {
        case RT_PATTERN_MATCH:
            return position;
        case RT_PATTERN_SET:
        case RT_PATTERN_POSSESSIVE:
            position = take(pattern, instruction, text, size, position, &least);
            failed = position == NO_MATCH;
            at++;
            if (!failed && position > least && instruction->operation == RT_PATTERN_SET)
                choices[depth++] = (choice){at, position, least};
            break;
        case RT_PATTERN_SPLIT:
            choices[depth++] = (choice){instruction->operand, position, position};
            at++;
            break;
        case RT_PATTERN_JUMP:
            at = instruction->operand;
            break;
        default: /* a lookahead */
            failed = (run(pattern, at + 1, text, size, position) == NO_MATCH) !=
                     (instruction->operation == RT_PATTERN_NOT_AHEAD);
            at = instruction->operand;
            break;
        }
        if (!failed)
            continue;
        if (depth == 0)
            return NO_MATCH;
        choice *last = &choices[depth - 1];
        if (last->position > last->least)
            last->position -= rt_utf8_before(text, last->position);
        at = last->instruction;
        position = last->position;
        if (position == last->least)
            depth--;
    }
}

size_t rt_pattern_match(const rt_pattern *pattern, uint32_t start, const char *text, size_t size)
{
    size_t end = run(pattern, start, text, size, 0);
    return end == NO_MATCH ? 0 : end;
}

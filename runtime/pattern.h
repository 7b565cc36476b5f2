/* Matches the patterns that split a text into words before it is tokenized.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pattern is a short program over sets of code points, compiled from a regular expression ahead
 * of time: alternatives in order, repeated sets, and lookahead. There is no loop over groups, hence
 * the stack of choices is bounded by the program's length and the matcher needs no memory. */
#ifndef TANDEM_RUNTIME_PATTERN_H
#define TANDEM_RUNTIME_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Most choices (splits and repeated sets) of one program, and most lookaheads within each other. */
#define RT_PATTERN_MOST_CHOICES 64
#define RT_PATTERN_MOST_DEPTH   4

enum {
    RT_PATTERN_MATCH,      /* the end of the pattern, or of a lookahead's body */
    RT_PATTERN_SET,        /* `minimum` to `maximum` characters of set `operand`, as many as can be,
                              fewer when what follows asks for it */
    RT_PATTERN_POSSESSIVE, /* the same, but never fewer */
    RT_PATTERN_SPLIT,      /* go on with the next instruction, or else at `operand` */
    RT_PATTERN_JUMP,       /* go on at `operand` */
    RT_PATTERN_AHEAD,      /* the body that follows must match here; then go on at `operand` */
    RT_PATTERN_NOT_AHEAD,  /* the body that follows must not match here; then go on at `operand` */
};

typedef struct rt_pattern_instruction {
    uint32_t operation, operand, minimum, maximum;
} rt_pattern_instruction;

/* A set of code points: a bit map of ASCII, and sorted ranges from U+0080 on. */
typedef struct rt_pattern_set {
    uint64_t ascii[2];
    uint32_t first, count; /* of rt_pattern.ranges */
} rt_pattern_set;

typedef struct rt_pattern_range {
    uint32_t low, high; /* inclusive */
} rt_pattern_range;

/* Programs share their sets. Operands are indices into these arrays. */
typedef struct rt_pattern {
    const rt_pattern_instruction *instructions;
    const rt_pattern_set *sets;
    const rt_pattern_range *ranges;
} rt_pattern;

/* Bytes of the match of the program that begins at instruction `start`, at the start of the text; 0
 * when there is none (programs never match nothing). Bytes that are no UTF-8 count as U+FFFD, one
 * by one. Cost: linear in the match for the patterns in use; in general a polynomial in the text of
 * as many repeated sets as stand in a row. */
size_t rt_pattern_match(const rt_pattern *pattern, uint32_t start, const char *text, size_t size);

#endif

/* Guessing the small constants of a missing .bin from the shapes that the XML declares.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_ASSUME_H
#define TANDEM_FRONTEND_OPENVINO_ASSUME_H

#include "frontend/openvino/read_internal.h"

enum {
    OV_VOTE_WIDTH = 8,        /* elements of the largest list that is guessed */
    OV_VOTE_ALTERNATIVES = 32 /* values that one use may leave open */
};

/* The values that one use of a constant allows, the likeliest first. */
typedef struct ov_vote {
    size_t width, count;
    int64_t integer[OV_VOTE_ALTERNATIVES][OV_VOTE_WIDTH];
    double number[OV_VOTE_ALTERNATIVES]; /* of float constants: every element has this value */
} ov_vote;

/* A layer and the port by which it reads. */
typedef struct ov_reading {
    const ov_layer *layer;
    uint32_t port;
} ov_reading;

/* One use of a constant, with what a rule may look at. */
typedef struct ov_use {
    const ov_layer *reader;
    uint32_t port;
    const ov_const *constant;
    const ov_reading *first_reader; /* by layer index */
} ov_use;

/* Fills `vote` (whose width is set) with what the use allows; leaves it empty when it says nothing.
 */
void ov_vote_for(const ov_use *use, ov_vote *vote);

#endif

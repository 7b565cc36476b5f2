/* Numbers as the text form writes them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_NUMBER_TEXT_H
#define TANDEM_IR_NUMBER_TEXT_H

#include "ir/ir.h"

/* Constants of up to this many elements are written with their elements. */
#define IR_INLINE_ELEMENTS 16

typedef struct ir_number_text {
    char text[40];
} ir_number_text;

/* The shortest decimal that reads back as the same bits; what is not finite is written as its bit
 * pattern, 0x7fc00000. */
ir_number_text ir_f64_text(double number);

/* Element `index` of packed bytes, and back. Parsing takes the sign apart from the digits; false
 * when the text is no number of that type or out of its range. */
ir_number_text ir_element_text(ir_type type, const unsigned char *bytes, uint64_t index);
bool ir_element_parse(ir_type type, bool negative, const char *digits, unsigned char *bytes,
                      uint64_t index);
bool ir_f64_parse(bool negative, const char *digits, double *number);

#endif

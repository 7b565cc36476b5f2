/* Element types by the two names that OpenVINO has for each: that of an attribute ("f32",
 * "boolean"), and that of a port's precision ("FP32", "BOOL").
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_ELEMENT_TYPES_H
#define TANDEM_FRONTEND_OPENVINO_ELEMENT_TYPES_H

#include "ir/ir.h"

/* The type of an attribute's name; false when it has no counterpart in the IR. */
bool ov_element_type(const char *name, ir_type *type);
/* Bits of any documented element type; 0 when unknown. */
unsigned ov_element_bits(const char *name);
/* The type of a port's precision; IR_OPAQUE when it has no counterpart. */
ir_type ov_precision_type(const char *precision);

/* The names of a type; "dynamic" for one that OpenVINO does not have. */
const char *ov_element_name(ir_type type);
const char *ov_precision_name(ir_type type);

#endif

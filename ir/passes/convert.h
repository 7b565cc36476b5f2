/* What the files that convert weights share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_CONVERT_H
#define TANDEM_IR_PASSES_CONVERT_H

#include "ir/ir.h"

/* Refuses weights that are not finite. `kind` is the storage asked for ("q4"). */
td_status ir_check_finite(td_context *context, const ir_constant *from, const char *kind,
                          const float *values, uint64_t count);

/* Copies what [offset, offset + size) shares with the piece that starts at byte `start`. */
void ir_copy_overlap(const unsigned char *piece, uint64_t start, uint64_t piece_bytes,
                     uint64_t offset, uint64_t size, unsigned char *bytes);

/* Adds a constant that reads `from` as u4 with an f16 scale and a u4 zero point per group of 32
 * along the last axis, which 32 must divide. Each group is fitted once, by whichever of the three
 * constants is read there first. From the first read until the module is released this takes 2.5
 * bytes per group, and one per row. Reading is not for several threads at a time. */
td_status ir_add_q4_weights(ir_module *module, const ir_constant *from, ir_constant **converted);

#endif

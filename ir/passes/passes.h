/* Passes over modules. Each requires and maintains what its first line says; the verifier runs
 * between all of them in debug and test builds (ir_run_passes).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_IR_PASSES_PASSES_H
#define TANDEM_IR_PASSES_PASSES_H

#include "ir/ir.h"

/* Imported form -> shape subgraphs folded: integer tensors that are functions of dimensions are
 * propagated as lists of linear forms; reshape, broadcast, slice and the like get their symbolic
 * result shapes; shape_of and its consumers disappear wherever nothing but shapes needs them. */
td_status ir_pass_fold_shapes(ir_module *module);

/* Convert(Multiply(Subtract(Convert(u8), Convert(zp)), scale)) cones, with or without Subtract,
 * Reshape (groups) and Converts -> quantised constants; Convert(f16) -> the f16 constant. */
td_status ir_pass_fold_decompression(ir_module *module);

/* Imported decoder with stateful KV pattern -> raised form: batch removed, values [tokens,
 * features], embed, rms_norm, linear, rotary_table + rope, gated_silu, cached_attention,
 * select_rows, and graphs "forward" (inputs ids, positions, ancestors, rows; output logits) and
 * "commit" (input path). What is not recognised is refused by layer name. */
td_status ir_pass_raise(ir_module *module);

/* Raised form -> raised form with only the first `layers` attention layers. */
td_status ir_pass_cut_layers(ir_module *module, uint32_t layers);

/* Raised form -> weights of linear and embed converted: "keep", "f32", "f16", "q8" (i8, f16 scale
 * per group of 32 along K; per row where 32 does not divide K), "q4" (u4, f16 scale and u4 zero
 * point per group of 32 along K; q8 where 32 does not divide K, for what embed reads, and for the
 * smallest matrices, up to an eighth of all weights). Weights that are quantised already stay under
 * q8, and under q4 when they have 4 bits. Lazy: data is converted when read. Under q4 what was read
 * leaves 2.5 bytes for each group of 32, until the module is released. */
td_status ir_pass_convert_weights(ir_module *module, const char *kind);

/* Raised form -> raised form whose logits are those of `count` ids, which must ascend: column j is,
 * bit for bit, what column ids[j] was. The rows are gathered from the head's weight, scales, zero
 * points and bias when they are read; a table that embed reads too stays whole. Logits that are not
 * the result of a linear are refused. Comes after convert_weights (so that a head that is tied
 * keeps the form it has untrimmed) and before quantize_activations. */
td_status ir_pass_trim_head(ir_module *module, size_t count, const int32_t *ids);

/* Stored bytes that a pass of a raised module streams: weights of linear, with their scales and
 * zero points. Refused as ir_pass_trim_head refuses. Comes before quantize_activations. */
typedef struct ir_traffic {
    uint64_t body, head; /* all but the head; the head */
    uint32_t rows;       /* of the head */
} ir_traffic;
td_status ir_head_traffic(const ir_module *module, ir_traffic *traffic);

/* Raised form -> raised form in which every linear whose weight suits (ir_constant_suits_blocks)
 * takes activations quantised to 8 bits: quantize_rows, once for each of its inputs, and
 * linear_quantized. Others keep f32 activations. Comes after convert_weights. */
td_status ir_pass_quantize_activations(ir_module *module);

/* Raised form -> raised form whose caches hold "f32", "f16" or "q8" (i8, an f16 scale for each
 * token and head). */
td_status ir_pass_cache_type(ir_module *module, const char *kind);

/* Raised form -> raised form whose "forward" has an output "queries.<layer>" for every
 * cached_attention: its queries after the rotation, f32[tokens, heads * head_size]. Eviction by
 * scores needs them. Comes after every pass that rewrites attention. */
#define IR_QUERIES_PREFIX "queries."
td_status ir_pass_keep_queries(ir_module *module);

/* Fusion: raised form -> raised form, after all passes that look for `linear`, `linear_quantized`,
 * `rms_norm` or `gated_silu`. What is computed keeps every bit. Each takes one pattern:
 * gated_silu of two products of one input -> linear_gated;
 * a value plus a product -> linear_add;
 * products of one input -> linear_group;
 * quantize_rows of a norm, or of linear_gated in whole blocks -> the producer quantises;
 * rope of k, and of a q that nobody else reads -> the attention rotates. */
td_status ir_pass_fuse_gated(ir_module *module);
td_status ir_pass_fuse_residual(ir_module *module);
td_status ir_pass_fuse_siblings(ir_module *module);
td_status ir_pass_fuse_quantize(ir_module *module);
td_status ir_pass_fuse_rope(ir_module *module);

/* Adds a graph "greedy" to a fused module whose logits are those of one product: as "forward", but
 * its only output is "best": i32[rows, 1], the column of the largest logit of each row, the first
 * of equals, NaN never. Logits are not stored. Other modules stay as they are. */
td_status ir_pass_add_greedy(ir_module *module);

/* Adds a constant of dense type f32 or f16 that reads `from` (quantised or not, of the module or
 * not; copied) and converts when read. Reading fails where a finite number exceeds f16. */
td_status ir_convert_constant(ir_module *module, const ir_constant *from, ir_type type,
                              ir_constant **converted);

/* Removes dead nodes and constants nobody reads, in every graph. */
td_status ir_pass_remove_dead(ir_module *module);

typedef struct ir_pass {
    const char *name, *summary;
    td_status (*run)(ir_module *module);
} ir_pass;

/* The passes that bring an imported module into raised form, in order, ended by a row without a
 * name. */
extern const ir_pass ir_import_passes[];

/* The passes that fuse, likewise. */
extern const ir_pass ir_fuse_passes[];

/* Names of all passes, for --print-after, ended by NULL; ir_print_after refuses others. */
extern const char *const ir_pass_names[];

/* Prints the module to standard error when `print_after` (may be NULL) is `pass` or "all": for
 * passes that are no row of a list. */
td_status ir_print_after(const ir_module *module, const char *pass, const char *print_after);

/* Runs a list of passes; after the pass called `print_after` (or after every pass for "all") the
 * module is printed to standard error; verifies after each when `verify`. */
td_status ir_run_passes(ir_module *module, const ir_pass *passes, const char *print_after,
                        bool verify);

#endif

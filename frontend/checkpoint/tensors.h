/* The index of a checkpoint: every tensor by name, with its stored type, shape and place. Made by
 * the safetensors and GGUF readers; nothing of the tensors' data is read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_CHECKPOINT_TENSORS_H
#define TANDEM_FRONTEND_CHECKPOINT_TENSORS_H

#include "base/file.h"
#include "ir/ir.h"

/* Bytes inside a mapped file; not NUL-terminated. */
typedef struct fe_span {
    const char *data;
    uint64_t size;
} fe_span;

bool fe_span_equal(fe_span span, const char *string);

/* How a tensor's elements lie in the file. */
typedef enum fe_encoding {
    FE_ENCODING_DENSE,   /* row-major elements of `type` */
    FE_ENCODING_Q8_0,    /* rows of blocks: one f16 scale, then 32 i8 (GGUF Q8_0) */
    FE_ENCODING_UNKNOWN, /* a type that is only named */
} fe_encoding;

typedef struct fe_tensor {
    const char *name;      /* in the table's arena */
    const char *type_name; /* as the file's format calls it: "BF16", "Q4_K" */
    fe_encoding encoding;
    ir_type type; /* dense: of the elements */
    uint32_t rank;
    int64_t dim[IR_MAX_RANK]; /* slowest first */
    const td_file *file;
    uint64_t offset, bytes; /* in the file */
} fe_tensor;

/* Bytes that a tensor's type and dimensions need; 0 when the encoding is unknown. False when the
 * number overflows or Q8_0 rows are not whole blocks. */
bool fe_tensor_bytes(const fe_tensor *tensor, uint64_t *bytes);

/* Tensors of one or more files. */
typedef struct fe_tensors {
    td_context *context;
    td_arena arena;
    TD_ARRAY(fe_tensor) items; /* sorted by name after fe_tensors_finish */
} fe_tensors;

void fe_tensors_init(fe_tensors *tensors, td_context *context);
void fe_tensors_release(fe_tensors *tensors);

/* Adds a tensor whose name is given as a span (copied). Its range must lie in its file: refused
 * with a sentence when it does not, or when the name holds a NUL byte. */
td_status fe_tensors_add(fe_tensors *tensors, fe_span name, const fe_tensor *tensor);

/* Sorts by name; refuses two tensors of one name, and two that share bytes of a file. */
td_status fe_tensors_finish(fe_tensors *tensors);

/* After fe_tensors_finish; NULL when absent. Logarithmic. */
const fe_tensor *fe_tensors_find(const fe_tensors *tensors, const char *name);

/* Maps a file that is unmapped together with the module. */
td_status fe_map_for_module(ir_module *module, const char *path, td_file **file);

/* Adds a tensor to a module as a constant of its shape that reads the mapped file lazily: dense
 * types keep their type, Q8_0 becomes i8 with an f16 scale per group of 32. With `as_f32` the
 * constant presents f32 whatever is stored. Types that cannot be read are refused by tensor and
 * type name. The file must live as long as the module. */
td_status fe_tensor_constant(ir_module *module, const fe_tensor *tensor, bool as_f32,
                             ir_constant **constant);

#endif

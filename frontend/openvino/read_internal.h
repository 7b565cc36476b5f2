/* What the parts of the OpenVINO reader share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_READ_INTERNAL_H
#define TANDEM_FRONTEND_OPENVINO_READ_INTERNAL_H

#include "frontend/frontend.h"
#include "frontend/openvino/element_types.h"
#include "frontend/openvino/read_document.h"

typedef struct ov_reader {
    td_context *context;
    const fe_options *options;
    ov_document document;
    ov_layer **order; /* see ov_document_order */
    uint32_t order_count;
    ir_module *module;
    ir_graph *graph;
    ir_value ***values; /* [layer->index][output position]; NULL before the layer was converted */
    struct ov_weights *weights;
} ov_reader;

/* fe_read_openvino with what the model says about itself. */
td_status ov_read(td_context *context, const char *path, const fe_options *options, ov_facts *facts,
                  ir_module **module);

/* --- types (read_types.c) --- */

/* "FP32", "I64" ... of a port; IR_OPAQUE when it has no counterpart. */
ir_type ov_port_type(const ov_port *port);
/* A shape as attribute text ("", "1,2", "1, 2", "?,4,?,64"): dimensions >= 0 or OV_DYNAMIC. False
 * when it is something else or has more than `capacity` dimensions. */
bool ov_parse_shape(const char *text, uint32_t capacity, int64_t *dims, uint32_t *rank);
/* A shape of the IR, each OV_DYNAMIC a fresh symbol. Refuses more than IR_MAX_RANK dimensions. */
td_status ov_make_shape(ov_reader *reader, const int64_t *dims, uint32_t rank, ir_shape *shape);
/* The first of a port's tensor names, in the module's arena; `otherwise` when there is none. */
td_status ov_first_name(ov_reader *reader, const char *names, const char *otherwise,
                        const char **name);

/* --- constants (read_constants.c) --- */

/* A Const layer's declaration, checked: size against shape, type known to the IR. */
typedef struct ov_const {
    const ov_layer *layer;
    ir_type type;
    uint32_t rank;
    int64_t dims[IR_MAX_RANK];
    uint64_t elements, offset, size;
} ov_const;

/* Reads and checks a declaration, also against the .bin where there is one. */
td_status ov_const_parse(ov_reader *reader, const ov_layer *layer, ov_const *declared);

/* Opens the .bin beside the document; where there is none, prepares what stands for it: values from
 * options->constants, assumed values (listing) and random weights. Names and refuses what is still
 * missing. Call after ov_document_order. */
td_status ov_weights_open(ov_reader *reader);

/* Makes the value of a Const layer. */
td_status ov_convert_const(ov_reader *reader, const ov_layer *layer, ir_value **value);

/* --- constants of a missing .bin --- */

/* Values of options->constants (constants_json.c). */
typedef struct ov_constants_file ov_constants_file;
td_status ov_constants_file_open(td_context *context, const char *path, ov_constants_file **file);
void ov_constants_file_close(td_context *context, ov_constants_file *file);
/* Whether there are values for the offset, and how many. */
bool ov_constants_file_has(const ov_constants_file *file, uint64_t offset, size_t *count);
/* Packs the values given for the constant's offset, of which none takes more than 8 bytes. Refuses
 * a wrong number of values and values that the type cannot hold. */
td_status ov_constants_file_pack(td_context *context, const ov_constants_file *file,
                                 const ov_const *declared, void *bytes);
/* Packs numbers as elements of the type; false when one does not fit. */
bool ov_pack_integer(ir_type type, int64_t value, void *element);
bool ov_pack_number(ir_type type, double value, void *element);

/* What a constant is to the operations that read it (read_roles.c). */
typedef enum ov_role {
    OV_ROLE_MEANING, /* epsilon, axis, shape, frequency ...: its value decides what is computed */
    OV_ROLE_MATRIX,  /* a weight matrix, plain or the stored integers of a decompression cone */
    OV_ROLE_ZERO_POINT, /* of a decompression cone */
    OV_ROLE_SCALE,      /* of a decompression cone */
    OV_ROLE_NORM,       /* a vector that multiplies */
    OV_ROLE_BIAS,       /* a vector that is added */
} ov_role;

/* A constant's role, with the matrix that it is part of. */
typedef struct ov_part {
    ov_role role;
    uint64_t fan_in; /* elements of a row of the matrix; 0 when unknown */
    unsigned bits;   /* of a stored element of the matrix */
} ov_part;

/* Parts by layer index, in the document's arena. */
td_status ov_find_parts(ov_reader *reader, ov_part **parts);

/* Makes a random weight (random_weights.c): the same numbers for the same seed and offset, whatever
 * range is read. */
td_status ov_add_random_constant(ov_reader *reader, const ov_const *declared, const ov_part *part,
                                 ir_constant **constant);

/* Infers missing constants of meaning from their uses (assume.c). assumed[layer->index] is NULL or
 * the packed bytes, in the document's arena. */
td_status ov_assume_constants(ov_reader *reader, const ov_part *parts, void **assumed);

/* --- operations (read_operations.c, read_movement.c) --- */

/* Converts one layer: inputs in port order, one value per output port. */
typedef td_status (*ov_converter)(ov_reader *reader, const ov_layer *layer, ir_value **inputs,
                                  ir_value **outputs);

typedef struct ov_operation {
    const char *type; /* OpenVINO's name */
    ov_converter convert;
    ir_opcode op; /* what it becomes, where that is one op */
    uint32_t min_inputs, max_inputs, outputs;
} ov_operation;

#define OV_ANY_NUMBER UINT32_MAX

/* The row for a layer, found without regard to case; NULL when the operation is not imported. */
const ov_operation *ov_operation_of(const ov_layer *layer);
const ov_operation *ov_movement_operations(size_t *count);

bool ov_layer_is(const ov_layer *layer, const char *type);

/* A sentence about a layer; the caller puts file and layer before it. */
#define ov_refuse(reader, ...) td_fail((reader)->context, TD_UNSUPPORTED, __VA_ARGS__)

/* Attributes with a default; a value that is no boolean or number is refused. */
td_status ov_bool(ov_reader *reader, const ov_layer *layer, const char *name, bool otherwise,
                  bool *value);
td_status ov_int(ov_reader *reader, const ov_layer *layer, const char *name, int64_t otherwise,
                 int64_t *value);

/* The integers of a constant input (at most `capacity`), seen through conversions. */
td_status ov_input_ints(ov_reader *reader, const ir_value *input, const char *what, size_t capacity,
                        int64_t *values, size_t *count);
/* One axis, counted from the front of `rank` dimensions. */
td_status ov_normal_axis(ov_reader *reader, int64_t axis, uint32_t rank, int64_t *normal);
td_status ov_input_axis(ov_reader *reader, const ir_value *input, uint32_t rank, int64_t *axis);

/* Adds a node with the layer's name, and takes its first output after inference. */
td_status ov_add_node(ov_reader *reader, const ov_layer *layer, ir_opcode op, size_t input_count,
                      ir_value *const *inputs, ir_node **node);
td_status ov_finish(ir_node *node, ir_value **output);
td_status ov_add_convert(ov_reader *reader, const ov_layer *layer, ir_value *input, ir_type type,
                         ir_value **output);

#endif

/* Writing an OpenVINO IR document: layers and edges into the .xml, constants into the .bin.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Layers are written as they are added, so only edges and ports are kept. The first failure sticks
 * in `status`; from then on adding does nothing, and the caller looks once, at the end. */
#ifndef TANDEM_FRONTEND_OPENVINO_WRITE_DOCUMENT_H
#define TANDEM_FRONTEND_OPENVINO_WRITE_DOCUMENT_H

#include "base/file.h"
#include "ir/ir.h"

#include <libxml/xmlwriter.h>

#define OV_UNKNOWN (-1) /* a dimension that is only known at run time */

/* An output port: what later layers read. */
typedef struct ov_out {
    uint32_t layer, port;
    ir_type type;
    uint32_t rank;
    int64_t dim[IR_MAX_RANK];
} ov_out;

typedef struct ov_written_edge {
    uint32_t from_layer, from_port, to_layer, to_port;
} ov_written_edge;

/* Bytes that stand in the .bin already. */
typedef struct ov_written {
    const void *key; /* an ir_constant, or NULL for small ones compared by content */
    uint64_t offset, size;
    unsigned char *content; /* in the arena */
} ov_written;

typedef struct ov_writer {
    td_context *context;
    td_arena arena;
    td_output document, weights;
    xmlTextWriterPtr xml;
    uint64_t position; /* in the .bin */
    uint32_t layers;
    TD_ARRAY(ov_written_edge) edges;
    TD_ARRAY(ov_written) written;
    td_status status;
} ov_writer;

/* Opens path and the .bin beside it. */
td_status ov_writer_open(td_context *context, const char *path, ov_writer *writer);

/* A fact about the model that the graph has no place for. */
typedef struct ov_fact {
    const char *name;
    int64_t value;
} ov_fact;

/* Writes edges and facts, and puts both files in place; on failure neither. */
td_status ov_writer_commit(ov_writer *writer, size_t count, const ov_fact *facts);

/* Removes temporaries and releases; harmless after commit. */
void ov_writer_release(ov_writer *writer);

/* Records a failure, unless there was one. */
void ov_writer_fail(ov_writer *writer, td_status status);

/* printf into the writer's arena; "" when memory ran out. */
const char *ov_format(ov_writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A shape as attribute text: "1, 2, 3", with ? for unknown dimensions. */
const char *ov_shape_text(ov_writer *writer, uint32_t rank, const int64_t *dims);

#define OV_MAX_ATTRIBUTES 8

typedef struct ov_layer_form {
    const char *type, *version, *name;
    const char *attributes[2 * OV_MAX_ATTRIBUTES]; /* name, value, ..., NULL */
    bool decompression;                            /* rt_info of a Convert of weights */
    uint32_t input_count;
    const ov_out *inputs;
    bool has_output;
    ov_out output;           /* type and shape; layer and port are filled in */
    const char *tensor_name; /* names of the output port, or NULL */
} ov_layer_form;

/* Writes a layer and returns its output port. */
ov_out ov_add_layer(ov_writer *writer, const ov_layer_form *form);

/* A Const from bytes in memory (at most 64 KiB, compared by content with the earlier ones). */
ov_out ov_add_const(ov_writer *writer, const char *name, ir_type type, uint32_t rank,
                    const int64_t *dims, const void *bytes, uint64_t size);

/* A Const that is streamed from a constant's stored bytes, seen with other dimensions. */
ov_out ov_add_stored(ov_writer *writer, const char *name, const ir_constant *constant,
                     uint32_t rank, const int64_t *dims);

#endif

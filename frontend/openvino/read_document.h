/* An OpenVINO IR file as it is written: layers, ports and edges, before any meaning is given.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_READ_DOCUMENT_H
#define TANDEM_FRONTEND_OPENVINO_READ_DOCUMENT_H

#include "base/file.h"
#include "base/memory.h"
#include "frontend/openvino/facts.h"

/* The value of an unknown dimension of a port. */
#define OV_DYNAMIC INT64_C(-1)

/* A `name="value"` pair of a layer's <data>. */
typedef struct ov_attribute {
    const char *name, *value;
} ov_attribute;

typedef struct ov_port {
    uint64_t id;
    const char *precision; /* "FP32"; NULL when the file leaves it out */
    const char *names;     /* tensor names, comma separated, or NULL */
    const int64_t *dims;   /* >= 0 or OV_DYNAMIC */
    uint32_t rank;
    /* Of an input port, once edges are resolved: the output that drives it. */
    struct ov_layer *driver;
    uint32_t driver_port; /* position among the driver's outputs */
} ov_port;

typedef struct ov_layer {
    uint64_t id;
    uint32_t index; /* position in the file */
    unsigned line;
    const char *name, *type, *version; /* "Add_1", "Add", "opset1" */
    const char *output_names;          /* of a Result (version 11), or NULL */
    ov_attribute *attributes;
    uint32_t attribute_count;
    ov_port *inputs, *outputs;
    uint32_t input_count, output_count;
    bool is_sink; /* wanted for its own sake, see ov_document_order */
} ov_layer;

typedef struct ov_edge {
    uint64_t from_layer, from_port, to_layer, to_port;
    unsigned line;
} ov_edge;

typedef struct ov_document {
    td_context *context;
    const char *path;            /* as given; for messages */
    td_arena arena;              /* strings, ports and layers */
    const char *name;            /* of the net */
    int version;                 /* 10 or 11 */
    ov_facts facts;              /* of net/rt_info/tandem */
    bool has_sink;               /* there is a Result or Assign; set by ov_document_order */
    TD_ARRAY(ov_layer *) layers; /* in the file's order */
    TD_ARRAY(ov_edge) edges;
} ov_document;

/* Parses the mapped file. No entity is expanded and no other file or address is opened; a document
 * type declaration is refused. On failure the message names file and line, and the document is
 * empty. Memory is linear in the file. */
td_status ov_document_read(td_context *context, const td_file *file, ov_document *document);
void ov_document_release(ov_document *document);

/* An attribute of a layer's <data>, or `otherwise`. */
const char *ov_layer_attribute(const ov_layer *layer, const char *name, const char *otherwise);

/* Numbers out of attribute text; false when the text is something else. */
bool ov_parse_u64(const char *text, uint64_t *value);
bool ov_parse_i64(const char *text, int64_t *value);

/* The next entry of a comma separated list: skips blanks, moves *text behind the entry and its
 * comma. False at the end. `entry` and `length` give the entry without blanks around it. */
bool ov_next_entry(const char **text, const char **entry, size_t *length);

/* Resolves edges into the input ports' drivers and puts into `order` the layers that a Result, an
 * Assign or a Parameter needs, drivers first and in the file's order where that is possible
 * (Parameters are kept even when nobody reads them; each ReadValue comes before its Assign). Where
 * there is neither Result nor Assign, layers that nobody reads stand for them. Refuses
 * duplicate ids, dangling edges, ports with two drivers or none, and cycles. Cost: n log n. */
td_status ov_document_order(ov_document *document, ov_layer ***order, uint32_t *count);

#endif

/* Writing an OpenVINO IR document: layers and edges into the .xml, constants into the .bin.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/write_document.h"

#include "frontend/openvino/element_types.h"

#include <inttypes.h>
#include <string.h>

#define PIECE         (1u << 20) /* bytes of a weight held at a time */
#define SMALL         (1u << 16) /* constants up to here are compared by content */
#define ALIGNMENT     64         /* of weights in the .bin */
#define NUMBER_LENGTH 24

#define XML_TEXT(text) ((const xmlChar *)(text))

void ov_writer_fail(ov_writer *writer, td_status status)
{
    if (writer->status == TD_OK)
        writer->status = status;
}

/* Takes the result of a libxml2 writer call. */
static void check_xml(ov_writer *writer, int result)
{
    if (result < 0 && writer->status == TD_OK)
        writer->status =
            td_fail(writer->context, TD_IO, "%s: cannot be written", writer->document.path);
}

const char *ov_format(ov_writer *writer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *kept = td_arena_string(&writer->arena, text);
    if (kept != NULL)
        return kept;
    ov_writer_fail(writer, td_fail_memory(writer->context));
    return "";
}

const char *ov_shape_text(ov_writer *writer, uint32_t rank, const int64_t *dims)
{
    char text[IR_MAX_RANK * NUMBER_LENGTH] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < rank; i++) {
        const char *comma = i > 0 ? "," : "";
        int printed =
            dims[i] == OV_UNKNOWN
                ? snprintf(text + length, sizeof text - length, "%s?", comma)
                : snprintf(text + length, sizeof text - length, "%s%" PRId64, comma, dims[i]);
        length += (size_t)printed;
    }
    return ov_format(writer, "%s", text);
}

/* --- opening and closing --- */

static td_status open_files(ov_writer *writer, const char *path)
{
    size_t length = strlen(path);
    if (length < 5 || strcmp(path + length - 4, ".xml") != 0)
        return td_fail(writer->context, TD_USAGE,
                       "%s: an OpenVINO model is written to a file whose name ends in .xml", path);
    const char *weights = td_arena_format(&writer->arena, "%.*s.bin", (int)(length - 4), path);
    if (weights == NULL)
        return td_fail_memory(writer->context);
    TD_TRY(td_output_open(writer->context, path, &writer->document));
    TD_TRY(td_output_open(writer->context, weights, &writer->weights));
    xmlOutputBufferPtr buffer = xmlOutputBufferCreateFile(writer->document.stream, NULL);
    if (buffer == NULL)
        return td_fail_memory(writer->context);
    writer->xml = xmlNewTextWriter(buffer);
    if (writer->xml == NULL) {
        xmlOutputBufferClose(buffer);
        return td_fail_memory(writer->context);
    }
    return TD_OK;
}

static void start_element(ov_writer *writer, const char *name)
{
    check_xml(writer, xmlTextWriterStartElement(writer->xml, XML_TEXT(name)));
}

static void end_element(ov_writer *writer)
{
    check_xml(writer, xmlTextWriterEndElement(writer->xml));
}

static void write_attribute(ov_writer *writer, const char *name, const char *value)
{
    check_xml(writer, xmlTextWriterWriteAttribute(writer->xml, XML_TEXT(name), XML_TEXT(value)));
}

static void write_number(ov_writer *writer, const char *name, int64_t value)
{
    char text[NUMBER_LENGTH];
    snprintf(text, sizeof text, "%" PRId64, value);
    write_attribute(writer, name, text);
}

td_status ov_writer_open(td_context *context, const char *path, ov_writer *writer)
{
    *writer = (ov_writer){.context = context};
    td_arena_init(&writer->arena, context);
    TD_TRY(open_files(writer, path));
    check_xml(writer, xmlTextWriterSetIndent(writer->xml, 1));
    check_xml(writer, xmlTextWriterSetIndentString(writer->xml, XML_TEXT("\t")));
    check_xml(writer, xmlTextWriterStartDocument(writer->xml, "1.0", NULL, NULL));
    start_element(writer, "net");
    write_attribute(writer, "name", "Model0");
    write_attribute(writer, "version", "11");
    start_element(writer, "layers");
    return writer->status;
}

static void write_edges(ov_writer *writer)
{
    start_element(writer, "edges");
    for (size_t i = 0; i < writer->edges.count; i++) {
        const ov_written_edge *edge = &writer->edges.items[i];
        start_element(writer, "edge");
        write_number(writer, "from-layer", edge->from_layer);
        write_number(writer, "from-port", edge->from_port);
        write_number(writer, "to-layer", edge->to_layer);
        write_number(writer, "to-port", edge->to_port);
        end_element(writer);
    }
    end_element(writer);
}

static void write_facts(ov_writer *writer, size_t count, const ov_fact *facts)
{
    start_element(writer, "rt_info");
    start_element(writer, "tandem");
    for (size_t i = 0; i < count; i++) {
        start_element(writer, facts[i].name);
        write_number(writer, "value", facts[i].value);
        end_element(writer);
    }
    end_element(writer);
    end_element(writer);
}

td_status ov_writer_commit(ov_writer *writer, size_t count, const ov_fact *facts)
{
    TD_TRY(writer->status);
    end_element(writer); /* layers */
    write_edges(writer);
    write_facts(writer, count, facts);
    check_xml(writer, xmlTextWriterEndDocument(writer->xml));
    check_xml(writer, xmlTextWriterFlush(writer->xml));
    xmlFreeTextWriter(writer->xml);
    writer->xml = NULL;
    TD_TRY(writer->status);
    /* The document goes last: it is what makes the pair visible. */
    const char *weights = td_arena_string(&writer->arena, writer->weights.path);
    if (weights == NULL)
        return td_fail_memory(writer->context);
    TD_TRY(td_output_commit(writer->context, &writer->weights, false));
    td_status status = td_output_commit(writer->context, &writer->document, false);
    if (status != TD_OK)
        remove(weights);
    return status;
}

void ov_writer_release(ov_writer *writer)
{
    if (writer->xml != NULL)
        xmlFreeTextWriter(writer->xml);
    td_output_discard(writer->context, &writer->document);
    td_output_discard(writer->context, &writer->weights);
    td_array_release(writer->context, &writer->edges);
    td_array_release(writer->context, &writer->written);
    td_arena_release(&writer->arena);
}

/* --- layers --- */

static void write_port(ov_writer *writer, uint32_t id, const ov_out *out, const char *names)
{
    start_element(writer, "port");
    write_number(writer, "id", id);
    write_attribute(writer, "precision", ov_precision_name(out->type));
    if (names != NULL)
        write_attribute(writer, "names", names);
    for (uint32_t i = 0; i < out->rank; i++)
        check_xml(writer, xmlTextWriterWriteFormatElement(writer->xml, XML_TEXT("dim"), "%" PRId64,
                                                          out->dim[i]));
    end_element(writer);
}

static void write_inputs(ov_writer *writer, uint32_t id, const ov_layer_form *form)
{
    if (form->input_count == 0)
        return;
    start_element(writer, "input");
    for (uint32_t i = 0; i < form->input_count; i++) {
        const ov_out *input = &form->inputs[i];
        ov_written_edge edge = {input->layer, input->port, id, i};
        write_port(writer, i, input, NULL);
        if (!td_array_push(writer->context, &writer->edges, edge))
            ov_writer_fail(writer, td_fail_memory(writer->context));
    }
    end_element(writer);
}

static void write_data(ov_writer *writer, const ov_layer_form *form)
{
    if (form->attributes[0] == NULL)
        return;
    start_element(writer, "data");
    for (size_t i = 0; i < OV_MAX_ATTRIBUTES && form->attributes[2 * i] != NULL; i++)
        write_attribute(writer, form->attributes[2 * i], form->attributes[2 * i + 1]);
    end_element(writer);
}

static void write_decompression(ov_writer *writer)
{
    start_element(writer, "rt_info");
    start_element(writer, "attribute");
    write_attribute(writer, "name", "decompression");
    write_attribute(writer, "version", "0");
    end_element(writer);
    end_element(writer);
}

ov_out ov_add_layer(ov_writer *writer, const ov_layer_form *form)
{
    ov_out output = form->output;
    if (writer->status != TD_OK)
        return output;
    output.layer = writer->layers++;
    output.port = form->input_count;
    start_element(writer, "layer");
    write_number(writer, "id", output.layer);
    write_attribute(writer, "name", form->name);
    write_attribute(writer, "type", form->type);
    write_attribute(writer, "version", form->version);
    write_data(writer, form);
    if (form->decompression)
        write_decompression(writer);
    write_inputs(writer, output.layer, form);
    if (form->has_output) {
        start_element(writer, "output");
        write_port(writer, output.port, &output, form->tensor_name);
        end_element(writer);
    }
    end_element(writer);
    return output;
}

/* --- constants --- */

static void put(ov_writer *writer, const void *bytes, size_t size)
{
    if (writer->status == TD_OK && fwrite(bytes, 1, size, writer->weights.stream) != size)
        writer->status =
            td_fail(writer->context, TD_IO, "%s: cannot be written", writer->weights.path);
    writer->position += size;
}

static void align(ov_writer *writer, uint64_t alignment)
{
    static const unsigned char zeros[ALIGNMENT];
    put(writer, zeros, (size_t)((alignment - writer->position % alignment) % alignment));
}

static void remember(ov_writer *writer, const void *key, uint64_t offset, uint64_t size,
                     unsigned char *content)
{
    ov_written entry = {key, offset, size, content};
    if (!td_array_push(writer->context, &writer->written, entry))
        ov_writer_fail(writer, td_fail_memory(writer->context));
}

/* An output port without a place: after a failure, callers still read its shape. */
static ov_out describe(ir_type type, uint32_t rank, const int64_t *dims)
{
    ov_out output = {.type = type, .rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        output.dim[i] = dims[i];
    return output;
}

static ov_out declare_const(ov_writer *writer, const char *name, ir_type type, uint32_t rank,
                            const int64_t *dims, uint64_t offset, uint64_t size)
{
    ov_layer_form form = {
        .type = "Const",
        .version = "opset1",
        .name = name,
        .attributes = {"element_type", ov_element_name(type), "shape",
                       ov_shape_text(writer, rank, dims), "offset",
                       ov_format(writer, "%" PRIu64, offset), "size",
                       ov_format(writer, "%" PRIu64, size)},
        .has_output = true,
        .output = describe(type, rank, dims),
    };
    return ov_add_layer(writer, &form);
}

ov_out ov_add_const(ov_writer *writer, const char *name, ir_type type, uint32_t rank,
                    const int64_t *dims, const void *bytes, uint64_t size)
{
    for (size_t i = 0; i < writer->written.count; i++) {
        const ov_written *entry = &writer->written.items[i];
        if (entry->content != NULL && entry->size == size &&
            memcmp(entry->content, bytes, (size_t)size) == 0)
            return declare_const(writer, name, type, rank, dims, entry->offset, size);
    }
    unsigned char *content = td_arena_allocate(&writer->arena, (size_t)size, 1);
    if (content == NULL) {
        ov_writer_fail(writer, td_fail_memory(writer->context));
        return describe(type, rank, dims);
    }
    memcpy(content, bytes, (size_t)size);
    align(writer, sizeof(int64_t));
    uint64_t offset = writer->position;
    put(writer, bytes, (size_t)size);
    remember(writer, NULL, offset, size, content);
    return declare_const(writer, name, type, rank, dims, offset, size);
}

/* Copies a constant's stored bytes, a piece at a time. */
static void stream(ov_writer *writer, const ir_constant *constant, unsigned char *piece)
{
    uint64_t done = 0;
    while (done < constant->bytes && writer->status == TD_OK) {
        uint64_t size = constant->bytes - done < PIECE ? constant->bytes - done : PIECE;
        td_status status = ir_constant_read(writer->context, constant, done, size, piece);
        ov_writer_fail(writer, status);
        if (status == TD_OK)
            put(writer, piece, (size_t)size);
        done += size;
    }
}

ov_out ov_add_stored(ov_writer *writer, const char *name, const ir_constant *constant,
                     uint32_t rank, const int64_t *dims)
{
    ov_out none = describe(constant->type, rank, dims);
    if (writer->status != TD_OK)
        return none;
    for (size_t i = 0; i < writer->written.count; i++)
        if (writer->written.items[i].key == constant)
            return declare_const(writer, name, constant->type, rank, dims,
                                 writer->written.items[i].offset, constant->bytes);
    unsigned char *piece = td_allocate(writer->context, PIECE);
    if (piece == NULL) {
        ov_writer_fail(writer, td_fail_memory(writer->context));
        return none;
    }
    ov_out output = none;
    if (constant->bytes <= SMALL) {
        ov_writer_fail(writer,
                       ir_constant_read(writer->context, constant, 0, constant->bytes, piece));
        if (writer->status == TD_OK)
            output = ov_add_const(writer, name, constant->type, rank, dims, piece, constant->bytes);
    } else {
        align(writer, ALIGNMENT);
        uint64_t offset = writer->position;
        stream(writer, constant, piece);
        remember(writer, constant, offset, constant->bytes, NULL);
        output = declare_const(writer, name, constant->type, rank, dims, offset, constant->bytes);
    }
    td_release(writer->context, piece);
    return output;
}

/* XML to ov_document.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_document.h"

#include "frontend/xml_reader.h"

#include <string.h>

enum { MAXIMUM_PORTS = 8192, MAXIMUM_DIMS = 64 };

/* A document being read. */
typedef struct document_reader {
    fe_xml xml;
    ov_document *document;
    td_text text; /* of the element that is read */
} document_reader;

/* --- attributes --- */

/* Where the value of a known attribute goes. */
typedef struct xml_field {
    const char *name;
    const char **text; /* a copy in the arena, */
    uint64_t *number;  /* or a number */
    bool required, seen;
} xml_field;

static td_status take_field(document_reader *source, xml_field *field, const char *value)
{
    field->seen = true;
    if (field->text == NULL)
        return ov_parse_u64(value, field->number)
                   ? TD_OK
                   : fe_xml_refuse(&source->xml, "attribute %s is \"%.40s\"; a number is expected",
                                   field->name, value);
    *field->text = td_arena_string(&source->document->arena, value);
    return *field->text != NULL ? TD_OK : td_fail_memory(source->xml.context);
}

static td_status read_fields(document_reader *source, xml_field *fields, size_t count)
{
    const char *name, *value;
    while (fe_xml_next_attribute(&source->xml, &name, &value))
        for (size_t i = 0; i < count; i++)
            if (strcmp(fields[i].name, name) == 0)
                TD_TRY(take_field(source, &fields[i], value));
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !fields[i].seen)
            return fe_xml_refuse(&source->xml, "<%s> has no attribute %s",
                                 fe_xml_name(&source->xml), fields[i].name);
    return fe_xml_end_attributes(&source->xml);
}

static td_status read_data(document_reader *source, ov_layer *layer)
{
    td_arena *arena = &source->document->arena;
    const size_t count = fe_xml_attribute_count(&source->xml);
    const char *name, *value;
    layer->attributes = td_arena_allocate(arena, count + 1, sizeof *layer->attributes);
    if (layer->attributes == NULL)
        return td_fail_memory(source->xml.context);
    while (fe_xml_next_attribute(&source->xml, &name, &value) && layer->attribute_count < count) {
        ov_attribute *attribute = &layer->attributes[layer->attribute_count++];
        attribute->name = td_arena_string(arena, name);
        attribute->value = td_arena_string(arena, value);
        if (attribute->name == NULL || attribute->value == NULL)
            return td_fail_memory(source->xml.context);
    }
    return fe_xml_skip(&source->xml);
}

/* --- ports --- */

/* Reads <dim>N</dim>, the reader being on its start tag. */
static td_status read_dim(document_reader *source, int64_t *dim)
{
    source->text.length = 0;
    TD_TRY(fe_xml_text(&source->xml, &source->text));
    if (source->text.length == 0 || !ov_parse_i64(source->text.data, dim) || *dim < OV_DYNAMIC)
        return fe_xml_refuse(&source->xml, "<dim> must be a number of at least -1");
    return TD_OK;
}

static td_status read_port(document_reader *source, ov_port *port)
{
    const fe_xml_children children = fe_xml_children_of(&source->xml);
    xml_field fields[] = {{.name = "id", .number = &port->id, .required = true},
                          {.name = "precision", .text = &port->precision},
                          {.name = "names", .text = &port->names}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    int64_t dims[MAXIMUM_DIMS];
    for (;;) {
        bool found;
        TD_TRY(fe_xml_next_child(&source->xml, &children, &found));
        if (!found)
            break;
        if (!fe_xml_is(&source->xml, "dim")) {
            TD_TRY(fe_xml_skip(&source->xml));
            continue;
        }
        if (port->rank == MAXIMUM_DIMS)
            return fe_xml_refuse(&source->xml, "a port has more than 64 dimensions");
        TD_TRY(read_dim(source, &dims[port->rank]));
        port->rank++;
    }
    int64_t *copy = td_arena_allocate(&source->document->arena, port->rank + 1, sizeof *copy);
    if (copy == NULL)
        return td_fail_memory(source->xml.context);
    memcpy(copy, dims, port->rank * sizeof *copy);
    port->dims = copy;
    return TD_OK;
}

/* Reads <input> or <output>. */
static td_status read_ports(document_reader *source, ov_port **ports, uint32_t *count)
{
    TD_ARRAY(ov_port) list = {0};
    const fe_xml_children children = fe_xml_children_of(&source->xml);
    td_status status = TD_OK;
    for (;;) {
        bool found;
        status = fe_xml_next_child(&source->xml, &children, &found);
        if (status != TD_OK || !found)
            break;
        if (!fe_xml_is(&source->xml, "port")) {
            status = fe_xml_skip(&source->xml);
        } else if (list.count == MAXIMUM_PORTS) {
            status = fe_xml_refuse(&source->xml, "a layer has more than 8192 ports");
        } else {
            ov_port port = {0};
            status = read_port(source, &port);
            if (status == TD_OK && !td_array_push(source->xml.context, &list, port))
                status = td_fail_memory(source->xml.context);
        }
        if (status != TD_OK)
            break;
    }
    if (status == TD_OK) {
        *ports = td_arena_allocate(&source->document->arena, list.count + 1, sizeof **ports);
        *count = (uint32_t)list.count;
        if (*ports == NULL)
            status = td_fail_memory(source->xml.context);
        else if (list.count > 0)
            memcpy(*ports, list.items, list.count * sizeof **ports);
    }
    td_array_release(source->xml.context, &list);
    return status;
}

/* --- layers and edges --- */

static td_status read_layer(document_reader *source)
{
    ov_document *document = source->document;
    ov_layer *layer = td_arena_allocate(&document->arena, 1, sizeof *layer);
    if (layer == NULL || document->layers.count >= UINT32_MAX ||
        !td_array_push(source->xml.context, &document->layers, layer))
        return td_fail_memory(source->xml.context);
    layer->index = (uint32_t)document->layers.count - 1;
    layer->line = fe_xml_line(&source->xml);
    const fe_xml_children children = fe_xml_children_of(&source->xml);
    xml_field fields[] = {{.name = "id", .number = &layer->id, .required = true},
                          {.name = "name", .text = &layer->name},
                          {.name = "type", .text = &layer->type, .required = true},
                          {.name = "version", .text = &layer->version},
                          {.name = "output_names", .text = &layer->output_names}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    if (layer->name == NULL)
        layer->name = "";
    if (layer->version == NULL)
        layer->version = "";
    for (;;) {
        bool found;
        TD_TRY(fe_xml_next_child(&source->xml, &children, &found));
        if (!found)
            return TD_OK;
        const bool data = fe_xml_is(&source->xml, "data"), input = fe_xml_is(&source->xml, "input"),
                   output = fe_xml_is(&source->xml, "output");
        if ((data && layer->attributes != NULL) || (input && layer->inputs != NULL) ||
            (output && layer->outputs != NULL))
            return fe_xml_refuse(&source->xml,
                                 "a layer has a second <data>, <input> or <output>; one of each "
                                 "is accepted");
        if (data)
            TD_TRY(read_data(source, layer));
        else if (input)
            TD_TRY(read_ports(source, &layer->inputs, &layer->input_count));
        else if (output)
            TD_TRY(read_ports(source, &layer->outputs, &layer->output_count));
        else
            TD_TRY(fe_xml_skip(&source->xml)); /* rt_info, and the bodies of control flow */
    }
}

static td_status read_edge(document_reader *source)
{
    ov_edge edge = {.line = fe_xml_line(&source->xml)};
    xml_field fields[] = {{.name = "from-layer", .number = &edge.from_layer, .required = true},
                          {.name = "from-port", .number = &edge.from_port, .required = true},
                          {.name = "to-layer", .number = &edge.to_layer, .required = true},
                          {.name = "to-port", .number = &edge.to_port, .required = true}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    if (!td_array_push(source->xml.context, &source->document->edges, edge))
        return td_fail_memory(source->xml.context);
    return fe_xml_skip(&source->xml);
}

/* Reads the children of the current element that are called `name`; NULL: all. */
static td_status read_list(document_reader *source, const char *name,
                           td_status (*read)(document_reader *source))
{
    const fe_xml_children children = fe_xml_children_of(&source->xml);
    for (;;) {
        bool found;
        TD_TRY(fe_xml_next_child(&source->xml, &children, &found));
        if (!found)
            return TD_OK;
        if (name == NULL || fe_xml_is(&source->xml, name))
            TD_TRY(read(source));
        else
            TD_TRY(fe_xml_skip(&source->xml));
    }
}

/* <NAME value="NUMBER"/> within rt_info/tandem. */
static td_status read_fact(document_reader *source)
{
    const char *value = "";
    const char *name = td_arena_string(&source->document->arena, fe_xml_name(&source->xml));
    xml_field field = {.name = "value", .text = &value};
    if (name == NULL)
        return td_fail_memory(source->xml.context);
    TD_TRY(read_fields(source, &field, 1));
    ov_facts_take(&source->document->facts, name, value);
    return fe_xml_skip(&source->xml);
}

static td_status read_facts(document_reader *source)
{
    return read_list(source, NULL, read_fact);
}

static td_status read_net(document_reader *source)
{
    ov_document *document = source->document;
    uint64_t version = 0;
    const fe_xml_children children = fe_xml_children_of(&source->xml);
    xml_field fields[] = {{.name = "name", .text = &document->name},
                          {.name = "version", .number = &version, .required = true}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    if (document->name == NULL)
        document->name = "";
    if (version != 10 && version != 11)
        return td_fail(source->xml.context, TD_UNSUPPORTED,
                       "%s: OpenVINO IR version %llu is not read; versions 10 and 11 are",
                       source->xml.path, (unsigned long long)version);
    document->version = (int)version;
    bool layers = false;
    for (;;) {
        bool found;
        TD_TRY(fe_xml_next_child(&source->xml, &children, &found));
        if (!found)
            break;
        if (fe_xml_is(&source->xml, "layers")) {
            if (layers)
                return fe_xml_refuse(&source->xml, "<net> has a second <layers>; one is accepted");
            layers = true;
            TD_TRY(read_list(source, "layer", read_layer));
        } else if (fe_xml_is(&source->xml, "edges")) {
            TD_TRY(read_list(source, "edge", read_edge));
        } else if (fe_xml_is(&source->xml, "rt_info")) {
            TD_TRY(read_list(source, "tandem", read_facts));
        } else {
            TD_TRY(fe_xml_skip(&source->xml));
        }
    }
    TD_TRY(fe_xml_finish(&source->xml));
    if (!layers)
        return td_fail(source->xml.context, TD_INVALID, "%s: <net> has no <layers>",
                       source->xml.path);
    return TD_OK;
}

td_status ov_document_read(td_context *context, const td_file *file, ov_document *document)
{
    document_reader source = {.document = document};
    *document = (ov_document){.context = context, .path = file->path, .facts = OV_NO_FACTS};
    td_arena_init(&document->arena, context);
    td_text_init(&source.text, context);
    td_status status = fe_xml_open(context, file, "net", "OpenVINO IR", &source.xml);
    if (status == TD_OK)
        status = read_net(&source);
    fe_xml_close(&source.xml);
    td_text_release(&source.text);
    if (status != TD_OK)
        ov_document_release(document);
    return status;
}

void ov_document_release(ov_document *document)
{
    if (document->context == NULL)
        return;
    td_array_release(document->context, &document->layers);
    td_array_release(document->context, &document->edges);
    td_arena_release(&document->arena);
    document->context = NULL;
}

/* --- text --- */

const char *ov_layer_attribute(const ov_layer *layer, const char *name, const char *otherwise)
{
    for (uint32_t i = 0; i < layer->attribute_count; i++)
        if (strcmp(layer->attributes[i].name, name) == 0)
            return layer->attributes[i].value;
    return otherwise;
}

bool ov_parse_u64(const char *text, uint64_t *value)
{
    uint64_t number = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || !td_multiply(number, 10, &number) ||
            !td_add(number, (uint64_t)(*text - '0'), &number))
            return false;
    }
    *value = number;
    return true;
}

bool ov_parse_i64(const char *text, int64_t *value)
{
    uint64_t magnitude;
    bool negative = *text == '-';
    if (!ov_parse_u64(text + negative, &magnitude) || magnitude > INT64_MAX)
        return false;
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

bool ov_next_entry(const char **text, const char **entry, size_t *length)
{
    const char *begin = *text;
    while (*begin == ' ' || *begin == '\t')
        begin++;
    if (*begin == '\0')
        return false;
    const char *end = begin;
    while (*end != '\0' && *end != ',')
        end++;
    *text = *end == ',' ? end + 1 : end;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *entry = begin;
    *length = (size_t)(end - begin);
    return true;
}

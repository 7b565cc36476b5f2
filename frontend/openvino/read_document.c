/* XML to ov_document, over libxml2's streaming reader.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/openvino/read_document.h"

#include <libxml/xmlreader.h>
#include <limits.h>
#include <string.h>

enum {
    MAXIMUM_DEPTH = 32, /* of elements; real files need 7 outside of control flow */
    MAXIMUM_PORTS = 8192,
    MAXIMUM_DIMS = 64,
};

typedef struct xml_source {
    td_context *context;
    ov_document *document;
    xmlTextReaderPtr reader;
    const char *path;
    char error[256]; /* libxml2's first complaint */
    int error_line;
} xml_source;

/* libxml2 changed the constness of this parameter in 2.12; errors are taken from the parser. */
static void take_error(void *self, const char *message, xmlParserSeverities severity,
                       xmlTextReaderLocatorPtr locator)
{
    xml_source *source = self;
    if (source->error[0] != '\0' || severity == XML_PARSER_SEVERITY_WARNING ||
        severity == XML_PARSER_SEVERITY_VALIDITY_WARNING)
        return;
    (void)locator; /* names the line of an open element, not of the mistake */
    source->error_line = xmlTextReaderGetParserLineNumber(source->reader);
    snprintf(source->error, sizeof source->error, "%s", message);
    size_t length = strlen(source->error);
    while (length > 0 && (source->error[length - 1] == '\n' || source->error[length - 1] == ' '))
        source->error[--length] = '\0';
    if (length == 0)
        snprintf(source->error, sizeof source->error, "malformed XML");
}

/* Of the current element: the parser itself is some lines ahead. */
static unsigned line_of(const xml_source *source)
{
    xmlNodePtr node = xmlTextReaderCurrentNode(source->reader);
    long line =
        node != NULL ? xmlGetLineNo(node) : xmlTextReaderGetParserLineNumber(source->reader);
    return line < 0 ? 0 : (unsigned)line;
}

static td_status refuse(xml_source *source, const char *what)
{
    return td_fail(source->context, TD_INVALID, "%s: line %u: %s", source->path, line_of(source),
                   what);
}

static td_status refuse_xml(xml_source *source)
{
    if (source->error[0] == '\0')
        return td_fail(source->context, TD_INVALID, "%s: line %u: the file ends too early",
                       source->path, line_of(source));
    return td_fail(source->context, TD_INVALID, "%s: line %d: malformed XML (%s)", source->path,
                   source->error_line, source->error);
}

/* Moves to the next element start or end. `depth` is that of the element. */
static td_status next_tag(xml_source *source, bool *at_end_of_file)
{
    for (;;) {
        int result = xmlTextReaderRead(source->reader);
        if (result < 0 || source->error[0] != '\0')
            return refuse_xml(source);
        if (result == 0) {
            *at_end_of_file = true;
            return TD_OK;
        }
        int type = xmlTextReaderNodeType(source->reader);
        if (type == XML_READER_TYPE_DOCUMENT_TYPE || type == XML_READER_TYPE_ENTITY_REFERENCE)
            return refuse(source, "document type declarations and entities are not accepted");
        if (xmlTextReaderDepth(source->reader) > MAXIMUM_DEPTH)
            return refuse(source, "elements are nested too deeply");
        if (type == XML_READER_TYPE_ELEMENT || type == XML_READER_TYPE_END_ELEMENT) {
            *at_end_of_file = false;
            return TD_OK;
        }
    }
}

/* Steps through the children of the element whose start is current: true with the reader on a
 * child's start tag, false behind the last. Every child must be left on its end (or be empty). */
typedef struct xml_children {
    int depth;
    bool empty, started;
} xml_children;

static xml_children children_of(const xml_source *source)
{
    return (xml_children){.depth = xmlTextReaderDepth(source->reader),
                          .empty = xmlTextReaderIsEmptyElement(source->reader) == 1};
}

static td_status next_child(xml_source *source, xml_children *children, bool *found)
{
    *found = false;
    if (children->empty)
        return TD_OK;
    bool at_end_of_file;
    TD_TRY(next_tag(source, &at_end_of_file));
    if (at_end_of_file)
        return refuse_xml(source);
    *found = xmlTextReaderNodeType(source->reader) == XML_READER_TYPE_ELEMENT;
    return TD_OK;
}

/* Leaves the current element with everything in it. */
static td_status skip_element(xml_source *source)
{
    if (xmlTextReaderIsEmptyElement(source->reader) == 1)
        return TD_OK;
    int depth = xmlTextReaderDepth(source->reader);
    for (;;) {
        bool at_end_of_file;
        TD_TRY(next_tag(source, &at_end_of_file));
        if (at_end_of_file)
            return refuse_xml(source);
        if (xmlTextReaderNodeType(source->reader) == XML_READER_TYPE_END_ELEMENT &&
            xmlTextReaderDepth(source->reader) == depth)
            return TD_OK;
    }
}

static bool element_is(const xml_source *source, const char *name)
{
    const xmlChar *element = xmlTextReaderConstLocalName(source->reader);
    return element != NULL && strcmp((const char *)element, name) == 0;
}

/* --- attributes --- */

/* Where the value of a known attribute goes. */
typedef struct xml_field {
    const char *name;
    const char **text; /* a copy in the arena, */
    uint64_t *number;  /* or a number */
    bool required, seen;
} xml_field;

static td_status read_fields(xml_source *source, xml_field *fields, size_t count)
{
    td_arena *arena = &source->document->arena;
    while (xmlTextReaderMoveToNextAttribute(source->reader) == 1) {
        const char *name = (const char *)xmlTextReaderConstLocalName(source->reader);
        const char *value = (const char *)xmlTextReaderConstValue(source->reader);
        if (name == NULL || value == NULL)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(fields[i].name, name) != 0)
                continue;
            fields[i].seen = true;
            if (fields[i].text != NULL) {
                *fields[i].text = td_arena_string(arena, value);
                if (*fields[i].text == NULL)
                    return td_fail_memory(source->context);
            } else if (!ov_parse_u64(value, fields[i].number)) {
                return td_fail(source->context, TD_INVALID,
                               "%s: line %u: attribute %s is \"%.40s\"; a number is expected",
                               source->path, line_of(source), name, value);
            }
        }
    }
    xmlTextReaderMoveToElement(source->reader);
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !fields[i].seen)
            return td_fail(source->context, TD_INVALID, "%s: line %u: <%s> has no attribute %s",
                           source->path, line_of(source),
                           (const char *)xmlTextReaderConstLocalName(source->reader),
                           fields[i].name);
    return source->error[0] == '\0' ? TD_OK : refuse_xml(source);
}

static td_status read_data(xml_source *source, ov_layer *layer)
{
    td_arena *arena = &source->document->arena;
    int count = xmlTextReaderAttributeCount(source->reader);
    if (count > 0) {
        layer->attributes = td_arena_allocate(arena, (size_t)count, sizeof *layer->attributes);
        if (layer->attributes == NULL)
            return td_fail_memory(source->context);
        layer->attribute_count = 0;
    }
    while (xmlTextReaderMoveToNextAttribute(source->reader) == 1 &&
           layer->attribute_count < (uint32_t)count) {
        const char *name = (const char *)xmlTextReaderConstLocalName(source->reader);
        const char *value = (const char *)xmlTextReaderConstValue(source->reader);
        ov_attribute *attribute = &layer->attributes[layer->attribute_count];
        attribute->name = td_arena_string(arena, name == NULL ? "" : name);
        attribute->value = td_arena_string(arena, value == NULL ? "" : value);
        if (attribute->name == NULL || attribute->value == NULL)
            return td_fail_memory(source->context);
        layer->attribute_count++;
    }
    xmlTextReaderMoveToElement(source->reader);
    return skip_element(source);
}

/* --- ports --- */

/* Reads <dim>N</dim>, the reader being on its start tag. */
static td_status read_dim(xml_source *source, int64_t *dim)
{
    const char *text = NULL;
    char number[24] = "";
    if (xmlTextReaderIsEmptyElement(source->reader) != 1) {
        int depth = xmlTextReaderDepth(source->reader);
        for (;;) {
            if (xmlTextReaderRead(source->reader) != 1 || source->error[0] != '\0')
                return refuse_xml(source);
            int type = xmlTextReaderNodeType(source->reader);
            if (type == XML_READER_TYPE_END_ELEMENT && xmlTextReaderDepth(source->reader) == depth)
                break;
            if (type == XML_READER_TYPE_TEXT && text == NULL) {
                snprintf(number, sizeof number, "%s",
                         (const char *)xmlTextReaderConstValue(source->reader));
                text = number;
            } else if (type != XML_READER_TYPE_COMMENT) {
                return refuse(source, "<dim> holds more than a number");
            }
        }
    }
    if (text == NULL || !ov_parse_i64(text, dim) || *dim < OV_DYNAMIC)
        return refuse(source, "<dim> must be a number of at least -1");
    return TD_OK;
}

static td_status read_port(xml_source *source, ov_port *port)
{
    xml_children children = children_of(source);
    xml_field fields[] = {{.name = "id", .number = &port->id, .required = true},
                          {.name = "precision", .text = &port->precision},
                          {.name = "names", .text = &port->names}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    int64_t dims[MAXIMUM_DIMS];
    for (;;) {
        bool found;
        TD_TRY(next_child(source, &children, &found));
        if (!found)
            break;
        if (!element_is(source, "dim")) {
            TD_TRY(skip_element(source));
            continue;
        }
        if (port->rank == MAXIMUM_DIMS)
            return refuse(source, "a port has more than 64 dimensions");
        TD_TRY(read_dim(source, &dims[port->rank]));
        port->rank++;
    }
    int64_t *copy = td_arena_allocate(&source->document->arena, port->rank + 1, sizeof *copy);
    if (copy == NULL)
        return td_fail_memory(source->context);
    memcpy(copy, dims, port->rank * sizeof *copy);
    port->dims = copy;
    return TD_OK;
}

/* Reads <input> or <output>. */
static td_status read_ports(xml_source *source, ov_port **ports, uint32_t *count)
{
    TD_ARRAY(ov_port) list = {0};
    xml_children children = children_of(source);
    td_status status = TD_OK;
    for (;;) {
        bool found;
        status = next_child(source, &children, &found);
        if (status != TD_OK || !found)
            break;
        if (!element_is(source, "port")) {
            status = skip_element(source);
        } else if (list.count == MAXIMUM_PORTS) {
            status = refuse(source, "a layer has more than 8192 ports");
        } else {
            ov_port port = {0};
            status = read_port(source, &port);
            if (status == TD_OK && !td_array_push(source->context, &list, port))
                status = td_fail_memory(source->context);
        }
        if (status != TD_OK)
            break;
    }
    if (status == TD_OK) {
        *ports = td_arena_allocate(&source->document->arena, list.count + 1, sizeof **ports);
        *count = (uint32_t)list.count;
        if (*ports == NULL)
            status = td_fail_memory(source->context);
        else if (list.count > 0)
            memcpy(*ports, list.items, list.count * sizeof **ports);
    }
    td_array_release(source->context, &list);
    return status;
}

/* --- layers and edges --- */

static td_status read_layer(xml_source *source)
{
    ov_document *document = source->document;
    ov_layer *layer = td_arena_allocate(&document->arena, 1, sizeof *layer);
    if (layer == NULL || document->layers.count >= UINT32_MAX ||
        !td_array_push(source->context, &document->layers, layer))
        return td_fail_memory(source->context);
    layer->index = (uint32_t)document->layers.count - 1;
    layer->line = line_of(source);
    xml_children children = children_of(source);
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
        TD_TRY(next_child(source, &children, &found));
        if (!found)
            return TD_OK;
        if (element_is(source, "data"))
            TD_TRY(read_data(source, layer));
        else if (element_is(source, "input"))
            TD_TRY(read_ports(source, &layer->inputs, &layer->input_count));
        else if (element_is(source, "output"))
            TD_TRY(read_ports(source, &layer->outputs, &layer->output_count));
        else
            TD_TRY(skip_element(source)); /* rt_info, and the bodies of control flow */
    }
}

static td_status read_edge(xml_source *source)
{
    ov_edge edge = {.line = line_of(source)};
    xml_field fields[] = {{.name = "from-layer", .number = &edge.from_layer, .required = true},
                          {.name = "from-port", .number = &edge.from_port, .required = true},
                          {.name = "to-layer", .number = &edge.to_layer, .required = true},
                          {.name = "to-port", .number = &edge.to_port, .required = true}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    if (!td_array_push(source->context, &source->document->edges, edge))
        return td_fail_memory(source->context);
    return skip_element(source);
}

/* Reads the children of the current element that are called `name`; NULL: all. */
static td_status read_list(xml_source *source, const char *name,
                           td_status (*read)(xml_source *source))
{
    xml_children children = children_of(source);
    for (;;) {
        bool found;
        TD_TRY(next_child(source, &children, &found));
        if (!found)
            return TD_OK;
        if (name == NULL || element_is(source, name))
            TD_TRY(read(source));
        else
            TD_TRY(skip_element(source));
    }
}

/* <NAME value="NUMBER"/> within rt_info/tandem. */
static td_status read_fact(xml_source *source)
{
    const char *value = "";
    const char *name = td_arena_string(&source->document->arena,
                                       (const char *)xmlTextReaderConstLocalName(source->reader));
    xml_field field = {.name = "value", .text = &value};
    if (name == NULL)
        return td_fail_memory(source->context);
    TD_TRY(read_fields(source, &field, 1));
    ov_facts_take(&source->document->facts, name, value);
    return skip_element(source);
}

static td_status read_facts(xml_source *source)
{
    return read_list(source, NULL, read_fact);
}

static td_status read_net(xml_source *source)
{
    ov_document *document = source->document;
    bool found;
    TD_TRY(next_tag(source, &found));
    if (found)
        return refuse_xml(source);
    if (!element_is(source, "net"))
        return td_fail(source->context, TD_INVALID,
                       "%s: line %u: the root element is <%s>; OpenVINO IR has <net>", source->path,
                       line_of(source), (const char *)xmlTextReaderConstLocalName(source->reader));
    uint64_t version = 0;
    xml_children children = children_of(source);
    xml_field fields[] = {{.name = "name", .text = &document->name},
                          {.name = "version", .number = &version, .required = true}};
    TD_TRY(read_fields(source, fields, TD_COUNT_OF(fields)));
    if (document->name == NULL)
        document->name = "";
    if (version != 10 && version != 11)
        return td_fail(source->context, TD_UNSUPPORTED,
                       "%s: OpenVINO IR version %llu is not read; versions 10 and 11 are",
                       source->path, (unsigned long long)version);
    document->version = (int)version;
    bool layers = false;
    for (;;) {
        TD_TRY(next_child(source, &children, &found));
        if (!found)
            break;
        if (element_is(source, "layers") && !layers) {
            layers = true;
            TD_TRY(read_list(source, "layer", read_layer));
        } else if (element_is(source, "edges")) {
            TD_TRY(read_list(source, "edge", read_edge));
        } else if (element_is(source, "rt_info")) {
            TD_TRY(read_list(source, "tandem", read_facts));
        } else {
            TD_TRY(skip_element(source));
        }
    }
    /* What follows the root must be well-formed too: a file cut and glued is not a model. */
    bool at_end_of_file = false;
    while (!at_end_of_file)
        TD_TRY(next_tag(source, &at_end_of_file));
    if (!layers)
        return td_fail(source->context, TD_INVALID, "%s: <net> has no <layers>", source->path);
    return TD_OK;
}

/* Whatever handler a reader has, libxml2 prints what it dislikes about encodings. */
static void print_nothing(void *self, const char *message, ...)
{
    (void)self;
    (void)message;
}

td_status ov_document_read(td_context *context, const td_file *file, ov_document *document)
{
    memset(document, 0, sizeof *document);
    document->context = context;
    document->path = file->path;
    document->facts = OV_NO_FACTS;
    td_arena_init(&document->arena, context);
    if (file->size == 0)
        return td_fail(context, TD_INVALID, "%s: line 1: the file is empty", file->path);
    if (file->size > INT_MAX)
        return td_fail(context, TD_UNSUPPORTED, "%s: %llu bytes of XML; at most 2 GB are read",
                       file->path, (unsigned long long)file->size);
    xml_source source = {.context = context, .document = document, .path = file->path};
    const xmlGenericErrorFunc print = xmlGenericError;
    void *self = xmlGenericErrorContext;
    xmlSetGenericErrorFunc(NULL, print_nothing);
    source.reader = xmlReaderForMemory((const char *)file->data, (int)file->size, NULL, NULL,
                                       XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES);
    if (source.reader != NULL)
        xmlTextReaderSetErrorHandler(source.reader, take_error, &source);
    td_status status = source.reader == NULL ? td_fail_memory(context) : read_net(&source);
    xmlFreeTextReader(source.reader);
    xmlSetGenericErrorFunc(self, print);
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

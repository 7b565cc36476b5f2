/* igraph merges nodes with one id, invents nodes that only edges name, rounds numbers to 53 bits,
 * says "Parse error" of whatever it dislikes, and keeps a value for every node and declared
 * attribute.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/graphml_check.h"

#include "frontend/xml_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAXIMUM_KEYS = 64 };

/* Values that igraph may keep for attributes, however small the file is. */
#define SMALL_TABLE  (UINT64_C(1) << 20)
#define LARGEST_SIZE (UINT64_C(1) << 53)

/* An attribute of nodes that is read: what its text must be. */
typedef struct known_attribute {
    const char *name;
    bool (*is_valid)(const char *text);
    const char *accepted, *types;
} known_attribute;

/* A node that an edge names before it comes. */
typedef struct expected_node {
    const char *id;
    unsigned line;
} expected_node;

/* What a value belongs to. */
typedef struct owner {
    char name[128];
    unsigned seen;                    /* attributes that have a value, one bit each */
    const known_attribute *attribute; /* of a default */
} owner;

typedef struct checker {
    fe_xml xml;
    td_arena arena;
    td_map keys;  /* known_attribute by key id; or what stands for the others */
    td_map nodes; /* by id */
    TD_ARRAY(expected_node) expected;
    td_text text;
    uint64_t key_count, node_count, edge_count;
    unsigned declared; /* known attributes that have a key, one bit each */
    bool has_graph;
} checker;

/* --- values --- */

static const char blanks[] = " \t\r\n";

static bool is_blank(const char *text)
{
    return text[strspn(text, blanks)] == '\0';
}

static bool is_size(const char *text)
{
    char *end;
    text += strspn(text, blanks);
    const size_t digits = strspn(text, "0123456789");
    errno = 0;
    if (digits > 0 && is_blank(text + digits)) /* exactly, where strtod rounds */
        return strtoull(text, NULL, 10) <= LARGEST_SIZE;
    const double number = strtod(text, &end);
    return errno == 0 && end > text && is_blank(end) && number >= 0 &&
           number <= (double)LARGEST_SIZE && number == floor(number);
}

static bool is_number(const char *text)
{
    char *end;
    errno = 0;
    strtod(text, &end);
    return errno == 0 && end > text && is_blank(end);
}

static bool is_flag(const char *text)
{
    static const char *const words[] = {"true", "false", "1", "0"};
    text += strspn(text, blanks);
    for (size_t i = 0; i < TD_COUNT_OF(words); i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0 && is_blank(text + strlen(words[i])))
            return true;
    return false;
}

static const char whole[] = "expected a whole number from 0 to 2^53";
static const char flag[] = "expected true or false";
static const known_attribute known_attributes[] = {
    {"bytes", is_size, whole, "long"},
    {"workspace", is_size, whole, "long"},
    {"persistent", is_flag, flag, "boolean"},
    {"inplace", is_flag, flag, "boolean"},
};

/* What is not read, but what igraph wants to understand. */
static const known_attribute other_texts = {.name = "a string"};
static const known_attribute other_numbers = {"an attribute", is_number, "expected a number", ""};
static const known_attribute other_flags = {"an attribute", is_flag, flag, ""};

/* The types of GraphML. */
static const struct attribute_type {
    const char *name;
    const known_attribute *other;
} attribute_types[] = {
    {"string", &other_texts}, {"boolean", &other_flags}, {"int", &other_numbers},
    {"long", &other_numbers}, {"float", &other_numbers}, {"double", &other_numbers},
};

/* Marks an attribute that is read; false when it was marked before. */
static bool mark(unsigned *seen, const known_attribute *attribute)
{
    if (attribute < known_attributes ||
        attribute >= known_attributes + TD_COUNT_OF(known_attributes))
        return true;
    const unsigned bit = 1u << (attribute - known_attributes);
    const bool fresh = (*seen & bit) == 0;
    *seen |= bit;
    return fresh;
}

/* --- attributes of XML --- */

typedef struct field {
    const char *name;
    const char *value; /* NULL: absent */
} field;

/* Reads the current element's attributes; values are copied. */
static td_status read_fields(checker *self, field *fields, size_t count)
{
    const char *name, *value;
    while (fe_xml_next_attribute(&self->xml, &name, &value))
        for (size_t i = 0; i < count; i++)
            if (strcmp(fields[i].name, name) == 0) {
                fields[i].value = td_arena_string(&self->arena, value);
                if (fields[i].value == NULL)
                    return td_fail_memory(self->xml.context);
            }
    return fe_xml_end_attributes(&self->xml);
}

/* igraph takes an empty id for none. */
static td_status require(checker *self, const field *wanted)
{
    return wanted->value != NULL && wanted->value[0] != '\0'
               ? TD_OK
               : fe_xml_refuse(&self->xml, "<%s> has no %s", fe_xml_name(&self->xml), wanted->name);
}

/* --- elements --- */

/* What the values of a key must be; an attribute of nodes may be one that is read. */
static td_status find_attribute(checker *self, const char *name, const char *type, bool of_nodes,
                                const known_attribute **attribute)
{
    const known_attribute *other = NULL;
    for (size_t i = 0; i < TD_COUNT_OF(attribute_types); i++)
        if (strcmp(attribute_types[i].name, type) == 0)
            other = attribute_types[i].other;
    if (other == NULL)
        return fe_xml_refuse(&self->xml,
                             "attr.type is \"%.60s\"; string, boolean, int, long, float and double "
                             "are accepted",
                             type);
    *attribute = other;
    for (size_t i = 0; i < TD_COUNT_OF(known_attributes) && of_nodes; i++)
        if (strcmp(known_attributes[i].name, name) == 0)
            *attribute = &known_attributes[i];
    if (!mark(&self->declared, *attribute))
        return fe_xml_refuse(&self->xml, "attribute \"%s\" is declared twice", name);
    const bool fits = (*attribute)->is_valid == is_size   ? other == &other_numbers
                      : (*attribute)->is_valid == is_flag ? other == &other_flags
                                                          : true;
    return fits ? TD_OK
                : fe_xml_refuse(&self->xml,
                                "attribute \"%s\" must be declared with attr.type=\"%s\"", name,
                                (*attribute)->types);
}

/* Elements of other namespaces are extensions, which igraph leaves out. */
static bool is_graphml(const checker *self)
{
    const char *namespace = fe_xml_namespace(&self->xml);
    return namespace[0] == '\0' || strcmp(namespace, "http://graphml.graphdrawing.org/xmlns") == 0;
}

/* What the children of an element are checked by; others are skipped. */
typedef struct element {
    const char *name;
    td_status (*check)(checker *self, owner *of);
} element;

static td_status check_children(checker *self, fe_xml_children children, const element *elements,
                                size_t count, owner *of)
{
    for (;;) {
        bool found;
        const element *known = NULL;
        TD_TRY(fe_xml_next_child(&self->xml, &children, &found));
        if (!found)
            return TD_OK;
        for (size_t i = 0; i < count && known == NULL && is_graphml(self); i++)
            if (fe_xml_is(&self->xml, elements[i].name))
                known = &elements[i];
        TD_TRY(known == NULL ? fe_xml_skip(&self->xml) : known->check(self, of));
    }
}

/* Leaves the current element, whose text is a value of the attribute. No text is no value. */
static td_status check_value(checker *self, const known_attribute *attribute, const owner *of)
{
    self->text.length = 0;
    TD_TRY(fe_xml_text(&self->xml, &self->text));
    const char *value = self->text.length == 0 ? "" : self->text.data;
    if (attribute->is_valid == NULL || is_blank(value) || attribute->is_valid(value))
        return TD_OK;
    return fe_xml_refuse(&self->xml, "%s: %s is %.60s; %s", of->name, attribute->name, value,
                         attribute->accepted);
}

static td_status check_default(checker *self, owner *of)
{
    return check_value(self, of->attribute, of);
}

/* <key id= for= attr.name= attr.type=><default>VALUE</default></key> */
static td_status check_key(checker *self, owner *of)
{
    static const element elements[] = {{"default", check_default}};
    field fields[] = {{"id", NULL}, {"for", NULL}, {"attr.name", NULL}, {"attr.type", NULL}};
    const fe_xml_children children = fe_xml_children_of(&self->xml);
    owner key = {.name = "the default"};
    (void)of;
    TD_TRY(read_fields(self, fields, TD_COUNT_OF(fields)));
    TD_TRY(require(self, &fields[0]));
    if (++self->key_count > MAXIMUM_KEYS)
        return fe_xml_refuse(&self->xml, "more than 64 attributes are declared");
    if (td_map_get(&self->keys, fields[0].value) != NULL)
        return fe_xml_refuse(&self->xml, "key \"%.100s\" is declared twice", fields[0].value);
    const char *domain = fields[1].value == NULL ? "all" : fields[1].value;
    TD_TRY(find_attribute(self, fields[2].value == NULL ? "" : fields[2].value,
                          fields[3].value == NULL ? "string" : fields[3].value,
                          strcmp(domain, "node") == 0 || strcmp(domain, "all") == 0,
                          &key.attribute));
    if (!td_map_put(&self->keys, fields[0].value, (void *)(uintptr_t)key.attribute))
        return td_fail_memory(self->xml.context);
    return check_children(self, children, elements, TD_COUNT_OF(elements), &key);
}

static td_status check_data(checker *self, owner *of)
{
    field key = {"key", NULL};
    TD_TRY(read_fields(self, &key, 1));
    TD_TRY(require(self, &key));
    const known_attribute *attribute = td_map_get(&self->keys, key.value);
    if (attribute == NULL)
        return fe_xml_refuse(&self->xml, "%s: key \"%.100s\" is not declared", of->name, key.value);
    if (!mark(&of->seen, attribute))
        return fe_xml_refuse(&self->xml, "%s has two values of %s", of->name, attribute->name);
    return check_value(self, attribute, of);
}

static td_status refuse_graph(checker *self, owner *of)
{
    return fe_xml_refuse(&self->xml, "%s holds a graph; one plain graph is accepted", of->name);
}

static td_status check_node(checker *self, owner *of)
{
    static const element elements[] = {{"data", check_data}, {"graph", refuse_graph}};
    field id = {"id", NULL};
    const fe_xml_children children = fe_xml_children_of(&self->xml);
    owner node = {0};
    (void)of;
    TD_TRY(read_fields(self, &id, 1));
    TD_TRY(require(self, &id));
    snprintf(node.name, sizeof node.name, "node \"%.100s\"", id.value);
    if (td_map_get(&self->nodes, id.value) != NULL)
        return fe_xml_refuse(&self->xml, "%s comes twice; ids must differ", node.name);
    if (!td_map_put(&self->nodes, id.value, self))
        return td_fail_memory(self->xml.context);
    self->node_count++;
    return check_children(self, children, elements, TD_COUNT_OF(elements), &node);
}

static td_status check_edge(checker *self, owner *of)
{
    static const element elements[] = {{"data", check_data}};
    field fields[] = {{"source", NULL}, {"target", NULL}, {"directed", NULL}};
    const fe_xml_children children = fe_xml_children_of(&self->xml);
    owner edge = {.name = "an edge"};
    (void)of;
    TD_TRY(read_fields(self, fields, TD_COUNT_OF(fields)));
    if (fields[2].value != NULL && strcmp(fields[2].value, "true") != 0)
        return fe_xml_refuse(&self->xml, "an edge has directed=\"%.20s\"; \"true\" is accepted",
                             fields[2].value);
    self->edge_count++;
    for (size_t i = 0; i < 2; i++) {
        TD_TRY(require(self, &fields[i]));
        const expected_node end = {fields[i].value, fe_xml_line(&self->xml)};
        if (td_map_get(&self->nodes, end.id) == NULL &&
            !td_array_push(self->xml.context, &self->expected, end))
            return td_fail_memory(self->xml.context);
    }
    return check_children(self, children, elements, TD_COUNT_OF(elements), &edge);
}

static td_status refuse_hyperedge(checker *self, owner *of)
{
    return fe_xml_refuse(&self->xml, "%s has a hyperedge; edges between two nodes are accepted",
                         of->name);
}

static td_status check_graph(checker *self, owner *of)
{
    static const element elements[] = {{"node", check_node},
                                       {"edge", check_edge},
                                       {"hyperedge", refuse_hyperedge},
                                       {"graph", refuse_graph},
                                       {"data", check_data}};
    field direction = {"edgedefault", NULL};
    const fe_xml_children children = fe_xml_children_of(&self->xml);
    owner graph = {.name = "the graph"};
    (void)of;
    if (self->has_graph)
        return fe_xml_refuse(&self->xml, "there is a second graph; one is accepted");
    self->has_graph = true;
    TD_TRY(read_fields(self, &direction, 1));
    if (direction.value == NULL || strcmp(direction.value, "directed") != 0)
        return fe_xml_refuse(&self->xml,
                             "the graph is undirected; expected edgedefault=\"directed\"");
    return check_children(self, children, elements, TD_COUNT_OF(elements), &graph);
}

static td_status check_root(checker *self)
{
    static const element elements[] = {
        {"key", check_key}, {"graph", check_graph}, {"data", check_data}};
    owner file = {.name = "the file"};
    if (!is_graphml(self))
        return fe_xml_refuse(
            &self->xml,
            "the namespace is \"%.100s\"; http://graphml.graphdrawing.org/xmlns is "
            "accepted",
            fe_xml_namespace(&self->xml));
    TD_TRY(check_children(self, fe_xml_children_of(&self->xml), elements, TD_COUNT_OF(elements),
                          &file));
    return fe_xml_finish(&self->xml);
}

/* --- the whole --- */

static td_status check_whole(checker *self, const td_file *file)
{
    td_context *context = self->xml.context;
    uint64_t values;
    if (!self->has_graph)
        return td_fail(context, TD_INVALID, "%s: there is no <graph>", file->path);
    for (size_t i = 0; i < self->expected.count; i++)
        if (td_map_get(&self->nodes, self->expected.items[i].id) == NULL)
            return td_fail(context, TD_INVALID,
                           "%s: line %u: an edge names node \"%.100s\", which there is not",
                           file->path, self->expected.items[i].line, self->expected.items[i].id);
    if (!td_multiply(self->key_count, self->node_count + self->edge_count, &values) ||
        (values > SMALL_TABLE && values > file->size))
        return td_fail(context, TD_INVALID,
                       "%s: %" PRIu64 " attributes are declared for %" PRIu64 " nodes and %" PRIu64
                       " edges, most of which have none; declare those that they have",
                       file->path, self->key_count, self->node_count, self->edge_count);
    return TD_OK;
}

td_status fe_graphml_check(td_context *context, const td_file *file, uint64_t *node_count)
{
    checker self = {0};
    td_arena_init(&self.arena, context);
    td_map_init(&self.keys, context);
    td_map_init(&self.nodes, context);
    td_text_init(&self.text, context);
    td_status status = fe_xml_open(context, file, "graphml", "GraphML", &self.xml);
    if (status == TD_OK)
        status = check_root(&self);
    if (status == TD_OK)
        status = check_whole(&self, file);
    if (status == TD_OK)
        *node_count = self.node_count;
    fe_xml_close(&self.xml);
    td_text_release(&self.text);
    td_array_release(context, &self.expected);
    td_map_release(&self.nodes);
    td_map_release(&self.keys);
    td_arena_release(&self.arena);
    return status;
}

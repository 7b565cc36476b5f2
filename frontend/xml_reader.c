/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/xml_reader.h"

#include "frontend/xml_text.h"

#include <limits.h>
#include <string.h>

enum { MAXIMUM_DEPTH = 32 }; /* of elements; real files need 7 outside of control flow */

/* --- complaints --- */

/* libxml2 changed the constness of this parameter in 2.12; errors are taken from the parser. */
static void take_error(void *self, const char *message, xmlParserSeverities severity,
                       xmlTextReaderLocatorPtr locator)
{
    fe_xml *xml = self;
    if (xml->error[0] != '\0' || severity == XML_PARSER_SEVERITY_WARNING ||
        severity == XML_PARSER_SEVERITY_VALIDITY_WARNING)
        return;
    (void)locator; /* names the line of an open element, not of the mistake */
    xml->error_line = xmlTextReaderGetParserLineNumber(xml->reader);
    snprintf(xml->error, sizeof xml->error, "%s", message);
    size_t length = strlen(xml->error);
    while (length > 0 && (xml->error[length - 1] == '\n' || xml->error[length - 1] == ' '))
        xml->error[--length] = '\0';
    if (length == 0)
        snprintf(xml->error, sizeof xml->error, "malformed XML");
}

/* Whatever handler a reader has, libxml2 prints what it dislikes about encodings. */
static void print_nothing(void *self, const char *message, ...)
{
    (void)self;
    (void)message;
}

/* Of the current element: the parser itself is some lines ahead. */
unsigned fe_xml_line(const fe_xml *xml)
{
    xmlNodePtr node = xmlTextReaderCurrentNode(xml->reader);
    long line = node != NULL ? xmlGetLineNo(node) : xmlTextReaderGetParserLineNumber(xml->reader);
    return line < 0 ? 0 : (unsigned)line;
}

td_status fe_xml_refuse(fe_xml *xml, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return td_fail(xml->context, TD_INVALID, "%s: line %u: %s", xml->path, fe_xml_line(xml), what);
}

static td_status refuse_malformed(fe_xml *xml)
{
    if (xml->error[0] == '\0')
        return fe_xml_refuse(xml, "the file ends too early");
    return td_fail(xml->context, TD_INVALID, "%s: line %d: malformed XML (%s)", xml->path,
                   xml->error_line, xml->error);
}

/* --- steps --- */

/* Moves to the next element start or end. */
static td_status next_tag(fe_xml *xml, bool *at_end_of_file)
{
    for (;;) {
        int result = xmlTextReaderRead(xml->reader);
        if (result < 0 || xml->error[0] != '\0')
            return refuse_malformed(xml);
        if (result == 0) {
            *at_end_of_file = true;
            return TD_OK;
        }
        int type = xmlTextReaderNodeType(xml->reader);
        if (type == XML_READER_TYPE_DOCUMENT_TYPE || type == XML_READER_TYPE_ENTITY_REFERENCE)
            return fe_xml_refuse(xml, "document type declarations and entities are not accepted");
        if (xmlTextReaderDepth(xml->reader) > MAXIMUM_DEPTH)
            return fe_xml_refuse(xml, "elements are nested too deeply");
        if (type == XML_READER_TYPE_ELEMENT || type == XML_READER_TYPE_END_ELEMENT) {
            *at_end_of_file = false;
            return TD_OK;
        }
    }
}

static td_status next_tag_within(fe_xml *xml)
{
    bool at_end_of_file;
    TD_TRY(next_tag(xml, &at_end_of_file));
    return at_end_of_file ? refuse_malformed(xml) : TD_OK;
}

const char *fe_xml_name(const fe_xml *xml)
{
    const xmlChar *name = xmlTextReaderConstLocalName(xml->reader);
    return name == NULL ? "" : (const char *)name;
}

bool fe_xml_is(const fe_xml *xml, const char *name)
{
    return strcmp(fe_xml_name(xml), name) == 0;
}

const char *fe_xml_namespace(const fe_xml *xml)
{
    const xmlChar *namespace = xmlTextReaderConstNamespaceUri(xml->reader);
    return namespace == NULL ? "" : (const char *)namespace;
}

fe_xml_children fe_xml_children_of(const fe_xml *xml)
{
    return (fe_xml_children){.empty = xmlTextReaderIsEmptyElement(xml->reader) == 1};
}

td_status fe_xml_next_child(fe_xml *xml, const fe_xml_children *children, bool *found)
{
    *found = false;
    if (children->empty)
        return TD_OK;
    TD_TRY(next_tag_within(xml));
    *found = xmlTextReaderNodeType(xml->reader) == XML_READER_TYPE_ELEMENT;
    return TD_OK;
}

/* Whether the reader stands on the end of the element that lies this deep. */
static bool is_end_of(const fe_xml *xml, int depth)
{
    return xmlTextReaderNodeType(xml->reader) == XML_READER_TYPE_END_ELEMENT &&
           xmlTextReaderDepth(xml->reader) == depth;
}

td_status fe_xml_skip(fe_xml *xml)
{
    if (xmlTextReaderIsEmptyElement(xml->reader) == 1)
        return TD_OK;
    const int depth = xmlTextReaderDepth(xml->reader);
    do
        TD_TRY(next_tag_within(xml));
    while (!is_end_of(xml, depth));
    return TD_OK;
}

td_status fe_xml_text(fe_xml *xml, td_text *text)
{
    if (xmlTextReaderIsEmptyElement(xml->reader) == 1)
        return TD_OK;
    const int depth = xmlTextReaderDepth(xml->reader);
    for (;;) {
        if (xmlTextReaderRead(xml->reader) != 1 || xml->error[0] != '\0')
            return refuse_malformed(xml);
        if (is_end_of(xml, depth))
            return text->failed ? td_fail_memory(xml->context) : TD_OK;
        const int type = xmlTextReaderNodeType(xml->reader);
        if (type == XML_READER_TYPE_TEXT || type == XML_READER_TYPE_CDATA ||
            type == XML_READER_TYPE_SIGNIFICANT_WHITESPACE) {
            const char *piece = (const char *)xmlTextReaderConstValue(xml->reader);
            td_text_append(text, piece, piece == NULL ? 0 : strlen(piece));
        } else if (type != XML_READER_TYPE_COMMENT) {
            return fe_xml_refuse(xml, "an element that holds text holds an element, too");
        }
    }
}

/* --- attributes --- */

bool fe_xml_next_attribute(fe_xml *xml, const char **name, const char **value)
{
    while (xmlTextReaderMoveToNextAttribute(xml->reader) == 1) {
        *name = (const char *)xmlTextReaderConstLocalName(xml->reader);
        *value = (const char *)xmlTextReaderConstValue(xml->reader);
        if (*name != NULL && *value != NULL)
            return true;
    }
    xmlTextReaderMoveToElement(xml->reader);
    return false;
}

size_t fe_xml_attribute_count(const fe_xml *xml)
{
    const int count = xmlTextReaderAttributeCount(xml->reader);
    return count < 0 ? 0 : (size_t)count;
}

td_status fe_xml_end_attributes(fe_xml *xml)
{
    return xml->error[0] == '\0' ? TD_OK : refuse_malformed(xml);
}

/* --- the file --- */

static td_status enter_root(fe_xml *xml, const char *root, const char *what)
{
    bool at_end_of_file;
    TD_TRY(next_tag(xml, &at_end_of_file));
    if (at_end_of_file)
        return refuse_malformed(xml);
    return fe_xml_is(xml, root) ? TD_OK
                                : fe_xml_refuse(xml, "the root element is <%.60s>; %s has <%s>",
                                                fe_xml_name(xml), what, root);
}

td_status fe_xml_open(td_context *context, const td_file *file, const char *root, const char *what,
                      fe_xml *xml)
{
    *xml = (fe_xml){.context = context, .path = file->path};
    if (file->size > INT_MAX)
        return td_fail(context, TD_UNSUPPORTED, "%s: %llu bytes of XML; at most 2 GB are read",
                       file->path, (unsigned long long)file->size);
    TD_TRY(fe_xml_check(context, file));
    xml->print = xmlGenericError;
    xml->print_self = xmlGenericErrorContext;
    xmlSetGenericErrorFunc(NULL, print_nothing);
    xml->reader = xmlReaderForMemory((const char *)file->data, (int)file->size, NULL, "UTF-8",
                                     XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES);
    if (xml->reader == NULL)
        return td_fail_memory(context);
    xmlTextReaderSetErrorHandler(xml->reader, take_error, xml);
    return enter_root(xml, root, what);
}

void fe_xml_close(fe_xml *xml)
{
    if (xml->print == NULL)
        return;
    xmlFreeTextReader(xml->reader);
    xmlSetGenericErrorFunc(xml->print_self, xml->print);
    xml->print = NULL;
}

td_status fe_xml_finish(fe_xml *xml)
{
    bool at_end_of_file = false;
    while (!at_end_of_file)
        TD_TRY(next_tag(xml, &at_end_of_file));
    return TD_OK;
}

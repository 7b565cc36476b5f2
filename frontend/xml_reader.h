/* Stepping through an XML file over libxml2's streaming reader: elements and their children, with
 * sentences that name file and line. No entity is expanded and no other file or address is opened.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_XML_READER_H
#define TANDEM_FRONTEND_XML_READER_H

#include "base/file.h"

#include <libxml/xmlreader.h>

/* An open file. It stands on an element's start or end. */
typedef struct fe_xml {
    td_context *context;
    const char *path;
    xmlTextReaderPtr reader;
    char error[256]; /* libxml2's first complaint */
    int error_line;
    xmlGenericErrorFunc print; /* where libxml2 prints, to be set again */
    void *print_self;
} fe_xml;

/* Opens a file that fe_xml_check accepts and moves to the start of its root element, which must be
 * called `root`; `what` names the format ("OpenVINO IR") for the message. At most 2 GB are read.
 * fe_xml_close it, also after a failure. The file stays mapped meanwhile. */
td_status fe_xml_open(td_context *context, const td_file *file, const char *root, const char *what,
                      fe_xml *xml);
void fe_xml_close(fe_xml *xml);

/* The line of the current element, for sentences of one's own. */
unsigned fe_xml_line(const fe_xml *xml);
/* Refuses the file: "path: line N: " and a sentence (printf format). */
td_status fe_xml_refuse(fe_xml *xml, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The current element's name, without a prefix. */
const char *fe_xml_name(const fe_xml *xml);
bool fe_xml_is(const fe_xml *xml, const char *name);
/* The namespace of the current element; "" when it has none. */
const char *fe_xml_namespace(const fe_xml *xml);

/* Steps through the children of the element whose start is current:
 *
 *     fe_xml_children children = fe_xml_children_of(&xml);
 *     for (;;) {
 *         bool found;
 *         TD_TRY(fe_xml_next_child(&xml, &children, &found));
 *
 * with the reader on a child's start while *found, behind the last child otherwise. Attributes are
 * read before the first step, and every child is left by one of fe_xml_skip, fe_xml_text or its own
 * children's last step. Elements may be nested 32 deep. */
typedef struct fe_xml_children {
    bool empty;
} fe_xml_children;

fe_xml_children fe_xml_children_of(const fe_xml *xml);
td_status fe_xml_next_child(fe_xml *xml, const fe_xml_children *children, bool *found);

/* Leaves the current element with everything in it. */
td_status fe_xml_skip(fe_xml *xml);

/* Leaves the current element, which holds nothing but text, and appends that. */
td_status fe_xml_text(fe_xml *xml, td_text *text);

/* Moves to the current element's next attribute; false behind the last, with the reader on the
 * element again. Name and value stay until the reader moves. */
bool fe_xml_next_attribute(fe_xml *xml, const char **name, const char **value);
/* How many attributes the current element has. */
size_t fe_xml_attribute_count(const fe_xml *xml);
/* Whether the attributes could be read to the end; call it behind the last. */
td_status fe_xml_end_attributes(fe_xml *xml);

/* Behind the root's last child: what follows must be well-formed too, for a file cut and glued is
 * no model. */
td_status fe_xml_finish(fe_xml *xml);

#endif

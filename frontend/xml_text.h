/* XML from untrusted files, before a library sees it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_XML_TEXT_H
#define TANDEM_FRONTEND_XML_TEXT_H

#include "base/file.h"

/* Refuses, naming file and line, what could make an XML parser expand or fetch something or run
 * away: text that is not UTF-8 by its first bytes and its declaration, zero bytes, document type
 * declarations, and elements with over 256 attributes, which libxml2 compares each with each. The
 * rest of the grammar is the library's business. Cost: linear in the file. */
td_status fe_xml_check(td_context *context, const td_file *file);

#endif

/* What igraph leaves unsaid about a GraphML file, said before igraph reads it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_GRAPHML_CHECK_H
#define TANDEM_FRONTEND_GRAPHML_CHECK_H

#include "base/file.h"

/* Walks over the file once, and refuses with line, node and value: XML that fe_xml_open refuses,
 * more or less than one directed graph, nodes without an id or with another's, edges to nodes that
 * there are not, numbers of "bytes" and "workspace" that are not whole or over 2^53, other values
 * than true and false of "persistent" and "inplace", and declarations of attributes that igraph
 * would need far more memory for than the file has. *node_count is the number of nodes. Memory is
 * linear in the ids. */
td_status fe_graphml_check(td_context *context, const td_file *file, uint64_t *node_count);

#endif

/* JSON files, through jansson.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_JSON_FILE_H
#define TANDEM_FRONTEND_JSON_FILE_H

#include "base/file.h"
#include "frontend/checkpoint/tensors.h"

#include <jansson.h>

/* Parses a whole file, whose names must not repeat within an object; json_decref the result. */
td_status fe_json_read(td_context *context, const td_file *file, json_t **root);

/* The same for a path; the file must hold an object. */
td_status fe_json_read_path(td_context *context, const char *path, json_t **root);

/* A string's bytes; {NULL, 0} for what is no string. */
fe_span fe_json_span(const json_t *value);

/* The string under a name, or "" when there is none. */
const char *fe_json_text(const json_t *object, const char *name);

/* The boolean under a name, or `otherwise`. */
bool fe_json_truth(const json_t *object, const char *name, bool otherwise);

#endif

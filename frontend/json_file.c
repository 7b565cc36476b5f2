/* JSON files, through jansson.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/json_file.h"

td_status fe_json_read(td_context *context, const td_file *file, json_t **root)
{
    json_error_t error;
    if (file->size == 0)
        return td_fail(context, TD_INVALID, "the file is empty, JSON is expected");
    *root = json_loadb((const char *)file->data, file->size, JSON_REJECT_DUPLICATES, &error);
    if (*root != NULL)
        return TD_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
        return td_fail_memory(context);
    return td_fail(context, TD_INVALID, "line %d, column %d: %s", error.line, error.column,
                   error.text);
}

td_status fe_json_read_path(td_context *context, const char *path, json_t **root)
{
    td_file file;
    json_t *read = NULL;
    TD_TRY(td_file_map(context, path, &file));
    td_status status = fe_json_read(context, &file, &read);
    td_file_unmap(context, &file);
    if (status == TD_OK && !json_is_object(read))
        status = td_fail(context, TD_INVALID, "a JSON object is expected");
    if (status != TD_OK) {
        json_decref(read);
        return td_fail_within(context, status, "%s", path);
    }
    *root = read;
    return TD_OK;
}

fe_span fe_json_span(const json_t *value)
{
    const char *data = json_string_value(value);
    return (fe_span){data, data == NULL ? 0 : json_string_length(value)};
}

const char *fe_json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

bool fe_json_truth(const json_t *object, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(object, name);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

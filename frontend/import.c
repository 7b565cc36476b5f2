/* Chooses the importer by what the path is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/frontend.h"

#include "base/file.h"

#include <string.h>

typedef td_status (*importer)(td_context *context, const char *path, const fe_options *options,
                              fe_model *model);

static const struct {
    const char *suffix;
    importer import;
} importers[] = {
    {".xml", fe_import_openvino},
    {".gguf", fe_import_gguf},
};

td_status fe_import(td_context *context, const char *path, const fe_options *options,
                    fe_model *model)
{
    size_t length = strlen(path);
    if (!td_path_exists(path))
        return td_fail(context, TD_IO, "%s: there is no such file or directory", path);
    if (td_path_is_directory(path))
        return fe_import_huggingface(context, path, options, model);
    for (size_t i = 0; i < TD_COUNT_OF(importers); i++) {
        size_t suffix = strlen(importers[i].suffix);
        if (length > suffix && strcasecmp(path + length - suffix, importers[i].suffix) == 0)
            return importers[i].import(context, path, options, model);
    }
    return td_fail(context, TD_UNSUPPORTED,
                   "%s: the kind of model is not known; a Hugging Face directory, a .gguf file or "
                   "an OpenVINO .xml file is expected",
                   path);
}

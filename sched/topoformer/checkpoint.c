/* The state of a training.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/checkpoint.h"

#include "base/file.h"

#include <string.h>

typedef struct header {
    char magic[4];
    uint32_t width, hidden, layers, step;
} header;

td_status topo_checkpoint_write(td_context *context, const char *path, const topo_model *model,
                                const topo_adam *adam)
{
    td_output output;
    const size_t count = model->layout.count;
    const header head = {.magic = {'T', 'O', 'P', 'C'},
                         .width = model->shape.width,
                         .hidden = model->shape.hidden,
                         .layers = model->shape.layers,
                         .step = adam->step};
    TD_TRY(td_output_open(context, path, &output));
    fwrite(&head, sizeof head, 1, output.stream);
    fwrite(model->parameters, sizeof(float), count, output.stream);
    fwrite(adam->mean, sizeof(float), count, output.stream);
    fwrite(adam->power, sizeof(float), count, output.stream);
    fwrite(adam->averaged->parameters, sizeof(float), count, output.stream);
    return td_output_commit(context, &output, false);
}

td_status topo_checkpoint_read(td_context *context, const char *path, topo_model *model,
                               topo_adam *adam)
{
    td_file file;
    header head;
    const size_t size = model->layout.count * sizeof(float);
    if (!td_path_exists(path))
        return TD_OK;
    TD_TRY(td_file_map(context, path, &file));
    td_status status = TD_OK;
    if (file.size != sizeof head + 4 * size)
        status = td_fail(context, TD_INVALID, "%s: %llu bytes; a checkpoint of this shape has %zu",
                         path, (unsigned long long)file.size, sizeof head + 4 * size);
    if (status == TD_OK) {
        memcpy(&head, file.data, sizeof head);
        if (memcmp(head.magic, "TOPC", 4) != 0 || head.width != model->shape.width ||
            head.hidden != model->shape.hidden || head.layers != model->shape.layers)
            status = td_fail(context, TD_INVALID, "%s: not a checkpoint of this shape", path);
    }
    if (status == TD_OK) {
        adam->step = head.step;
        memcpy(model->parameters, file.data + sizeof head, size);
        memcpy(adam->mean, file.data + sizeof head + size, size);
        memcpy(adam->power, file.data + sizeof head + 2 * size, size);
        memcpy(adam->averaged->parameters, file.data + sizeof head + 3 * size, size);
    }
    td_file_unmap(context, &file);
    return status;
}

/* Small OpenVINO models written by tests: layers added one by one, port numbers as writers of
 * version 11 give them (inputs first, outputs behind), constants in the .bin at odd offsets.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_FRONTEND_OPENVINO_MODEL_H
#define TANDEM_TESTS_FRONTEND_OPENVINO_MODEL_H

#include "frontend/frontend.h"
#include "ir/passes/passes.h"
#include "tests/test.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODEL_LAYERS = 64, MODEL_BYTES = 1 << 16 };

typedef struct test_model {
    td_context context;
    char folder[256], xml[300], bin[300];
    td_text layers, edges;
    unsigned char bytes[MODEL_BYTES];
    size_t size;
    unsigned count, inputs[MODEL_LAYERS];
    const char *version; /* of the net; "11" */
} test_model;

static inline void model_begin(test_model *model)
{
    memset(model, 0, sizeof *model);
    td_context_init(&model->context);
    td_text_init(&model->layers, &model->context);
    td_text_init(&model->edges, &model->context);
    snprintf(model->folder, sizeof model->folder, "%s/openvino_XXXXXX", TEST_BUILD_FOLDER);
    if (mkdtemp(model->folder) == NULL)
        printf("    cannot make %s\n", model->folder);
    snprintf(model->xml, sizeof model->xml, "%s/model.xml", model->folder);
    snprintf(model->bin, sizeof model->bin, "%s/model.bin", model->folder);
    model->bytes[model->size++] = 0xee; /* nothing is aligned */
    model->version = "11";
}

static inline void model_end(test_model *model)
{
    unlink(model->xml);
    unlink(model->bin);
    rmdir(model->folder);
    td_text_release(&model->layers);
    td_text_release(&model->edges);
}

/* Dimensions as <dim> elements, from "2,-1". */
static inline void model_dims(td_text *text, const char *dims)
{
    for (const char *at = dims; *at != '\0';) {
        char *end;
        long dim = strtol(at, &end, 10);
        td_text_printf(text, "<dim>%ld</dim>", dim);
        at = *end == ',' ? end + 1 : end;
    }
}

/* Adds a layer and gives its id. `data` holds the attributes of <data>, `precision` and `dims`
 * declare the output (NULL: none). */
static inline unsigned model_layer(test_model *model, const char *type, const char *data,
                                   unsigned input_count, const unsigned *inputs,
                                   const char *precision, const char *dims)
{
    unsigned id = model->count++;
    model->inputs[id] = input_count;
    td_text_printf(&model->layers,
                   "<layer id=\"%u\" name=\"%s_%u\" type=\"%s\" version=\"opset1\">", id, type, id,
                   type);
    if (*data != '\0')
        td_text_printf(&model->layers, "<data %s/>", data);
    if (input_count > 0)
        td_text_printf(&model->layers, "<input>");
    for (unsigned i = 0; i < input_count; i++) {
        td_text_printf(&model->layers, "<port id=\"%u\"/>", i);
        td_text_printf(&model->edges,
                       "<edge from-layer=\"%u\" from-port=\"%u\" to-layer=\"%u\" to-port=\"%u\"/>",
                       inputs[i], model->inputs[inputs[i]], id, i);
    }
    if (input_count > 0)
        td_text_printf(&model->layers, "</input>");
    if (precision != NULL) {
        td_text_printf(&model->layers, "<output><port id=\"%u\" precision=\"%s\">", input_count,
                       precision);
        model_dims(&model->layers, dims);
        td_text_printf(&model->layers, "</port></output>");
    }
    td_text_printf(&model->layers, "</layer>");
    return id;
}

static inline unsigned model_one(test_model *model, const char *type, const char *data,
                                 unsigned input, const char *precision, const char *dims)
{
    return model_layer(model, type, data, 1, &input, precision, dims);
}

static inline unsigned model_two(test_model *model, const char *type, const char *data, unsigned a,
                                 unsigned b, const char *precision, const char *dims)
{
    return model_layer(model, type, data, 2, (unsigned[]){a, b}, precision, dims);
}

static inline unsigned model_const(test_model *model, const char *type, const char *precision,
                                   const char *shape, const void *bytes, size_t size)
{
    char data[256];
    snprintf(data, sizeof data, "element_type=\"%s\" shape=\"%s\" offset=\"%zu\" size=\"%zu\"",
             type, shape, model->size, size);
    memcpy(model->bytes + model->size, bytes, size);
    model->size += size;
    return model_layer(model, "Const", data, 0, NULL, precision, shape);
}

static inline unsigned model_i64s(test_model *model, const char *shape, size_t count,
                                  const int64_t *values)
{
    return model_const(model, "i64", "I64", shape, values, count * sizeof *values);
}

static inline unsigned model_parameter(test_model *model, const char *type, const char *precision,
                                       const char *shape, const char *dims)
{
    char data[128];
    snprintf(data, sizeof data, "shape=\"%s\" element_type=\"%s\"", shape, type);
    return model_layer(model, "Parameter", data, 0, NULL, precision, dims);
}

static inline void model_result(test_model *model, unsigned input)
{
    model_layer(model, "Result", "", 1, &input, NULL, NULL);
}

static inline bool test_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    bool written = file != NULL && fwrite(bytes, 1, size, file) == size;
    return file != NULL && fclose(file) == 0 && written;
}

/* Writes both files. */
static inline bool model_write(test_model *model)
{
    td_text text;
    td_text_init(&text, &model->context);
    td_text_printf(&text, "<?xml version=\"1.0\"?>\n<net name=\"test\" version=\"%s\">\n<layers>",
                   model->version);
    td_text_append(&text, model->layers.data, model->layers.length);
    td_text_printf(&text, "</layers>\n<edges>");
    td_text_append(&text, model->edges.data, model->edges.length);
    td_text_printf(&text, "</edges>\n</net>\n");
    bool written = !text.failed && test_write(model->xml, text.data, text.length) &&
                   test_write(model->bin, model->bytes, model->size);
    td_text_release(&text);
    return written;
}

/* Writes and reads; NULL with the message printed when it fails. */
static inline ir_module *model_read(test_model *model)
{
    const fe_options options = {0};
    ir_module *module = NULL;
    if (!model_write(model) ||
        fe_read_openvino(&model->context, model->xml, &options, &module) != TD_OK)
        printf("    %s\n", model->context.message);
    return module;
}

/* The first node with the op, or NULL. */
static inline ir_node *find_node(const ir_graph *graph, ir_opcode op)
{
    ir_node *node = graph->first;
    while (node != NULL && node->op != op)
        node = node->next;
    return node;
}

static inline size_t count_nodes(const ir_graph *graph, ir_opcode op)
{
    size_t count = 0;
    for (const ir_node *node = graph->first; node != NULL; node = node->next)
        count += node->op == op;
    return count;
}

#endif

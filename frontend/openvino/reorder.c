/* An OpenVINO IR again with its layers in another order; every other byte stays.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The document says which layers need which, the text where each <layer> element begins and ends.
 * What stands between two elements stays where it is. */
#include "frontend/openvino/read_document.h"

#include "base/hash.h"
#include "frontend/frontend.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A top-level <layer> element: the text's bytes [begin, end). */
typedef struct element {
    uint64_t begin, end;
} element;

typedef struct writer {
    td_context *context;
    ov_document document;
    TD_ARRAY(element) elements; /* in the file's order, like document.layers */
    ov_layer **sorted;          /* the new order */
    bool *entered;              /* by layer: placed, or waiting for its drivers */
    ov_layer **stack;
    uint32_t *next; /* by layer on the stack: the input to look at */
    uint32_t placed;
} writer;

/* --- the text --- */

static bool starts_with(const unsigned char *at, const unsigned char *end, const char *word)
{
    const size_t length = strlen(word);
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0;
}

static bool is_tag(const unsigned char *at, const unsigned char *end, const char *tag)
{
    const unsigned char *after = at + strlen(tag);
    return starts_with(at, end, tag) && after < end &&
           (isspace(*after) || *after == '>' || *after == '/');
}

/* The end of a tag; '>' may stand in quotes. */
static const unsigned char *tag_end(const unsigned char *at, const unsigned char *end)
{
    unsigned char quote = 0;
    for (; at < end; at++) {
        if (quote != 0)
            quote = *at == quote ? 0 : quote;
        else if (*at == '"' || *at == '\'')
            quote = *at;
        else if (*at == '>')
            return at + 1;
    }
    return end;
}

/* Behind a comment, a CDATA section or a processing instruction; `at` when there is none. */
static const unsigned char *skip_other(const unsigned char *at, const unsigned char *end)
{
    static const char *const pairs[][2] = {{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}};
    for (size_t i = 0; i < TD_COUNT_OF(pairs); i++) {
        if (!starts_with(at, end, pairs[i][0]))
            continue;
        const unsigned char *from = at + strlen(pairs[i][0]);
        const unsigned char *stop =
            memmem(from, (size_t)(end - from), pairs[i][1], strlen(pairs[i][1]));
        return stop == NULL ? end : stop + strlen(pairs[i][1]);
    }
    return at;
}

/* Finds the outermost <layer> elements; a loop's body has layers of its own. */
static td_status find_elements(writer *w, const td_file *file)
{
    const unsigned char *start = file->data, *end = start + file->size, *at = start;
    uint32_t depth = 0;
    while (at < end && (at = memchr(at, '<', (size_t)(end - at))) != NULL) {
        const unsigned char *behind = skip_other(at, end);
        if (behind != at) {
            at = behind;
            continue;
        }
        behind = tag_end(at, end);
        const uint64_t place = (uint64_t)(at - start), stop = (uint64_t)(behind - start);
        if (is_tag(at, end, "<layer")) {
            if (depth == 0 && !td_array_push(w->context, &w->elements, ((element){place, stop})))
                return td_fail_memory(w->context);
            depth += behind[-2] != '/';
        } else if (is_tag(at, end, "</layer") && depth > 0 && --depth == 0) {
            w->elements.items[w->elements.count - 1].end = stop;
        }
        at = behind;
    }
    if (w->elements.count != w->document.layers.count)
        return td_fail(
            w->context, TD_INVALID,
            "%s: %zu layers are written as elements of their own; %zu are read, and only "
            "such can be put in order",
            file->path, w->elements.count, w->document.layers.count);
    return TD_OK;
}

/* --- the order --- */

/* Places a layer after all that drives it. */
static void place(writer *w, ov_layer *layer)
{
    uint32_t depth = 0;
    if (w->entered[layer->index])
        return;
    w->entered[layer->index] = true;
    w->stack[depth++] = layer;
    while (depth > 0) {
        ov_layer *top = w->stack[depth - 1];
        uint32_t *next = &w->next[top->index];
        if (*next == top->input_count) {
            w->sorted[w->placed++] = top;
            depth--;
            continue;
        }
        ov_layer *driver = top->inputs[(*next)++].driver;
        if (driver != NULL && !w->entered[driver->index]) {
            w->entered[driver->index] = true;
            w->stack[depth++] = driver;
        }
    }
}

/* Parameters keep their order, which is that of the model's inputs; then the named layers; then, in
 * the old order, results, assignments and what nobody needs. */
static td_status sort_layers(writer *w, const char *const *names, uint32_t name_count)
{
    ov_document *document = &w->document;
    ov_layer **old;
    uint32_t old_count;
    td_map by_name;
    TD_TRY(ov_document_order(document, &old, &old_count));
    td_map_init(&by_name, w->context);
    bool complete = true;
    for (size_t i = 0; complete && i < document->layers.count; i++)
        complete = td_map_put(&by_name, document->layers.items[i]->name, document->layers.items[i]);
    for (uint32_t i = 0; i < old_count; i++)
        if (strcasecmp(old[i]->type, "Parameter") == 0)
            place(w, old[i]);
    for (uint32_t i = 0; complete && i < name_count; i++) {
        ov_layer *layer = td_map_get(&by_name, names[i]);
        if (layer != NULL)
            place(w, layer);
    }
    for (uint32_t i = 0; i < old_count; i++)
        place(w, old[i]);
    for (size_t i = 0; i < document->layers.count; i++)
        place(w, document->layers.items[i]);
    td_map_release(&by_name);
    return complete ? TD_OK : td_fail_memory(w->context);
}

/* --- the whole --- */

static td_status write_text(const writer *w, const td_file *file, const char *path)
{
    td_output output;
    uint64_t at = 0;
    TD_TRY(td_output_open(w->context, path, &output));
    for (size_t i = 0; i < w->elements.count; i++) {
        const element *old = &w->elements.items[i], *new = &w->elements.items[w->sorted[i]->index];
        fwrite(file->data + at, 1, old->begin - at, output.stream);
        fwrite(file->data + new->begin, 1, new->end - new->begin, output.stream);
        at = old->end;
    }
    fwrite(file->data + at, 1, file->size - at, output.stream);
    return td_output_commit(w->context, &output, false);
}

static td_status allocate_all(writer *w)
{
    const size_t count = w->document.layers.count + 1;
    w->sorted = td_arena_allocate(&w->document.arena, count, sizeof(ov_layer *));
    w->stack = td_arena_allocate(&w->document.arena, count, sizeof(ov_layer *));
    w->entered = td_arena_allocate(&w->document.arena, count, sizeof *w->entered);
    w->next = td_arena_allocate(&w->document.arena, count, sizeof *w->next);
    return w->sorted == NULL || w->stack == NULL || w->entered == NULL || w->next == NULL
               ? td_fail_memory(w->context)
               : TD_OK;
}

td_status fe_reorder_openvino(td_context *context, const char *path, const char *const *names,
                              uint32_t name_count, const char *output)
{
    td_file file;
    writer w = {.context = context};
    TD_TRY(td_file_map(context, path, &file));
    td_status status = ov_document_read(context, &file, &w.document);
    const bool opened = status == TD_OK;
    if (status == TD_OK)
        status = find_elements(&w, &file);
    if (status == TD_OK)
        status = allocate_all(&w);
    if (status == TD_OK)
        status = sort_layers(&w, names, name_count);
    if (status == TD_OK)
        status = write_text(&w, &file, output);
    td_array_release(context, &w.elements);
    if (opened)
        ov_document_release(&w.document);
    td_file_unmap(context, &file);
    return status;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/llama/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 256 /* of one pass */

/* More than the library's own structures have: it fills in and reads their true sizes. */
typedef struct parameters {
    unsigned char bytes[1024];
} parameters;

/* llama_batch of llama.h. */
typedef struct token_batch {
    int32_t tokens;
    int32_t *ids;
    float *embeddings;
    int32_t *positions;
    int32_t *sequence_counts;
    int32_t **sequences;
    int8_t *wants_logits;
} token_batch;

struct llama_library {
    void (*load_back_ends)(const char *folder);
    void (*log_set)(void (*log)(int level, const char *text, void *self), void *self);
    void (*begin)(void);
    parameters (*model_parameters)(void);
    parameters (*context_parameters)(void);
    void *(*load_model)(const char *path, parameters values);
    void (*free_model)(void *model);
    void *(*open_context)(void *model, parameters values);
    void (*free_context)(void *context);
    void (*set_threads)(void *context, int32_t threads, int32_t batch_threads);
    token_batch (*make_batch)(int32_t tokens, int32_t embedding, int32_t sequences);
    int32_t (*decode)(void *context, token_batch batch);
    void (*wait)(void *context);
    void *(*memory)(void *context);
    bool (*forget)(void *memory, int32_t sequence, int32_t from, int32_t to);
};

struct llama_session {
    const llama_library *library;
    void *model, *context;
    token_batch batch;
};

static void say_nothing(int level, const char *text, void *self)
{
    (void)level;
    (void)text;
    (void)self;
}

/* Versions stand in the names of the files. */
static void *open_one(const char *folder, const char *pattern)
{
    char path[1024];
    glob_t found;
    void *library = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, pattern);
    if (glob(path, 0, NULL, &found) == 0)
        library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL)
        fprintf(stderr, "%s: no such library, or one that cannot be loaded\n", path);
    globfree(&found);
    return library;
}

static bool find_all(llama_library *self, void *ggml, void *llama)
{
    const struct {
        void *library;
        const char *name;
        void *to;
    } symbols[] = {
        {ggml, "ggml_backend_load_all_from_path", &self->load_back_ends},
        {llama, "llama_log_set", &self->log_set},
        {llama, "llama_backend_init", &self->begin},
        {llama, "llama_model_default_params", &self->model_parameters},
        {llama, "llama_context_default_params", &self->context_parameters},
        {llama, "llama_model_load_from_file", &self->load_model},
        {llama, "llama_model_free", &self->free_model},
        {llama, "llama_init_from_model", &self->open_context},
        {llama, "llama_free", &self->free_context},
        {llama, "llama_set_n_threads", &self->set_threads},
        {llama, "llama_batch_init", &self->make_batch},
        {llama, "llama_decode", &self->decode},
        {llama, "llama_synchronize", &self->wait},
        {llama, "llama_get_memory", &self->memory},
        {llama, "llama_memory_seq_rm", &self->forget},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *address = dlsym(symbols[i].library, symbols[i].name);
        if (address == NULL) {
            fprintf(stderr, "the library has no %s\n", symbols[i].name);
            return false;
        }
        memcpy(symbols[i].to, &address, sizeof address);
    }
    return true;
}

llama_library *llama_library_open(const char *folder)
{
    llama_library *self = calloc(1, sizeof *self);
    void *base = open_one(folder, "libggml-base*.so*");
    void *ggml = base == NULL ? NULL : open_one(folder, "libggml.*so*");
    void *llama = ggml == NULL ? NULL : open_one(folder, "libllama.*so*");
    if (self == NULL || llama == NULL || !find_all(self, ggml, llama)) {
        free(self);
        return NULL;
    }
    self->log_set(say_nothing, NULL);
    self->load_back_ends(folder);
    self->begin();
    return self;
}

llama_session *llama_session_open(const llama_library *library, const char *path)
{
    llama_session *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->library = library;
    self->model = library->load_model(path, library->model_parameters());
    if (self->model != NULL)
        self->context = library->open_context(self->model, library->context_parameters());
    if (self->context == NULL) {
        fprintf(stderr, "%s: llama.cpp cannot open it\n", path);
        llama_session_close(self);
        return NULL;
    }
    self->batch = library->make_batch(MOST_TOKENS, 0, 1);
    return self;
}

void llama_session_close(llama_session *session)
{
    if (session->context != NULL)
        session->library->free_context(session->context);
    if (session->model != NULL)
        session->library->free_model(session->model);
    free(session);
}

bool llama_pass(llama_session *session, uint32_t threads, uint32_t committed, uint32_t tokens)
{
    const llama_library *library = session->library;
    token_batch *batch = &session->batch;
    if (tokens > MOST_TOKENS)
        return false;
    library->forget(library->memory(session->context), 0, (int32_t)committed, -1);
    library->set_threads(session->context, (int32_t)threads, (int32_t)threads);
    batch->tokens = (int32_t)tokens;
    for (uint32_t i = 0; i < tokens; i++) {
        batch->ids[i] = (int32_t)(i * 37 % 64 + 1);
        batch->positions[i] = (int32_t)(committed + i);
        batch->sequence_counts[i] = 1;
        batch->sequences[i][0] = 0;
        batch->wants_logits[i] = 1;
    }
    if (library->decode(session->context, *batch) != 0)
        return false;
    library->wait(session->context);
    return true;
}

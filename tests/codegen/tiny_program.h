/* Programs of one or two small models: planned, compiled into a folder of their own, and loaded.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_CODEGEN_TINY_PROGRAM_H
#define TANDEM_TESTS_CODEGEN_TINY_PROGRAM_H

#include "base/file.h"
#include "codegen/codegen.h"
#include "runtime/abi.h"
#include "tests/codegen/synthetic_llama.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TINY_RUNTIME_ROOT TEST_BUILD_FOLDER "/runtime"

typedef struct tiny_program {
    td_context context;
    cg_model models[2]; /* target, drafter */
    size_t model_count;
    sched_plan schedule;
    sched_extra extras[TANDEM_SCRATCH_COUNT];
    cg_request request;          /* "tiny", a shared library for this machine */
    char folder[64], output[96]; /* FOLDER/out.so */
    void *library;               /* NULL: not loaded */
    const tandem_artefact *artefact;
} tiny_program;

static inline bool tiny_has_runtime(void)
{
    return td_path_exists(TINY_RUNTIME_ROOT "/x86_64-linux-gnu/libtandem_runtime.a");
}

/* Makes the folder; the caller then makes the models. */
static inline bool tiny_start(tiny_program *self)
{
    memset(self, 0, sizeof *self);
    td_context_init(&self->context);
    strcpy(self->folder, "/tmp/tandem-tiny-XXXXXX");
    return mkdtemp(self->folder) != NULL;
}

/* Orders and plans the models, and fills the request. */
static inline td_status tiny_plan(tiny_program *self, size_t model_count, uint32_t max_draft)
{
    ir_graph *graphs[2 * CG_GRAPHS];
    const cg_model *drafter = &self->models[1];
    const uint64_t columns = drafter->head_ids != NULL ? drafter->head_count : drafter->vocabulary;
    self->model_count = model_count;
    self->extras[TANDEM_SCRATCH_DRAFT_PROBABILITIES] =
        (sched_extra){"drafts", max_draft * columns * sizeof(float), 0};
    self->extras[TANDEM_SCRATCH_PROBABILITIES] =
        (sched_extra){"probabilities", self->models[0].vocabulary * sizeof(double), 0};
    const sched_request order = {.graphs = graphs,
                                 .graph_count = cg_list_graphs(self->models, model_count, graphs),
                                 .extras = self->extras,
                                 .extra_count = TANDEM_SCRATCH_COUNT,
                                 .orderer = "file"};
    TD_TRY(sched_plan_make(&self->context, &order, NULL, &self->schedule));
    snprintf(self->output, sizeof self->output, "%s/out.so", self->folder);
    self->request = (cg_request){.name = "tiny",
                                 .models = self->models,
                                 .model_count = model_count,
                                 .plan = &self->schedule,
                                 .emit = CG_SHARED,
                                 .max_draft = max_draft,
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .runtime_root = TINY_RUNTIME_ROOT,
                                 .output = self->output};
    return cg_find_target(&self->context, NULL, NULL, &self->request.target, &self->request.cpu);
}

/* Compiles the request, a library, and loads it. */
static inline td_status tiny_load(tiny_program *self)
{
    cg_plan plan;
    tandem_query query = NULL;
    TD_TRY(cg_compile(&self->context, &self->request, &plan));
    self->library = dlopen(self->output, RTLD_NOW | RTLD_LOCAL);
    if (self->library != NULL)
        *(void **)&query = dlsym(self->library, "tandem_tiny_query");
    self->artefact = query == NULL ? NULL : query(TANDEM_ABI_VERSION);
    return self->artefact != NULL
               ? TD_OK
               : td_fail(&self->context, TD_IO, "%s cannot be loaded", self->output);
}

static inline void tiny_end(tiny_program *self)
{
    static const char *const names[] = {"out.so", "out.so.weights", "out.h", "again"};
    char path[128];
    if (self->library != NULL)
        dlclose(self->library);
    for (size_t i = 0; i < TD_COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", self->folder, names[i]);
        unlink(path);
    }
    rmdir(self->folder);
    sched_plan_release(&self->schedule);
    for (size_t i = 0; i < self->model_count; i++)
        ir_module_release(self->models[i].module);
}

#endif

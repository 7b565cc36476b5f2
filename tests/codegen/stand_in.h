/* Kernels alone: a graph of them stands in for the commit of a small model, which is compiled into
 * a shared library and loaded.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_CODEGEN_STAND_IN_H
#define TANDEM_TESTS_CODEGEN_STAND_IN_H

#include "codegen/program.h"
#include "runtime/abi.h"
#include "tests/codegen/synthetic_llama.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* A loaded library and its payload. */
typedef struct stand_in {
    char path[64];
    void *library;
    const tandem_model_info *info;
    td_file file;
    const unsigned char *payload;
    uint64_t payload_bytes;
} stand_in;

/* The model around the graph. */
static inline synthetic_options stand_in_model(int64_t max_tokens)
{
    return (synthetic_options){.layers = 1,
                               .features = 16,
                               .heads = 1,
                               .kv_heads = 1,
                               .head_size = 16,
                               .hidden = 16,
                               .vocabulary = 16,
                               .max_tokens = max_tokens,
                               .type = IR_F32,
                               .cache_type = IR_F32};
}

/* Compiles the planned graphs of a model and loads them; release in any case. */
static inline td_status stand_in_compile(td_context *context, cg_model *model,
                                         const sched_plan *schedule, const cg_target *target,
                                         const cg_cpu *cpu, stand_in *self)
{
    memset(self, 0, sizeof *self);
    strcpy(self->path, "/tmp/tandem-kernels-XXXXXX");
    const int made = mkstemp(self->path);
    if (made < 0)
        return td_fail(context, TD_IO, "no temporary file \"%s\"", self->path);
    close(made);
    const cg_request request = {.name = "kernels",
                                .models = model,
                                .model_count = 1,
                                .plan = schedule,
                                .target = target,
                                .cpu = *cpu,
                                .emit = CG_SHARED,
                                .output = self->path};
    cg_program program;
    cg_plan plan;
    TD_TRY(cg_program_create(context, &request, &program));
    program.bare = true;
    const td_status status = cg_program_compile(&program, &plan);
    cg_program_release(&program);
    TD_TRY(status);
    TD_TRY(td_file_map(context, self->path, &self->file));
    self->library = dlopen(self->path, RTLD_NOW);
    if (self->library == NULL)
        return td_fail(context, TD_IO, "%s", dlerror());
    tandem_query query;
    tandem_payload_trailer trailer;
    *(void **)&query = dlsym(self->library, "tandem_kernels_query");
    self->info = query(TANDEM_ABI_VERSION)->models;
    memcpy(&trailer, self->file.data + self->file.size - sizeof trailer, sizeof trailer);
    self->payload = self->file.data + trailer.offset;
    self->payload_bytes = trailer.bytes;
    return TD_OK;
}

static inline void stand_in_release(td_context *context, stand_in *self)
{
    td_file_unmap(context, &self->file);
    if (self->library != NULL)
        dlclose(self->library);
    unlink(self->path);
}

/* Zeros at an aligned address, to be freed. */
static inline void *stand_in_zeros(uint64_t bytes)
{
    const size_t room = (size_t)cg_align(bytes + 1, CG_ALIGNMENT);
    void *block = aligned_alloc(CG_ALIGNMENT, room);
    if (block == NULL)
        abort();
    return memset(block, 0, room);
}

#endif

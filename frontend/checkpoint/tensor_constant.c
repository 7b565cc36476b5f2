/* Constants that read a mapped checkpoint lazily: a read of some rows touches just their pages, and
 * pages that reading has passed are given back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/tensors.h"
#include "ir/passes/passes.h"

#include <string.h>

#define GROUP       32 /* elements of a Q8_0 block */
#define SCALE_BYTES 2  /* f16, before the elements */
#define BLOCK_BYTES (SCALE_BYTES + GROUP)

/* Pages are given back in windows of this many bytes of the file. */
#define WINDOW ((uint64_t)1024 * 1024)

/* Where a tensor's bytes begin. */
typedef struct place {
    const td_file *file;
    uint64_t offset;
} place;

static void unmap(td_context *context, void *object)
{
    td_file_unmap(context, object);
    td_release(context, object);
}

td_status fe_map_for_module(ir_module *module, const char *path, td_file **file)
{
    td_file *mapped = td_allocate(module->context, sizeof *mapped);
    if (mapped == NULL)
        return td_fail_memory(module->context);
    const td_status status = td_file_map(module->context, path, mapped);
    if (status != TD_OK) {
        td_release(module->context, mapped);
        return status;
    }
    TD_TRY(ir_module_own(module, unmap, mapped));
    *file = mapped;
    return TD_OK;
}

/* Whoever reads on from one window into the next has done with the first, be it in one large read
 * or in many small ones. */
static void forget_passed(const place *from, uint64_t offset, uint64_t size)
{
    const uint64_t first = (from->offset + offset) / WINDOW;
    const uint64_t last = (from->offset + offset + size) / WINDOW;
    if (first != last)
        td_file_forget(from->file, first * WINDOW, (last - first) * WINDOW);
}

static td_status read_dense(td_context *context, const void *self, uint64_t offset, uint64_t size,
                            void *bytes)
{
    const place *from = self;
    (void)context;
    memcpy(bytes, from->file->data + from->offset + offset, (size_t)size);
    forget_passed(from, offset, size);
    return TD_OK;
}

/* Takes `size` bytes from `offset` on of the array that has `part` bytes of every block, `skip`
 * bytes into the block. */
static void read_blocks(const place *from, uint64_t part, uint64_t skip, uint64_t offset,
                        uint64_t size, void *bytes)
{
    const uint64_t first = offset / part, last = (offset + size + part - 1) / part;
    unsigned char *to = bytes;
    for (uint64_t inside = offset % part; size > 0; inside = 0) {
        const uint64_t run = part - inside < size ? part - inside : size;
        memcpy(to, from->file->data + from->offset + offset / part * BLOCK_BYTES + skip + inside,
               (size_t)run);
        to += run;
        offset += run;
        size -= run;
    }
    forget_passed(from, first * BLOCK_BYTES, (last - first) * BLOCK_BYTES);
}

static td_status read_q8_0_elements(td_context *context, const void *self, uint64_t offset,
                                    uint64_t size, void *bytes)
{
    (void)context;
    read_blocks(self, GROUP, SCALE_BYTES, offset, size, bytes);
    return TD_OK;
}

static td_status read_q8_0_scales(td_context *context, const void *self, uint64_t offset,
                                  uint64_t size, void *bytes)
{
    (void)context;
    read_blocks(self, SCALE_BYTES, 0, offset, size, bytes);
    return TD_OK;
}

static td_status describe(ir_module *module, const fe_tensor *tensor, ir_constant *constant)
{
    place *from = td_arena_allocate(&module->arena, 1, sizeof *from);
    constant->name = td_arena_string(&module->arena, tensor->name);
    constant->source.description = td_arena_format(&module->arena, "%s at %llu", tensor->file->path,
                                                   (unsigned long long)tensor->offset);
    if (from == NULL || constant->name == NULL || constant->source.description == NULL)
        return td_fail_memory(module->context);
    *from = (place){tensor->file, tensor->offset};
    constant->source.self = from;
    constant->type = tensor->type;
    constant->shape = ir_shape_of(tensor->rank, tensor->dim);
    return TD_OK;
}

static td_status add_q8_0(ir_module *module, const ir_constant *dense, ir_constant **added)
{
    ir_constant elements = *dense, scale = *dense;
    const uint32_t last = dense->shape.rank - 1;
    scale.name = td_arena_format(&module->arena, "%s.scale", dense->name);
    if (scale.name == NULL)
        return td_fail_memory(module->context);
    scale.type = IR_F16;
    scale.shape.dim[last] = ir_dim_constant(dense->shape.dim[last].constant / GROUP);
    scale.source.read = read_q8_0_scales;
    TD_TRY(ir_module_add_constant(module, &scale, &elements.scale));
    elements.group = GROUP;
    elements.source.read = read_q8_0_elements;
    return ir_module_add_constant(module, &elements, added);
}

td_status fe_tensor_constant(ir_module *module, const fe_tensor *tensor, bool as_f32,
                             ir_constant **constant)
{
    ir_constant read = {0};
    const bool dense = tensor->encoding == FE_ENCODING_DENSE && ir_type_is_float(tensor->type) &&
                       tensor->type != IR_F64;
    if (!dense && (as_f32 || tensor->encoding != FE_ENCODING_Q8_0))
        return td_fail(module->context, TD_UNSUPPORTED,
                       "%s: tensor \"%.100s\" has the type %s; %s can be read here",
                       tensor->file->path, tensor->name, tensor->type_name,
                       as_f32 ? "F32, F16 and BF16" : "F32, F16, BF16 and (in GGUF) Q8_0");
    TD_TRY(describe(module, tensor, &read));
    if (!dense)
        return add_q8_0(module, &read, constant);
    read.source.read = read_dense;
    return as_f32 && read.type != IR_F32 ? ir_convert_constant(module, &read, IR_F32, constant)
                                         : ir_module_add_constant(module, &read, constant);
}

/* The packed layout: every element of every weight stands where the kernels look for it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"
#include "runtime/payload_hash.h"
#include "tests/codegen/synthetic_llama.h"
#include "tests/test.h"

typedef struct packed {
    td_context context;
    cg_model model;
    sched_plan schedule;
    cg_request request;
    cg_program program;
    unsigned char *bytes;
    size_t size;
} packed;

static bool pack(packed *self, const synthetic_options *options)
{
    memset(self, 0, sizeof *self);
    td_context_init(&self->context);
    if (synthetic_llama(&self->context, options, &self->model) != TD_OK)
        return false;
    ir_graph *const graphs[] = {self->model.forward, self->model.commit};
    const sched_request order = {.graphs = graphs, .graph_count = 2, .orderer = "file"};
    self->request = (cg_request){
        .name = "test", .models = &self->model, .model_count = 1, .plan = &self->schedule};
    FILE *stream = open_memstream((char **)&self->bytes, &self->size);
    bool packed_all = sched_plan_make(&self->context, &order, NULL, &self->schedule) == TD_OK &&
                      cg_program_create(&self->context, &self->request, &self->program) == TD_OK &&
                      cg_pack(&self->program, stream) == TD_OK;
    fclose(stream);
    return packed_all;
}

static void release(packed *self)
{
    cg_program_release(&self->program);
    sched_plan_release(&self->schedule);
    ir_module_release(self->model.module);
    free(self->bytes);
}

static int nibble(ir_type type, int value)
{
    return type == IR_I4 && value > 7 ? value - 16 : value;
}

/* Element [row][k] of a packed matrix as the kernels read it, dequantised as in numerics.md. */
static float packed_element(const packed *self, const cg_weight *weight, uint64_t row, uint64_t k)
{
    const ir_type type = weight->constant->type;
    const uint64_t unit = weight->role == CG_ROLE_PANELS ? row / 16 : row, lane = row % 16;
    const uint64_t group = k / weight->group, within = k % weight->group;
    const unsigned char *data = self->bytes + weight->offset + unit * weight->unit_bytes;
    uint64_t scale_place = unit * weight->groups + group, place = k;
    if (weight->role == CG_ROLE_PANELS) {
        data += group * weight->group_bytes;
        place = ir_type_bits(type) == 4 ? within / 2 * 16 + lane : within * 16 + lane;
        scale_place = scale_place * 16 + lane;
    } else if (ir_type_bits(type) == 4) {
        place = k / 2;
    }
    int stored = data[place];
    if (ir_type_bits(type) == 4)
        stored = nibble(type, (weight->role == CG_ROLE_PANELS ? within : k) % 2 == 0 ? stored & 15
                                                                                     : stored >> 4);
    else if (type == IR_I8)
        stored = (int8_t)stored;
    int zero = weight->has_zero ? self->bytes[weight->zero_offset + scale_place] : 0;
    if (type == IR_I8 || type == IR_I4)
        zero = (int8_t)zero;
    float scale;
    memcpy(&scale, self->bytes + weight->scale_offset + 4 * scale_place, sizeof scale);
    return (float)(stored - zero) * scale;
}

static bool all_elements_agree(packed *self)
{
    for (size_t i = 0; i < self->program.weights[0].items.count; i++) {
        const cg_weight *weight = &self->program.weights[0].items.items[i];
        float row[256];
        for (uint64_t r = 0; weight->role != CG_ROLE_PLAIN && r < weight->rows; r++) {
            if (ir_constant_read_f32(&self->context, weight->constant, r * weight->columns,
                                     weight->columns, row) != TD_OK)
                return false;
            for (uint64_t k = 0; k < weight->columns; k++)
                if (packed_element(self, weight, r, k) != row[k])
                    return false;
        }
    }
    return true;
}

TEST(integer_weights_stand_in_place)
{
    static const ir_type types[] = {IR_I8, IR_U8, IR_I4, IR_U4};
    static const int64_t groups[] = {0, 11};
    for (size_t t = 0; t < TD_COUNT_OF(types); t++)
        for (size_t g = 0; g < TD_COUNT_OF(groups); g++) {
            packed self;
            /* 33, 22 and 55: odd rows, groups of an odd number of elements. */
            const synthetic_options options = {.layers = 1,
                                               .features = 33,
                                               .heads = 1,
                                               .kv_heads = 1,
                                               .head_size = 22,
                                               .hidden = 55,
                                               .vocabulary = 37,
                                               .max_tokens = 8,
                                               .type = types[t],
                                               .group = groups[g],
                                               .scale_type = IR_F32,
                                               .has_zero = t != 0,
                                               .cache_type = IR_F32};
            CHECK(pack(&self, &options));
            CHECK_MESSAGE(all_elements_agree(&self), "type %s, groups of %d",
                          ir_type_name(types[t]), (int)groups[g]);
            release(&self);
        }
}

/* One copy serves gather and head; the payload ends where the layout says, and is hashed as the
 * runtime will hash it. */
TEST(tied_tables_are_stored_once)
{
    packed tied, untied;
    synthetic_options options = {.layers = 1,
                                 .features = 32,
                                 .heads = 2,
                                 .kv_heads = 2,
                                 .head_size = 8,
                                 .hidden = 48,
                                 .vocabulary = 1000,
                                 .max_tokens = 8,
                                 .type = IR_F32,
                                 .tied = true,
                                 .cache_type = IR_F32};
    CHECK(pack(&tied, &options));
    options.tied = false;
    CHECK(pack(&untied, &options));
    CHECK(tied.size == tied.program.payload_bytes && untied.size == untied.program.payload_bytes);
    CHECK(untied.size - tied.size >= 1000 * 32 * 4 && untied.size % 64 == 0);
    CHECK(tied.program.payload_hash ==
          tandem_payload_hash(TANDEM_PAYLOAD_HASH_START, tied.bytes, tied.size));
    release(&tied);
    release(&untied);
}

TEST(missing_weights_are_named)
{
    packed self;
    const synthetic_options options = {.layers = 1,
                                       .features = 16,
                                       .heads = 2,
                                       .kv_heads = 2,
                                       .head_size = 8,
                                       .hidden = 16,
                                       .vocabulary = 16,
                                       .max_tokens = 8,
                                       .type = IR_F32,
                                       .cache_type = IR_F32};
    CHECK(pack(&self, &options));
    const cg_weight *weight = &self.program.weights[0].items.items[0];
    self.model.module->constants.items[weight->constant->index]->missing = true;
    FILE *stream = fopen("/dev/null", "w");
    CHECK(cg_pack(&self.program, stream) == TD_INVALID);
    fclose(stream);
    CHECK(strstr(self.context.message, weight->constant->name) != NULL);
    release(&self);
}

TEST_MAIN()

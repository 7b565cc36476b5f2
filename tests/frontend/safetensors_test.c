/* safetensors headers: what is read, and what is refused.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/safetensors.h"

#include "ir/half.h"
#include "tests/failing.h"
#include "tests/frontend/checkpoint_bytes.h"

#define TWO_TENSORS                                                                                \
    "{\"__metadata__\":{\"format\":\"pt\"},"                                                       \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"                           \
    "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[16,22]}}   "

static td_status index_bytes(td_context *context, const bytes *from)
{
    const td_file file = as_file(from);
    fe_tensors tensors;
    fe_tensors_init(&tensors, context);
    td_status status = fe_safetensors_index(context, &file, &tensors);
    if (status == TD_OK)
        status = fe_tensors_finish(&tensors);
    fe_tensors_release(&tensors);
    return status;
}

TEST(reads_a_header)
{
    td_context context;
    bytes from;
    fe_tensors tensors;
    td_context_init(&context);
    put_safetensors(&from, TWO_TENSORS, 22);
    const td_file file = as_file(&from);
    fe_tensors_init(&tensors, &context);
    CHECK_MESSAGE(fe_safetensors_index(&context, &file, &tensors) == TD_OK, "%s", context.message);
    CHECK(fe_tensors_finish(&tensors) == TD_OK);
    CHECK(tensors.items.count == 2);
    const fe_tensor *a = fe_tensors_find(&tensors, "a"), *b = fe_tensors_find(&tensors, "b");
    CHECK(a->type == IR_BF16 && a->rank == 1 && a->dim[0] == 3 && a->bytes == 6);
    CHECK(b->type == IR_F32 && b->rank == 2 && b->offset == 8 + strlen(TWO_TENSORS));
    fe_tensors_release(&tensors);
}

/* A vector stored in 16 bits is presented as f32, whatever byte range is read. */
TEST(presents_vectors_as_f32)
{
    td_context context;
    bytes from;
    fe_tensors tensors;
    ir_module *module;
    ir_constant *constant;
    float values[3], again[2];
    td_context_init(&context);
    put_safetensors(&from, TWO_TENSORS, 22);
    const td_file file = as_file(&from);
    fe_tensors_init(&tensors, &context);
    CHECK(fe_safetensors_index(&context, &file, &tensors) == TD_OK);
    CHECK(fe_tensors_finish(&tensors) == TD_OK);
    CHECK(ir_module_create(&context, "test", &module) == TD_OK);
    CHECK(fe_tensor_constant(module, fe_tensors_find(&tensors, "a"), true, &constant) == TD_OK);
    CHECK(constant->type == IR_F32 && constant->bytes == 12);
    CHECK(ir_constant_read(&context, constant, 0, 12, values) == TD_OK);
    for (int i = 0; i < 3; i++)
        CHECK(values[i] == ir_bf16_to_f32((uint16_t)((17 + 2 * i) << 8 | (16 + 2 * i))));
    CHECK(ir_constant_read(&context, constant, 3, 7, again) == TD_OK);
    CHECK(memcmp(again, (char *)values + 3, 7) == 0);
    ir_module_release(module);
    fe_tensors_release(&tensors);
}

TEST(refuses_in_a_sentence)
{
    static const struct {
        const char *header, *says;
    } rows[] = {
        {"{", "the header"},
        {"[]", "not a JSON object"},
        {"{\"a\":3}", "\"dtype\" must be a string"},
        {"{\"a\":{\"dtype\":\"F32\"}}", "\"shape\" must be a list"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
         "at most 6"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", "whole number"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", "ascending"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", "ascending"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,5]}}", "span 5 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}}", "exceeds the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9],\"data_offsets\":[0,4]}}",
         "64 bits"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
         "\"data_offsets\":[9223372036854775803,9223372036854775807]}}",
         "exceeds the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         "\"a\" and \"b\" overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "duplicate"},
    };
    td_context context;
    bytes from;
    td_context_init(&context);
    for (size_t i = 0; i < TD_COUNT_OF(rows); i++) {
        put_safetensors(&from, rows[i].header, 16);
        CHECK_MESSAGE(index_bytes(&context, &from) == TD_INVALID, "row %zu", i);
        CHECK_MESSAGE(strncmp(context.message, "small.bin: ", 11) == 0 &&
                          strstr(context.message, rows[i].says) != NULL,
                      "row %zu: %s", i, context.message);
    }
    memset(from.data, 0xff, 8);
    CHECK(index_bytes(&context, &from) == TD_INVALID);
    CHECK(strstr(context.message, "header's length") != NULL);
}

TEST(lists_types_that_cannot_be_read)
{
    td_context context;
    bytes from;
    fe_tensors tensors;
    ir_module *module;
    ir_constant *constant;
    td_context_init(&context);
    put_safetensors(&from,
                    "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]},"
                    "\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]}}",
                    16);
    const td_file file = as_file(&from);
    fe_tensors_init(&tensors, &context);
    CHECK(fe_safetensors_index(&context, &file, &tensors) == TD_OK);
    CHECK(fe_tensors_finish(&tensors) == TD_OK);
    CHECK(ir_module_create(&context, "test", &module) == TD_OK);
    CHECK(fe_tensor_constant(module, fe_tensors_find(&tensors, "a"), false, &constant) ==
          TD_UNSUPPORTED);
    CHECK_STRING(context.message,
                 "small.bin: tensor \"a\" has the type F8_E4M3; F32, F16, BF16 and "
                 "(in GGUF) Q8_0 can be read here");
    CHECK(fe_tensor_constant(module, fe_tensors_find(&tensors, "b"), false, &constant) ==
          TD_UNSUPPORTED);
    ir_module_release(module);
    fe_tensors_release(&tensors);
}

TEST(survives_truncation_and_changed_bytes)
{
    td_context context;
    bytes from;
    uint64_t random = 11;
    td_context_init(&context);
    put_safetensors(&from, TWO_TENSORS, 22);
    for (size_t full = from.size; from.size > 0; from.size--)
        CHECK((index_bytes(&context, &from) == TD_OK) == (from.size == full));
    for (int round = 0; round < 20000; round++) {
        put_safetensors(&from, TWO_TENSORS, 22);
        for (int changes = 0; changes < 1 + round % 3; changes++)
            from.data[td_random_next(&random) % from.size] = (unsigned char)td_random_next(&random);
        context.message[0] = '\0';
        CHECK(index_bytes(&context, &from) == TD_OK || context.message[0] != '\0');
    }
}

TEST(reports_every_failed_allocation)
{
    bytes from;
    put_safetensors(&from, TWO_TENSORS, 22);
    td_status status = TD_NO_MEMORY;
    for (long fail_at = 0; status != TD_OK; fail_at++) {
        td_context context;
        failing_allocator failing = {.countdown = fail_at, .once = true};
        failing_context(&context, &failing);
        status = index_bytes(&context, &from);
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
        CHECK(failing.held == 0);
    }
}

TEST_MAIN()

/* The GGUF container: metadata, tensors, and what happens when the bytes are wrong.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/checkpoint/gguf.h"

#include "tests/failing.h"
#include "tests/frontend/checkpoint_bytes.h"

/* A file with one entry of most kinds and two tensors: f32 [2, 3] and Q8_0 [1, 32]. */
static void write_small(bytes *file)
{
    file->size = 0;
    put(file, "GGUF", 4);
    put_number(file, 3, 4);
    put_number(file, 2, 8);
    put_number(file, 6, 8);
    put_key_string(file, "name", "small");
    put_key_u32(file, "general.alignment", 4, 64);
    put_key_u32(file, "negative", 5, (uint32_t)-7);
    put_key_u32(file, "half", 6, 0x3f000000);
    put_string(file, "words");
    put_number(file, 9, 4);
    put_number(file, 8, 4);
    put_number(file, 3, 8);
    put_string(file, "a");
    put_string(file, "");
    put_string(file, "bcd");
    put_string(file, "numbers");
    put_number(file, 9, 4);
    put_number(file, 3, 4);
    put_number(file, 2, 8);
    put_number(file, 0x8000, 2);
    put_number(file, 5, 2);

    put_string(file, "matrix");
    put_number(file, 2, 4);
    put_number(file, 3, 8);
    put_number(file, 2, 8);
    put_number(file, 0, 4);
    put_number(file, 0, 8);
    put_string(file, "blocks");
    put_number(file, 2, 4);
    put_number(file, 32, 8);
    put_number(file, 1, 8);
    put_number(file, 8, 4);
    put_number(file, 64, 8);
    while (file->size % 64 != 0)
        put_number(file, 0, 1);
    for (size_t i = 0; i < 64 + 34; i++)
        put_number(file, i, 1);
}

static td_status open_bytes(td_context *context, const bytes *file)
{
    td_file mapped = as_file(file);
    fe_gguf gguf;
    const td_status status = fe_gguf_open(context, &mapped, &gguf);
    if (status == TD_OK)
        fe_gguf_release(&gguf);
    return status;
}

TEST(reads_metadata)
{
    td_context context;
    bytes small;
    fe_gguf gguf;
    fe_span string;
    int64_t integer;
    double number;
    td_context_init(&context);
    write_small(&small);
    td_file file = as_file(&small);
    CHECK_MESSAGE(fe_gguf_open(&context, &file, &gguf) == TD_OK, "%s", context.message);
    CHECK(gguf.version == 3 && gguf.values.count == 6);
    CHECK(fe_gguf_find(&gguf, "nam") == NULL && fe_gguf_find(&gguf, "names") == NULL);
    CHECK(fe_gguf_string(fe_gguf_find(&gguf, "name"), &string));
    CHECK(fe_span_equal(string, "small"));
    CHECK(!fe_gguf_integer(fe_gguf_find(&gguf, "name"), 0, &integer));
    CHECK(fe_gguf_integer(fe_gguf_find(&gguf, "negative"), 0, &integer) && integer == -7);
    CHECK(!fe_gguf_integer(fe_gguf_find(&gguf, "negative"), 1, &integer));
    CHECK(fe_gguf_number(fe_gguf_find(&gguf, "half"), 0, &number) && number == 0.5);
    CHECK(!fe_gguf_integer(fe_gguf_find(&gguf, "half"), 0, &integer));
    const fe_gguf_value *numbers = fe_gguf_find(&gguf, "numbers");
    CHECK(numbers->is_array && numbers->count == 2 && numbers->type == FE_GGUF_I16);
    CHECK(fe_gguf_integer(numbers, 0, &integer) && integer == -32768);
    CHECK(fe_gguf_integer(numbers, 1, &integer) && integer == 5);
    fe_gguf_strings words = fe_gguf_strings_begin(fe_gguf_find(&gguf, "words"));
    CHECK(fe_gguf_strings_next(&words, &string) && fe_span_equal(string, "a"));
    CHECK(fe_gguf_strings_next(&words, &string) && fe_span_equal(string, ""));
    CHECK(fe_gguf_strings_next(&words, &string) && fe_span_equal(string, "bcd"));
    CHECK(!fe_gguf_strings_next(&words, &string));
    CHECK(!fe_gguf_string(fe_gguf_find(&gguf, "words"), &string));
    fe_gguf_release(&gguf);
}

TEST(reads_tensors)
{
    td_context context;
    bytes small;
    fe_gguf gguf;
    td_context_init(&context);
    write_small(&small);
    td_file file = as_file(&small);
    CHECK_MESSAGE(fe_gguf_open(&context, &file, &gguf) == TD_OK, "%s", context.message);
    const fe_tensor *matrix = fe_tensors_find(&gguf.tensors, "matrix");
    const fe_tensor *blocks = fe_tensors_find(&gguf.tensors, "blocks");
    CHECK(matrix != NULL && blocks != NULL && fe_tensors_find(&gguf.tensors, "block") == NULL);
    CHECK(matrix->encoding == FE_ENCODING_DENSE && matrix->type == IR_F32 && matrix->bytes == 24);
    CHECK(matrix->rank == 2 && matrix->dim[0] == 2 && matrix->dim[1] == 3);
    CHECK(matrix->offset == gguf.data_offset && gguf.data_offset % 64 == 0);
    CHECK(blocks->encoding == FE_ENCODING_Q8_0 && blocks->bytes == 34);
    fe_gguf_release(&gguf);
}

/* Q8_0 blocks are taken apart lazily: any byte range of elements and of scales. */
TEST(separates_q8_0_blocks)
{
    td_context context;
    bytes small;
    fe_gguf gguf;
    ir_module *module;
    ir_constant *constant;
    unsigned char elements[32], scale[2];
    td_context_init(&context);
    write_small(&small);
    td_file file = as_file(&small);
    CHECK(fe_gguf_open(&context, &file, &gguf) == TD_OK);
    CHECK(ir_module_create(&context, "test", &module) == TD_OK);
    const fe_tensor *blocks = fe_tensors_find(&gguf.tensors, "blocks");
    CHECK(fe_tensor_constant(module, blocks, false, &constant) == TD_OK);
    CHECK(constant->type == IR_I8 && constant->group == 32 && constant->scale->type == IR_F16);
    CHECK(ir_constant_read(&context, constant->scale, 0, 2, scale) == TD_OK);
    CHECK(scale[0] == 64 && scale[1] == 65);
    for (size_t first = 0; first < 32; first += 5) {
        CHECK(ir_constant_read(&context, constant, first, 32 - first, elements) == TD_OK);
        for (size_t i = 0; i < 32 - first; i++)
            CHECK(elements[i] == 66 + first + i);
    }
    CHECK(ir_constant_read(&context, constant, 30, 3, elements) != TD_OK);
    CHECK(fe_tensor_constant(module, blocks, true, &constant) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "\"blocks\"") != NULL && strstr(context.message, "Q8_0") != NULL);
    ir_module_release(module);
    fe_gguf_release(&gguf);
}

/* Where a string of bytes is in the file. */
static unsigned char *find_bytes(bytes *file, const char *text)
{
    return memmem(file->data, file->size, text, strlen(text));
}

TEST(refuses_in_a_sentence)
{
    td_context context;
    bytes file;
    td_context_init(&context);

    write_small(&file);
    file.data[4] = 9;
    CHECK(open_bytes(&context, &file) == TD_UNSUPPORTED);
    CHECK_STRING(context.message,
                 "small.bin: GGUF version 9; little-endian versions 2 and 3 can be "
                 "read");
    write_small(&file);
    memset(file.data + 16, 0xff, 8); /* the number of entries */
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    write_small(&file);
    memset(file.data + 8, 0xff, 8); /* the number of tensors */
    CHECK(open_bytes(&context, &file) == TD_INVALID);

    write_small(&file);
    find_bytes(&file, "matrix")[0] = 'b'; /* "batrix" is fine */
    CHECK(open_bytes(&context, &file) == TD_OK);
    memcpy(find_bytes(&file, "batrix"), "blocks", 6);
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    CHECK_STRING(context.message, "small.bin: two tensors are named \"blocks\"");

    write_small(&file);
    memset(find_bytes(&file, "matrix") + 6 + 4, 0x7f, 8); /* a dimension */
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    write_small(&file);
    find_bytes(&file, "blocks")[6 + 4 + 16 + 4] = 0; /* the offset: now both at 0 */
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    CHECK(strstr(context.message, "overlap") != NULL);
    find_bytes(&file, "blocks")[6 + 4 + 16 + 4] = 32;
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    CHECK(strstr(context.message, "alignment") != NULL);
    find_bytes(&file, "blocks")[6 + 4 + 16 + 4] = 128;
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    CHECK(strstr(context.message, "exceeds the file") != NULL);

    write_small(&file);
    find_bytes(&file, "blocks")[6 + 4 + 16] = 99; /* the type */
    CHECK(open_bytes(&context, &file) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "unknown type number 99") != NULL);
    write_small(&file);
    find_bytes(&file, "general.alignment")[17 + 4] = 3;
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    write_small(&file);
    find_bytes(&file, "words")[5 + 4] = 9; /* an array of arrays */
    CHECK(open_bytes(&context, &file) == TD_UNSUPPORTED);
    write_small(&file);
    memcpy(find_bytes(&file, "half"), "name", 4);
    CHECK(open_bytes(&context, &file) == TD_INVALID);
    CHECK_STRING(context.message, "small.bin: metadata \"name\" is given twice");
}

TEST(survives_truncation)
{
    td_context context;
    bytes file;
    td_context_init(&context);
    write_small(&file);
    for (size_t full = file.size; file.size > 0; file.size--)
        CHECK_MESSAGE((open_bytes(&context, &file) == TD_OK) == (file.size == full),
                      "%zu of %zu bytes", file.size, full);
}

TEST(survives_changed_bytes)
{
    td_context context;
    uint64_t random = 7;
    td_context_init(&context);
    for (int round = 0; round < 20000; round++) {
        bytes file;
        write_small(&file);
        for (int changes = 0; changes < 1 + round % 4; changes++)
            file.data[td_random_next(&random) % file.size] = (unsigned char)td_random_next(&random);
        context.message[0] = '\0';
        CHECK(open_bytes(&context, &file) == TD_OK || context.message[0] != '\0');
    }
}

TEST(reports_every_failed_allocation)
{
    bytes file;
    write_small(&file);
    td_status status = TD_NO_MEMORY;
    for (long fail_at = 0; status != TD_OK; fail_at++) {
        td_context context;
        failing_allocator failing = {.countdown = fail_at, .once = true};
        failing_context(&context, &failing);
        status = open_bytes(&context, &file);
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
        CHECK(failing.held == 0);
    }
}

TEST_MAIN()

/* Arrays, arenas, texts and maps: contents, alignment, overflow, and what happens without memory.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"
#include "base/memory.h"

#include "tests/failing.h"
#include "tests/test.h"

TEST(arrays_keep_what_is_pushed)
{
    td_context context;
    failing_allocator failing = {.countdown = FAIL_NEVER};
    TD_ARRAY(uint32_t) numbers = {0};
    failing_context(&context, &failing);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK(td_array_push(&context, &numbers, i * i));
    CHECK(numbers.count == 1000 && numbers.capacity >= 1000);
    for (uint32_t i = 0; i < 1000; i++)
        CHECK(numbers.items[i] == i * i);
    td_array_release(&context, &numbers);
    CHECK(numbers.items == NULL && numbers.count == 0 && failing.held == 0);
}

TEST(a_failed_push_leaves_the_array)
{
    td_context context;
    failing_allocator failing = {.countdown = 1};
    TD_ARRAY(uint32_t) numbers = {0};
    failing_context(&context, &failing);
    while (td_array_push(&context, &numbers, 7))
        CHECK(numbers.count < 1000);
    CHECK(numbers.count > 0 && numbers.count == numbers.capacity);
    for (size_t i = 0; i < numbers.count; i++)
        CHECK(numbers.items[i] == 7);
    CHECK(!td_array_reserve(&context, &numbers, SIZE_MAX / 2));
    td_array_release(&context, &numbers);
    CHECK(failing.held == 0);
}

/* Objects of all sizes, some larger than a block: aligned, zeroed, apart from each other. */
TEST(arenas_hand_out_separate_objects)
{
    enum { OBJECTS = 300 };
    td_context context;
    td_arena arena;
    unsigned char *object[OBJECTS];
    size_t size[OBJECTS];
    uint64_t state = 3;
    failing_allocator failing = {.countdown = FAIL_NEVER};
    failing_context(&context, &failing);
    td_arena_init(&arena, &context);
    for (int i = 0; i < OBJECTS; i++) {
        size[i] = (size_t)(td_random_next(&state) % (i % 50 == 0 ? 200000 : 500));
        object[i] = td_arena_allocate(&arena, size[i], 1);
        CHECK(object[i] != NULL && (uintptr_t)object[i] % 16 == 0);
        for (size_t k = 0; k < size[i]; k++)
            CHECK(object[i][k] == 0);
        memset(object[i], i % 255 + 1, size[i]);
    }
    for (int i = 0; i < OBJECTS; i++)
        for (size_t k = 0; k < size[i]; k++)
            CHECK(object[i][k] == i % 255 + 1);
    CHECK(td_arena_allocate(&arena, SIZE_MAX / 4, 8) == NULL);
    CHECK_STRING(td_arena_string_n(&arena, "tandem", 3), "tan");
    CHECK_STRING(td_arena_format(&arena, "%s-%d", "slot", 17), "slot-17");
    td_arena_release(&arena);
    CHECK(failing.held == 0);
}

TEST(texts_grow_and_remember_a_failure)
{
    td_context context;
    td_text text;
    failing_allocator failing = {.countdown = FAIL_NEVER};
    failing_context(&context, &failing);
    td_text_init(&text, &context);
    for (int i = 0; i < 500; i++)
        td_text_printf(&text, "%03d,", i);
    td_text_append(&text, "end", 3);
    CHECK(!text.failed && text.length == 2003 && strlen(text.data) == 2003);
    CHECK(strncmp(text.data, "000,001,002,", 12) == 0 && strcmp(text.data + 1996, "499,end") == 0);
    failing.countdown = 0;
    while (!text.failed)
        td_text_append(&text, "more", 4);
    const size_t length = text.length;
    failing.countdown = FAIL_NEVER;
    td_text_printf(&text, "what comes after a gap is dropped");
    CHECK(text.length == length && text.data[length] == '\0');
    td_text_release(&text);
    CHECK(failing.held == 0);
}

/* Against a plain table, with keys put several times. */
TEST(maps_agree_with_a_table)
{
    enum { KEYS = 3000 };
    static char keys[KEYS][16];
    static int values[KEYS];
    td_context context;
    td_map map;
    uint64_t state = 9;
    bool present[KEYS] = {false};
    failing_allocator failing = {.countdown = FAIL_NEVER};
    failing_context(&context, &failing);
    td_map_init(&map, &context);
    CHECK(td_map_get(&map, "anything") == NULL);
    size_t count = 0;
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof keys[i], "key.%d", i);
    for (int round = 0; round < 2 * KEYS; round++) {
        const size_t k = (size_t)(td_random_next(&state) % KEYS);
        count += !present[k];
        present[k] = true;
        CHECK(td_map_put(&map, keys[k], &values[round % KEYS]));
        CHECK(td_map_get(&map, keys[k]) == &values[round % KEYS] && map.count == count);
    }
    for (size_t k = 0; k < KEYS; k++)
        CHECK((td_map_get(&map, keys[k]) != NULL) == present[k]);
    td_map_release(&map);
    CHECK(failing.held == 0);
}

TEST(a_failed_put_leaves_the_map)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    td_context context;
    td_map map;
    int value;
    size_t put = 0;
    failing_allocator failing = {.countdown = 1};
    failing_context(&context, &failing);
    td_map_init(&map, &context);
    while (put < TD_COUNT_OF(keys) && td_map_put(&map, keys[put], &value))
        put++;
    CHECK(put > 0 && put < TD_COUNT_OF(keys) && map.count == put);
    for (size_t k = 0; k < TD_COUNT_OF(keys); k++)
        CHECK((td_map_get(&map, keys[k]) != NULL) == (k < put));
    td_map_release(&map);
    CHECK(failing.held == 0);
}

/* Published values: FNV-1a of "a" and "foobar" (64 bits), splitmix64 from state 0. */
TEST(hashes_and_random_numbers_are_the_published_ones)
{
    uint64_t state = 0;
    CHECK(td_hash_bytes(TD_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    CHECK(td_hash_bytes(TD_HASH_START, "foobar", 6) == UINT64_C(0x85944171f73967e8));
    CHECK(td_hash_bytes(td_hash_bytes(TD_HASH_START, "foo", 3), "bar", 3) ==
          td_hash_bytes(TD_HASH_START, "foobar", 6));
    CHECK(td_random_next(&state) == UINT64_C(0xe220a8397b1dcdaf));
    CHECK(td_random_next(&state) == UINT64_C(0x6e789e6aa1b965f4));
}

TEST_MAIN()

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/memory.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

/* Every direct block is preceded by its size, in a header that keeps 16-byte alignment. */
#define HEADER_SIZE 16

static void *raw_reallocate(td_context *context, void *pointer, size_t old_size, size_t size)
{
    return context->reallocate(context->reallocate_self, pointer, old_size, size);
}

static size_t block_size(const void *pointer)
{
    size_t size;
    memcpy(&size, (const char *)pointer - HEADER_SIZE, sizeof size);
    return size;
}

void *td_allocate(td_context *context, size_t size)
{
    if (size > SIZE_MAX - HEADER_SIZE)
        return NULL;
    char *block = raw_reallocate(context, NULL, 0, size + HEADER_SIZE);
    if (block == NULL)
        return NULL;
    memset(block, 0, size + HEADER_SIZE);
    memcpy(block, &size, sizeof size);
    return block + HEADER_SIZE;
}

void td_release(td_context *context, void *pointer)
{
    if (pointer != NULL)
        raw_reallocate(context, (char *)pointer - HEADER_SIZE, block_size(pointer) + HEADER_SIZE,
                       0);
}

bool td_array_grow(td_context *context, void **items, size_t *capacity, size_t item_size,
                   size_t wanted)
{
    if (wanted <= *capacity)
        return true;
    size_t bigger = *capacity < 8 ? 8 : *capacity;
    while (bigger < wanted) {
        if (bigger > SIZE_MAX / 2)
            return false;
        bigger *= 2;
    }
    if (bigger > (SIZE_MAX - HEADER_SIZE) / item_size)
        return false;
    void *grown = td_allocate(context, bigger * item_size);
    if (grown == NULL)
        return false;
    if (*items != NULL)
        memcpy(grown, *items, *capacity * item_size);
    td_release(context, *items);
    *items = grown;
    *capacity = bigger;
    return true;
}

/* --- arenas --- */

struct td_arena_block {
    struct td_arena_block *next;
    size_t used, size; /* of the bytes that follow */
};

#define ARENA_BLOCK_SIZE ((size_t)64 * 1024)

void td_arena_init(td_arena *arena, td_context *context)
{
    arena->context = context;
    arena->blocks = NULL;
}

void td_arena_release(td_arena *arena)
{
    while (arena->blocks != NULL) {
        struct td_arena_block *next = arena->blocks->next;
        td_release(arena->context, arena->blocks);
        arena->blocks = next;
    }
}

void *td_arena_allocate(td_arena *arena, size_t count, size_t size)
{
    uint64_t total;
    if (!td_multiply(count, size, &total) || total > SIZE_MAX / 2)
        return NULL;
    size_t bytes = ((size_t)total + 15) & ~(size_t)15;
    const size_t header = (sizeof(struct td_arena_block) + 15) & ~(size_t)15;
    struct td_arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < bytes) {
        size_t room = bytes > ARENA_BLOCK_SIZE ? bytes : ARENA_BLOCK_SIZE;
        struct td_arena_block *fresh = td_allocate(arena->context, header + room);
        if (fresh == NULL)
            return NULL;
        fresh->size = room;
        /* A block made for one large object goes behind the current one, which still has room. */
        if (block != NULL && bytes > ARENA_BLOCK_SIZE) {
            fresh->next = block->next;
            block->next = fresh;
        } else {
            fresh->next = block;
            arena->blocks = fresh;
        }
        block = fresh;
    }
    void *result = (char *)block + header + block->used;
    block->used += bytes;
    return result;
}

char *td_arena_string_n(td_arena *arena, const char *string, size_t length)
{
    char *copy = td_arena_allocate(arena, length + 1, 1);
    if (copy != NULL && length > 0)
        memcpy(copy, string, length);
    return copy;
}

char *td_arena_string(td_arena *arena, const char *string)
{
    return td_arena_string_n(arena, string, strlen(string));
}

char *td_arena_format(td_arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *copy = length < 0 ? NULL : td_arena_allocate(arena, (size_t)length + 1, 1);
    if (copy != NULL)
        vsnprintf(copy, (size_t)length + 1, format, again);
    va_end(again);
    return copy;
}

/* --- growing text --- */

void td_text_init(td_text *text, td_context *context)
{
    memset(text, 0, sizeof *text);
    text->context = context;
}

void td_text_release(td_text *text)
{
    td_release(text->context, text->data);
    td_text_init(text, text->context);
}

/* Makes room for `length` more characters and the NUL. */
static bool text_reserve(td_text *text, size_t length)
{
    size_t wanted;
    text->failed = text->failed || __builtin_add_overflow(text->length + 1, length, &wanted) ||
                   !td_array_grow(text->context, (void **)&text->data, &text->capacity, 1, wanted);
    return !text->failed;
}

void td_text_append(td_text *text, const char *data, size_t length)
{
    if (!text_reserve(text, length))
        return;
    if (length > 0)
        memcpy(text->data + text->length, data, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void td_text_printf(td_text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
    } else if (text_reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

/* --- maps --- */

struct td_map_entry {
    const char *key;
    void *value;
};

void td_map_init(td_map *map, td_context *context)
{
    memset(map, 0, sizeof *map);
    map->context = context;
}

void td_map_release(td_map *map)
{
    td_release(map->context, map->entries);
    td_map_init(map, map->context);
}

/* The slot that holds the key or the free slot where it would go; capacity is a power of two. */
static struct td_map_entry *map_slot(struct td_map_entry *entries, size_t capacity, const char *key)
{
    size_t slot = (size_t)td_hash_bytes(TD_HASH_START, key, strlen(key)) & (capacity - 1);
    while (entries[slot].key != NULL && strcmp(entries[slot].key, key) != 0)
        slot = (slot + 1) & (capacity - 1);
    return &entries[slot];
}

void *td_map_get(const td_map *map, const char *key)
{
    return map->capacity == 0 ? NULL : map_slot(map->entries, map->capacity, key)->value;
}

static bool map_grow(td_map *map)
{
    size_t capacity = map->capacity == 0 ? 16 : map->capacity * 2;
    struct td_map_entry *entries = td_allocate(map->context, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->entries[i].key != NULL)
            *map_slot(entries, capacity, map->entries[i].key) = map->entries[i];
    td_release(map->context, map->entries);
    map->entries = entries;
    map->capacity = capacity;
    return true;
}

bool td_map_put(td_map *map, const char *key, void *value)
{
    if ((map->count + 1) * 2 > map->capacity && !map_grow(map))
        return false;
    struct td_map_entry *slot = map_slot(map->entries, map->capacity, key);
    if (slot->key == NULL) {
        slot->key = key;
        map->count++;
    }
    slot->value = value;
    return true;
}

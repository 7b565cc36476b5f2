/* Memory: direct allocation through the context's hook, bump arenas, and growing arrays.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_BASE_MEMORY_H
#define TANDEM_BASE_MEMORY_H

#include "base/status.h"

/* Direct allocation; zero-filled; NULL when memory ran out. td_release(NULL) is fine. The size is
 * kept in a header before the block, so that the hook learns it on release. */
void *td_allocate(td_context *context, size_t size);
void td_release(td_context *context, void *pointer);

/* A bump arena: many small objects, released together. Pointers stay valid until release. */
typedef struct td_arena {
    td_context *context;
    struct td_arena_block *blocks;
} td_arena;

void td_arena_init(td_arena *arena, td_context *context);
void td_arena_release(td_arena *arena);

/* Zero-filled, aligned to 16 bytes; NULL when memory ran out (count * size is overflow-checked). */
void *td_arena_allocate(td_arena *arena, size_t count, size_t size);

/* Copies of texts, NUL-terminated; NULL when memory ran out. */
char *td_arena_string(td_arena *arena, const char *string);
char *td_arena_string_n(td_arena *arena, const char *string, size_t length);
char *td_arena_format(td_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A growing array: `items` points at `count` elements with room for `capacity`.
 *
 *     TD_ARRAY(ir_node *) nodes = {0};
 *     if (!td_array_push(context, &nodes, node)) return td_fail_memory(context);
 *     td_array_release(context, &nodes);
 */
#define TD_ARRAY(type)                                                                             \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }

#define td_array_reserve(context, array, wanted)                                                   \
    td_array_grow((context), (void **)&(array)->items, &(array)->capacity, sizeof *(array)->items, \
                  (wanted))

#define td_array_push(context, array, item)                                                        \
    (td_array_reserve((context), (array), (array)->count + 1)                                      \
         ? ((array)->items[(array)->count++] = (item), true)                                       \
         : false)

#define td_array_release(context, array)                                                           \
    (td_release((context), (array)->items), (array)->items = NULL, (array)->count = 0,             \
     (array)->capacity = 0)

/* Makes room for `wanted` elements (at least doubling); false when memory ran out. */
bool td_array_grow(td_context *context, void **items, size_t *capacity, size_t item_size,
                   size_t wanted);

/* A growing text. Appending after memory ran out does nothing; `failed` tells at the end. Appending
 * n characters one by one costs O(n). */
typedef struct td_text {
    td_context *context;
    char *data; /* NUL-terminated once something was appended, else NULL */
    size_t length, capacity;
    bool failed;
} td_text;

void td_text_init(td_text *text, td_context *context);
void td_text_release(td_text *text);
void td_text_append(td_text *text, const char *data, size_t length);
void td_text_printf(td_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A hash map from strings to pointers, by open addressing: constant time as long as keys do not
 * collide. Keys are not copied and must stay. Nothing is removed. */
typedef struct td_map {
    td_context *context;
    struct td_map_entry *entries;
    size_t count, capacity;
} td_map;

void td_map_init(td_map *map, td_context *context);
void td_map_release(td_map *map);
void *td_map_get(const td_map *map, const char *key);       /* NULL when absent */
bool td_map_put(td_map *map, const char *key, void *value); /* replaces; false: no memory */

#endif

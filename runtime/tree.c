/* See tree.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/tree.h"

#include <string.h>

void rt_tree_start(rt_tree *tree, int32_t root)
{
    tree->count = 1;
    tree->levels = 0;
    tree->copied = false;
    tree->first[0] = 0;
    tree->first[1] = 1;
    tree->nodes[0] = (rt_node){.id = root, .mass = 1, .time = 1};
}

void rt_tree_deepen(rt_tree *tree)
{
    tree->levels++;
    tree->first[tree->levels] = tree->first[tree->levels + 1] = tree->count;
}

uint32_t rt_tree_add(rt_tree *tree, uint32_t parent, int32_t id)
{
    uint32_t number = tree->count++, order = 0;
    for (uint32_t i = tree->first[tree->levels]; i < number; i++)
        order += tree->nodes[i].parent == parent;
    tree->first[tree->levels + 1] = tree->count;
    tree->nodes[number] = (rt_node){
        .id = id,
        .parent = parent,
        .depth = tree->levels,
        .order = order,
        .ancestors = tree->nodes[parent].ancestors | UINT64_C(1) << (number - 1),
    };
    return number;
}

uint32_t rt_tree_next_child(const rt_tree *tree, uint32_t parent, uint32_t previous)
{
    uint32_t level = tree->nodes[parent].depth + 1;
    if (level > tree->levels)
        return 0;
    uint32_t end = tree->first[level + 1];
    for (uint32_t i = previous == 0 ? tree->first[level] : previous + 1; i < end; i++)
        if (tree->nodes[i].parent == parent)
            return i;
    return 0;
}

/* Sets bits 0 .. count - 1 of a row that is all zeros. */
static void set_first(uint64_t *row, uint32_t count)
{
    uint32_t word = 0;
    for (; count >= 64; count -= 64)
        row[word++] = UINT64_MAX;
    if (count > 0)
        row[word] = (UINT64_C(1) << count) - 1;
}

/* Ors 64 bits into a row, the lowest at bit `start`. */
static void put_bits(uint64_t *row, uint32_t start, uint64_t bits)
{
    uint32_t shift = start % 64;
    row[start / 64] |= bits << shift;
    if (shift > 0 && bits >> (64 - shift) != 0)
        row[start / 64 + 1] |= bits >> (64 - shift);
}

void rt_tree_masks(const rt_tree *tree, uint32_t first, uint32_t count, uint32_t root_place,
                   uint32_t words, uint64_t *masks)
{
    memset(masks, 0, (uint64_t)count * words * sizeof *masks);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *row = masks + (uint64_t)i * words, ancestors = tree->nodes[first + i].ancestors;
        set_first(row, root_place + 1);
        if (ancestors != 0)
            put_bits(row, root_place + 1, ancestors);
    }
}

void rt_chain_masks(uint32_t place, uint32_t count, uint32_t words, uint64_t *masks)
{
    memset(masks, 0, (uint64_t)count * words * sizeof *masks);
    for (uint32_t i = 0; i < count; i++)
        set_first(masks + (uint64_t)i * words, place + i + 1);
}

/* Byte-pair merging: the pair of lowest rank first, and of equal ones the leftmost.
 *
 * SPDX-License-Identifier: MIT
 *
 * Every symbol has at most one candidate, the merge with its right neighbour, which stands in a
 * binary heap that knows its places. So a candidate can be replaced when a neighbour changes, and
 * the heap never holds more than one entry per symbol. */
#include "runtime/tokenizer_merge.h"

typedef struct merger {
    const uint32_t *starts; /* of each left symbol's merges */
    const rt_merge *merges;
    rt_word_symbol *word;
    uint32_t *heap; /* indices into word */
    uint32_t size;
} merger;

/* The merge of two symbols, or RT_NONE. */
static uint32_t find_merge(const merger *m, uint32_t left, uint32_t right)
{
    uint32_t low = m->starts[left], end = m->starts[left + 1], high = end;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->merges[middle].right < right)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && m->merges[low].right == right ? low : RT_NONE;
}

static bool goes_before(const merger *m, uint32_t a, uint32_t b)
{
    uint32_t rank_a = m->merges[m->word[a].merge].rank, rank_b = m->merges[m->word[b].merge].rank;
    return rank_a != rank_b ? rank_a < rank_b : a < b;
}

static void put(merger *m, uint32_t place, uint32_t index)
{
    m->heap[place] = index;
    m->word[index].place = place;
}

static void move_up(merger *m, uint32_t place)
{
    uint32_t index = m->heap[place];
    while (place > 0) {
        uint32_t parent = (place - 1) / 2;
        if (!goes_before(m, index, m->heap[parent]))
            break;
        put(m, place, m->heap[parent]);
        place = parent;
    }
    put(m, place, index);
}

static void move_down(merger *m, uint32_t place)
{
    uint32_t index = m->heap[place];
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= m->size)
            break;
        if (child + 1 < m->size && goes_before(m, m->heap[child + 1], m->heap[child]))
            child++;
        if (!goes_before(m, m->heap[child], index))
            break;
        put(m, place, m->heap[child]);
        place = child;
    }
    put(m, place, index);
}

static void remove_candidate(merger *m, uint32_t index)
{
    uint32_t place = m->word[index].place;
    if (place == RT_NONE)
        return;
    m->word[index].place = RT_NONE;
    uint32_t last = m->heap[--m->size];
    if (last == index)
        return;
    put(m, place, last);
    move_up(m, place);
    move_down(m, m->word[last].place);
}

/* Looks again for the merge of a symbol with the one that is now to its right. */
static void renew_candidate(merger *m, uint32_t index)
{
    remove_candidate(m, index);
    rt_word_symbol *symbol = &m->word[index];
    if (symbol->next == RT_NONE)
        return;
    symbol->merge = find_merge(m, symbol->symbol, m->word[symbol->next].symbol);
    if (symbol->merge == RT_NONE)
        return;
    put(m, m->size, index);
    move_up(m, m->size++);
}

void rt_tokenizer_merge(const rt_tokenizer *tokenizer, rt_word_symbol *word, uint32_t count,
                        uint32_t *heap)
{
    merger m = {.starts = rt_section(tokenizer, RT_SECTION_MERGE_STARTS),
                .merges = rt_section(tokenizer, RT_SECTION_MERGES),
                .word = word,
                .heap = heap};
    for (uint32_t i = 0; i < count; i++) {
        word[i].previous = i == 0 ? RT_NONE : i - 1;
        word[i].next = i + 1 == count ? RT_NONE : i + 1;
        word[i].place = RT_NONE;
    }
    for (uint32_t i = 0; i + 1 < count; i++)
        renew_candidate(&m, i);
    while (m.size > 0) {
        uint32_t left = m.heap[0], right = word[left].next;
        remove_candidate(&m, left);
        remove_candidate(&m, right);
        word[left].symbol = m.merges[word[left].merge].result;
        word[left].next = word[right].next;
        if (word[right].next != RT_NONE)
            word[word[right].next].previous = left;
        renew_candidate(&m, left);
        if (word[left].previous != RT_NONE)
            renew_candidate(&m, word[left].previous);
    }
}

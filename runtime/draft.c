/* See draft.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/draft.h"

#include "runtime/internal.h"

#include <math.h>
#include <string.h>

/* --- shapes --- */

uint32_t rt_shape_width(const rt_shape *shape, uint32_t level)
{
    if (shape->kind == RT_DRAFT_BEAM)
        return shape->widths[level - 1];
    uint32_t width = 1;
    for (uint32_t i = 0; i < level && width <= RT_MAX_DRAFT; i++)
        width *= shape->widths[i];
    return width;
}

uint32_t rt_shape_nodes(const rt_shape *shape)
{
    uint32_t nodes = 0;
    for (uint32_t level = 1; level <= shape->levels; level++)
        nodes += rt_shape_width(shape, level);
    return nodes;
}

rt_shape rt_shape_within(const rt_shape *shape, const rt_limits *limits)
{
    rt_shape result = *shape;
    uint32_t nodes = 0, passed = 0, level = 1;
    for (; level <= shape->levels && level <= limits->levels; level++) {
        uint32_t width = rt_shape_width(shape, level);
        if (width > limits->width || nodes + width > limits->nodes || passed > limits->passed)
            break;
        nodes += width;
        passed = nodes; /* by the drafter, should there be one more level */
    }
    result.levels = level - 1;
    return result;
}

/* --- reading --- */

/* A number from 1 to 255 at *text, which moves behind it; 0 when there is none. */
static uint32_t read_number(const char **text)
{
    uint32_t number = 0;
    const char *next = *text;
    while (*next >= '0' && *next <= '9' && number <= UINT8_MAX)
        number = number * 10 + (uint32_t)(*next++ - '0');
    *text = next;
    return number <= UINT8_MAX ? number : 0;
}

static bool read_chain(const char *text, rt_shape *shape)
{
    bool zero = strcmp(text, "0") == 0;
    uint32_t length = read_number(&text);
    if (*text != '\0' || (length == 0 && !zero))
        return false;
    shape->kind = zero ? RT_DRAFT_NONE : RT_DRAFT_CONSTANT;
    shape->levels = length;
    memset(shape->widths, 1, sizeof shape->widths);
    return true;
}

static bool read_constant(const char *text, rt_shape *shape)
{
    while (shape->levels < RT_MAX_DRAFT) {
        uint32_t width = read_number(&text);
        if (width == 0)
            return false;
        shape->widths[shape->levels++] = (uint8_t)width;
        if (*text == '\0')
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

static bool read_beam(const char *text, rt_shape *shape)
{
    uint32_t width = read_number(&text);
    if (width == 0 || *text++ != 'x')
        return false;
    shape->levels = read_number(&text);
    memset(shape->widths, (int)width, sizeof shape->widths);
    return shape->levels > 0 && *text == '\0';
}

static bool read_auto(const char *text, rt_shape *shape)
{
    shape->levels = RT_MAX_DRAFT;
    return *text == '\0';
}

static const struct draft_method {
    const char *prefix;
    rt_draft_kind kind;
    bool (*read)(const char *text, rt_shape *shape);
} methods[] = {
    {"rsd-c:", RT_DRAFT_CONSTANT, read_constant},
    {"rsd-s:", RT_DRAFT_BEAM, read_beam},
    {"auto", RT_DRAFT_AUTO, read_auto},
    {"", RT_DRAFT_CONSTANT, read_chain},
};

tandem_status rt_read_draft(const char *text, uint32_t most, tandem_error *error, rt_shape *shape)
{
    rt_shape result = {0};
    text = text == NULL ? TANDEM_DRAFT_DEFAULT : text;
    const struct draft_method *method = methods;
    while (strncmp(text, method->prefix, strlen(method->prefix)) != 0)
        method++;
    result.kind = method->kind;
    if (!method->read(text + strlen(method->prefix), &result))
        return rt_fail(error, TANDEM_INVALID,
                       "the draft \"%s\" cannot be understood: 0 (none), a number of tokens, "
                       "rsd-c:2,2,1 (children of each node, by level), rsd-s:4x3 (nodes a level x "
                       "levels) or auto is accepted",
                       text);
    if (result.kind == RT_DRAFT_AUTO)
        result.levels = result.levels < most ? result.levels : most;
    else if (most == 0 && result.kind != RT_DRAFT_NONE)
        return rt_fail(error, TANDEM_INVALID,
                       "the draft \"%s\" cannot be made: the program was compiled without a "
                       "drafter, 0 is accepted",
                       text);
    else if (result.levels > RT_MAX_DRAFT || rt_shape_nodes(&result) > most)
        return rt_fail(error, TANDEM_INVALID,
                       "the draft \"%s\" may have more than %u tokens, the most that the program "
                       "was compiled for: choose a smaller one, or compile with --max-draft",
                       text, most);
    *shape = result;
    return TANDEM_OK;
}

/* --- growth --- */

/* The number of a draw among those of its level and purpose. */
static uint32_t draw_index(const rt_branch *branch, uint32_t order)
{
    return branch->node * (UINT8_MAX + 1) + order;
}

/* Whether a branch has an id left. */
static bool has_child(const rt_branch *branch)
{
    return branch->whole == 0 || branch->q.total > 0;
}

/* Sets when the next child arrives, the `order`-th of its node. */
static void await_child(const rt_growth *growth, rt_branch *branch, uint32_t order)
{
    const rt_node *node = &growth->tree->nodes[branch->node];
    const rt_row *row = &branch->q.row;
    if (growth->dice == NULL) {
        double largest = (double)rt_largest(row->values, row->count);
        branch->next = -(node->mass * (largest / branch->whole));
    } else if (order == 0) {
        branch->next = node->time;
    } else {
        double left = node->mass * (branch->q.total / branch->whole);
        branch->next +=
            rt_exponential(growth->dice, node->depth, RT_DRAW_TIME, draw_index(branch, order)) /
            left;
    }
}

static uint32_t choose_entry(const rt_growth *growth, const rt_branch *branch, uint32_t order)
{
    const rt_row *row = &branch->q.row;
    if (growth->dice == NULL && order == 0 && branch->sought)
        return branch->best;
    if (growth->dice == NULL)
        return rt_find_largest(row->values, row->count).index;
    uint32_t level = growth->tree->nodes[branch->node].depth;
    return rt_draw(&branch->q,
                   rt_uniform(growth->dice, level, RT_DRAW_CHILD, draw_index(branch, order)));
}

/* Draws the next child of a branch; its id stays in q. False when there is none. */
static bool add_child(const rt_growth *growth, rt_branch *branch)
{
    if (!has_child(branch))
        return false;
    rt_tree *tree = growth->tree;
    uint32_t previous = 0, order = 0;
    for (uint32_t i; (i = rt_tree_next_child(tree, branch->node, previous)) != 0; order++)
        previous = i;
    uint32_t entry = choose_entry(growth, branch, order);
    float *value = &branch->q.row.values[entry];
    if (!(*value > -INFINITY)) /* of logits that are not numbers, or all taken */
        return false;
    rt_node *node = &tree->nodes[rt_tree_add(tree, branch->node, rt_row_id(&branch->q.row, entry))];
    node->entry = entry;
    node->weight = *value;
    node->time = branch->next;
    if (branch->whole > 0)
        node->mass = tree->nodes[branch->node].mass * ((double)*value / branch->whole);
    branch->last = entry;
    return true;
}

/* Takes the id of the last child out of q. */
static void take_out(rt_branch *branch)
{
    if (branch->whole > 0)
        rt_remove(&branch->q, branch->last);
    else
        branch->q.row.values[branch->last] = -INFINITY;
}

/* Puts the weights of what was drawn back: verification needs all of q. */
static void close_branch(const rt_growth *growth, rt_branch *branch)
{
    const rt_tree *tree = growth->tree;
    if (growth->dice == NULL)
        return;
    for (uint32_t i = 0; (i = rt_tree_next_child(tree, branch->node, i)) != 0;)
        branch->q.row.values[tree->nodes[i].entry] = tree->nodes[i].weight;
    branch->q.total = branch->whole;
}

void rt_grow_each(const rt_growth *growth, const uint8_t *children)
{
    rt_tree_deepen(growth->tree);
    for (uint32_t i = 0; i < growth->count; i++) {
        rt_branch *branch = &growth->branches[i];
        for (uint32_t order = 0; order < children[i]; order++) {
            if (order > 0)
                take_out(branch);
            if (!add_child(growth, branch))
                break;
        }
        close_branch(growth, branch);
    }
}

void rt_grow_beam(const rt_growth *growth, uint32_t width)
{
    rt_tree_deepen(growth->tree);
    uint32_t orders[RT_MAX_DRAFT + 1] = {0};
    for (uint32_t i = 0; i < growth->count; i++)
        await_child(growth, &growth->branches[i], 0);
    for (uint32_t added = 0; added < width; added++) {
        uint32_t best = growth->count;
        for (uint32_t i = 0; i < growth->count; i++)
            if (has_child(&growth->branches[i]) &&
                (best == growth->count || growth->branches[i].next < growth->branches[best].next))
                best = i;
        if (best == growth->count)
            break;
        add_child(growth, &growth->branches[best]);
        take_out(&growth->branches[best]);
        if (has_child(&growth->branches[best]))
            await_child(growth, &growth->branches[best], ++orders[best]);
    }
    for (uint32_t i = 0; i < growth->count; i++)
        close_branch(growth, &growth->branches[i]);
}

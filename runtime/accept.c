/* See accept.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/accept.h"

#include <stdbool.h>
#include <stddef.h>

static double probability(double weight, double total)
{
    return weight / total;
}

#define TRIES 8u

/* Draws from the positive part of p - q without computing it: from p, until a token is kept with
 * probability 1 - q / p. Twice as fast while p and q have something apart; false when no token was
 * kept in a few tries, which says nothing about the law. */
static bool draw_difference(const rt_site *site, const rt_dice *dice, uint32_t level,
                            int32_t *token)
{
    for (uint32_t i = 0; i < TRIES; i++) {
        const uint32_t entry = rt_draw(&site->p, rt_uniform(dice, level, RT_DRAW_TOKEN, 2 * i + 1));
        const int32_t id = rt_row_id(&site->p.row, entry);
        const uint32_t drafted = rt_row_find(&site->q.row, id);
        const double p = probability((double)site->p.row.values[entry], site->p.total);
        const double q = drafted < site->q.row.count
                             ? probability((double)site->q.row.values[drafted], site->q.total)
                             : 0;
        if (rt_uniform(dice, level, RT_DRAW_TOKEN, 2 * i + 2) * p < p - q) {
            *token = id;
            return true;
        }
    }
    return false;
}

uint32_t rt_settle(const rt_tree *tree, uint32_t node, const rt_dice *dice, rt_site *site,
                   int32_t *token)
{
    const uint32_t level = tree->nodes[node].depth;
    const rt_row *p = &site->p.row;
    rt_residual r = {.values = NULL}; /* while no child was rejected it is p */
    for (uint32_t child = rt_tree_next_child(tree, node, 0), next; child != 0; child = next) {
        const rt_node *drawn = &tree->nodes[child];
        double r_child = r.values != NULL
                             ? probability(r.values[drawn->id], r.total)
                             : probability((double)p->values[drawn->id], site->p.total);
        double q_child = probability((double)drawn->weight, site->q.total);
        double uniform = rt_uniform(dice, level, RT_DRAW_ACCEPT, child);
        if (uniform * q_child < r_child)
            return child;
        next = rt_tree_next_child(tree, node, child);
        if (next == 0 && r.values == NULL && draw_difference(site, dice, level, token))
            return 0;
        if (r.values == NULL)
            rt_residual_start(&site->p, site->residual, &r);
        rt_residual_subtract(&r, &site->q);
        if (next != 0)
            rt_remove(&site->q, drawn->entry);
    }
    double uniform = rt_uniform(dice, level, RT_DRAW_TOKEN, 0);
    *token =
        r.values != NULL ? rt_residual_draw(&r, uniform) : rt_row_id(p, rt_draw(&site->p, uniform));
    return 0;
}

uint32_t rt_settle_greedy(const rt_tree *tree, uint32_t node, int32_t choice)
{
    for (uint32_t child = 0; (child = rt_tree_next_child(tree, node, child)) != 0;)
        if (tree->nodes[child].id == choice)
            return child;
    return 0;
}

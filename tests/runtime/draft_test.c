/* Draft trees: what --draft accepts, how trees are kept within limits, masks, and the laws by which
 * levels grow.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/draft.h"
#include "tests/runtime/chi_square.h"
#include "tests/test.h"

TEST(drafts_are_read)
{
    static const struct {
        const char *text;
        rt_draft_kind kind;
        uint32_t levels, nodes, first, last; /* widths of the first and the last level */
    } rows[] = {
        {"0", RT_DRAFT_NONE, 0, 0, 0, 0},
        {"1", RT_DRAFT_CONSTANT, 1, 1, 1, 1},
        {"16", RT_DRAFT_CONSTANT, 16, 16, 1, 1},
        {"rsd-c:3", RT_DRAFT_CONSTANT, 1, 3, 3, 3},
        {"rsd-c:2,2,1", RT_DRAFT_CONSTANT, 3, 10, 2, 4},
        {"rsd-c:1,1,1", RT_DRAFT_CONSTANT, 3, 3, 1, 1},
        {"rsd-s:4x4", RT_DRAFT_BEAM, 4, 16, 4, 4},
        {"rsd-s:1x3", RT_DRAFT_BEAM, 3, 3, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rt_shape shape = {0};
        CHECK_MESSAGE(rt_read_draft(rows[i].text, 16, NULL, &shape) == TANDEM_OK, "%s",
                      rows[i].text);
        CHECK(shape.kind == rows[i].kind && shape.levels == rows[i].levels);
        CHECK(rt_shape_nodes(&shape) == rows[i].nodes);
        CHECK(shape.levels == 0 || rt_shape_width(&shape, 1) == rows[i].first);
        CHECK(shape.levels == 0 || rt_shape_width(&shape, shape.levels) == rows[i].last);
    }
    rt_shape automatic;
    CHECK(rt_read_draft("auto", 5, NULL, &automatic) == TANDEM_OK);
    CHECK(automatic.kind == RT_DRAFT_AUTO && automatic.levels == 5);
    CHECK(rt_read_draft(NULL, 16, NULL, &automatic) == TANDEM_OK);
    CHECK(rt_read_draft("auto", 0, NULL, &automatic) == TANDEM_OK && automatic.levels == 0);
    CHECK(rt_read_draft("0", 0, NULL, &automatic) == TANDEM_OK);
}

TEST(other_drafts_are_refused_in_a_sentence)
{
    static const char *const unreadable[] = {
        "",           "x",         "-1",         "1.5",       "2,2",      "00x",
        "rsd-c:",     "rsd-c:2,",  "rsd-c:,2",   "rsd-c:0",   "rsd-c:2x", "rsd-c:2;2",
        "rsd-s:",     "rsd-s:4",   "rsd-s:4x",   "rsd-s:0x3", "rsd-s:x3", "autos",
        "rsd-c:1,,1", "rsd-s:4x0", "4294967297", "256",       " 1",       "1 "};
    static const char *const large[] = {"17",
                                        "64",
                                        "65",
                                        "255",
                                        "rsd-c:2,2,2,2",
                                        "rsd-c:255,255",
                                        "rsd-s:4x5",
                                        "rsd-s:255x255",
                                        "rsd-c:17"};
    char chain[3 * 70 + 8] = "rsd-c:1";
    tandem_error error;
    rt_shape shape = {.levels = 77};
    for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++) {
        CHECK_MESSAGE(rt_read_draft(unreadable[i], 16, &error, &shape) == TANDEM_INVALID, "%s",
                      unreadable[i]);
        CHECK(strstr(error.text, "cannot be understood") != NULL);
        CHECK(strstr(error.text, unreadable[i]) != NULL && strstr(error.text, "rsd-s:4x3") != NULL);
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        CHECK_MESSAGE(rt_read_draft(large[i], 16, &error, &shape) == TANDEM_INVALID, "%s",
                      large[i]);
        CHECK(strstr(error.text, "more than 16 tokens") != NULL);
    }
    CHECK(rt_read_draft("1", 0, &error, &shape) == TANDEM_INVALID);
    CHECK(strstr(error.text, "without a drafter") != NULL);
    for (int i = 0; i < 70; i++)
        strcat(chain, ",1");
    CHECK(rt_read_draft(chain, 64, &error, &shape) == TANDEM_INVALID);
    CHECK(shape.levels == 77); /* left alone */
}

TEST(limits_drop_the_deepest_levels)
{
    rt_shape shape;
    CHECK(rt_read_draft("rsd-c:2,2,2", 16, NULL, &shape) == TANDEM_OK); /* 2, 4 and 8 nodes */
    const rt_limits all = {.levels = 9, .width = 8, .nodes = 14, .passed = 6};
    CHECK(rt_shape_within(&shape, &all).levels == 3);
    rt_limits limits = all;
    limits.levels = 2;
    CHECK(rt_shape_within(&shape, &limits).levels == 2);
    limits = all;
    limits.width = 7;
    CHECK(rt_shape_within(&shape, &limits).levels == 2);
    limits.nodes = 5;
    CHECK(rt_shape_within(&shape, &limits).levels == 1);
    limits = all;
    limits.passed = 5;
    CHECK(rt_shape_within(&shape, &limits).levels == 2);
    limits.passed = 0;
    CHECK(rt_shape_within(&shape, &limits).levels == 1);
    limits.nodes = 0;
    CHECK(rt_shape_within(&shape, &limits).levels == 0);
}

/* --- trees --- */

static double number(uint64_t seed, uint32_t index)
{
    rt_dice dice = {seed, 99, 0};
    return rt_uniform(&dice, 0, RT_DRAW_TOKEN, index);
}

/* A tree of up to RT_MAX_DRAFT nodes in which each hangs from any node of the level above. */
static void random_tree(uint64_t seed, rt_tree *tree)
{
    uint32_t nodes = 1 + (uint32_t)(number(seed, 0) * RT_MAX_DRAFT);
    rt_tree_start(tree, 7);
    for (uint32_t i = 1; i <= nodes; i++) {
        if (i == 1 || number(seed, 2 * i) < 0.3)
            rt_tree_deepen(tree);
        uint32_t first = tree->first[tree->levels - 1];
        uint32_t above = tree->first[tree->levels] - first;
        rt_tree_add(tree, first + (uint32_t)(number(seed, 2 * i + 1) * above), (int32_t)i);
    }
}

TEST(trees_are_in_level_order_with_siblings_in_drawing_order)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        rt_tree tree;
        random_tree(seed, &tree);
        CHECK(tree.first[tree.levels + 1] == tree.count);
        uint32_t found = 1;
        for (uint32_t node = 0; node < tree.count; node++) {
            uint32_t order = 0, depth = tree.nodes[node].depth;
            CHECK(node >= tree.first[depth] && node < tree.first[depth + 1]);
            for (uint32_t child = 0; (child = rt_tree_next_child(&tree, node, child)) != 0;) {
                CHECK(tree.nodes[child].parent == node && child > node);
                CHECK(tree.nodes[child].order == order++ && tree.nodes[child].depth == depth + 1);
                found++;
            }
        }
        CHECK(found == tree.count); /* every node is its parent's child, once */
    }
}

TEST(masks_show_a_node_its_ancestors_and_the_text_before)
{
    enum { WORDS = 3 };
    for (uint64_t seed = 0; seed < 300; seed++) {
        rt_tree tree;
        uint64_t masks[(RT_MAX_DRAFT + 1) * WORDS];
        random_tree(seed, &tree);
        uint32_t root = (uint32_t)(number(seed, 1000) * (64 * WORDS - tree.count));
        uint32_t first = (uint32_t)(number(seed, 1001) * tree.count);
        rt_tree_masks(&tree, first, tree.count - first, root, WORDS, masks);
        for (uint32_t node = first; node < tree.count; node++) {
            bool seen[64 * WORDS] = {false};
            for (uint32_t i = 0; i <= root; i++)
                seen[i] = true;
            for (uint32_t i = node; i > 0; i = tree.nodes[i].parent)
                seen[root + i] = true;
            const uint64_t *row = masks + (node - first) * WORDS;
            for (uint32_t i = 0; i < 64 * WORDS; i++)
                CHECK((row[i / 64] >> i % 64 & 1) == seen[i]);
        }
        rt_chain_masks(root, 5, WORDS, masks);
        for (uint32_t i = 0; i < 5 && root + 5 < 64 * WORDS; i++)
            for (uint32_t bit = 0; bit < 64 * WORDS; bit++)
                CHECK((masks[i * WORDS + bit / 64] >> bit % 64 & 1) == (bit <= root + i));
    }
}

/* --- growth --- */

#define IDS   4u
#define DRAWS 60000u

static const float weights_of[IDS] = {1, 0.5f, 0.25f, 0.05f};

/* Puts weights behind a node, the same for all nodes but turned by the node's id. */
static rt_branch make_branch(const rt_tree *tree, uint32_t node, float *values)
{
    for (uint32_t i = 0; i < IDS; i++)
        values[i] = weights_of[(i + (uint32_t)tree->nodes[node].id) % IDS];
    rt_branch branch = {.node = node, .q = {{values, NULL, IDS}, rt_sum(values, IDS)}};
    branch.whole = branch.q.total;
    return branch;
}

/* Grows one level and checks that the weights are whole again. */
static void grow(rt_tree *tree, const rt_dice *dice, uint32_t beam, const uint8_t *children)
{
    float values[RT_MAX_DRAFT][IDS];
    rt_branch branches[RT_MAX_DRAFT];
    uint32_t first = tree->first[tree->levels];
    rt_growth growth = {tree, dice, branches, tree->count - first};
    for (uint32_t i = 0; i < growth.count; i++)
        branches[i] = make_branch(tree, first + i, values[i]);
    if (beam > 0)
        rt_grow_beam(&growth, beam);
    else
        rt_grow_each(&growth, children);
    for (uint32_t i = 0; i < growth.count && dice != NULL; i++)
        for (uint32_t id = 0; id < IDS; id++)
            if (values[i][id] != weights_of[(id + (uint32_t)tree->nodes[first + i].id) % IDS])
                tree->count = 0;
}

static double total_weight(void)
{
    return (double)rt_sum(weights_of, IDS);
}

TEST(children_are_the_largest_perturbed_logits_in_order)
{
    /* Gumbel-top-k is drawing without replacement (Plackett and Luce). */
    static uint32_t seen[IDS * IDS * IDS];
    static double law[IDS * IDS * IDS];
    const uint8_t children = 3;
    for (uint32_t i = 0; i < DRAWS; i++) {
        rt_tree tree;
        rt_dice dice = {5, 0, i};
        rt_tree_start(&tree, 0);
        grow(&tree, &dice, 0, &children);
        CHECK(tree.count == 4);
        seen[(uint32_t)tree.nodes[1].id * 16 + (uint32_t)tree.nodes[2].id * 4 +
             (uint32_t)tree.nodes[3].id]++;
    }
    for (uint32_t code = 0; code < IDS * IDS * IDS; code++) {
        uint32_t a = code / 16, b = code / 4 % 4, c = code % 4;
        double left = total_weight();
        law[code] = 0;
        if (a == b || b == c || a == c)
            continue;
        law[code] = weights_of[a] / left;
        law[code] *= weights_of[b] / (left -= weights_of[a]);
        law[code] *= weights_of[c] / (left - weights_of[b]);
    }
    double result = chi_square(seen, law, IDS * IDS * IDS);
    CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "%g", result);
}

/* The drafter's probability of a sequence of two tokens behind a root with id 0. */
static double sequence_probability(uint32_t code)
{
    uint32_t a = code / IDS, b = code % IDS;
    return weights_of[a] / total_weight() * weights_of[(b + a) % IDS] / total_weight();
}

TEST(a_stochastic_beam_draws_sequences_without_replacement)
{
    /* The leaves, in the order of their arrival, are the largest of all perturbed sequences: drawn
     * one after the other from the sequences' own distribution. */
    enum { SEQUENCES = IDS * IDS };
    static uint32_t seen[SEQUENCES * SEQUENCES];
    static double law[SEQUENCES * SEQUENCES];
    for (uint32_t i = 0; i < 2 * DRAWS; i++) {
        rt_tree tree;
        rt_dice dice = {6, 0, i};
        uint32_t codes[2];
        rt_tree_start(&tree, 0);
        grow(&tree, &dice, 2, NULL);
        grow(&tree, &dice, 2, NULL);
        CHECK(tree.count == 5 && tree.levels == 2);
        for (uint32_t leaf = 0; leaf < 2; leaf++) {
            const rt_node *node = &tree.nodes[3 + leaf];
            codes[leaf] = (uint32_t)tree.nodes[node->parent].id * IDS + (uint32_t)node->id;
            CHECK(fabs(node->mass - sequence_probability(codes[leaf])) < 1e-12);
            CHECK(node->time >= tree.nodes[node->parent].time);
        }
        CHECK(tree.nodes[3].time <= tree.nodes[4].time);
        seen[codes[0] * SEQUENCES + codes[1]]++;
    }
    for (uint32_t a = 0; a < SEQUENCES; a++)
        for (uint32_t b = 0; b < SEQUENCES; b++)
            law[a * SEQUENCES + b] = a == b ? 0
                                            : sequence_probability(a) * sequence_probability(b) /
                                                  (1 - sequence_probability(a));
    double result = chi_square(seen, law, SEQUENCES * SEQUENCES);
    CHECK_MESSAGE(result < CHI_SQUARE_LIMIT, "%g", result);
}

TEST(a_greedy_beam_keeps_the_most_probable_sequences)
{
    for (uint32_t width = 1; width <= 6; width++) {
        rt_tree tree;
        rt_tree_start(&tree, 0);
        grow(&tree, NULL, IDS, NULL); /* all of the first level */
        grow(&tree, NULL, width, NULL);
        CHECK(tree.count == 1 + IDS + width);
        for (uint32_t i = 0; i < width; i++) {
            const rt_node *node = &tree.nodes[1 + IDS + i];
            uint32_t code = (uint32_t)tree.nodes[node->parent].id * IDS + (uint32_t)node->id;
            uint32_t better = 0;
            for (uint32_t other = 0; other < IDS * IDS; other++)
                better += sequence_probability(other) > sequence_probability(code) + 1e-12;
            CHECK_MESSAGE(better <= i, "width %u: %u before place %u", width, better, i);
        }
    }
}

TEST(no_more_children_than_ids_with_mass)
{
    static const int32_t ids[] = {3, 8, 9};
    const uint8_t children = 9;
    for (int greedy = 0; greedy < 2; greedy++)
        for (uint32_t beam = 0; beam <= 9; beam += 9) {
            float values[] = {0.5f, 0, 1};
            rt_tree tree;
            rt_dice dice = {1, 2, 3};
            rt_branch branch = {.q = {{values, ids, 3}, 1.5}, .whole = 1.5};
            rt_growth growth = {&tree, greedy ? NULL : &dice, &branch, 1};
            rt_tree_start(&tree, 0);
            if (beam > 0)
                rt_grow_beam(&growth, beam);
            else
                rt_grow_each(&growth, &children);
            CHECK(tree.count == 3);
            CHECK(tree.nodes[1].id + tree.nodes[2].id == 12);
            CHECK(!greedy || tree.nodes[1].id == 9);
        }
}

TEST(logits_that_are_no_numbers_or_minus_infinity_are_never_drafted)
{
    float values[] = {NAN, 2, -INFINITY, 3, NAN, 2};
    const uint8_t children = 6;
    rt_tree tree;
    rt_branch branch = {.q.row = {values, NULL, 6}};
    rt_growth growth = {&tree, NULL, &branch, 1};
    rt_tree_start(&tree, 0);
    rt_grow_each(&growth, &children);
    CHECK(tree.count == 4);
    CHECK(tree.nodes[1].id == 3 && tree.nodes[2].id == 1 && tree.nodes[3].id == 5);
}

TEST(a_child_drawn_from_a_sliver_of_mass_keeps_the_rest_exact)
{
    /* What is left after a nearly certain id is summed, not subtracted. */
    float values[] = {1, 1e-20f, 1e-20f};
    const uint8_t children = 3;
    uint32_t firsts = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        rt_tree tree;
        rt_dice dice = {8, 0, i};
        rt_branch branch = {.q = {{values, NULL, 3}, rt_sum(values, 3)}};
        branch.whole = branch.q.total;
        rt_growth growth = {&tree, &dice, &branch, 1};
        rt_tree_start(&tree, 0);
        rt_grow_each(&growth, &children);
        CHECK(tree.count == 4 && tree.nodes[1].id == 0);
        firsts += tree.nodes[2].id == 1;
    }
    CHECK(firsts > 900 && firsts < 1100);
}

TEST_MAIN()

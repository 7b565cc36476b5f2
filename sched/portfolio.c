/* The portfolio behind local, exact and auto: the quick orders, then searches of growing width
 * where the peak is, in stretches and, plain or by learned ranks, of the whole, until the limit or
 * a proof.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The sequence of attempts depends on the problem and the seed alone and each keeps what is better,
 * so a larger limit never gives a worse order. The reduced problem is cut where it falls apart;
 * only the part with the largest peak is worked on, and its proof is a proof for the whole. */
#include "sched/portfolio.h"

#include "sched/climb.h"
#include "sched/prove.h"
#include "sched/reduce.h"
#include "sched/search.h"
#include "sched/topoformer/rung.h"

#include <string.h>

/* What runs before any search; all are linear or nearly so. */
static const char *const quick[] = {"file", "dfs", "greedy", "postorder", "liu"};

/* How much wider the searches become when they find nothing more. */
#define WIDTH_GROWTH 4
#define ROUNDS       3

/* How much wider than those in stretches the searches of a whole part are. */
#define WHOLE_WIDTH 128

/* The first beams of a whole part are so much narrower. */
#define RUNGS_NARROWER 4

/* Parts of fewer units are searched as fast as ranked. */
#define LEAST_LEARNED 64

/* How many sets a search that drops none may keep, by the width of beams; what is proved within so
 * many steps and so few sets is proved before wide beams run. */
#define MOST_SETS      64
#define MOST_SETS_EVER (1u << 20)
#define EARLY_STEPS    UINT64_C(500000000)
#define EARLY_SETS     16

typedef struct best_order {
    const sched_problem *problem;
    uint32_t *order, *tried;
    uint64_t peak;
    const char *name;
} best_order;

static td_status keep_if_better(best_order *best, const char *name)
{
    uint64_t peak;
    TD_TRY(sched_evaluate(best->problem, best->tried, &peak));
    if (peak >= best->peak)
        return TD_OK;
    memcpy(best->order, best->tried, best->problem->node_count * sizeof *best->order);
    best->peak = peak;
    best->name = name;
    return TD_OK;
}

static td_status try_quick_orders(best_order *best, const sched_options *options)
{
    for (size_t q = 0; q < TD_COUNT_OF(quick); q++) {
        sched_report ignored = {0};
        const sched_orderer *row = sched_find_orderer(quick[q]);
        const td_status status = row->order(best->problem, options, &ignored, best->tried);
        if (status == TD_INVALID && row->order == sched_order_file)
            continue; /* a file may list its nodes in any order */
        TD_TRY(status);
        TD_TRY(keep_if_better(best, row->name));
    }
    return TD_OK;
}

/* --- parts --- */

typedef struct part {
    sched_core core;
    sched_improved improved;
    sched_proof proof;
    topo_ranks ranks; /* empty before they are needed */
    bool has_ranks;   /* or cannot have them */
    uint32_t begin;   /* among the whole's units */
    uint32_t width;   /* of the next searches */
    uint32_t round;   /* how many have found nothing */
} part;

typedef struct portfolio {
    const sched_problem *problem;
    const sched_strategy *strategy;
    bool unlearned; /* see sched_options */
    sched_core whole;
    uint32_t *units;
    part *parts;
    uint32_t part_count;
    uint64_t bound;     /* no order needs less */
    const char *chosen; /* what found the last improvement of a part */
} portfolio;

static void release_portfolio(portfolio *self, td_context *context)
{
    for (uint32_t p = 0; self->parts != NULL && p < self->part_count; p++) {
        td_release(context, self->parts[p].improved.units);
        sched_proof_release(&self->parts[p].proof);
        if (self->parts[p].has_ranks)
            topo_ranks_release(&self->parts[p].ranks);
        sched_core_release(&self->parts[p].core);
    }
    td_release(context, self->parts);
    td_release(context, self->units);
    sched_core_release(&self->whole);
}

static td_status make_part(portfolio *self, uint32_t begin, uint32_t end)
{
    part *p = &self->parts[self->part_count++];
    td_context *context = self->whole.context;
    TD_TRY(sched_core_part(&self->whole, self->units, begin, end, &p->core));
    p->begin = begin;
    p->width = self->strategy->first_width;
    p->improved.core = &p->core;
    p->improved.units = td_allocate(context, (end - begin + (size_t)1) * sizeof(uint32_t));
    uint32_t *left = td_allocate(context, (p->core.group_count + (size_t)1) * sizeof *left);
    if (p->improved.units == NULL || left == NULL) {
        td_release(context, left);
        return td_fail_memory(context);
    }
    for (uint32_t i = 0; i < end - begin; i++)
        p->improved.units[i] = i;
    p->improved.peak = sched_core_profile(&p->core, p->improved.units, left, NULL);
    td_release(context, left);
    return TD_OK;
}

static td_status cut_into_parts(portfolio *self)
{
    td_context *context = self->whole.context;
    const uint32_t count = self->whole.unit_count;
    uint32_t *cuts = td_allocate(context, (count + (size_t)1) * sizeof *cuts), cut_count = 0;
    self->parts = td_allocate(context, (count + (size_t)2) * sizeof *self->parts);
    td_status status = cuts == NULL || self->parts == NULL
                           ? td_fail_memory(context)
                           : sched_find_cuts(&self->whole, self->units, cuts, &cut_count);
    uint32_t begin = 0;
    for (uint32_t c = 0; c <= cut_count && status == TD_OK; c++) {
        const uint32_t end = c < cut_count ? cuts[c] : count;
        if (end > begin)
            status = make_part(self, begin, end);
        begin = end + 1;
    }
    td_release(context, cuts);
    return status;
}

/* What the units at the cuts need is the same in every order. */
static td_status measure_cuts(portfolio *self)
{
    td_context *context = self->whole.context;
    uint32_t *left = td_allocate(context, (self->whole.group_count + (size_t)1) * sizeof *left);
    uint64_t *cost = td_allocate(context, (self->whole.unit_count + (size_t)1) * sizeof *cost);
    td_status status = left == NULL || cost == NULL ? td_fail_memory(context) : TD_OK;
    if (status == TD_OK) {
        sched_core_profile(&self->whole, self->units, left, cost);
        for (uint32_t p = 0; p < self->part_count; p++)
            for (uint32_t i = 0; i < self->parts[p].core.unit_count; i++)
                cost[self->parts[p].begin + i] = 0;
        for (uint32_t i = 0; i < self->whole.unit_count; i++)
            self->bound = cost[i] > self->bound ? cost[i] : self->bound;
    }
    td_release(context, left);
    td_release(context, cost);
    return status;
}

static part *highest_part(const portfolio *self)
{
    part *highest = NULL;
    for (uint32_t p = 0; p < self->part_count; p++)
        if (highest == NULL || self->parts[p].improved.peak > highest->improved.peak)
            highest = &self->parts[p];
    return highest;
}

/* The best order of each part in its place. */
static td_status assemble(portfolio *self, uint32_t *order)
{
    uint32_t *units =
        td_allocate(self->whole.context, (self->whole.unit_count + (size_t)1) * sizeof *units);
    if (units == NULL)
        return td_fail_memory(self->whole.context);
    memcpy(units, self->units, self->whole.unit_count * sizeof *units);
    for (uint32_t p = 0; p < self->part_count; p++) {
        const part *from = &self->parts[p];
        for (uint32_t i = 0; i < from->core.unit_count; i++)
            units[from->begin + i] = self->units[from->begin + from->improved.units[i]];
    }
    sched_core_expand(&self->whole, units, order);
    td_release(self->whole.context, units);
    return TD_OK;
}

/* One attempt in stretches. */
static td_status stretch(portfolio *self, part *p, uint64_t seed, sched_effort *effort)
{
    const uint64_t peak = p->improved.peak;
    TD_TRY(sched_improve_locally(&p->improved, p->width, seed, effort));
    if (p->improved.peak < peak)
        self->chosen = "search";
    return TD_OK;
}

/* Sets that fit into 32 bits and into reasonable memory: a set of a level takes some kilobytes. */
static uint32_t at_most_sets(uint32_t width, uint32_t factor)
{
    return width < MOST_SETS_EVER / factor ? width * factor : MOST_SETS_EVER;
}

static td_status prove(portfolio *self, part *p, const sched_attempt *attempt, sched_effort *effort)
{
    const uint64_t peak = p->improved.peak;
    TD_TRY(sched_prove(&p->proof, &p->improved, attempt, effort));
    if (p->improved.peak < peak)
        self->chosen = "search";
    return TD_OK;
}

/* Backward beams that grow: cheap, and what follows has less to look at. */
static td_status climb_rungs(portfolio *self, part *p, uint64_t seed, sched_effort *effort)
{
    const uint64_t peak = p->improved.peak;
    const topo_rung last = {
        .backward = true, .width = p->width * WHOLE_WIDTH / RUNGS_NARROWER, .seed = seed};
    if (effort->spent || peak <= p->improved.bound)
        return TD_OK;
    TD_TRY(topo_ladder_run(&p->improved, &last, effort));
    if (p->improved.peak < peak)
        self->chosen = "beam-backward";
    return TD_OK;
}

/* Beams over the part, plain or by learned ranks, and stretches of what they find. */
static td_status climb(portfolio *self, part *p, bool learned, uint64_t seed, sched_effort *effort)
{
    const uint64_t peak = p->improved.peak;
    if (effort->spent || peak <= p->improved.bound)
        return TD_OK;
    if (learned && !p->has_ranks && p->core.unit_count >= LEAST_LEARNED && !self->unlearned) {
        TD_TRY(sched_learn_ranks(self->problem, &self->whole, &p->core, self->units + p->begin,
                                 effort, &p->ranks));
        p->has_ranks = true;
    }
    TD_TRY(sched_climb(&p->improved, learned ? &p->ranks : NULL, p->width * WHOLE_WIDTH, seed,
                       effort, &self->chosen));
    return p->improved.peak < peak ? stretch(self, p, seed, effort) : TD_OK;
}

/* Where stretches find nothing more: beams over the part and proofs. */
static td_status improve_whole(portfolio *self, part *p, uint64_t seed, sched_effort *effort)
{
    const uint32_t width = p->width * WHOLE_WIDTH;
    const sched_attempt by_cuts = {.width = width, .without_beams = true, .steps = EARLY_STEPS};
    const sched_attempt early = {.width = width,
                                 .without_beams = true,
                                 .most = at_most_sets(width, EARLY_SETS),
                                 .steps = EARLY_STEPS};
    const sched_attempt full = {
        .width = width, .most = at_most_sets(width, MOST_SETS), .steps = UINT64_MAX};
    if (self->strategy->with_beams) {
        if (p->round == 0) {
            TD_TRY(prove(self, p, &by_cuts, effort));
            TD_TRY(climb_rungs(self, p, seed, effort));
        }
        TD_TRY(climb(self, p, true, seed, effort));
        if (p->round == 0)
            TD_TRY(prove(self, p, &early, effort));
        TD_TRY(climb(self, p, false, seed, effort));
    }
    return prove(self, p, &full, effort);
}

/* One attempt at a part in stretches; each width is tried with several ways to break ties before a
 * wider one is. */
static td_status improve_part(portfolio *self, part *p, uint64_t seed, sched_effort *effort)
{
    sched_improved *improved = &p->improved;
    improved->bound = self->bound;
    TD_TRY(stretch(self, p, seed + p->round, effort));
    if (improved->is_stuck) {
        if (p->round % ROUNDS == 0)
            TD_TRY(improve_whole(self, p, seed, effort));
        if (++p->round % ROUNDS == 0)
            p->width *= WIDTH_GROWTH;
    }
    self->bound = improved->bound > self->bound ? improved->bound : self->bound;
    return TD_OK;
}

static td_status improve_parts(portfolio *self, uint64_t seed, sched_effort *effort)
{
    for (;;) {
        part *highest = highest_part(self);
        if (highest == NULL || highest->improved.peak <= self->bound || effort->spent ||
            highest->width > self->strategy->last_width)
            return TD_OK;
        TD_TRY(improve_part(self, highest, seed, effort));
    }
}

/* Both beams of the usual width over the whole, as their rows run them. */
static td_status try_beams(portfolio *self, best_order *best, const sched_options *options,
                           uint64_t bound, sched_effort *effort)
{
    for (int backward = 1; backward >= 0 && !effort->spent; backward--) {
        const sched_search search = {.backward = backward != 0,
                                     .width = SCHED_USUAL_WIDTH,
                                     .bound = UINT64_MAX,
                                     .floor = bound,
                                     .seed = options->seed};
        sched_outcome outcome;
        TD_TRY(sched_search_run(&self->whole, &search, effort, self->units, &outcome));
        if (!outcome.found)
            continue;
        sched_core_expand(&self->whole, self->units, best->tried);
        TD_TRY(keep_if_better(best, backward != 0 ? "beam-backward" : "beam"));
    }
    return TD_OK;
}

static td_status search(best_order *best, const sched_strategy *strategy,
                        const sched_options *options, uint64_t bound, sched_report *report)
{
    td_context *context = best->problem->context;
    portfolio self = {.problem = best->problem,
                      .strategy = strategy,
                      .unlearned = options->unlearned,
                      .bound = bound,
                      .chosen = "search"};
    sched_effort effort = sched_effort_of(options);
    TD_TRY(sched_core_make(best->problem, &self.whole));
    td_status status = sched_reduce(&self.whole);
    if (status == TD_OK) {
        self.units = td_allocate(context, (self.whole.unit_count + (size_t)1) * sizeof(uint32_t));
        status = self.units == NULL ? td_fail_memory(context) : TD_OK;
    }
    if (status == TD_OK && strategy->with_beams)
        status = try_beams(&self, best, options, bound, &effort);
    if (status == TD_OK)
        status = sched_core_adopt(&self.whole, best->order, self.units);
    if (status == TD_OK)
        status = cut_into_parts(&self);
    if (status == TD_OK)
        status = measure_cuts(&self);
    if (status == TD_OK)
        status = improve_parts(&self, options->seed, &effort);
    if (status == TD_OK)
        status = assemble(&self, best->tried);
    if (status == TD_OK)
        status = keep_if_better(best, self.chosen);
    if (status == TD_OK) {
        report->units = self.whole.unit_count;
        report->parts = self.part_count;
        report->lower_bound = self.bound;
    }
    release_portfolio(&self, context);
    return status;
}

td_status sched_portfolio_run(const sched_problem *problem, const sched_strategy *strategy,
                              const sched_options *options, sched_report *report, uint32_t *order)
{
    td_context *context = problem->context;
    uint32_t *tried = td_allocate(context, (problem->node_count + (size_t)1) * sizeof *tried);
    if (tried == NULL)
        return td_fail_memory(context);
    best_order best = {.problem = problem, .order = order, .tried = tried, .peak = UINT64_MAX};
    const uint64_t bound = sched_lower_bound(problem);
    td_status status = try_quick_orders(&best, options);
    if (status == TD_OK && best.peak > bound)
        status = search(&best, strategy, options, bound, report);
    if (status == TD_OK)
        report->chosen = best.name;
    td_release(context, tried);
    return status;
}

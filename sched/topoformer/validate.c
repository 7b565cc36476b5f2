/* Validation of ranks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/validate.h"

#include "sched/layered.h"
#include "sched/topoformer/rung.h"

#include <pthread.h>
#include <string.h>

#define FIRST_SEED UINT64_C(0x7e57000000)
#define WIDER      4 /* plain beams than learned ones */

static const uint32_t widths[TOPO_CHECKS] = {1, 16, 64};

typedef struct job {
    topo_validation *validation;
    const topo_model *model; /* NULL: make the graphs and run the plain beams */
    uint32_t next;
    pthread_mutex_t lock;
} job;

/* From nothing, so that what a direction finds is its own: learned ladders, or single plain beams.
 */
static td_status run_beams(topo_checked *own, const topo_ranks *ranks, bool backward,
                           uint64_t *peaks)
{
    td_context *context = &own->context;
    const sched_core *core = &own->graph.core;
    uint32_t *units = td_allocate(context, (core->unit_count + (size_t)1) * sizeof *units);
    td_status status = units == NULL ? td_fail_memory(context) : TD_OK;
    for (uint32_t w = 0; w < TOPO_CHECKS && status == TD_OK; w++) {
        sched_improved best = {core, units, UINT64_MAX, own->graph.floor, false};
        topo_rung rung = {.ranks = ranks, .backward = backward, .width = widths[w]};
        sched_effort effort = {.work = UINT64_MAX};
        bool found;
        rung.width *= ranks == NULL ? WIDER : 1;
        status = ranks == NULL ? topo_rung_run(&best, &rung, &effort, &found)
                               : topo_ladder_run(&best, &rung, &effort);
        peaks[w] = best.peak;
    }
    td_release(context, units);
    return status;
}

static td_status make_graph(topo_checked *own)
{
    sched_layered layered;
    TD_TRY(sched_layered_make(&own->context, own->nodes, own->seed, &layered));
    td_status status = sched_layered_problem(&own->context, &layered, &own->problem);
    sched_layered_release(&own->context, &layered);
    if (status == TD_OK)
        status = topo_graph_make(&own->problem, &own->graph);
    for (int back = 0; back < 2 && status == TD_OK; back++)
        status = run_beams(own, NULL, back != 0, own->plain[back]);
    return status;
}

static td_status check_graph(topo_checked *own, const topo_model *model)
{
    topo_ranks ranks;
    TD_TRY(topo_rank(model, &own->graph, &ranks));
    td_status status = TD_OK;
    for (int back = 0; back < 2 && status == TD_OK; back++)
        status = run_beams(own, &ranks, back != 0, own->learned[back]);
    topo_ranks_release(&ranks);
    return status;
}

static void *work(void *argument)
{
    job *self = argument;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        const uint32_t index = self->next++;
        pthread_mutex_unlock(&self->lock);
        if (index >= self->validation->count)
            return NULL;
        topo_checked *own = &self->validation->graphs[index];
        own->status = self->model == NULL ? make_graph(own) : check_graph(own, self->model);
    }
}

static td_status run_job(job *self, uint32_t threads)
{
    pthread_t running[256];
    uint32_t started = 0;
    pthread_mutex_init(&self->lock, NULL);
    for (uint32_t t = 1; t < threads && t < TD_COUNT_OF(running); t++)
        if (pthread_create(&running[started], NULL, work, self) == 0)
            started++;
    work(self);
    for (uint32_t t = 0; t < started; t++)
        pthread_join(running[t], NULL);
    pthread_mutex_destroy(&self->lock);
    for (uint32_t i = 0; i < self->validation->count; i++) {
        const topo_checked *own = &self->validation->graphs[i];
        if (own->status != TD_OK)
            return td_fail(self->validation->context, own->status, "%s", own->context.message);
    }
    return TD_OK;
}

void topo_validation_release(topo_validation *validation)
{
    for (uint32_t i = 0; validation->graphs != NULL && i < validation->count; i++) {
        topo_graph_release(&validation->graphs[i].graph);
        sched_problem_release(&validation->graphs[i].problem);
    }
    td_release(validation->context, validation->graphs);
    memset(validation, 0, sizeof *validation);
}

td_status topo_validation_make(td_context *context, uint32_t nodes, uint32_t count,
                               uint32_t threads, topo_validation *validation)
{
    *validation = (topo_validation){.context = context};
    for (int size = 0; size < TOPO_SIZES; size++)
        validation->first[size + 1] = validation->count += count >> size;
    validation->graphs =
        td_allocate(context, (validation->count + (size_t)1) * sizeof *validation->graphs);
    if (validation->graphs == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0, size = 0; i < validation->count; i++) {
        topo_checked *own = &validation->graphs[i];
        while (i == validation->first[size + 1])
            size++;
        own->nodes = nodes << size;
        own->seed = FIRST_SEED + i;
        own->context = *context;
        own->problem.context = own->graph.core.context = &own->context;
        own->graph.views.context = own->graph.features.context = &own->context;
    }
    job self = {.validation = validation};
    return run_job(&self, threads);
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t best_of(const topo_checked *own)
{
    uint64_t best = UINT64_MAX;
    for (int back = 0; back < 2; back++)
        for (int w = 0; w < TOPO_CHECKS; w++)
            best = lesser(best, lesser(own->plain[back][w], own->learned[back][w]));
    return best;
}

/* The peak of a way: forward, backward, or the lesser of both. */
static uint64_t peak_of(const uint64_t peaks[2][TOPO_CHECKS], int way, int width)
{
    return way < 2 ? peaks[way][width] : lesser(peaks[0][width], peaks[1][width]);
}

static void report_way(const topo_validation *validation, int size, int way, FILE *log)
{
    static const char *const names[] = {"forward", "backward", "both"};
    const uint32_t first = validation->first[size], end = validation->first[size + 1];
    fprintf(log, "validation, %u nodes, %-8s: %% above best:", validation->graphs[first].nodes,
            names[way]);
    for (int w = 0; w < TOPO_CHECKS; w++) {
        double learned = 0, plain = 0;
        for (uint32_t i = first; i < end; i++) {
            const topo_checked *own = &validation->graphs[i];
            const double best = (double)best_of(own), share = 100.0 / (end - first);
            learned += share * ((double)peak_of(own->learned, way, w) / best - 1);
            plain += share * ((double)peak_of(own->plain, way, w) / best - 1);
        }
        fprintf(log, "%s learned %u %.3f, plain %u %.3f", w == 0 ? "" : ";", widths[w], learned,
                WIDER * widths[w], plain);
    }
    fputc('\n', log);
}

td_status topo_validate(topo_validation *validation, const topo_model *model, uint32_t threads,
                        FILE *log)
{
    job self = {.validation = validation, .model = model};
    TD_TRY(run_job(&self, threads));
    for (int size = 0; size < TOPO_SIZES; size++)
        for (int way = 0; way < 3 && validation->first[size] < validation->first[size + 1]; way++)
            report_way(validation, size, way, log);
    fflush(log);
    return TD_OK;
}

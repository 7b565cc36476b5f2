/* Validation of ranks.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/validate.h"

#include "sched/effort.h"
#include "sched/layered.h"

#include <pthread.h>
#include <string.h>

#define FIRST_SEED UINT64_C(0x7e57000000)

static const uint32_t widths[TOPO_CHECKS + 1] = {1, 4, 16, 64};

typedef struct job {
    topo_validation *validation;
    const topo_model *model; /* NULL: make the graphs and run the plain beams */
    uint32_t nodes, next;
    pthread_mutex_t lock;
} job;

static td_status run_beams(topo_checked *own, const topo_ranks *ranks, uint32_t count,
                           uint64_t *peaks, bool backward)
{
    td_context *context = &own->context;
    uint32_t *units =
        td_allocate(context, (own->graph.core.unit_count + (size_t)1) * sizeof *units);
    td_status status = units == NULL ? td_fail_memory(context) : TD_OK;
    for (uint32_t w = 0; w < count && status == TD_OK; w++) {
        const sched_search search = topo_search(&own->graph, ranks, backward, widths[w]);
        sched_effort effort = {.work = UINT64_MAX};
        sched_outcome outcome;
        status = sched_search_run(&own->graph.core, &search, &effort, units, &outcome);
        peaks[w] = outcome.peak;
    }
    td_release(context, units);
    return status;
}

static td_status make_graph(topo_checked *own, uint32_t nodes, uint64_t seed)
{
    sched_layered layered;
    TD_TRY(sched_layered_make(&own->context, nodes, seed, &layered));
    td_status status = sched_layered_problem(&own->context, &layered, &own->problem);
    sched_layered_release(&own->context, &layered);
    if (status == TD_OK)
        status = topo_graph_make(&own->problem, TOPO_QUICK_WIDTH, &own->graph);
    for (int back = 0; back < 2 && status == TD_OK; back++)
        status = run_beams(own, NULL, TOPO_CHECKS + 1, own->plain[back], back != 0);
    return status;
}

static td_status check_graph(topo_checked *own, const topo_model *model)
{
    topo_ranks ranks;
    TD_TRY(topo_rank(model, &own->graph, &ranks));
    td_status status = TD_OK;
    for (int back = 0; back < 2 && status == TD_OK; back++)
        status = run_beams(own, &ranks, TOPO_CHECKS, own->learned[back], back != 0);
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
        own->status = self->model == NULL ? make_graph(own, self->nodes, FIRST_SEED + index)
                                          : check_graph(own, self->model);
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
    *validation = (topo_validation){.context = context, .count = count};
    validation->graphs = td_allocate(context, (count + (size_t)1) * sizeof *validation->graphs);
    if (validation->graphs == NULL)
        return td_fail_memory(context);
    for (uint32_t i = 0; i < count; i++) {
        topo_checked *own = &validation->graphs[i];
        own->context = *context;
        own->problem.context = own->graph.core.context = &own->context;
        own->graph.views.context = own->graph.features.context = &own->context;
    }
    job self = {.validation = validation, .nodes = nodes};
    return run_job(&self, threads);
}

static uint64_t best_of(const topo_checked *own)
{
    uint64_t best = UINT64_MAX;
    for (int back = 0; back < 2; back++)
        for (int w = 0; w <= TOPO_CHECKS; w++) {
            best = own->plain[back][w] < best ? own->plain[back][w] : best;
            if (w < TOPO_CHECKS && own->learned[back][w] < best)
                best = own->learned[back][w];
        }
    return best;
}

td_status topo_validate(topo_validation *validation, const topo_model *model, uint32_t threads,
                        FILE *log)
{
    job self = {.validation = validation, .model = model};
    TD_TRY(run_job(&self, threads));
    double plain[2][TOPO_CHECKS + 1] = {{0}}, learned[2][TOPO_CHECKS] = {{0}};
    for (uint32_t i = 0; i < validation->count; i++) {
        const topo_checked *own = &validation->graphs[i];
        const double best = (double)best_of(own), share = 100.0 / validation->count;
        for (int back = 0; back < 2; back++)
            for (int w = 0; w <= TOPO_CHECKS; w++) {
                plain[back][w] += share * ((double)own->plain[back][w] / best - 1);
                if (w < TOPO_CHECKS)
                    learned[back][w] += share * ((double)own->learned[back][w] / best - 1);
            }
    }
    for (int back = 0; back < 2; back++) {
        fprintf(log, "validation %s: %% above best:", back ? "backward" : "forward ");
        for (int w = 0; w <= TOPO_CHECKS; w++) {
            fprintf(log, " %u: plain %.2f", widths[w], plain[back][w]);
            if (w < TOPO_CHECKS)
                fprintf(log, " learned %.2f,", learned[back][w]);
        }
        fputc('\n', log);
    }
    fflush(log);
    return TD_OK;
}

/* Training: batches over threads and processes, Adam, validation.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "sched/topoformer/train.h"

#include "base/hash.h"
#include "sched/effort.h"
#include "sched/layered.h"
#include "sched/topoformer/checkpoint.h"
#include "sched/topoformer/lesson.h"
#include "sched/topoformer/policy.h"
#include "sched/topoformer/validate.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_DECAY  0.9
#define SECOND_DECAY 0.98
#define EPSILON      1e-8
#define MOST_GRADIENT                                                                              \
    1.0                    /* norm of a step's mean gradient, and of an example's slopes by output \
                            */
#define AVERAGE_DECAY 0.99 /* of the averaged parameters */
#define FINAL_RATE    0.03

/* An example of a batch and what it gave. */
typedef struct example {
    td_context context;
    td_status status;
    uint64_t seed;
    const sched_problem *problem; /* NULL: a layered graph */
    uint32_t nodes, width;
    bool by_policy; /* learned by REINFORCE */
    double work;    /* about what it takes, to begin with the longest */
    topo_drawn drawn;
    topo_lesson lesson;
    float *gradient;
} example;

/* What a report says of a batch, added up over its examples. */
typedef struct tally {
    double loss, gain, spread;
    uint32_t lessons, learned, policies;
} tally;

typedef struct trainer {
    td_context *context;
    const topo_training *training;
    const topo_team *team;
    topo_model *model;
    topo_model averaged;
    topo_adam adam;
    example *examples; /* [batch] */
    example **turns;   /* [batch]: the same, the longest first */
    float *gradient;   /* of the whole team's batch */
    pthread_mutex_t lock;
    uint32_t next; /* example that no thread has taken */
    topo_validation validation;
    double start;
} trainer;

static bool is_first(const trainer *self)
{
    return self->team->number == 0;
}

/* --- one example --- */

static double uniform(uint64_t *state)
{
    return (double)(td_random_next(state) >> 11) * 0x1p-53;
}

/* Cuts the slopes of one example, so that no graph speaks louder than the others. */
static void tame(float *d_outputs, size_t count)
{
    double square = 0;
    for (size_t i = 0; i < count; i++)
        square += (double)d_outputs[i] * (double)d_outputs[i];
    if (!(square > MOST_GRADIENT * MOST_GRADIENT))
        return;
    const float factor = (float)(MOST_GRADIENT / sqrt(square));
    for (size_t i = 0; i < count; i++)
        d_outputs[i] *= factor;
}

static td_status learn_graph(const trainer *self, const sched_problem *problem, example *own)
{
    topo_graph graph;
    topo_pass pass;
    TD_TRY(topo_graph_make(problem, &graph));
    td_status status =
        topo_encode(self->model, &graph.views, graph.features.rows, &own->context, &pass);
    const size_t outputs = (size_t)graph.core.unit_count * TOPO_OUTPUTS;
    float *d_outputs = td_allocate(&own->context, (outputs + 1) * sizeof *d_outputs);
    if (status == TD_OK && d_outputs == NULL)
        status = td_fail_memory(&own->context);
    const topo_training *training = self->training;
    if (status == TD_OK && own->by_policy)
        status = topo_reinforce(&graph, pass.outputs, training->temperature, training->samples,
                                own->seed, d_outputs, &own->drawn);
    else if (status == TD_OK)
        status = topo_lesson_take(&graph, pass.outputs, own->width, own->width * training->factor,
                                  own->seed % 2 == 0, d_outputs, &own->lesson);
    if (status == TD_OK) {
        tame(d_outputs, outputs);
        for (size_t i = 0; i < outputs; i++)
            d_outputs[i] +=
                (float)(2 * self->training->decay / graph.core.unit_count) * pass.outputs[i];
        status = topo_encode_back(&pass, d_outputs, own->gradient);
    }
    td_release(&own->context, d_outputs);
    topo_pass_release(&pass);
    topo_graph_release(&graph);
    return status;
}

static td_status learn_layered(const trainer *self, example *own)
{
    sched_layered layered;
    sched_problem problem;
    TD_TRY(sched_layered_make(&own->context, own->nodes, own->seed, &layered));
    td_status status = sched_layered_problem(&own->context, &layered, &problem);
    if (status == TD_OK) {
        status = learn_graph(self, &problem, own);
        sched_problem_release(&problem);
    }
    sched_layered_release(&own->context, &layered);
    return status;
}

static td_status learn_example(const trainer *self, example *own)
{
    if (own->problem == NULL)
        return learn_layered(self, own);
    /* A copy that allocates through the example's own context. */
    sched_problem problem = *own->problem;
    problem.context = &own->context;
    return learn_graph(self, &problem, own);
}

/* Drawn by the seed, the step and its place in the batch. */
static void draw_example(const trainer *self, uint32_t index, example *own)
{
    const topo_training *training = self->training;
    const uint64_t turn = (uint64_t)self->adam.step * self->team->size + self->team->number;
    const uint64_t number = turn * training->batch + index;
    uint64_t state = training->seed * UINT64_C(0x9e3779b97f4a7c15) + number;
    td_random_next(&state);
    own->seed = td_random_next(&state);
    own->width = training->widths[number % training->width_count];
    own->by_policy = uniform(&state) < training->policy_share;
    own->drawn = (topo_drawn){0};
    own->lesson = (topo_lesson){0};
    const double least = training->least_nodes, most = training->most_nodes;
    const double place = uniform(&state);
    const uint64_t which = td_random_next(&state);
    own->problem = NULL;
    if (training->graph_count > 0 && uniform(&state) < training->graph_share)
        own->problem = training->graphs[which % training->graph_count];
    own->nodes = own->problem != NULL ? own->problem->node_count
                                      : (uint32_t)(least * pow(most / least, place));
    own->work = (double)own->nodes * (own->by_policy ? 1 : own->width);
}

static void *work(void *argument)
{
    trainer *self = argument;
    for (;;) {
        pthread_mutex_lock(&self->lock);
        const uint32_t index = self->next++;
        pthread_mutex_unlock(&self->lock);
        if (index >= self->training->batch)
            return NULL;
        example *own = self->turns[index];
        memset(own->gradient, 0, self->model->layout.count * sizeof *own->gradient);
        own->status = learn_example(self, own);
    }
}

/* --- a step --- */

static int compare_work(const void *left, const void *right)
{
    const example *a = *(example *const *)left, *b = *(example *const *)right;
    return a->work != b->work ? (a->work < b->work) - (a->work > b->work) : (a > b) - (a < b);
}

static td_status run_batch(trainer *self)
{
    pthread_t threads[256];
    uint32_t started = 0;
    self->next = 0;
    for (uint32_t e = 0; e < self->training->batch; e++) {
        self->turns[e] = &self->examples[e];
        draw_example(self, e, self->turns[e]);
    }
    qsort(self->turns, self->training->batch, sizeof *self->turns, compare_work);
    for (uint32_t t = 1; t < self->training->threads && t < TD_COUNT_OF(threads); t++)
        if (pthread_create(&threads[started], NULL, work, self) == 0)
            started++;
    work(self);
    for (uint32_t t = 0; t < started; t++)
        pthread_join(threads[t], NULL);
    for (uint32_t e = 0; e < self->training->batch; e++)
        if (self->examples[e].status != TD_OK)
            return td_fail(self->context, self->examples[e].status, "%s",
                           self->examples[e].context.message);
    return TD_OK;
}

/* The gradients of the batch in the order of its examples; the sum of all is the first process's.
 */
static void add_up(trainer *self)
{
    float *sum = self->gradient;
    const size_t count = self->model->layout.count;
    memset(sum, 0, count * sizeof *sum);
    topo_team_take(self->team, sum, count * sizeof *sum);
    for (uint32_t e = 0; e < self->training->batch; e++)
        for (size_t i = 0; i < count; i++)
            sum[i] += self->examples[e].gradient[i];
    topo_team_pass(self->team, sum, count * sizeof *sum);
}

static double rate_of(const topo_training *training, uint32_t step)
{
    const double warm = fmin(1, (step + 1) / 20.0);
    const double along = training->steps > 1 ? step / (training->steps - 1.0) : 0;
    const double fall = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + cos(3.14159265358979 * along));
    return training->rate * warm * fall;
}

static void step_adam(trainer *self)
{
    float *gradient = self->gradient;
    const size_t count = self->model->layout.count;
    for (size_t i = 0; i < count; i++)
        gradient[i] /= (float)(self->training->batch * self->team->size);
    const double rate = rate_of(self->training, self->adam.step);
    double square = 0;
    for (size_t i = 0; i < count; i++)
        square += (double)gradient[i] * (double)gradient[i];
    const double cut = square > MOST_GRADIENT * MOST_GRADIENT ? MOST_GRADIENT / sqrt(square) : 1;
    self->adam.step++;
    const double first = 1 - pow(FIRST_DECAY, self->adam.step);
    const double second = 1 - pow(SECOND_DECAY, self->adam.step);
    for (size_t i = 0; i < count; i++) {
        const double slope = cut * (double)gradient[i];
        float *mean = &self->adam.mean[i], *power = &self->adam.power[i];
        *mean = (float)(FIRST_DECAY * (double)*mean + (1 - FIRST_DECAY) * slope);
        *power = (float)(SECOND_DECAY * (double)*power + (1 - SECOND_DECAY) * slope * slope);
        self->model->parameters[i] -=
            (float)(rate * ((double)*mean / first) / (sqrt((double)*power / second) + EPSILON));
    }
    const float kept = (float)fmin(AVERAGE_DECAY, 1 - 1 / (1 + 0.1 * self->adam.step));
    for (size_t i = 0; i < count; i++)
        self->averaged.parameters[i] +=
            (1 - kept) * (self->model->parameters[i] - self->averaged.parameters[i]);
}

static void count_example(const example *own, tally *sum)
{
    sum->loss += own->lesson.loss;
    sum->learned += own->lesson.learned[0] + own->lesson.learned[1];
    sum->lessons += own->by_policy ? 0 : 2;
    sum->policies += own->by_policy ? 2 : 0;
    for (int back = 0; back < 2; back++)
        if (own->by_policy)
            sum->spread += 100 * (own->drawn.mean[back] / (double)own->drawn.best - 1);
        else
            sum->gain += 100 * ((double)own->lesson.narrow[back] / (double)own->lesson.best - 1);
}

static void report_step(const trainer *self)
{
    tally sum = {0};
    topo_team_take(self->team, &sum, sizeof sum);
    for (uint32_t e = 0; e < self->training->batch; e++)
        count_example(&self->examples[e], &sum);
    topo_team_pass(self->team, &sum, sizeof sum);
    if (!is_first(self))
        return;
    fprintf(
        self->training->log,
        "step %u: %u of %u lessons, loss %.4f, %.3f %% above teacher; samples %.3f %% above best, "
        "%.0f s\n",
        self->adam.step, sum.learned, sum.lessons, sum.loss / fmax(1, 0.5 * sum.lessons),
        sum.gain / fmax(1, sum.lessons), sum.spread / fmax(1, sum.policies),
        td_seconds() - self->start);
    fflush(self->training->log);
}

static td_status validate(trainer *self)
{
    if (!is_first(self))
        return TD_OK;
    TD_TRY(topo_validate(&self->validation, &self->averaged, self->training->threads,
                         self->training->log));
    if (self->training->checkpoint == NULL)
        return TD_OK;
    return topo_checkpoint_write(self->context, self->training->checkpoint, self->model,
                                 &self->adam);
}

/* --- all steps --- */

static td_status agree(const trainer *self, td_status status)
{
    return topo_team_agree(self->team, self->context, status);
}

/* The first process alone has the optimiser's state; the others need to know where it is. */
static void share_model(trainer *self)
{
    topo_team_share(self->team, self->model->parameters,
                    self->model->layout.count * sizeof *self->model->parameters);
    topo_team_share(self->team, &self->adam.step, sizeof self->adam.step);
}

static td_status take_step(trainer *self)
{
    TD_TRY(agree(self, run_batch(self)));
    add_up(self);
    if (is_first(self))
        step_adam(self);
    share_model(self);
    if (self->adam.step % 10 == 0)
        report_step(self);
    return TD_OK;
}

/* By the first process's clock. */
static bool is_late(const trainer *self)
{
    const topo_training *training = self->training;
    bool late = self->adam.step == training->until ||
                (training->time_limit > 0 && td_seconds() - self->start > training->time_limit);
    topo_team_share(self->team, &late, sizeof late);
    return late;
}

static td_status run_steps(trainer *self)
{
    const topo_training *training = self->training;
    share_model(self);
    TD_TRY(agree(self, validate(self)));
    bool late = false;
    while (self->adam.step < training->steps && !late) {
        TD_TRY(take_step(self));
        late = is_late(self);
        if (self->adam.step % training->validate_every == 0 || self->adam.step == training->steps ||
            late)
            TD_TRY(agree(self, validate(self)));
    }
    topo_team_share(self->team, self->averaged.parameters,
                    self->averaged.layout.count * sizeof *self->averaged.parameters);
    return TD_OK;
}

/* --- the whole --- */

static td_status open_trainer(trainer *self)
{
    const topo_training *training = self->training;
    td_context *context = self->context;
    TD_TRY(topo_model_make(context, &training->shape, training->seed, self->model));
    TD_TRY(topo_model_make(context, &training->shape, training->seed, &self->averaged));
    const size_t size = (self->model->layout.count + 1) * sizeof(float);
    self->gradient = td_allocate(context, size);
    self->adam.mean = td_allocate(context, size);
    self->adam.power = td_allocate(context, size);
    self->examples = td_allocate(context, training->batch * sizeof *self->examples);
    self->turns = td_allocate(context, training->batch * sizeof *self->turns);
    if (self->gradient == NULL || self->adam.mean == NULL || self->adam.power == NULL ||
        self->examples == NULL || self->turns == NULL)
        return td_fail_memory(context);
    for (uint32_t e = 0; e < training->batch; e++) {
        self->examples[e].context = *context;
        self->examples[e].gradient = td_allocate(context, size);
        if (self->examples[e].gradient == NULL)
            return td_fail_memory(context);
    }
    if (!is_first(self))
        return TD_OK;
    if (training->checkpoint != NULL)
        TD_TRY(topo_checkpoint_read(context, training->checkpoint, self->model, &self->adam));
    return topo_validation_make(context, training->validation_nodes, training->validation_count,
                                training->threads, &self->validation);
}

static void close_trainer(trainer *self)
{
    td_context *context = self->context;
    for (uint32_t e = 0; self->examples != NULL && e < self->training->batch; e++)
        td_release(context, self->examples[e].gradient);
    td_release(context, self->examples);
    td_release(context, self->turns);
    td_release(context, self->gradient);
    td_release(context, self->adam.mean);
    td_release(context, self->adam.power);
    topo_validation_release(&self->validation);
    pthread_mutex_destroy(&self->lock);
}

td_status topo_train(td_context *context, const topo_training *training, topo_model *model)
{
    static const topo_team alone = {.size = 1};
    topo_model latest = {0};
    trainer self = {.context = context,
                    .training = training,
                    .team = training->team == NULL ? &alone : training->team,
                    .model = &latest,
                    .validation = {.context = context},
                    .start = td_seconds()};
    self.adam.averaged = &self.averaged;
    pthread_mutex_init(&self.lock, NULL);
    td_status status = agree(&self, open_trainer(&self));
    if (status == TD_OK)
        status = run_steps(&self);
    close_trainer(&self);
    topo_model_release(context, &latest);
    if (status == TD_OK)
        *model = self.averaged;
    else
        topo_model_release(context, &self.averaged);
    return status;
}

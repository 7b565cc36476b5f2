/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bench_add_case(bench_group *group, bench_key key, uint32_t rounds)
{
    if (group->case_count == BENCH_MAX_CASES)
        return false;
    group->cases[group->case_count++] =
        (bench_case){.key = key, .rounds = rounds > BENCH_MAX_ROUNDS ? BENCH_MAX_ROUNDS : rounds};
    return true;
}

static void run_once(bench_group *group, const bench_key *key)
{
    bench_model *model = &group->models[key->variant];
    switch (key->work) {
    case BENCH_PASS:
    case BENCH_NEIGHBOUR:
        bench_pass(model, key->part, group->pool, key->threads, BENCH_COMMITTED, key->size,
                   key->size);
        break;
    case BENCH_WHOLE_PREFILL:
        bench_prefill(model, key->part, group->pool, key->threads);
        break;
    case BENCH_READ:
        bench_read(&bench_read_ways[key->size], model->weights, model->info->weights_bytes,
                   group->pool, key->threads);
        break;
    case BENCH_PEAK:
        bench_run_peak((bench_peak)key->size);
        break;
    }
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void time_once(bench_group *group, bench_case *one)
{
    const double before = bench_seconds(), computed = processor_seconds();
    run_once(group, &one->key);
    double time = bench_seconds() - before;
    if (one->key.threads == 1 && one->key.work != BENCH_NEIGHBOUR) {
        const double share = processor_seconds() - computed;
        group->elapsed += time;
        group->computed += share;
        if (group->processor_time)
            time = share;
    }
    one->seconds[one->count++] = time;
}

static bool takes_part(const bench_case *one, bool neighbour, uint32_t round)
{
    return (one->key.work == BENCH_NEIGHBOUR) == neighbour && round < one->rounds;
}

/* Touches every page of the weights and every path of the code; prefill is the same code as a pass
 * and long. */
static void warm_up(bench_group *group, bool neighbour)
{
    for (size_t i = 0; i < group->case_count; i++)
        if (takes_part(&group->cases[i], neighbour, 0) &&
            group->cases[i].key.work != BENCH_WHOLE_PREFILL)
            run_once(group, &group->cases[i].key);
}

void bench_run_cases(bench_group *group, bool neighbour)
{
    const double started = bench_seconds();
    warm_up(group, neighbour);
    for (uint32_t round = 0; round < BENCH_MAX_ROUNDS; round++) {
        uint32_t done = 0;
        for (size_t i = 0; i < group->case_count; i++) {
            bench_case *one = &group->cases[(i + round * 7) % group->case_count];
            if (!takes_part(one, neighbour, round))
                continue;
            time_once(group, one);
            done++;
        }
        if (done == 0)
            return;
        fprintf(stderr, "  round %u%s: %u measurements, %.0f s\n", round + 1,
                neighbour ? " beside a neighbour" : "", done, bench_seconds() - started);
    }
}

static int compare_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool keys_equal(const bench_key *a, const bench_key *b)
{
    return a->work == b->work && a->variant == b->variant && a->part == b->part &&
           a->threads == b->threads && a->size == b->size;
}

double bench_quantile(const bench_group *group, bench_key key, double fraction)
{
    for (size_t i = 0; i < group->case_count; i++) {
        const bench_case *one = &group->cases[i];
        double sorted[BENCH_MAX_ROUNDS];
        if (!keys_equal(&one->key, &key) || one->count == 0)
            continue;
        memcpy(sorted, one->seconds, sizeof sorted);
        qsort(sorted, one->count, sizeof *sorted, compare_seconds);
        return sorted[(size_t)(fraction * (one->count - 1))];
    }
    return 0;
}

/* Figures of a generation, for programs (JSON) and for people.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

double rt_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* VmHWM: the most memory that the process ever had resident. */
static uint64_t peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return 0;
    char line[256];
    unsigned long long kilobytes = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1)
            break;
    fclose(file);
    return kilobytes * 1024;
}

static double ratio(double numerator, double denominator)
{
    return denominator > 0 ? numerator / denominator : 0;
}

/* Reading weights is what a pass costs: a round reads the target's once and the drafter's once per
 * guess. */
static double memory_bound_speed_up(const tandem_artefact *artefact, double efficiency,
                                    double depth)
{
    if (artefact->model_count < 2)
        return efficiency;
    double c = ratio((double)artefact->models[RT_DRAFTER].weights_read_per_pass,
                     (double)artefact->models[RT_TARGET].weights_read_per_pass);
    return efficiency / (1 + c * depth);
}

void rt_stats(const tandem_session *session, tandem_stats *stats)
{
    const tandem_model *model = session->model;
    const rt_counts *counts = &session->counts;
    double rounds = (double)counts->rounds;
    double efficiency = ratio((double)counts->tokens, rounds);
    *stats = (tandem_stats){
        .prompt_tokens = counts->prompt_tokens,
        .tokens = counts->tokens,
        .prefill_seconds = counts->prefill_seconds,
        .seconds = counts->seconds,
        .tokens_per_second = ratio((double)counts->tokens, counts->seconds),
        .rounds = counts->rounds,
        .drafted = counts->drafted,
        .accepted = counts->accepted,
        .block_efficiency = efficiency,
        .acceptance = ratio((double)counts->accepted, (double)counts->drafted),
        .mbsu = memory_bound_speed_up(model->artefact, efficiency,
                                      ratio((double)counts->drafter_passes, rounds)),
        .stop = counts->stop,
        .slots = model->slots[RT_TARGET],
        .threads = model->threads,
        .planned_bytes = model->planned_bytes,
        .peak_bytes = peak_bytes(),
        .budget_bytes = model->budget_bytes,
    };
}

const char *rt_stop_name(tandem_stop stop)
{
    static const char *const names[] = {
        [TANDEM_STOP_NONE] = "none",       [TANDEM_STOP_LENGTH] = "length",
        [TANDEM_STOP_END] = "end",         [TANDEM_STOP_SLOTS] = "slots",
        [TANDEM_STOP_CONTEXT] = "context", [TANDEM_STOP_CANCELLED] = "cancelled",
    };
    return names[stop];
}

int rt_stats_json(const tandem_stats *stats, char *text, size_t capacity)
{
    return snprintf(
        text, capacity,
        "{\"prompt_tokens\": %llu, \"tokens\": %llu, \"prefill_seconds\": %.6f, "
        "\"seconds\": %.6f, \"tokens_per_second\": %.3f, \"rounds\": %llu, \"drafted\": %llu, "
        "\"accepted\": %llu, \"block_efficiency\": %.4f, \"acceptance\": %.4f, \"mbsu\": %.4f, "
        "\"stop\": \"%s\", \"slots\": %u, \"threads\": %u, \"planned_bytes\": %llu, "
        "\"peak_bytes\": %llu, \"budget_bytes\": %llu}",
        (unsigned long long)stats->prompt_tokens, (unsigned long long)stats->tokens,
        stats->prefill_seconds, stats->seconds, stats->tokens_per_second,
        (unsigned long long)stats->rounds, (unsigned long long)stats->drafted,
        (unsigned long long)stats->accepted, stats->block_efficiency, stats->acceptance,
        stats->mbsu, rt_stop_name(stats->stop), stats->slots, stats->threads,
        (unsigned long long)stats->planned_bytes, (unsigned long long)stats->peak_bytes,
        (unsigned long long)stats->budget_bytes);
}

int rt_stats_text(const tandem_stats *stats, char *text, size_t capacity)
{
    char budget[48] = "none";
    if (stats->budget_bytes > 0)
        snprintf(budget, sizeof budget, "%.2f MB", (double)stats->budget_bytes / 1e6);
    return snprintf(text, capacity,
                    "prompt     %llu tokens in %.3f s\n"
                    "generated  %llu tokens in %.3f s: %.2f tokens/s (stopped by: %s)\n"
                    "rounds     %llu: block efficiency %.3f, acceptance %.3f, "
                    "memory-bound speed-up %.3f\n"
                    "memory     peak %.2f MB, planned %.2f MB, budget %s; %u slots, %u thread%s\n",
                    (unsigned long long)stats->prompt_tokens, stats->prefill_seconds,
                    (unsigned long long)stats->tokens, stats->seconds, stats->tokens_per_second,
                    rt_stop_name(stats->stop), (unsigned long long)stats->rounds,
                    stats->block_efficiency, stats->acceptance, stats->mbsu,
                    (double)stats->peak_bytes / 1e6, (double)stats->planned_bytes / 1e6, budget,
                    stats->slots, stats->threads, stats->threads == 1 ? "" : "s");
}

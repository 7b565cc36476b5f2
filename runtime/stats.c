/* Figures of a generation, for programs (JSON) and for people.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"

#include <stdarg.h>
#include <stddef.h>
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

/* Reading weights is what a pass costs: a round reads the target's once and the drafter's once for
 * each level of its tree. */
static double memory_bound_speed_up(const tandem_artefact *artefact, double efficiency,
                                    double depth)
{
    if (artefact->model_count < 2)
        return efficiency;
    double c = ratio((double)artefact->models[RT_DRAFTER].weights_read_per_pass,
                     (double)artefact->models[RT_TARGET].weights_read_per_pass);
    return efficiency / (1 + c * depth);
}

/* Fewer rounds without a draft than this say little about plain decoding. */
#define FEWEST_PLAIN_ROUNDS 8

/* Tokens per second over those of the rounds without a draft. */
static double measured_speed_up(const rt_counts *counts)
{
    if (counts->plain_rounds < FEWEST_PLAIN_ROUNDS)
        return 0;
    double plain = ratio(counts->plain_seconds, (double)counts->plain_rounds);
    return plain * ratio((double)counts->tokens, counts->seconds);
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
        .copied = counts->copied,
        .drafter_passes = counts->drafter_passes,
        .catch_up_tokens = counts->catch_up_tokens,
        .plain_rounds = counts->plain_rounds,
        .idle_rounds = counts->idle_rounds,
        .evictions = counts->evictions,
        .block_efficiency = efficiency,
        .acceptance = ratio((double)counts->accepted, (double)counts->drafted),
        .mbsu = memory_bound_speed_up(model->artefact, efficiency,
                                      ratio((double)counts->drafter_passes, rounds)),
        .speed_up = measured_speed_up(counts),
        .target_seconds = counts->pass_seconds[RT_TARGET],
        .drafter_seconds = counts->pass_seconds[RT_DRAFTER],
        .stop = counts->stop,
        .slots = model->slots[RT_TARGET],
        .threads = model->threads,
        .planned_bytes = model->planned_bytes,
        .peak_bytes = peak_bytes(),
        .budget_bytes = model->budget_bytes,
    };
    memcpy(stats->tried_by_depth, counts->tried, sizeof counts->tried);
    memcpy(stats->kept_by_depth, counts->kept, sizeof counts->kept);
}

static const char *stop_name(tandem_stop stop)
{
    static const char *const names[] = {
        [TANDEM_STOP_NONE] = "none",       [TANDEM_STOP_LENGTH] = "length",
        [TANDEM_STOP_END] = "end",         [TANDEM_STOP_SLOTS] = "slots",
        [TANDEM_STOP_CONTEXT] = "context", [TANDEM_STOP_CANCELLED] = "cancelled",
        [TANDEM_STOP_TEXT] = "text",
    };
    return names[stop];
}

/* --- writing --- */

/* Text that is written as far as there is room, and counted beyond it. */
typedef struct writer {
    char *text;
    size_t capacity, length;
} writer;

static void put(writer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(writer *out, const char *format, ...)
{
    va_list arguments;
    size_t left = out->length < out->capacity ? out->capacity - out->length : 0;
    va_start(arguments, format);
    int length = vsnprintf(left > 0 ? out->text + out->length : NULL, left, format, arguments);
    va_end(arguments);
    out->length += length > 0 ? (size_t)length : 0;
}

/* Depths at which something was verified. */
static uint32_t depths_of(const tandem_stats *stats)
{
    uint32_t depths = 0;
    while (depths < TANDEM_STATS_DEPTHS && stats->tried_by_depth[depths] > 0)
        depths++;
    return depths;
}

static double kept_part(const tandem_stats *stats, uint32_t depth)
{
    return ratio((double)stats->kept_by_depth[depth], (double)stats->tried_by_depth[depth]);
}

/* One number of the JSON object. */
typedef struct figure {
    const char *name;
    size_t offset;
    enum { WHOLE, SHORT, REAL } kind; /* uint64_t, uint32_t, double */
    int digits;                       /* of a double, behind the point */
} figure;

#define FIELD(name) #name, offsetof(tandem_stats, name)

static const figure figures[] = {
    {FIELD(prompt_tokens), WHOLE, 0},
    {FIELD(tokens), WHOLE, 0},
    {FIELD(prefill_seconds), REAL, 6},
    {FIELD(seconds), REAL, 6},
    {FIELD(tokens_per_second), REAL, 3},
    {FIELD(rounds), WHOLE, 0},
    {FIELD(plain_rounds), WHOLE, 0},
    {FIELD(idle_rounds), WHOLE, 0},
    {FIELD(drafted), WHOLE, 0},
    {FIELD(accepted), WHOLE, 0},
    {FIELD(copied), WHOLE, 0},
    {FIELD(drafter_passes), WHOLE, 0},
    {FIELD(catch_up_tokens), WHOLE, 0},
    {FIELD(evictions), WHOLE, 0},
    {FIELD(block_efficiency), REAL, 4},
    {FIELD(acceptance), REAL, 4},
    {FIELD(mbsu), REAL, 4},
    {FIELD(speed_up), REAL, 3},
    {FIELD(target_seconds), REAL, 6},
    {FIELD(drafter_seconds), REAL, 6},
    {FIELD(slots), SHORT, 0},
    {FIELD(threads), SHORT, 0},
    {FIELD(planned_bytes), WHOLE, 0},
    {FIELD(peak_bytes), WHOLE, 0},
    {FIELD(budget_bytes), WHOLE, 0},
};
#undef FIELD

static void put_figure(writer *out, const tandem_stats *stats, const figure *row)
{
    const char *field = (const char *)stats + row->offset;
    uint64_t whole = 0;
    uint32_t number = 0;
    double real = 0;
    put(out, "\"%s\": ", row->name);
    switch (row->kind) {
    case WHOLE:
        memcpy(&whole, field, sizeof whole);
        put(out, "%llu", (unsigned long long)whole);
        break;
    case SHORT:
        memcpy(&number, field, sizeof number);
        put(out, "%u", number);
        break;
    case REAL:
        memcpy(&real, field, sizeof real);
        put(out, "%.*f", row->digits, real);
        break;
    }
}

int rt_stats_json(const tandem_stats *stats, char *text, size_t capacity)
{
    writer out = {text, capacity, 0};
    put(&out, "{");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        put_figure(&out, stats, &figures[i]);
        put(&out, ", ");
    }
    put(&out, "\"acceptance_by_depth\": [");
    for (uint32_t i = 0; i < depths_of(stats); i++)
        put(&out, "%s%.4f", i > 0 ? ", " : "", kept_part(stats, i));
    put(&out, "], \"stop\": \"%s\"}", stop_name(stats->stop));
    return (int)out.length;
}

static void put_draft(writer *out, const tandem_stats *stats)
{
    if (stats->idle_rounds * 2 > stats->rounds)
        put(out, "draft      off in %llu of %llu rounds: it does not pay here\n",
            (unsigned long long)stats->idle_rounds, (unsigned long long)stats->rounds);
    if (stats->drafted == 0)
        return;
    put(out, "draft      %llu of %llu tokens kept, by depth", (unsigned long long)stats->accepted,
        (unsigned long long)stats->drafted);
    for (uint32_t i = 0; i < depths_of(stats); i++)
        put(out, " %.2f", kept_part(stats, i));
    put(out, "; none in %llu of %llu rounds\n", (unsigned long long)stats->plain_rounds,
        (unsigned long long)stats->rounds);
    put(out, "drafter    %llu passes, %llu tokens to catch up; %llu drafted tokens copied\n",
        (unsigned long long)stats->drafter_passes, (unsigned long long)stats->catch_up_tokens,
        (unsigned long long)stats->copied);
}

/* Short times in milliseconds, long ones in seconds. */
static void put_time(writer *out, double seconds)
{
    if (seconds < 1)
        put(out, "%.2f ms", seconds * 1e3);
    else
        put(out, "%.2f s", seconds);
}

static void put_text(writer *out, const tandem_stats *stats)
{
    put(out, "generated  %llu tokens in ", (unsigned long long)stats->tokens);
    put_time(out, stats->seconds);
    put(out, ": %.2f tokens/s (stopped by: %s)\n", stats->tokens_per_second,
        stop_name(stats->stop));
    put(out, "rounds     %llu: block efficiency %.3f, memory-bound speed-up %.3f",
        (unsigned long long)stats->rounds, stats->block_efficiency, stats->mbsu);
    if (stats->speed_up > 0)
        put(out, ", measured %.3f", stats->speed_up);
    put(out, "\n");
}

static void put_memory(writer *out, const tandem_stats *stats)
{
    put(out, "memory     peak %.2f MiB, planned %.2f MiB, budget ",
        tandem_plan_mebibytes(stats->peak_bytes), tandem_plan_mebibytes(stats->planned_bytes));
    if (stats->budget_bytes > 0)
        put(out, "%.2f MiB", tandem_plan_mebibytes(stats->budget_bytes));
    else
        put(out, "none");
    put(out, "; %u slots, %llu evictions, %u thread%s\n", stats->slots,
        (unsigned long long)stats->evictions, stats->threads, stats->threads == 1 ? "" : "s");
}

int rt_stats_text(const tandem_stats *stats, char *text, size_t capacity)
{
    writer out = {text, capacity, 0};
    put(&out, "prompt     %llu token%s in ", (unsigned long long)stats->prompt_tokens,
        stats->prompt_tokens == 1 ? "" : "s");
    put_time(&out, stats->prefill_seconds);
    put(&out, "\n");
    if (stats->stop != TANDEM_STOP_NONE)
        put_text(&out, stats);
    put_draft(&out, stats);
    put_memory(&out, stats);
    return (int)out.length;
}

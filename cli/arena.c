/* tandem arena: offsets for buffers with known lifetimes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/search_options.h"

#include "base/clock.h"
#include "frontend/buffer_table.h"

#include <inttypes.h>

typedef struct arena_options {
    const char *path, *output;
    sched_arena_options search;
    uint64_t capacity;
    bool minimise, check, json;
} arena_options;

enum { KEY_CAPACITY = 0x2000, KEY_ALIGNMENT, KEY_MINIMISE, KEY_CHECK, KEY_JSON };

static const struct argp_option options_table[] = {
    {"capacity", KEY_CAPACITY, "BYTES", 0, "place all buffers within this many bytes", 0},
    {"minimize", KEY_MINIMISE, NULL, 0, "find the least capacity (default without --capacity)", 0},
    {"alignment", KEY_ALIGNMENT, "BYTES", 0, "round sizes and offsets up to multiples (default 1)",
     0},
    {CLI_TIME_LIMIT, 0},
    {CLI_WORK_LIMIT, 0},
    {"check", KEY_CHECK, NULL, 0, "check and score the offsets that the file holds", 0},
    {"output", 'o', "FILE.csv", 0, "write the table with its offsets", 0},
    {"json", KEY_JSON, NULL, 0, "print JSON", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    arena_options *options = state->input;
    switch (key) {
    case KEY_CAPACITY:
        options->capacity = cli_parse_count(state, "--capacity", argument, INT64_MAX / 4);
        return 0;
    case KEY_MINIMISE:
        options->minimise = true;
        return 0;
    case KEY_ALIGNMENT:
        options->search.alignment = cli_parse_count(state, "--alignment", argument, 1 << 30);
        return 0;
    case KEY_CHECK:
        options->check = true;
        return 0;
    case 'o':
        options->output = argument;
        return 0;
    case KEY_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        cli_take_argument(state, "table", argument, &options->path);
        return 0;
    case ARGP_KEY_END:
        if (options->path == NULL)
            cli_usage_error(state, "a table is missing: a .csv file of id,lower,upper,size");
        if (options->check && options->output != NULL)
            cli_usage_error(state, "--check changes no offsets: there is nothing for -o to write");
        break;
    default:
        break;
    }
    return cli_parse_limit(key, argument, state, &options->search.time_limit,
                           &options->search.work_limit);
}

static const struct argp argp = {
    options_table,
    parse,
    "FILE.csv",
    "Places buffers with known lifetimes such that those alive together do not overlap, and says "
    "how far the arena may be from the smallest. The table has the columns id, lower, upper and "
    "size (a buffer is alive from step lower up to, but not including, step upper), and may have "
    "alignment, offset and fixed."
    "\vexamples:\n"
    "  tandem arena buffers.csv --capacity 1048576 -o placed.csv\n"
    "  tandem arena buffers.csv --minimize --time-limit 60\n"
    "  tandem arena placed.csv --check\n",
    NULL,
    NULL,
    NULL};

/* --- tables and buffers --- */

static td_status read_buffers(td_context *context, const fe_buffer_table *table,
                              sched_buffer **buffers)
{
    *buffers = td_allocate(context, (table->rows.count + 1) * sizeof **buffers);
    if (*buffers == NULL)
        return td_fail_memory(context);
    for (size_t i = 0; i < table->rows.count; i++) {
        const fe_buffer_row *row = &table->rows.items[i];
        (*buffers)[i] = (sched_buffer){.size = row->size,
                                       .offset = row->offset,
                                       .lower = (int64_t)row->lower,
                                       .upper = (int64_t)row->upper,
                                       .alignment = row->alignment,
                                       .fixed = row->fixed};
    }
    return TD_OK;
}

/* --- results --- */

static void print_report(const arena_options *options, size_t buffer_count,
                         const sched_arena_report *report, double seconds)
{
    const bool optimal = report->bytes == report->bound;
    if (options->json) {
        printf("{\"buffers\": %zu, \"parts\": %zu, \"live_peak\": %" PRIu64
               ", \"lower_bound\": %" PRIu64 ", \"bytes\": %" PRIu64
               ", \"gap_percent\": %.4f, \"optimal\": %s, \"capacity\": %" PRIu64
               ", \"steps\": %" PRIu64 ", \"seconds\": %.3f}\n",
               buffer_count, report->parts, report->live_peak, report->bound, report->bytes,
               sched_gap_percent(report->bytes, report->bound), optimal ? "true" : "false",
               options->capacity, report->work, seconds);
        return;
    }
    printf("%s: %zu buffers, %zu part%s\n", options->path, buffer_count, report->parts,
           report->parts == 1 ? "" : "s");
    printf("  live peak    %18" PRIu64 " bytes\n", report->live_peak);
    printf("  lower bound  %18" PRIu64 " bytes\n", report->bound);
    printf("  arena        %18" PRIu64 " bytes, %.3f of the live peak, ", report->bytes,
           report->live_peak == 0 ? 1 : (double)report->bytes / (double)report->live_peak);
    if (optimal)
        printf("optimal\n");
    else
        printf("%.2f %% above the bound\n", sched_gap_percent(report->bytes, report->bound));
    printf("  time         %18.3f s\n", seconds);
}

/* The sentence about a capacity that was not kept. */
static td_status judge_capacity(td_context *context, const arena_options *options,
                                const sched_arena_report *report)
{
    if (options->capacity == 0 || report->bytes <= options->capacity)
        return TD_OK;
    if (report->bound > options->capacity)
        return td_fail(context, TD_INVALID,
                       "%s: the buffers do not fit --capacity %" PRIu64 ": at least %" PRIu64
                       " bytes are needed",
                       options->path, options->capacity, report->bound);
    return td_fail(context, TD_INVALID,
                   "%s: no placement within --capacity %" PRIu64 " was found in the limit; %" PRIu64
                   " bytes do, and fewer than %" PRIu64 " cannot",
                   options->path, options->capacity, report->bytes, report->bound);
}

static td_status check_offsets(td_context *context, const arena_options *options,
                               const fe_buffer_table *table, const sched_buffer *buffers)
{
    const size_t count = table->rows.count;
    sched_arena_check_result result;
    if (!table->has_offset)
        return td_fail(context, TD_INVALID, "%s: --check needs a column \"offset\"", options->path);
    const td_status status =
        sched_arena_check(context, buffers, count, options->search.alignment, &result);
    if (status != TD_OK)
        return td_fail_within(context, status, "%s", options->path);
    if (!result.valid && result.first == result.second)
        return td_fail(
            context, TD_INVALID,
            "%s: buffer \"%.60s\" lies at %" PRIu64 ", which is no multiple of its alignment",
            options->path, table->rows.items[result.first].id, buffers[result.first].offset);
    if (!result.valid)
        return td_fail(context, TD_INVALID,
                       "%s: buffers \"%.60s\" and \"%.60s\" are alive together and overlap",
                       options->path, table->rows.items[result.first].id,
                       table->rows.items[result.second].id);
    print_report(options, count, &result.report, 0);
    return judge_capacity(context, options, &result.report);
}

static td_status place(td_context *context, const arena_options *options, fe_buffer_table *table,
                       sched_buffer *buffers)
{
    sched_arena_options search = options->search;
    sched_arena_report report;
    const double start = td_seconds();
    search.capacity = options->minimise ? 0 : options->capacity;
    td_status status = sched_arena_place(context, buffers, table->rows.count, &search, &report);
    if (status != TD_OK)
        return td_fail_within(context, status, "%s", options->path);
    print_report(options, table->rows.count, &report, td_seconds() - start);
    TD_TRY(judge_capacity(context, options, &report));
    if (options->output == NULL)
        return TD_OK;
    table->has_offset = true;
    for (size_t i = 0; i < table->rows.count; i++)
        table->rows.items[i].offset = buffers[i].offset;
    return fe_write_buffer_table(table, options->output);
}

static td_status run(td_context *context, const arena_options *options)
{
    fe_buffer_table table;
    sched_buffer *buffers = NULL;
    TD_TRY(fe_read_buffer_table(context, options->path, &table));
    td_status status = read_buffers(context, &table, &buffers);
    if (status == TD_OK)
        status = options->check ? check_offsets(context, options, &table, buffers)
                                : place(context, options, &table, buffers);
    td_release(context, buffers);
    fe_buffer_table_release(&table);
    return status;
}

int cli_arena(int argc, char **argv)
{
    arena_options options = {.search = {.alignment = 1, .time_limit = CLI_USUAL_SECONDS}};
    td_context context;
    cli_parse(&argp, argc, argv, &options);
    td_context_init(&context);
    return cli_exit_status(&context, run(&context, &options));
}

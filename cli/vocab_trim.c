/* --vocab-trim and --counts: which rows a drafter's head keeps.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of a draft token, where no file of counts says how often they were accepted. */
#define USUAL_ACCEPTANCE 0.6
/* More than this is noise: the formula of MBSU has a pole at 1. */
#define LARGEST_ACCEPTANCE 0.99

enum { KEY_VOCAB_TRIM = 0x3000, KEY_COUNTS };

static const struct argp_option options_table[] = {
    {NULL, 0, NULL, 0, "Trimmed head of the drafter:", 4},
    {"vocab-trim", KEY_VOCAB_TRIM, "N|auto", 0,
     "the drafter proposes only the N most frequent tokens of --counts, and special ones; auto "
     "chooses N by the expected speed-up, and prints the curve",
     4},
    {"counts", KEY_COUNTS, "FILE", 0,
     "how often tokens occur, from `tandem calibrate`; given several times they are added up", 4},
    {NULL, 0, NULL, 0, NULL, 0},
};

static void parse_rows(struct argp_state *state, const char *text, cli_trim_options *trim)
{
    trim->automatic = strcmp(text, "auto") == 0;
    trim->rows =
        trim->automatic ? 0 : (uint32_t)cli_parse_count(state, "--vocab-trim", text, INT32_MAX);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    cli_options *options = state->input;
    cli_trim_options *trim = &options->trim;
    switch (key) {
    case KEY_VOCAB_TRIM:
        parse_rows(state, argument, trim);
        return 0;
    case KEY_COUNTS:
        if (trim->count == TD_COUNT_OF(trim->counts))
            cli_usage_error(state, "--counts %s: at most %zu files can be added up", argument,
                            TD_COUNT_OF(trim->counts));
        trim->counts[trim->count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if ((trim->rows > 0 || trim->automatic) != (trim->count > 0))
            cli_usage_error(state, "--vocab-trim and --counts go together: %s is missing",
                            trim->count > 0 ? "--vocab-trim" : "--counts");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_trim_argp = {options_table, parse, NULL, NULL, NULL, NULL, NULL};

/* --- counts --- */

static td_status read_counts(td_context *context, const cli_trim_options *trim,
                             const fe_tokenizer *tokenizer, fe_counts *counts)
{
    for (size_t i = 0; i < trim->count; i++) {
        fe_counts one;
        TD_TRY(fe_counts_read(context, trim->counts[i], &one));
        td_status status = fe_counts_fit(context, &one, tokenizer);
        if (status == TD_OK)
            status = fe_counts_merge(context, &one, counts);
        fe_counts_release(context, &one);
        if (status != TD_OK)
            return td_fail_within(context, status, "--counts %s", trim->counts[i]);
    }
    return TD_OK;
}

/* --- auto --- */

static double acceptance_of(const fe_counts *counts)
{
    if (counts->drafted == 0)
        return USUAL_ACCEPTANCE;
    const double acceptance = (double)counts->accepted / (double)counts->drafted;
    return acceptance < LARGEST_ACCEPTANCE ? acceptance : LARGEST_ACCEPTANCE;
}

static void print_point(const fe_trim_point *point, const char *note)
{
    fprintf(stderr, "%8" PRIu32 " %9.2f %% %6" PRIu32 " %17.3f %7.3f%s\n", point->rows,
            100 * point->coverage, point->draft, point->block_efficiency, point->mbsu, note);
}

/* Powers of two, the best, and the whole head. */
static void print_curve(const fe_trim_costs *costs, bool measured, const fe_trim_point *points,
                        uint32_t count, uint32_t best)
{
    fprintf(stderr,
            "a whole head's drafts are accepted with probability %.3f (%s)\n"
            "bytes per pass: target %" PRIu64 ", drafter %" PRIu64 " and %" PRIu64
            " for each row of its head\n"
            "%8s %11s %6s %17s %7s\n",
            costs->acceptance, measured ? "measured" : "assumed", costs->target,
            costs->drafter_body, costs->drafter_row, "rows", "coverage", "draft",
            "block efficiency", "MBSU");
    uint32_t power = count < 64 ? 1 : 64;
    for (uint32_t i = 0; i < count; i++) {
        if (points[i].wanted == power || i == best || i + 1 == count)
            print_point(&points[i], i == best ? "  chosen" : i + 1 == count ? "  whole" : "");
        if (points[i].wanted == power)
            power *= 2;
    }
}

/* The number of rows that pays best. */
static td_status choose_rows(td_context *context, const cli_options *options,
                             const fe_tokenizer *tokenizer, const ir_module *target,
                             const fe_counts *counts, const ir_traffic *drafter, uint32_t *rows)
{
    ir_traffic traffic;
    fe_trim_point *points = NULL;
    if (target == NULL)
        return td_fail(context, TD_USAGE,
                       "--vocab-trim auto weighs the drafter against its target; give a number, or "
                       "compile it with --target");
    TD_TRY(ir_head_traffic(target, &traffic));
    const fe_trim_costs costs = {.target = traffic.body + traffic.head,
                                 .drafter_body = drafter->body,
                                 .drafter_row = drafter->head / drafter->rows,
                                 .acceptance = acceptance_of(counts),
                                 .most_draft = options->max_draft > 0 ? options->max_draft : 1};
    TD_TRY(fe_trim_curve(context, counts, tokenizer, &costs, &points));
    const uint32_t best = fe_trim_best(points, tokenizer->vocabulary);
    print_curve(&costs, counts->drafted > 0, points, tokenizer->vocabulary, best);
    *rows = points[best].wanted;
    td_release(context, points);
    return TD_OK;
}

/* --- trimming --- */

static td_status trim(td_context *context, const cli_options *options,
                      const fe_tokenizer *tokenizer, const ir_module *target, fe_model *drafter,
                      const fe_counts *counts, cli_trimmed *trimmed)
{
    uint32_t rows = options->trim.rows;
    TD_TRY(ir_head_traffic(drafter->module, &trimmed->whole));
    if (options->trim.automatic)
        TD_TRY(choose_rows(context, options, tokenizer, target, counts, &trimmed->whole, &rows));
    TD_TRY(fe_head_choose(context, counts, tokenizer, rows, &trimmed->head));
    trimmed->total = counts->total;
    drafter->head_ids = trimmed->head.ids;
    drafter->head_count = trimmed->head.count;
    TD_TRY(ir_pass_trim_head(drafter->module, trimmed->head.count, trimmed->head.ids));
    return ir_print_after(drafter->module, "trim_head", options->print_after);
}

td_status cli_trim_head(td_context *context, const cli_options *options,
                        const fe_tokenizer *tokenizer, const ir_module *target, fe_model *drafter,
                        cli_trimmed *trimmed)
{
    fe_counts counts = {0};
    if (options->trim.count == 0)
        return TD_OK;
    if (drafter->module == NULL)
        return td_fail(context, TD_USAGE,
                       "--vocab-trim trims the head of a drafter; give --drafter");
    if (drafter->head_ids != NULL)
        return td_fail(context, TD_INVALID,
                       "--vocab-trim: the drafter's head is trimmed already, to %" PRIu32
                       " rows; expected a whole head",
                       drafter->head_count);
    if (tokenizer == NULL)
        return td_fail(context, TD_USAGE,
                       "--counts are of a tokenizer's tokens, and no tokenizer lies with the "
                       "models; give --tokenizer");
    td_status status = read_counts(context, &options->trim, tokenizer, &counts);
    if (status == TD_OK)
        status = trim(context, options, tokenizer, target, drafter, &counts, trimmed);
    fe_counts_release(context, &counts);
    return status;
}

void cli_print_trim(const cli_trimmed *trimmed)
{
    const ir_traffic *whole = &trimmed->whole;
    const uint32_t rows = trimmed->head.count;
    if (trimmed->head.ids == NULL)
        return;
    const uint64_t kept = whole->head / whole->rows * rows;
    printf("drafter's head: %" PRIu32 " of %" PRIu32 " rows, %.2f %% of the counts; %" PRIu64
           " of %" PRIu64 " bytes of weights per pass\n",
           rows, whole->rows, 100 * (double)trimmed->head.covered / (double)trimmed->total,
           whole->body + kept, whole->body + whole->head);
}

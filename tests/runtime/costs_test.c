/* The table of costs: what it makes of noisy times, and what it says when it is read back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/costs.h"
#include "tests/test.h"

#include <math.h>

static rt_costs costs;

TEST(an_interruption_changes_little)
{
    double seconds[RT_COST_SIZES];
    rt_costs_clear(&costs, 1000, 100);
    for (int i = 0; i < 40; i++) {
        rt_costs_note(&costs, RT_COST_TARGET, 1, i % 10 == 9 ? 5e-3 : 1e-4);
        rt_costs_note(&costs, RT_COST_TARGET, 4, 2e-4);
    }
    rt_costs_table(&costs, RT_COST_TARGET, seconds);
    CHECK(fabs(seconds[1] - 1e-4) < 1.5e-5 && fabs(seconds[4] - 2e-4) < 3e-5);
    CHECK(fabs(seconds[2] - (seconds[1] * 2 + seconds[4]) / 3) < 1e-9);
    CHECK(seconds[7] > seconds[4] &&
          fabs((seconds[7] - seconds[4]) - (seconds[4] - seconds[1])) < 1e-9);
}

TEST(sizes_follow_a_longer_text_together)
{
    double seconds[RT_COST_SIZES];
    rt_costs_clear(&costs, 1000, 100);
    for (int i = 0; i < 10; i++) {
        rt_costs_note(&costs, RT_COST_TARGET, 1, 1e-4);
        rt_costs_note(&costs, RT_COST_TARGET, 2, 1.2e-4);
    }
    for (int i = 0; i < 200; i++) /* only larger passes are seen from now on */
        rt_costs_note(&costs, RT_COST_TARGET, 2, 1.2e-4 * (1 + 0.002 * i));
    rt_costs_table(&costs, RT_COST_TARGET, seconds);
    CHECK(fabs(seconds[2] / 1.68e-4 - 1) < 0.03);
    CHECK(seconds[1] > 1.2e-4 && seconds[1] < seconds[2]);
}

TEST(before_anything_is_known_the_bytes_count)
{
    double target[RT_COST_SIZES], drafter[RT_COST_SIZES];
    rt_costs_clear(&costs, 1000000, 100000);
    CHECK(rt_costs_age(&costs, RT_COST_TARGET, 1) == UINT32_MAX);
    rt_costs_note(&costs, RT_COST_TARGET, 1, 1e-4);
    rt_costs_table(&costs, RT_COST_TARGET, target);
    rt_costs_table(&costs, RT_COST_DRAFTER, drafter);
    CHECK(fabs(drafter[1] / target[1] - 0.1) < 1e-6 && drafter[32] < 3 * drafter[1]);
    CHECK(rt_costs_largest(&costs, RT_COST_TARGET) == 1);
}

TEST(what_is_printed_is_read_back)
{
    char text[8192], again[8192];
    tandem_error error;
    rt_costs_clear(&costs, 1000, 100);
    for (uint32_t size = 1; size < RT_COST_SIZES; size += 3)
        for (int i = 0; i < 3; i++)
            rt_costs_note(&costs, RT_COST_TARGET, size, 1e-5 * size);
    rt_costs_note(&costs, RT_COST_DRAFTER, 1, 1e-6);
    rt_costs_note(&costs, RT_COST_DRAFTER, 1, 1e-6);
    CHECK(rt_costs_print(&costs, 77, text, sizeof text) < (int)sizeof text);
    rt_costs_clear(&costs, 5, 5);
    CHECK(rt_costs_parse(&costs, 77, "file", text, &error) == TANDEM_OK && costs.replayed);
    rt_costs_note(&costs, RT_COST_TARGET, 1, 1);
    rt_costs_print(&costs, 77, again, sizeof again);
    double first[RT_COST_SIZES];
    rt_costs_table(&costs, RT_COST_TARGET, first);
    CHECK(fabs(first[4] - 4e-5) < 1e-9 && fabs(first[1] - 1e-5) < 1e-9);
    rt_costs other;
    rt_costs_clear(&other, 5, 5);
    CHECK(rt_costs_parse(&other, 77, "file", again, &error) == TANDEM_OK);
    double second[RT_COST_SIZES];
    rt_costs_table(&other, RT_COST_TARGET, second);
    for (uint32_t size = 0; size < RT_COST_SIZES; size++)
        CHECK(fabs(first[size] - second[size]) < 1e-9 * first[size]);
}

TEST(other_texts_are_refused_by_line)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"", "c, line 1: \"tandem costs 1\" is accepted here"},
        {"tandem costs 2\n", "c, line 1: \"tandem costs 1\" is accepted here"},
        {"tandem costs 1\nartefact 0000000000000008\n", "c, line 2: the costs are those of another "
                                                        "program: this one's begin with \"artefact "
                                                        "0000000000000007\""},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 1:2\nnonsense 1:2\n", "c, line 4: "},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 33:2\n", "c, line 3: "},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 1:-2\n", "c, line 3: "},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 1:nan\n", "c, line 3: "},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 1:2", "c, line 3: "},
        {"tandem costs 1\nartefact 0000000000000007\ntarget 1:2 \n", "c, line 3: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tandem_error error = {{0}};
        rt_costs_clear(&costs, 1000, 100);
        CHECK(rt_costs_parse(&costs, 7, "c", cases[i].text, &error) == TANDEM_REFUSED);
        CHECK_MESSAGE(strncmp(error.text, cases[i].sentence, strlen(cases[i].sentence)) == 0, "%s",
                      error.text);
        CHECK(!costs.replayed && rt_costs_age(&costs, RT_COST_TARGET, 1) == UINT32_MAX);
    }
}

/* Texts that differ in a few bytes from one that was printed: read, or refused in a sentence that
 * names the line, and nothing is taken up then. */
TEST(damaged_texts_do_no_harm)
{
    static const char characters[] = "0123456789.:- \nentare\x01\xff";
    char good[8192], text[8192];
    rt_costs_clear(&costs, 1000, 100);
    for (uint32_t size = 1; size < 12; size++)
        for (int i = 0; i < 3; i++)
            rt_costs_note(&costs, RT_COST_TARGET, size, 1e-5 * size);
    const size_t length = (size_t)rt_costs_print(&costs, 7, good, sizeof good);
    uint32_t seed = 5, read = 0;
    for (uint32_t run = 0; run < 2000; run++) {
        tandem_error error = {{0}};
        memcpy(text, good, length + 1);
        for (uint32_t i = 0; i <= run % 4; i++) {
            seed = seed * 1664525 + 1013904223;
            text[(seed >> 8) % length] = characters[(seed >> 24) % (sizeof characters - 1)];
        }
        if (run % 5 == 0)
            text[(seed >> 16) % length] = '\0';
        rt_costs_clear(&costs, 1000, 100);
        const tandem_status status = rt_costs_parse(&costs, 7, "c", text, &error);
        CHECK(status == TANDEM_OK || strncmp(error.text, "c, line ", 8) == 0);
        CHECK(costs.replayed == (status == TANDEM_OK));
        read += status == TANDEM_OK;
        double table[RT_COST_SIZES];
        rt_costs_table(&costs, RT_COST_TARGET, table);
        for (uint32_t size = 0; size < RT_COST_SIZES; size++)
            CHECK(isfinite(table[size]) && table[size] >= 0);
    }
    CHECK(read > 20 && read < 1900);
}

TEST_MAIN()

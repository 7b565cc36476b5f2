/* The inspector's facts: equal to what the scheduler says, whoever writes them down.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "tests/failing.h"
#include "tests/sched/random_problem.h"
#include "tests/test.h"

#include <jansson.h>

static const sched_options few_steps = {.work_limit = 20000};
static const inspect_request usual = {
    .orderer = "auto", .against = "file,dfs,greedy,auto", .search = &few_steps};

/* What a writer writes; free() it. */
static char *written(const inspect_facts *facts,
                     td_status (*write)(const inspect_facts *facts, FILE *stream))
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    const td_status status = write(facts, stream);
    fclose(stream);
    if (status == TD_OK)
        return text;
    free(text);
    return NULL;
}

static td_status write_all_json(const inspect_facts *facts, FILE *stream)
{
    return inspect_write_json(facts, INSPECT_ALL, stream);
}

static json_t *parsed(const inspect_facts *facts,
                      td_status (*write)(const inspect_facts *facts, FILE *stream))
{
    char *text = written(facts, write);
    json_t *root = text == NULL ? NULL : json_loads(text, 0, NULL);
    free(text);
    return root;
}

static uint64_t number_at(const json_t *list, size_t index)
{
    return (uint64_t)json_integer_value(json_array_get(list, index));
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* --- figures --- */

/* Live bytes of an order from the lifetimes alone, as the page computes them. */
static bool live_follows(const sched_problem *problem, const json_t *order)
{
    const json_t *steps = json_object_get(order, "order");
    const json_t *lifetime = json_object_get(order, "lifetime");
    const json_t *live = json_object_get(order, "live");
    uint64_t expected[MAX_NODES + 1] = {0}, peak = 0;
    for (uint32_t step = 0; step < problem->node_count; step++) {
        const uint64_t node = number_at(steps, step);
        expected[step] += problem->nodes[node].workspace;
        for (uint64_t k = 0; k < number_at(lifetime, node); k++)
            expected[step + k] += problem->nodes[node].bytes;
    }
    for (uint32_t step = 0; step < problem->node_count; step++) {
        if (expected[step] != number_at(live, step))
            return false;
        peak = expected[step] > peak ? expected[step] : peak;
    }
    return peak == number_of(order, "peak") &&
           number_at(live, number_of(order, "peak_step")) == peak;
}

static bool order_is_right(const sched_problem *problem, const json_t *order, uint64_t bound)
{
    uint32_t nodes[MAX_NODES];
    uint64_t peak;
    for (uint32_t step = 0; step < problem->node_count; step++)
        nodes[step] = (uint32_t)number_at(json_object_get(order, "order"), step);
    return sched_evaluate(problem, nodes, &peak) == TD_OK && peak == number_of(order, "peak") &&
           peak == naive_peak(problem, nodes) && bound <= peak &&
           json_is_true(json_object_get(order, "optimal")) == (peak == bound) &&
           live_follows(problem, order);
}

/* Buffers that live at the same time have addresses of their own, all inside the arena. */
static bool arena_is_right(const json_t *arena)
{
    const json_t *first = json_object_get(arena, "first"), *until = json_object_get(arena, "until");
    const json_t *offset = json_object_get(arena, "offset");
    const json_t *size = json_object_get(arena, "bytes_of");
    const size_t count = json_array_size(first);
    for (size_t a = 0; a < count; a++) {
        if (number_at(offset, a) + number_at(size, a) > number_of(arena, "bytes"))
            return false;
        for (size_t b = 0; b < a; b++)
            if (number_at(first, a) < number_at(until, b) &&
                number_at(first, b) < number_at(until, a) &&
                number_at(offset, a) < number_at(offset, b) + number_at(size, b) &&
                number_at(offset, b) < number_at(offset, a) + number_at(size, a))
                return false;
    }
    return true;
}

TEST(figures_are_those_of_the_scheduler)
{
    td_context context;
    uint64_t state = 11;
    td_context_init(&context);
    for (int round = 0; round < 200; round++) {
        sched_problem problem;
        inspect_facts facts;
        CHECK(random_problem(&context, &state, 1 + random_below(&state, 16), &problem));
        inspect_facts_init(&context, "random", &facts);
        CHECK(inspect_add_graph(&facts, &usual, "graph", &problem, NULL) == TD_OK);
        json_t *root = parsed(&facts, write_all_json);
        CHECK(root != NULL);
        const json_t *graph = json_array_get(json_object_get(root, "graphs"), 0);
        const json_t *orders = json_object_get(graph, "orders");
        CHECK(json_array_size(orders) == 4); /* auto is asked for twice, and listed once */
        for (size_t i = 0; i < 4; i++)
            CHECK(order_is_right(&problem, json_array_get(orders, i),
                                 number_of(graph, "lower_bound")));
        const json_t *shown = json_array_get(orders, number_of(graph, "shown"));
        CHECK_STRING(json_string_value(json_object_get(shown, "orderer")), "auto");
        CHECK(arena_is_right(json_array_get(json_object_get(root, "arenas"), 0)));
        json_decref(root);
        inspect_facts_release(&facts);
        sched_problem_release(&problem);
    }
}

TEST(the_order_given_is_shown)
{
    td_context context;
    uint64_t state = 5;
    sched_problem problem;
    inspect_facts facts;
    uint32_t order[MAX_NODES];
    td_context_init(&context);
    CHECK(random_problem(&context, &state, 12, &problem));
    random_order(&problem, &state, order);
    const inspect_request request = {
        .orderer = "auto", .against = "", .search = &few_steps, .given = order};
    inspect_facts_init(&context, "random", &facts);
    CHECK(inspect_add_graph(&facts, &request, "graph", &problem, NULL) == TD_OK);
    CHECK(facts.graphs.items[0].orders.count == 1);
    CHECK_STRING(facts.graphs.items[0].orders.items[0].name, "given");
    CHECK(memcmp(facts.graphs.items[0].orders.items[0].order, order, 12 * sizeof *order) == 0);
    CHECK(facts.graphs.items[0].orders.items[0].trace.peak == naive_peak(&problem, order));
    inspect_facts_release(&facts);
    sched_problem_release(&problem);
}

/* --- hostile names --- */

static const char *const hostile[] = {
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"quoted\\\" and \\u003c",
    "line\nend\ttab\x01\x7f",
    "\xe2\x80\xa8 and \xe2\x80\xa9",
    "@FACTS@ @model.js@",
    "\xf0\x9f\x8d\x92 \xe2\x80\xae right to left",
    "",
};

static td_status hostile_facts(td_context *context, const char *const *names, uint32_t count,
                               sched_problem *problem, inspect_facts *facts)
{
    sched_node nodes[16];
    const char *ops[16];
    sched_edge edges[16];
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = (sched_node){.name = names[i], .bytes = 100 + i, .view_of = -1};
        ops[i] = names[count - 1 - i];
        edges[i] = (sched_edge){i, i + 1};
    }
    TD_TRY(sched_problem_from_edges(context, nodes, count, edges, count - 1, problem));
    inspect_facts_init(context, names[0], facts);
    return inspect_add_graph(facts, &usual, names[0], problem, ops);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

TEST(hostile_names_come_through_unchanged)
{
    td_context context;
    sched_problem problem;
    inspect_facts facts;
    td_context_init(&context);
    CHECK(hostile_facts(&context, hostile, TD_COUNT_OF(hostile), &problem, &facts) == TD_OK);
    char *text = written(&facts, write_all_json);
    CHECK(text != NULL && strchr(text, '<') == NULL);
    CHECK(strstr(text, "\xe2\x80\xa8") == NULL && strstr(text, "\xe2\x80\xa9") == NULL);
    json_t *root = json_loads(text, 0, NULL);
    CHECK(root != NULL);
    const json_t *graph = json_array_get(json_object_get(root, "graphs"), 0);
    const json_t *names = json_object_get(json_object_get(graph, "nodes"), "name");
    for (size_t i = 0; i < TD_COUNT_OF(hostile); i++)
        CHECK_STRING(json_string_value(json_array_get(names, i)), hostile[i]);
    json_decref(root);
    free(text);
    root = parsed(&facts, inspect_write_chrome_trace);
    CHECK(root != NULL);
    json_decref(root);
    inspect_facts_release(&facts);
    sched_problem_release(&problem);
}

TEST(bytes_that_are_no_text_are_replaced)
{
    static const char *const names[] = {
        "\xff",     "\xc0\xaf",      "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe2\x82", "a\xf0\x9f\x8d", "\xf8"};
    td_context context;
    sched_problem problem;
    inspect_facts facts;
    td_context_init(&context);
    CHECK(hostile_facts(&context, names, TD_COUNT_OF(names), &problem, &facts) == TD_OK);
    json_t *root = parsed(&facts, write_all_json); /* jansson refuses what is no UTF-8 */
    CHECK(root != NULL);
    const json_t *graph = json_array_get(json_object_get(root, "graphs"), 0);
    const json_t *list = json_object_get(json_object_get(graph, "nodes"), "name");
    CHECK_STRING(json_string_value(json_array_get(list, 0)), "\xef\xbf\xbd");
    CHECK_STRING(json_string_value(json_array_get(list, 5)),
                 "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    json_decref(root);
    inspect_facts_release(&facts);
    sched_problem_release(&problem);
}

/* --- the page --- */

TEST(the_page_is_complete_and_names_no_other_file)
{
    td_context context;
    sched_problem problem;
    inspect_facts facts;
    td_context_init(&context);
    CHECK(hostile_facts(&context, hostile, TD_COUNT_OF(hostile), &problem, &facts) == TD_OK);
    char *page = written(&facts, inspect_write_page);
    CHECK(page != NULL);
    CHECK(strncmp(page, "<!doctype html>", 15) == 0);
    /* Markers of the template, on lines of their own, are gone; those of a name stay a name. */
    CHECK(count_of(page, "@model.js@") > 0);
    CHECK(strstr(page, "@FACTS@\n") == NULL && strstr(page, ".js@\n") == NULL &&
          strstr(page, ".css@\n") == NULL);
    CHECK(count_of(page, "<script") == 2 && count_of(page, "</script>") == 2);
    /* The only address is the name of SVG. */
    CHECK(count_of(page, "http://") == count_of(page, "'http://www.w3.org/2000/svg'"));
    CHECK(strstr(page, "https://") == NULL && strstr(page, "src=") == NULL &&
          strstr(page, "@import") == NULL && strstr(page, "url(") == strstr(page, "url(#"));
    free(page);
    inspect_facts_release(&facts);
    sched_problem_release(&problem);
}

/* --- the trace --- */

TEST(the_trace_holds_every_step_of_every_order)
{
    td_context context;
    uint64_t state = 3;
    sched_problem problem;
    inspect_facts facts;
    td_context_init(&context);
    CHECK(random_problem(&context, &state, 14, &problem));
    inspect_facts_init(&context, "random", &facts);
    CHECK(inspect_add_graph(&facts, &usual, "graph", &problem, NULL) == TD_OK);
    json_t *root = parsed(&facts, inspect_write_chrome_trace);
    CHECK(root != NULL);
    const json_t *events = json_object_get(root, "traceEvents");
    size_t spans = 0, counters = 0, names = 0;
    uint64_t largest[5] = {0};
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const char phase = json_string_value(json_object_get(event, "ph"))[0];
        const uint64_t process = number_of(event, "pid");
        const uint64_t bytes = number_of(json_object_get(event, "args"), "bytes");
        CHECK(process >= 1 && process <= 4);
        spans += phase == 'X';
        counters += phase == 'C';
        names += phase == 'M';
        if (phase == 'C' && bytes > largest[process])
            largest[process] = bytes;
    }
    CHECK(spans == 4 * 14 && counters == 4 * 15 && names == 8);
    for (size_t i = 0; i < 4; i++)
        CHECK(largest[i + 1] == facts.graphs.items[0].orders.items[i].trace.peak);
    json_decref(root);
    inspect_facts_release(&facts);
    sched_problem_release(&problem);
}

/* --- no memory --- */

TEST(every_allocation_may_fail)
{
    td_context usual_context;
    uint64_t state = 9;
    sched_problem problem;
    td_context_init(&usual_context);
    CHECK(random_problem(&usual_context, &state, 10, &problem));
    td_status status = TD_NO_MEMORY;
    long allowed = 0;
    for (; status != TD_OK && allowed < 100000; allowed++) {
        failing_allocator failing = {.countdown = allowed};
        td_context context;
        inspect_facts facts;
        td_context_init(&context);
        context.reallocate = fail_later;
        context.reallocate_self = &failing;
        sched_problem lent = problem; /* its blocks are not ours to count */
        lent.context = &context;
        inspect_facts_init(&context, "random", &facts);
        const inspect_request plain = {.orderer = "dfs", .against = "file", .search = &few_steps};
        status = inspect_add_graph(&facts, &plain, "graph", &lent, NULL);
        FILE *nowhere = fopen("/dev/null", "w");
        CHECK(nowhere != NULL);
        if (status == TD_OK)
            status = inspect_write_page(&facts, nowhere);
        if (status == TD_OK)
            status = inspect_write_text(&facts, nowhere);
        fclose(nowhere);
        CHECK(status == TD_OK || status == TD_NO_MEMORY);
        inspect_facts_release(&facts);
        CHECK(failing.held == 0);
    }
    CHECK(allowed > 10 && status == TD_OK);
    sched_problem_release(&problem);
}

TEST_MAIN()

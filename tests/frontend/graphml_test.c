/* GraphML: what is read and written, and what hostile files get.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "frontend/graphml.h"
#include "tests/failing.h"
#include "tests/test.h"

#include <unistd.h>

#define HEAD                                                                                       \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                                 \
    "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"                                  \
    "<key id=\"op\" for=\"node\" attr.name=\"op\" attr.type=\"string\"/>\n"                        \
    "<key id=\"b\" for=\"node\" attr.name=\"bytes\" attr.type=\"long\"/>\n"                        \
    "<key id=\"w\" for=\"node\" attr.name=\"workspace\" attr.type=\"long\"/>\n"                    \
    "<key id=\"p\" for=\"node\" attr.name=\"persistent\" attr.type=\"boolean\"/>\n"                \
    "<key id=\"i\" for=\"node\" attr.name=\"inplace\" attr.type=\"boolean\"/>\n"                   \
    "<graph id=\"g\" edgedefault=\"directed\">\n"
#define TAIL            "</graph></graphml>\n"
#define NODE(id, bytes) "<node id=\"" id "\"><data key=\"b\">" bytes "</data></node>\n"

typedef struct fixture {
    td_context context;
    char path[64];
    fe_task_graph graph;
} fixture;

static td_status read_text(fixture *f, const char *text)
{
    td_context_init(&f->context);
    snprintf(f->path, sizeof f->path, "/tmp/tandem-graphml-%d.graphml", (int)getpid());
    FILE *file = fopen(f->path, "wb");
    if (file == NULL)
        return TD_IO;
    fwrite(text, 1, strlen(text), file);
    fclose(file);
    const td_status status = fe_read_graphml(&f->context, f->path, &f->graph);
    unlink(f->path);
    return status;
}

TEST(attributes_and_edges_are_read)
{
    fixture f;
    CHECK(read_text(&f,
                    HEAD "<node id=\"a\"><data key=\"op\">x &lt; y</data><data key=\"b\">12</data>"
                         "<data key=\"w\">3</data></node>\n"
                         "<node id=\"b\"><data key=\"b\">9007199254740992</data>"
                         "<data key=\"p\">true</data><data key=\"i\">true</data></node>\n"
                         "<edge source=\"a\" target=\"b\"/>\n" TAIL) == TD_OK);
    CHECK(f.graph.task_count == 2 && f.graph.edge_count == 1);
    CHECK_STRING(f.graph.tasks[0].id, "a");
    CHECK_STRING(f.graph.tasks[0].op, "x < y");
    CHECK(f.graph.tasks[0].bytes == 12 && f.graph.tasks[0].workspace == 3);
    CHECK(!f.graph.tasks[0].persistent && !f.graph.tasks[0].in_place);
    CHECK(f.graph.tasks[1].bytes == UINT64_C(1) << 53 && f.graph.tasks[1].workspace == 0);
    CHECK(f.graph.tasks[1].persistent && f.graph.tasks[1].in_place);
    CHECK(f.graph.edges[0].from == 0 && f.graph.edges[0].to == 1);
    fe_task_graph_release(&f.graph);
}

TEST(what_is_written_is_read_again)
{
    fixture f;
    fe_task_graph again;
    const char *path = "/tmp/tandem-graphml-again.graphml";
    const uint32_t order[] = {1, 0, 2};
    CHECK(read_text(&f, HEAD NODE("a&amp;\"'", "1") NODE("b", "2")
                            NODE("c", "3") "<edge source=\"b\" target=\"c\"/><edge "
                                           "source=\"a&amp;\"'\" target=\"c\"/>" TAIL) !=
          TD_OK); /* a raw quote ends the attribute */
    CHECK(read_text(&f, HEAD NODE("a&amp;&quot;", "1") NODE("b", "2")
                            NODE("c", "3") "<edge source=\"b\" target=\"c\"/>"
                                           "<edge source=\"a&amp;&quot;\" target=\"c\"/>" TAIL) ==
          TD_OK);
    CHECK(fe_write_graphml(&f.graph, order, path) == TD_OK);
    CHECK(fe_read_graphml(&f.context, path, &again) == TD_OK);
    unlink(path);
    CHECK(again.task_count == 3 && again.edge_count == 2);
    CHECK_STRING(again.tasks[0].id, "b");
    CHECK_STRING(again.tasks[1].id, "a&\"");
    CHECK(again.tasks[1].bytes == 1 && again.tasks[2].bytes == 3);
    /* Operands keep their order. */
    CHECK(again.edges[0].from == 0 && again.edges[1].from == 1);
    fe_task_graph_release(&again);
    fe_task_graph_release(&f.graph);
}

TEST(hostile_files_get_a_sentence)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "the file is empty"},
        {"<graphml", "no well-formed GraphML"},
        {"not xml", "no well-formed GraphML"},
        {"<!DOCTYPE lolz [<!ENTITY lol \"lol\">]><graphml>&lol;</graphml>",
         "document type declarations and entities are not accepted"},
        {"<?xml version=\"1.0\" encoding=\"UTF-16\"?><graphml/>", "the encoding must be UTF-8"},
        {HEAD NODE("a", "-1") TAIL, "node \"a\": bytes is -1; expected a whole number"},
        {HEAD NODE("a", "1.5") TAIL, "node \"a\": bytes is 1.5"},
        {HEAD NODE("a", "1e300") TAIL, "node \"a\": bytes is 1e+300"},
        {HEAD "<node id=\"a\"/>" TAIL, "node \"a\": attribute \"bytes\" is missing"},
        {HEAD NODE("a", "1") NODE("a", "2") TAIL, "1 nodes share an id"},
        {HEAD NODE("a", "1") "<edge source=\"a\" target=\"b\"/>" TAIL,
         "edges name 1 nodes that do not exist"},
        {"<graphml><graph edgedefault=\"undirected\"></graph></graphml>", "undirected"},
        {"<graphml><!-- no end", "has no end"},
        {"<graphml><!-->", "has no end"},
        /* Declarations that a scan would miss which ends comments, or begins them, elsewhere. */
        {"<!--><![CDATA[ --><!DOCTYPE g><!-- ]]> --><graphml/>", "declarations"},
        {"<?a <!-- ?><!DOCTYPE g><!-- --><graphml/>", "declarations"},
        {"<graphml><?a", "has no end"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f;
        CHECK_MESSAGE(read_text(&f, rows[i].text) == TD_INVALID, "row %zu", i);
        CHECK_MESSAGE(strstr(f.context.message, rows[i].message) != NULL, "row %zu: %s", i,
                      f.context.message);
        CHECK(f.graph.tasks == NULL && f.graph.context == NULL);
    }
}

/* Every allocation fails in turn; nothing leaks, nothing crashes. */
TEST(allocation_failures_are_reported)
{
    const char *path = "/tmp/tandem-graphml-failing.graphml";
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(HEAD NODE("a", "1") NODE("b", "2") "<edge source=\"a\" target=\"b\"/>" TAIL, file);
    fclose(file);
    bool succeeded = false;
    for (int n = 0; n < 100 && !succeeded; n++) {
        td_context context;
        fe_task_graph graph;
        failing_allocator failing = {.countdown = n, .once = true};
        failing_context(&context, &failing);
        const td_status status = fe_read_graphml(&context, path, &graph);
        succeeded = status == TD_OK;
        CHECK(succeeded || status == TD_NO_MEMORY);
        fe_task_graph_release(&graph);
        CHECK(failing.held == 0);
    }
    unlink(path);
    CHECK(succeeded);
}

TEST_MAIN()

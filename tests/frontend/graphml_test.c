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
        {"<graphml", "line 1: malformed XML"},
        {"not xml", "line 1: this is no XML; it begins with <"},
        {"<!DOCTYPE lolz [<!ENTITY lol \"lol\">]><graphml>&lol;</graphml>",
         "document type declarations and entities are not accepted"},
        {"<?xml version=\"1.0\" encoding=\"UTF-16\"?><graphml/>", "the encoding must be UTF-8"},
        {HEAD NODE("a", "-1") TAIL, "node \"a\": bytes is -1; expected a whole number"},
        {HEAD NODE("a", "1.5") TAIL, "node \"a\": bytes is 1.5"},
        {HEAD NODE("a", "1e300") TAIL, "node \"a\": bytes is 1e300"},
        {HEAD "<node id=\"a\"/>" TAIL, "node \"a\": attribute \"bytes\" is missing"},
        {HEAD NODE("a", "1") NODE("a", "2") TAIL, "line 10: node \"a\" comes twice"},
        {HEAD NODE("a", "1") "<edge source=\"a\" target=\"b\"/>" TAIL,
         "line 10: an edge names node \"b\", which there is not"},
        {"<graphml><graph edgedefault=\"undirected\"></graph></graphml>", "undirected"},
        {HEAD NODE("a", "9007199254740993") TAIL, "line 9: node \"a\": bytes is 9007199254740993"},
        {HEAD NODE("a", "99999999999999999999") TAIL, "bytes is 99999999999999999999; expected"},
        {HEAD NODE("a", "12kB") TAIL, "line 9: node \"a\": bytes is 12kB; expected a whole number"},
        {HEAD "<node id=\"a\"><data key=\"b\">1</data><data key=\"p\">maybe</data></node>" TAIL,
         "node \"a\": persistent is maybe; expected true or false"},
        {HEAD "<node id=\"a\"><data key=\"q\">1</data></node>" TAIL, "key \"q\" is not declared"},
        {HEAD NODE("a", "1 2") TAIL, "bytes is 1 2; expected"},
        {HEAD NODE("a", "1e-400") TAIL, "bytes is 1e-400; expected"},
        {HEAD "<node id=\"a\"><data key=\"b\">1</data><data key=\"b\">2</data></node>" TAIL,
         "node \"a\" has two values of bytes"},
        {"<graphml><key id=\"b\" attr.name=\"bytes\" attr.type=\"long\"/><key id=\"c\" "
         "attr.name=\"bytes\" attr.type=\"long\"/></graphml>",
         "attribute \"bytes\" is declared twice"},
        {"<graphml><key id=\"b\" attr.type=\"n40\"/></graphml>",
         "attr.type is \"n40\"; string, boolean, int, long, float and double are accepted"},
        {"<graphml><key id=\"b\" for=\"edge\" attr.type=\"int\"/><graph edgedefault=\"directed\">"
         "<edge source=\"a\" target=\"b\"><data key=\"b\">x</data></edge></graph></graphml>",
         "an edge: an attribute is x; expected a number"},
        {"<graphml xmlns=\"other\"/>", "line 1: the namespace is \"other\"; http://graphml"},
        {HEAD "<node/>" TAIL, "line 9: <node> has no id"},
        {HEAD "<node id=\"a\"><graph edgedefault=\"directed\"/></node>" TAIL, "holds a graph"},
        {HEAD NODE("a", "1") "</graph><graph edgedefault=\"directed\">" TAIL, "second graph"},
        {HEAD NODE("a", "1") "<edge source=\"a\"/>" TAIL, "<edge> has no target"},
        {HEAD NODE("a", "1") "<edge source=\"a\" target=\"a\" directed=\"false\"/>" TAIL,
         "directed=\"false\""},
        {HEAD "<hyperedge/>" TAIL, "hyperedge"},
        {"<graphml/>", "there is no <graph>"},
        {"<net/>", "the root element is <net>; GraphML has <graphml>"},
        {"<graphml><key id=\"b\" for=\"node\" attr.name=\"bytes\" attr.type=\"string\"/></graphml>",
         "must be declared with attr.type=\"long\""},
        {"<graphml><key id=\"b\"/><key id=\"b\"/></graphml>", "key \"b\" is declared twice"},
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

/* igraph keeps a value for every node and attribute, and compares every attribute with all others.
 */
TEST(declarations_without_use_are_refused)
{
    td_text text;
    fixture f;
    td_context_init(&f.context);
    for (int keys = 60; keys <= 70; keys += 10) {
        td_text_init(&text, &f.context);
        td_text_printf(&text, "<graphml>");
        for (int i = 0; i < keys; i++)
            td_text_printf(&text, "<key id=\"k%d\" for=\"node\" attr.name=\"k%d\"/>", i, i);
        td_text_printf(&text, "<graph edgedefault=\"directed\">");
        for (int i = 0; i < 20000; i++)
            td_text_printf(&text, "<node id=\"%d\"/>", i);
        td_text_printf(&text, "</graph></graphml>");
        CHECK(read_text(&f, text.data) == TD_INVALID);
        const char *expected = keys > 64 ? "more than 64 attributes are declared"
                                         : "60 attributes are declared for 20000 nodes";
        CHECK_MESSAGE(strstr(f.context.message, expected) != NULL, "%s", f.context.message);
        td_text_release(&text);
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

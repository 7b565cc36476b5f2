/* The OpenVINO reader: traps of the format, and sentences about files that are wrong.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/frontend/openvino_model.h"

#include "tests/failing.h"
#include "tests/frontend/checkpoint_bytes.h"

/* Reads XML text (with a .bin of the given size, or none) and gives the message of the refusal, or
 * "read". */
static const char *read_text(const char *xml, size_t bin_size, const fe_options *options)
{
    static char message[1100];
    static test_model model;
    ir_module *module = NULL;
    model_begin(&model);
    bool written = test_write(model.xml, xml, strlen(xml)) &&
                   (bin_size == 0 || test_write(model.bin, model.bytes, bin_size));
    td_status status = fe_read_openvino(&model.context, model.xml, options, &module);
    if (status == TD_OK)
        status = ir_verify(module);
    /* Paths differ from run to run: only what follows the name of the file is compared. */
    const char *text = status == TD_OK ? "read" : strstr(model.context.message, "model.xml");
    snprintf(message, sizeof message, "%s",
             !written       ? "not written"
             : text == NULL ? model.context.message
                            : text);
    ir_module_release(module);
    model_end(&model);
    return message;
}

static const fe_options plain = {0};
static const fe_options summary = {.summary = true, .listing = true};

#define NET(version, layers, edges)                                                                \
    "<?xml version=\"1.0\"?>\n<net name=\"t\" version=\"" version "\">\n<layers>\n" layers         \
    "</layers>\n<edges>\n" edges "</edges>\n</net>\n"
#define EDGE(from, from_port, to, to_port)                                                         \
    "<edge from-layer=\"" #from "\" from-port=\"" #from_port "\" to-layer=\"" #to                  \
    "\" to-port=\"" #to_port "\"/>\n"
#define PARAMETER(id)                                                                              \
    "<layer id=\"" #id "\" name=\"p\" type=\"Parameter\" version=\"opset1\"><data shape=\"1, 2\" " \
    "element_type=\"f32\"/><output><port id=\"0\" precision=\"FP32\"><dim>1</dim><dim>2</dim>"     \
    "</port></output></layer>\n"
#define UNARY(id, type)                                                                            \
    "<layer id=\"" #id "\" name=\"u" #id "\" type=\"" type "\" version=\"opset1\"><input><port "   \
    "id=\"0\"/></input><output><port id=\"1\" precision=\"FP32\"><dim>1</dim><dim>2</dim></port>"  \
    "</output></layer>\n"
#define RESULT(id)                                                                                 \
    "<layer id=\"" #id "\" name=\"r\" type=\"Result\" version=\"opset1\"><input><port id=\"0\"/>"  \
    "</input></layer>\n"
#define CONST(id, shape, offset, size)                                                             \
    "<layer id=\"" #id                                                                             \
    "\" name=\"c\" type=\"Const\" version=\"opset1\"><data element_type=\"f32\" "                  \
    "shape=\"" shape "\" offset=\"" offset "\" size=\"" size "\"/><output><port id=\"0\" "         \
    "precision=\"FP32\"/></output></layer>\n"

/* --- what is accepted --- */

TEST(ids_need_no_order_and_layers_neither)
{
    CHECK_STRING(read_text(NET("11", RESULT(3) UNARY(40, "Sqrt") PARAMETER(7),
                               EDGE(40, 1, 3, 0) EDGE(7, 0, 40, 0)),
                           0, &plain),
                 "read");
}

TEST(attributes_come_in_any_order)
{
    CHECK_STRING(read_text("<net version=\"10\" name=\"x\"><layers/><edges/></net>", 0, &summary),
                 "read");
}

TEST(types_have_aliases_and_no_case)
{
    CHECK_STRING(read_text(NET("11", PARAMETER(0) UNARY(1, "SIGMOID") UNARY(2, "softMax") RESULT(3),
                               EDGE(0, 0, 1, 0) EDGE(1, 1, 2, 0) EDGE(2, 1, 3, 0)),
                           0, &plain),
                 "read");
}

TEST(what_nothing_needs_is_dropped)
{
    /* The layer without a reader is of an unknown type: it does not matter. */
    CHECK_STRING(
        read_text(NET("11", PARAMETER(0) UNARY(1, "Sqrt") UNARY(2, "Convolution") RESULT(3),
                      EDGE(0, 0, 1, 0) EDGE(0, 0, 2, 0) EDGE(1, 1, 3, 0)),
                  0, &plain),
        "read");
}

TEST(constants_overlap_and_scalars_have_no_shape)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    const float number = 2.5f;
    unsigned x = model_parameter(model, "f32", "FP32", "", "");
    unsigned a = model_const(model, "f32", "FP32", "", &number, sizeof number);
    model->size -= sizeof number; /* the same bytes again */
    unsigned b = model_const(model, "f32", "FP32", "1, 1", &number, sizeof number);
    unsigned sum = model_two(model, "Add", "", x, a, "FP32", "");
    model_result(model, model_two(model, "Multiply", "", sum, b, "FP32", "1,1"));
    ir_module *module = model_read(model);
    float values[2] = {0};
    bool good = module != NULL && module->constants.count == 2;
    for (size_t i = 0; good && i < 2; i++)
        good = ir_constant_read_f32(&model->context, module->constants.items[i], 0, 1,
                                    &values[i]) == TD_OK &&
               values[i] == number;
    ir_module_release(module);
    model_end(model);
    free(model);
    CHECK(good);
}

TEST(states_are_plain_and_written_after_they_are_read)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    const char *variable = "variable_id=\"past\" variable_type=\"f32\" variable_shape=\"1,?,4\"";
    unsigned x = model_parameter(model, "f32", "FP32", "1,?,4", "1,-1,4");
    unsigned past = model_layer(model, "ReadValue", variable, 0, NULL, "FP32", "1,-1,4");
    unsigned all = model_two(model, "Concat", "axis=\"-2\"", past, x, "FP32", "1,-1,4");
    model_one(model, "Assign", "variable_id=\"past\"", all, "FP32", "1,-1,4");
    model_result(model, all);
    ir_module *module = model_read(model);
    bool good = module != NULL && module->states.count == 1 &&
                module->states.items[0]->kind == IR_STATE_PLAIN &&
                module->graphs.items[0]->last->op == IR_OP_write_state &&
                ir_node_int(find_node(module->graphs.items[0], IR_OP_concat), "axis", -1) == 1 &&
                ir_verify(module) == TD_OK;
    ir_module_release(module);
    model_end(model);
    free(model);
    CHECK(good);
}

TEST(integers_are_divided_downwards_and_floor_does_nothing_to_them)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    unsigned x = model_parameter(model, "i64", "I64", "2", "2");
    unsigned two = model_i64s(model, "", 1, (int64_t[]){2});
    unsigned half = model_two(model, "Divide", "m_pythondiv=\"true\"", x, two, "I64", "2");
    model_result(model, model_one(model, "Floor", "", half, "I64", "2"));
    ir_module *module = model_read(model);
    const ir_graph *graph = module == NULL ? NULL : module->graphs.items[0];
    bool good = graph != NULL && graph->first == graph->last && graph->first->op == IR_OP_divide &&
                ir_node_int(graph->first, "floor", 0) == 1;
    ir_module_release(module);
    model_end(model);
    free(model);
    CHECK(good);
}

/* --- what is refused --- */

TEST(versions_are_named)
{
    CHECK_STRING(read_text(NET("7", "", ""), 0, &plain),
                 "model.xml: OpenVINO IR version 7 is not read; versions 10 and 11 are");
}

TEST(unknown_operations_are_listed_all_at_once)
{
    const char *text =
        NET("11", PARAMETER(0) UNARY(1, "Gelu") UNARY(2, "Tanh") UNARY(3, "Gelu") RESULT(4),
            EDGE(0, 0, 1, 0) EDGE(1, 1, 2, 0) EDGE(2, 1, 3, 0) EDGE(3, 1, 4, 0));
    CHECK_STRING(
        read_text(text, 0, &plain),
        "model.xml: operations that are not imported: Gelu (2, first layer 1 \"u1\"), Tanh "
        "(1, first layer 2 \"u2\"); --summary lists such a graph");
    CHECK_STRING(read_text(text, 0, &summary), "read");
}

TEST(extensions_are_not_mistaken_for_operations)
{
    CHECK(strstr(read_text(NET("11",
                               PARAMETER(0) "<layer id=\"1\" name=\"a\" type=\"Sqrt\" "
                                            "version=\"extension\"><input><port id=\"0\"/></input>"
                                            "<output><port id=\"1\"/></output></layer>" RESULT(2),
                               EDGE(0, 0, 1, 0) EDGE(1, 1, 2, 0)),
                           0, &plain),
                 "not imported: Sqrt") != NULL);
}

TEST(a_cycle_is_named)
{
    CHECK_STRING(read_text(NET("11", PARAMETER(0) UNARY(1, "Sqrt") UNARY(2, "Exp") RESULT(3),
                               EDGE(2, 1, 1, 0) EDGE(1, 1, 2, 0) EDGE(2, 1, 3, 0)),
                           0, &plain),
                 "model.xml: the graph has a cycle through layer 1 \"u1\"; it must be acyclic");
}

TEST(edges_must_lead_somewhere)
{
    CHECK_STRING(read_text(NET("11", PARAMETER(0) RESULT(3), EDGE(0, 0, 9, 0)), 0, &plain),
                 "model.xml: line 8: dangling edge from layer 0 to layer 9: there is no layer 9");
    CHECK_STRING(read_text(NET("11", PARAMETER(0) RESULT(3), EDGE(0, 5, 3, 0)), 0, &plain),
                 "model.xml: line 8: dangling edge: layer 0 \"p\" has no output port 5");
    CHECK_STRING(read_text(NET("11", PARAMETER(0) RESULT(3), ""), 0, &plain),
                 "model.xml: layer 3 \"r\": no edge drives input port 0");
}

TEST(a_port_has_one_driver_and_an_id_one_layer)
{
    CHECK_STRING(
        read_text(NET("11", PARAMETER(0) PARAMETER(1) RESULT(3), EDGE(0, 0, 3, 0) EDGE(1, 0, 3, 0)),
                  0, &plain),
        "model.xml: line 10: input port 0 of layer 3 \"r\" has two drivers, layers 0 and 1; one is "
        "expected");
    CHECK_STRING(read_text(NET("11", PARAMETER(3) RESULT(3), EDGE(3, 0, 3, 0)), 0, &plain),
                 "model.xml: line 5: layer id 3 is already that of \"p\"; ids must differ");
}

TEST(constants_must_lie_within_the_bin)
{
    CHECK_STRING(
        read_text(NET("11", CONST(0, "2", "8192", "4096") RESULT(1), EDGE(0, 0, 1, 0)), 9000,
                  &plain),
        "model.xml: layer 0 \"c\" (Const): Const offset 8192 + size 4096 exceeds model.bin "
        "(9000 bytes)");
    CHECK_STRING(
        read_text(NET("11", CONST(0, "2, 3", "0", "20") RESULT(1), EDGE(0, 0, 1, 0)), 9000, &plain),
        "model.xml: layer 0 \"c\" (Const): Const size 20 is too small for f32 of shape "
        "\"2, 3\", which needs 24 bytes");
    CHECK(strstr(read_text(NET("11", CONST(0, "4294967296, 4294967296, 16", "0", "20") RESULT(1),
                               EDGE(0, 0, 1, 0)),
                           9000, &plain),
                 "must fit 64 bits") != NULL);
    CHECK(strstr(read_text(NET("11", CONST(0, "2", "18446744073709551615", "8") RESULT(1),
                               EDGE(0, 0, 1, 0)),
                           9000, &plain),
                 "overflow 64 bits") != NULL);
}

TEST(malformed_xml_is_refused_with_its_line)
{
    CHECK(strstr(read_text("<net name=\"t\" version=\"11\">\n<layers>\n</net>\n", 0, &plain),
                 "model.xml: line 3: malformed XML (") != NULL);
    CHECK(strstr(read_text("<net name=\"t\" version=\"11\">\n<layers>\n", 0, &plain),
                 "model.xml: line ") != NULL);
    CHECK_STRING(read_text("", 0, &plain), "model.xml: line 1: the file is empty");
    CHECK_STRING(read_text("<graph/>", 0, &plain),
                 "model.xml: line 1: the root element is <graph>; OpenVINO IR has <net>");
}

TEST(entities_and_document_types_are_refused)
{
    const char *type = "document type declarations and entities are not accepted";
    CHECK(strstr(read_text("<!DOCTYPE net SYSTEM \"file:///etc/passwd\">\n<net version=\"11\"/>", 0,
                           &plain),
                 type) != NULL);
    CHECK(strstr(read_text("<!DOCTYPE net [<!ENTITY a \"b\">]>\n<net version=\"11\">&a;</net>", 0,
                           &plain),
                 type) != NULL);
    /* The parser may notice a bomb before the declaration is looked at. */
    const char *bomb = read_text(
        "<!DOCTYPE net [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">"
        "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;\">]>\n"
        "<net name=\"&d;\" version=\"11\"><layers/></net>",
        0, &plain);
    CHECK(strstr(bomb, "model.xml: line ") != NULL);
    CHECK(strstr(bomb, type) != NULL || strstr(bomb, "malformed XML") != NULL);
}

TEST(depth_is_bounded)
{
    td_context context;
    td_text text;
    td_context_init(&context);
    td_text_init(&text, &context);
    td_text_printf(&text, "<net name=\"t\" version=\"11\"><layers>");
    for (int i = 0; i < 200; i++)
        td_text_printf(&text, "<layers>");
    const char *message = read_text(text.data, 0, &plain);
    td_text_release(&text);
    CHECK_STRING(message, "model.xml: line 1: elements are nested too deeply");
}

/* libxml2 compares each attribute of an element with each. */
TEST(attributes_are_bounded)
{
    td_context context;
    td_text text;
    td_context_init(&context);
    td_text_init(&text, &context);
    td_text_printf(&text, "<net name=\"t\"\n");
    for (int i = 0; i < 257; i++)
        td_text_printf(&text, " a%d='>'", i);
    td_text_printf(&text, "><layers/></net>");
    const char *message = read_text(text.data, 0, &plain);
    td_text_release(&text);
    CHECK_STRING(message, "model.xml: line 1: an element has more than 256 attributes");
}

TEST(only_utf8_is_read)
{
    CHECK_STRING(read_text("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><net version=\"11\"/>",
                           0, &plain),
                 "model.xml: line 1: the encoding must be UTF-8");
    CHECK_STRING(read_text("\x4c\x6f\xa7\x94", 0, &plain), /* "<?xm" in EBCDIC */
                 "model.xml: line 1: this is no XML; it begins with <");
    CHECK_STRING(read_text("\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>\n<net/>", 0, &plain),
                 "model.xml: line 2: <net> has no attribute version");
}

TEST(nothing_is_there_twice)
{
    CHECK_STRING(read_text("<net version=\"11\"><layers/>\n<layers/></net>", 0, &plain),
                 "model.xml: line 2: <net> has a second <layers>; one is accepted");
    CHECK_STRING(read_text("<net version=\"11\"><layers><layer id=\"0\" type=\"Result\">"
                           "<input/>\n<input/></layer></layers></net>",
                           0, &plain),
                 "model.xml: line 2: a layer has a second <data>, <input> or <output>; one of each "
                 "is accepted");
}

/* --- a missing .bin --- */

#define ADD_ROW                                                                                    \
    NET("11",                                                                                      \
        PARAMETER(0)                                                                               \
            CONST(1, "1, 1", "16",                                                                 \
                  "4") "<layer id=\"2\" name=\"a\" type=\"Add\" version=\"opset1\"><input><port "  \
                       "id=\"0\"/><port "                                                          \
                       "id=\"1\"/></input><output><port id=\"2\"/></output></layer>" RESULT(3),    \
        EDGE(0, 0, 2, 0) EDGE(1, 0, 2, 1) EDGE(2, 2, 3, 0))

static const char *read_with_constants(const char *json)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/openvino_constants_%d.json", TEST_BUILD_FOLDER, (int)getpid());
    fe_options options = {.constants = path};
    if (!test_write(path, json, strlen(json)))
        return "not written";
    const char *message = read_text(ADD_ROW, 0, &options);
    unlink(path);
    return message;
}

TEST(missing_constants_are_named)
{
    CHECK_STRING(
        read_text(ADD_ROW, 0, &plain),
        "model.xml: model.bin is missing, and the values of 1 constants that decide what is "
        "computed with it: offsets 16 (layer 1 \"c\"); give them with --constants FILE");
}

TEST(constants_can_be_given)
{
    CHECK_STRING(read_with_constants("{\"comment\": \"x\", \"16\": [1e-5]}"), "read");
    CHECK(strstr(read_with_constants("{\"16\": [1, 2]}"),
                 "offset 16: 2 values are given; layer 1 \"c\" needs 1 of type f32") != NULL);
    CHECK(strstr(read_with_constants("{\"16\": [\"one\"]}"), "not a number that fits type f32") !=
          NULL);
    CHECK(strstr(read_with_constants("{\"sixteen\": [1]}"), "is not an offset") != NULL);
}

/* --- hostile --- */

TEST(every_failing_allocation_is_survived)
{
    test_model *model = calloc(1, sizeof *model);
    CHECK(model != NULL);
    model_begin(model);
    unsigned x = model_parameter(model, "f32", "FP32", "?,2", "-1,2");
    unsigned target = model_i64s(model, "3", 3, (int64_t[]){0, 1, 2});
    x = model_two(model, "Reshape", "special_zero=\"true\"", x, target, "FP32", "-1,1,2");
    unsigned sizes = model_one(model, "ShapeOf", "output_type=\"i64\"", x, "I64", "3");
    x = model_two(model, "Broadcast", "mode=\"bidirectional\"", x, sizes, "FP32", "-1,1,2");
    model_result(model, x);
    bool written = model_write(model), finished = false, clean = true;
    const fe_options options = {0};
    for (size_t at = 0; written && !finished && at < 5000; at++) {
        td_context context;
        failing_allocator failing = {.countdown = at, .once = true};
        ir_module *module = NULL;
        failing_context(&context, &failing);
        td_status status = fe_read_openvino(&context, model->xml, &options, &module);
        if (status == TD_OK)
            status = ir_pass_fold_shapes(module);
        if (status == TD_OK)
            status = ir_pass_fold_decompression(module);
        finished = status == TD_OK;
        ir_module_release(module);
        clean = clean && failing.held == 0 && (finished || status == TD_NO_MEMORY);
    }
    model_end(model);
    free(model);
    CHECK(finished && clean);
}

TEST_MAIN()

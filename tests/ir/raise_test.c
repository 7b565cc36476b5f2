/* Raising: one small decoder in many spellings. Each must come out in raised form and give the same
 * logits as the graph it came from, or be refused with the reason.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/test.h"

#include "base/hash.h"
#include "ir/passes/passes.h"
#include "tests/ir/raise_compare.h"

/* --- the decoder: width 8, two heads of 4, one KV head, vocabulary 6 --- */

/* Parts of the text that a case may spell otherwise. */
typedef enum part { CONSTANTS, NORM, PROJECTIONS, ROPE, STATES, MASK, ATTENTION, MLP, PARTS } part;

static const char *const usual[PARTS] = {
    [CONSTANTS] = "",
    [NORM] = "%squares = power(%x, @f2)\n"
             "%mean = reduce_mean(%squares) {axes = [2], keep = 1}\n"
             "%shifted = add(%mean, @epsilon)\n"
             "%root = square_root(%shifted)\n"
             "%inverse = divide(@f1, %root)\n"
             "%normal = multiply(%x, %inverse)\n"
             "%n = multiply(@norm, %normal)\n",
    [PROJECTIONS] = "%q = matmul(%n, @wq) {transpose_a = 0, transpose_b = 1}\n"
                    "%k = matmul(%n, @wk) {transpose_a = 0, transpose_b = 1}\n"
                    "%v = matmul(%n, @wv) {transpose_a = 0, transpose_b = 1}\n",
    [ROPE] = "%p3 = reshape(%pos, @row3) {special_zero = 0}\n"
             "%pf = convert(%p3) {type = \"f32\"}\n"
             "%columns = matmul(@frequencies, %pf) {transpose_a = 0, transpose_b = 0}\n"
             "%half = transpose(%columns) {perm = [0, 2, 1]}\n"
             "%angles = concat(%half, %half) {axis = 2}\n"
             "%c3 = cosine(%angles)\n%s3 = sine(%angles)\n"
             "%c = reshape(%c3, @table4) {special_zero = 0}\n"
             "%s = reshape(%s3, @table4) {special_zero = 0}\n"
             "%q1 = slice(%qh, @i0, @i2, @i1) {axes = [3]}\n"
             "%q2 = slice(%qh, @i2, @i4, @i1) {axes = [3]}\n"
             "%qn = multiply(%q2, @minus)\n%qt = concat(%qn, %q1) {axis = 3}\n"
             "%qc = multiply(%qh, %c)\n%qx = multiply(%qt, %s)\n%qr = add(%qc, %qx)\n"
             "%k1 = slice(%kh, @i0, @i2, @i1) {axes = [3]}\n"
             "%k2 = slice(%kh, @i2, @i4, @i1) {axes = [3]}\n"
             "%kn = negate(%k2)\n%kt = concat(%kn, %k1) {axis = 3}\n"
             "%kc = multiply(%c, %kh)\n%kx = multiply(%kt, %s)\n%kr = add(%kx, %kc)\n",
    [STATES] = "%pastk = read_state() {state = \"k\"}\n"
               "%pk = gather(%pastk, %beam) {axis = 0, batch_dims = 0}\n"
               "%allk = concat(%pk, %kr) {axis = 2}\n"
               "%pastv = read_state() {state = \"v\"}\n"
               "%pv = gather(%pastv, %beam) {axis = 0, batch_dims = 0}\n"
               "%allv = concat(%pv, %vh) {axis = 2}\n"
               "%k5 = reshape(%allk, @group5) {special_zero = 0}\n"
               "%kb = broadcast(%k5, @repeat) {bidirectional = 1}\n"
               "%keys = reshape(%kb, @heads4) {special_zero = 0}\n"
               "%v5 = reshape(%allv, @group5) {special_zero = 0}\n"
               "%vb = broadcast(%v5, @repeat) {bidirectional = 1}\n"
               "%values = reshape(%vb, @heads4) {special_zero = 0}\n",
    [MASK] = "%seen = less_equal(%krow, %qcolumn)\n%mask = select(%seen, @f0, @low)\n",
    [ATTENTION] = "%o = attention(%qr, %keys, %values, %mask) {causal = 0}\n",
    [MLP] = "%gate = matmul(%y, @wg) {transpose_a = 0, transpose_b = 1}\n"
            "%up = matmul(%y, @wu) {transpose_a = 0, transpose_b = 1}\n"
            "%act = silu(%gate)\n%gated = multiply(%act, %up)\n"
            "%down = matmul(%gated, @wd) {transpose_a = 0, transpose_b = 1}\n"
            "%z = add(%y, %down)\n",
};

/* What every case has. */
static const char *const numbers =
    "constant @i0 \"i0\": i64[1] = {0}\nconstant @i1 \"i1\": i64[1] = {1}\n"
    "constant @i2 \"i2\": i64[1] = {2}\nconstant @i4 \"i4\": i64[1] = {4}\n"
    "constant @zero \"zero\": i64[] = {0}\nconstant @one \"one\": i64[] = {1}\n"
    "constant @two \"two\": i64[] = {2}\nconstant @three \"three\": i64[] = {3}\n"
    "constant @f0 \"f0\": f32[] = {0}\nconstant @f1 \"f1\": f32[1, 1, 1] = {1}\n"
    "constant @f2 \"f2\": f32[1, 1, 1] = {2}\nconstant @low \"low\": f32[] = {-65504}\n"
    "constant @minus \"minus\": f32[1, 1, 1, 1] = {-1}\n"
    "constant @epsilon \"epsilon\": f32[1, 1, 1] = {1e-05}\n"
    "constant @row3 \"row3\": i64[3] = {1, 1, -1}\n"
    "constant @table4 \"table4\": i64[4] = {1, 1, -1, 4}\n"
    "constant @half4 \"half4\": i64[4] = {1, 1, -1, 2}\n"
    "constant @column3 \"column3\": i64[3] = {1, -1, 1}\n"
    "constant @q4 \"q4\": i64[4] = {1, -1, 2, 4}\nconstant @k4 \"k4\": i64[4] = {1, -1, 1, 4}\n"
    "constant @group5 \"group5\": i64[5] = {1, 1, 1, -1, 4}\n"
    "constant @repeat \"repeat\": i64[5] = {1, 1, 2, 1, 1}\n"
    "constant @heads4 \"heads4\": i64[4] = {1, 2, -1, 4}\n"
    "constant @flat \"flat\": i64[3] = {1, -1, 8}\n"
    "constant @krow4 \"krow4\": i64[4] = {1, 1, 1, -1}\n"
    "constant @qcolumn4 \"qcolumn4\": i64[4] = {1, 1, -1, 1}\n"
    "constant @frequencies \"frequencies\": f32[1, 2, 1] = {1, 0.01}\n"
    "constant @flatfrequencies \"flatfrequencies\": f32[2] = {1, 0.01}\n"
    "constant @third \"third\": f32[] = {0.3}\n";

static void add_matrix(td_text *text, const char *name, const char *shape, int count, uint64_t seed,
                       float middle)
{
    td_text_printf(text, "constant @%s \"%s\": f32[%s] = {", name, name, shape);
    for (int i = 0; i < count; i++) {
        double number = (double)(td_random_next(&seed) >> 40) * 0x1p-24 - 0.5;
        td_text_printf(text, "%s%.4f", i > 0 ? ", " : "", (double)middle + number);
    }
    td_text_printf(text, "}\n");
}

/* cos or sin of position * frequency, as a table of as many positions as there are slots. */
static void add_table(td_text *text, const char *name, double (*function)(double))
{
    td_text_printf(text, "constant @%s \"%s\": f32[128, 4] = {", name, name);
    for (int i = 0; i < 128 * 4; i++)
        td_text_printf(text, "%s%.9g", i > 0 ? ", " : "",
                       (double)(float)function((double)((float)(i / 4) * (i % 2 ? 0.01f : 1.0f))));
    td_text_printf(text, "}\n");
}

static void add_weights(td_text *text)
{
    add_matrix(text, "table", "6, 8", 48, 1, 0.0f);
    add_matrix(text, "norm", "1, 1, 8", 8, 2, 1.0f);
    add_matrix(text, "headnorm", "4", 4, 20, 1.0f);
    add_matrix(text, "wq", "8, 8", 64, 3, 0.0f);
    add_matrix(text, "wk", "4, 8", 32, 4, 0.0f);
    add_matrix(text, "wv", "4, 8", 32, 5, 0.0f);
    add_matrix(text, "wkt", "8, 4", 32, 14, 0.0f);
    add_matrix(text, "wqkv", "16, 8", 128, 6, 0.0f);
    add_matrix(text, "bias", "16", 16, 7, 0.0f);
    add_matrix(text, "wo", "8, 8", 64, 8, 0.0f);
    add_matrix(text, "wg", "12, 8", 96, 9, 0.0f);
    add_matrix(text, "wu", "12, 8", 96, 10, 0.0f);
    add_matrix(text, "wd", "8, 12", 96, 11, 0.0f);
    add_matrix(text, "head", "6, 8", 48, 12, 0.0f);
    add_table(text, "costable", cos);
    add_table(text, "sintable", sin);
}

/* The module's text with some parts spelled otherwise (NULL: as usual). */
static void write_decoder(td_text *text, const char *const parts[PARTS])
{
    const char *chosen[PARTS];
    for (int i = 0; i < PARTS; i++)
        chosen[i] = parts[i] != NULL ? parts[i] : usual[i];
    td_text_printf(text,
                   "module \"decoder\"\nsymbol tokens <= 64\nsymbol slots <= 128\n"
                   "state \"k\" = plain f32[1, 1, slots, 4]\n"
                   "state \"v\" = plain f32[1, 1, slots, 4]\n%s",
                   numbers);
    add_weights(text);
    td_text_printf(text, "%s", chosen[CONSTANTS]);
    td_text_printf(text,
                   "graph \"imported\" {\n"
                   "input %%ids \"input_ids\": i64[1, tokens]\n"
                   "input %%given \"attention_mask\": i64[1, slots + tokens]\n"
                   "input %%pos \"position_ids\": i64[1, tokens]\n"
                   "input %%beam \"beam_idx\": i32[1]\n"
                   "%%x = gather(@table, %%ids) {axis = 0, batch_dims = 0} \"embed\"\n"
                   "%s%s"
                   "%%qs = reshape(%%q, @q4) {special_zero = 0}\n"
                   "%%qh = transpose(%%qs) {perm = [0, 2, 1, 3]}\n"
                   "%%ks = reshape(%%k, @k4) {special_zero = 0}\n"
                   "%%kh = transpose(%%ks) {perm = [0, 2, 1, 3]}\n"
                   "%%vs = reshape(%%v, @k4) {special_zero = 0}\n"
                   "%%vh = transpose(%%vs) {perm = [0, 2, 1, 3]}\n",
                   chosen[NORM], chosen[PROJECTIONS]);
    td_text_printf(text, "%s%s", chosen[ROPE], chosen[STATES]);
    td_text_printf(text,
                   "%%shape = shape_of(%%pk) {type = \"i64\"}\n"
                   "%%past = gather(%%shape, @two) {axis = 0, batch_dims = 0}\n"
                   "%%idshape = shape_of(%%ids) {type = \"i64\"}\n"
                   "%%new = gather(%%idshape, @one) {axis = 0, batch_dims = 0}\n"
                   "%%total = add(%%past, %%new)\n"
                   "%%krange = range(@zero, %%total, @one) {type = \"i64\"}\n"
                   "%%qrange = range(%%past, %%total, @one) {type = \"i64\"}\n"
                   "%%krow = reshape(%%krange, @krow4) {special_zero = 0}\n"
                   "%%qcolumn = reshape(%%qrange, @qcolumn4) {special_zero = 0}\n"
                   "%s%s"
                   "%%ot = transpose(%%o) {perm = [0, 2, 1, 3]}\n"
                   "%%of = reshape(%%ot, @flat) {special_zero = 0}\n"
                   "%%p = matmul(%%of, @wo) {transpose_a = 0, transpose_b = 1} \"o_proj\"\n"
                   "%%y = add(%%x, %%p)\n"
                   "%s"
                   "%%l = matmul(%%z, @head) {transpose_a = 0, transpose_b = 1} \"lm_head\"\n"
                   "write_state(%%allk) {state = \"k\"}\n"
                   "write_state(%%allv) {state = \"v\"}\n"
                   "output \"logits\" = %%l\n}\n",
                   chosen[MASK], chosen[ATTENTION], chosen[MLP]);
}

static td_status parse_decoder(td_context *context, const char *const parts[PARTS],
                               ir_module **module)
{
    td_text text;
    td_text_init(&text, context);
    write_decoder(&text, parts);
    td_status status = ir_parse(context, text.data, text.length, "decoder", module);
    td_text_release(&text);
    if (status != TD_OK)
        return status;
    status = ir_pass_fold_shapes(*module);
    if (status == TD_OK)
        status = ir_pass_fold_decompression(*module);
    if (status != TD_OK)
        ir_module_release(*module);
    return status;
}

/* --- spellings that are raised --- */

static bool only_raised_ops(const ir_module *module)
{
    const ir_graph *forward = ir_module_find_graph(module, "forward");
    for (const ir_node *node = forward->first; node != NULL; node = node->next)
        if ((ir_op(node->op)->flags & IR_FLAG_RAISED) == 0 && node->op != IR_OP_add &&
            node->op != IR_OP_multiply && node->op != IR_OP_silu)
            return false;
    return true;
}

static unsigned count_ops(const ir_module *module, ir_opcode op)
{
    unsigned count = 0;
    for (const ir_node *node = ir_module_find_graph(module, "forward")->first; node != NULL;
         node = node->next)
        count += node->op == op;
    return count;
}

static const ir_node *find_op(const ir_module *module, ir_opcode op)
{
    const ir_node *node = ir_module_find_graph(module, "forward")->first;
    while (node != NULL && node->op != op)
        node = node->next;
    return node;
}

/* Raises the decoder and compares its logits over three chunks; the raised module is the caller's.
 */
static void raise_and_compare(td_context *context, const char *const parts[PARTS],
                              ir_module **raised)
{
    static const int32_t ids[] = {1, 4, 0, 5, 2, 3, 3, 1};
    static const int64_t chunks[] = {4, 1, 3, 0};
    const compare_text text = {ids, chunks};
    ir_module *imported;
    float *expected, *actual;
    size_t expected_count, actual_count;
    td_context_init(context);
    CHECK_MESSAGE(parse_decoder(context, parts, &imported) == TD_OK, "%s", context->message);
    CHECK_MESSAGE(parse_decoder(context, parts, raised) == TD_OK, "%s", context->message);
    CHECK_MESSAGE(ir_pass_raise(*raised) == TD_OK, "%s", context->message);
    CHECK_MESSAGE(ir_pass_remove_dead(*raised) == TD_OK, "%s", context->message);
    CHECK_MESSAGE(ir_verify(*raised) == TD_OK, "%s", context->message);
    CHECK(only_raised_ops(*raised));
    CHECK(count_ops(*raised, IR_OP_cached_attention) == 1);
    CHECK(count_ops(*raised, IR_OP_rope) == 2 && count_ops(*raised, IR_OP_rotary_table) == 1);
    CHECK_MESSAGE(compare_logits(imported, &text, &expected, &expected_count) == TD_OK, "%s",
                  context->message);
    CHECK_MESSAGE(compare_logits(*raised, &text, &actual, &actual_count) == TD_OK, "%s",
                  context->message);
    CHECK(expected_count == 8 * 6);
    double difference = compare_difference(expected, expected_count, actual, actual_count);
    CHECK_MESSAGE(difference < 1e-5, "%g", difference);
    free(expected);
    free(actual);
    ir_module_release(imported);
}

/* A test of one spelling that only has to be equal. */
#define SPELLING(name, ...)                                                                        \
    TEST(name)                                                                                     \
    {                                                                                              \
        td_context context;                                                                        \
        ir_module *raised = NULL;                                                                  \
        const char *const parts[PARTS] = {__VA_ARGS__};                                            \
        raise_and_compare(&context, parts, &raised);                                               \
        ir_module_release(raised);                                                                 \
    }

TEST(usual_decoder)
{
    td_context context;
    ir_module *raised;
    const char *const parts[PARTS] = {0};
    raise_and_compare(&context, parts, &raised);
    if (test_failed)
        return;
    const ir_node *attention = find_op(raised, IR_OP_cached_attention);
    CHECK(ir_node_int(attention, "heads", 0) == 2 && ir_node_int(attention, "kv_heads", 0) == 1);
    CHECK(ir_node_int(attention, "head_size", 0) == 4);
    CHECK(ir_node_float(attention, "scale", 0.0) == 0.5);
    CHECK(ir_node_float(find_op(raised, IR_OP_rms_norm), "epsilon", 0.0) == 1e-5);
    CHECK(count_ops(raised, IR_OP_gated_silu) == 1 && count_ops(raised, IR_OP_linear) == 8);
    CHECK(raised->states.count == 1 && raised->graphs.count == 2 && raised->symbols.count == 4);
    CHECK(find_op(raised, IR_OP_select_rows) != NULL);
    ir_module_release(raised);
}

SPELLING(norm_by_squares_and_power,
         [NORM] = "%squares = multiply(%x, %x)\n"
                  "%mean = reduce_mean(%squares) {axes = [2], keep = 1}\n"
                  "%shifted = add(@epsilon, %mean)\n"
                  "%inverse = power(%shifted, @power)\n"
                  "%scaled = multiply(%x, @norm)\n"
                  "%n = multiply(%inverse, %scaled)\n",
         [CONSTANTS] = "constant @power \"power\": f32[] = {-0.5}\n")

SPELLING(norm_by_division, [NORM] = "%squares = power(%x, @f2)\n"
                                    "%mean = reduce_mean(%squares) {axes = [2], keep = 1}\n"
                                    "%shifted = add(%mean, @epsilon)\n"
                                    "%root = square_root(%shifted)\n"
                                    "%normal = divide(%x, %root)\n"
                                    "%n = multiply(%normal, @norm)\n")

SPELLING(norm_with_computed_weight, [NORM] =
                                        "%squares = power(%x, @f2)\n"
                                        "%mean = reduce_mean(%squares) {axes = [2], keep = 1}\n"
                                        "%shifted = add(%mean, @epsilon)\n"
                                        "%root = square_root(%shifted)\n"
                                        "%inverse = divide(@f1, %root)\n"
                                        "%normal = multiply(%x, %inverse)\n"
                                        "%weight = add(@norm, @f1)\n"
                                        "%n = multiply(%normal, %weight)\n")

SPELLING(weight_not_transposed, [PROJECTIONS] =
                                    "%q = matmul(%n, @wq) {transpose_a = 0, transpose_b = 0}\n"
                                    "%k = matmul(%n, @wkt) {transpose_a = 0, transpose_b = 0}\n"
                                    "%v = matmul(%n, @wv) {transpose_a = 0, transpose_b = 1}\n")

SPELLING(biases, [PROJECTIONS] = "%q0 = matmul(%n, @wq) {transpose_a = 0, transpose_b = 1}\n"
                                 "%q = add(%q0, @norm)\n"
                                 "%k0 = matmul(%n, @wk) {transpose_a = 0, transpose_b = 1}\n"
                                 "%k = add(@headnorm, %k0)\n"
                                 "%v = matmul(%n, @wv) {transpose_a = 0, transpose_b = 1}\n")

SPELLING(fused_projection_split, [PROJECTIONS] =
                                     "%f0 = matmul(%n, @wqkv) {transpose_a = 0, transpose_b = 1}\n"
                                     "%fused = add(%f0, @bias)\n"
                                     "%q, %k, %v = split(%fused) {axis = 2, lengths = [8, 4, 4]}\n")

SPELLING(fused_projection_sliced,
         [CONSTANTS] = "constant @i8 \"i8\": i64[1] = {8}\nconstant @i12 \"i12\": i64[1] = {12}\n"
                       "constant @i16 \"i16\": i64[1] = {16}\n",
         [PROJECTIONS] = "%fused = matmul(%n, @wqkv) {transpose_a = 0, transpose_b = 1}\n"
                         "%q = slice(%fused, @i0, @i8, @i1) {axes = [2]}\n"
                         "%k = slice(%fused, @i8, @i12, @i1) {axes = [2]}\n"
                         "%v = slice(%fused, @i12, @i16, @i1) {axes = [2]}\n")

/* x1 * c - x2 * s and x2 * c + x1 * s, from angles that are a product */
SPELLING(rope_by_halves, [ROPE] = "%p3 = reshape(%pos, @column3) {special_zero = 0}\n"
                                  "%pf = convert(%p3) {type = \"f32\"}\n"
                                  "%angles = multiply(%pf, @flatfrequencies)\n"
                                  "%c3 = cosine(%angles)\n%s3 = sine(%angles)\n"
                                  "%c = reshape(%c3, @half4) {special_zero = 0}\n"
                                  "%s = reshape(%s3, @half4) {special_zero = 0}\n"
                                  "%q1, %q2 = split(%qh) {axis = 3, count = 2}\n"
                                  "%qa = multiply(%q1, %c)\n%qb = multiply(%q2, %s)\n"
                                  "%qd = multiply(%q2, %c)\n%qe = multiply(%q1, %s)\n"
                                  "%ql = subtract(%qa, %qb)\n%qu = add(%qd, %qe)\n"
                                  "%qr = concat(%ql, %qu) {axis = 3}\n"
                                  "%k1, %k2 = split(%kh) {axis = 3, count = 2}\n"
                                  "%ka = multiply(%k1, %c)\n%kb0 = multiply(%k2, %s)\n"
                                  "%kd = multiply(%k2, %c)\n%ke = multiply(%k1, %s)\n"
                                  "%kl = subtract(%ka, %kb0)\n%ku = add(%ke, %kd)\n"
                                  "%kr = concat(%kl, %ku) {axis = 3}\n")

/* cosines and sines gathered from tables: the angles are nowhere in the graph */
#define ROTATION                                                                                   \
    "%q1 = slice(%qh, @i0, @i2, @i1) {axes = [3]}\n"                                               \
    "%q2 = slice(%qh, @i2, @i4, @i1) {axes = [3]}\n"                                               \
    "%qn = negate(%q2)\n%qt = concat(%qn, %q1) {axis = 3}\n"                                       \
    "%qc = multiply(%qh, %c)\n%qx = multiply(%qt, %s)\n%qr = add(%qc, %qx)\n"                      \
    "%k1 = slice(%kh, @i0, @i2, @i1) {axes = [3]}\n"                                               \
    "%k2 = slice(%kh, @i2, @i4, @i1) {axes = [3]}\n"                                               \
    "%kn = negate(%k2)\n%kt = concat(%kn, %k1) {axis = 3}\n"                                       \
    "%kc = multiply(%kh, %c)\n%kx = multiply(%kt, %s)\n%kr = add(%kc, %kx)\n"

SPELLING(rope_from_tables, [ROPE] = "%c3 = gather(@costable, %pos) {axis = 0, batch_dims = 0}\n"
                                    "%s3 = gather(@sintable, %pos) {axis = 0, batch_dims = 0}\n"
                                    "%c = reshape(%c3, @table4) {special_zero = 0}\n"
                                    "%s = reshape(%s3, @table4) {special_zero = 0}\n" ROTATION)

SPELLING(mask_is_boolean, [MASK] = "%mask = less_equal(%krow, %qcolumn)\n")

SPELLING(mask_with_given, [MASK] = "%given1 = convert(%given) {type = \"bool\"}\n"
                                   "%given4 = reshape(%given1, @krow4) {special_zero = 0}\n"
                                   "%before = greater_equal(%qcolumn, %krow)\n"
                                   "%mask = bitwise_and(%before, %given4)\n")

TEST(mask_with_window)
{
    td_context context;
    ir_module *raised = NULL;
    const char *const parts[PARTS] = {[MASK] = "%seen = less_equal(%krow, %qcolumn)\n"
                                               "%oldest = subtract(%qcolumn, @three)\n"
                                               "%near = greater(%krow, %oldest)\n"
                                               "%mask = bitwise_and(%seen, %near)\n"};
    raise_and_compare(&context, parts, &raised);
    if (test_failed)
        return;
    CHECK(ir_node_int(find_op(raised, IR_OP_cached_attention), "window", 0) == 3);
    ir_module_release(raised);
}

TEST(scale_from_an_input)
{
    td_context context;
    ir_module *raised = NULL;
    const char *const parts[PARTS] = {
        [ATTENTION] = "%o = attention(%qr, %keys, %values, %mask, @third) {causal = 0}\n"};
    raise_and_compare(&context, parts, &raised);
    if (test_failed)
        return;
    CHECK(ir_node_float(find_op(raised, IR_OP_cached_attention), "scale", 0.0) == 0.3);
    ir_module_release(raised);
}

/* A query scaled before attention, which then has scale 1, is attention with that scale. */
TEST(scale_of_the_queries)
{
    td_context context;
    ir_module *raised = NULL;
    const char *const parts[PARTS] = {
        [CONSTANTS] = "constant @unit \"unit\": f32[] = {1}\n",
        [ATTENTION] = "%scaled = multiply(%qr, @third)\n"
                      "%o = attention(%scaled, %keys, %values, %mask, @unit) {causal = 0}\n"};
    raise_and_compare(&context, parts, &raised);
    if (test_failed)
        return;
    CHECK(ir_node_float(find_op(raised, IR_OP_cached_attention), "scale", 0.0) == 0.3);
    ir_module_release(raised);
}

SPELLING(attention_spelled_out,
         [ATTENTION] = "%scores = matmul(%qr, %keys) {transpose_a = 0, transpose_b = 1}\n"
                       "%scaled = multiply(%scores, @third)\n%masked = add(%scaled, %mask)\n"
                       "%shares = softmax(%masked) {axis = 3}\n"
                       "%o = matmul(%shares, %values) {transpose_a = 0, transpose_b = 0}\n")

SPELLING(attention_spelled_out_with_transposed_keys,
         [CONSTANTS] = "constant @root \"root\": f32[] = {2}\n",
         [ATTENTION] = "%turned = transpose(%keys) {perm = [0, 1, 3, 2]}\n"
                       "%scores = matmul(%qr, %turned) {transpose_a = 0, transpose_b = 0}\n"
                       "%scaled = divide(%scores, @root)\n%masked = add(%mask, %scaled)\n"
                       "%shares = softmax(%masked) {axis = 3}\n"
                       "%o = matmul(%shares, %values) {transpose_a = 0, transpose_b = 0}\n")

SPELLING(one_key_head_for_all_queries,
         [ATTENTION] = "%scores = matmul(%qr, %allk) {transpose_a = 0, transpose_b = 1}\n"
                       "%scaled = multiply(%scores, @third)\n%masked = add(%scaled, %mask)\n"
                       "%shares = softmax(%masked) {axis = 3}\n"
                       "%o = matmul(%shares, %allv) {transpose_a = 0, transpose_b = 0}\n")

SPELLING(gate_by_sigmoid, [MLP] = "%gate = matmul(%y, @wg) {transpose_a = 0, transpose_b = 1}\n"
                                  "%up = matmul(%y, @wu) {transpose_a = 0, transpose_b = 1}\n"
                                  "%open = sigmoid(%gate)\n%act = multiply(%open, %gate)\n"
                                  "%gated = multiply(%up, %act)\n"
                                  "%down = matmul(%gated, @wd) {transpose_a = 0, transpose_b = 1}\n"
                                  "%z = add(%down, %y)\n")

/* --- what is refused --- */

/* The decoder is refused, the message says why, and the imported graph is still there. */
static void refuse(const char *const parts[PARTS], const char *reason)
{
    td_context context;
    ir_module *module;
    td_context_init(&context);
    CHECK_MESSAGE(parse_decoder(&context, parts, &module) == TD_OK, "%s", context.message);
    CHECK(ir_pass_raise(module) == TD_UNSUPPORTED);
    CHECK_MESSAGE(strstr(context.message, reason) != NULL, "%s", context.message);
    CHECK(module->graphs.count == 1 && module->states.count == 2);
    CHECK(ir_module_find_graph(module, "forward") == NULL);
    CHECK_MESSAGE(ir_verify(module) == TD_OK, "%s", context.message);
    ir_module_release(module);
}

#define REFUSED(name, reason, ...)                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        const char *const parts[PARTS] = {__VA_ARGS__};                                            \
        refuse(parts, reason);                                                                     \
    }

REFUSED(mask_that_shows_everything, "mask is not causal",
        [MASK] = "%seen = less_equal(%krow, %total)\n%mask = select(%seen, @f0, @low)\n")

/* Aligned at the first slot: right only while the cache is empty. */
REFUSED(mask_that_forgets_the_slots, "mask is not causal",
        [MASK] = "%early = subtract(%qcolumn, %past)\n%seen = less_equal(%krow, %early)\n"
                 "%mask = select(%seen, @f0, @low)\n")

REFUSED(mask_that_hides_too_little,
        "mask is not causal", [CONSTANTS] = "constant @weak \"weak\": f32[] = {-10}\n",
        [MASK] = "%seen = less_equal(%krow, %qcolumn)\n%mask = select(%seen, @f0, @weak)\n")

REFUSED(no_mask, "has no mask", [ATTENTION] = "%o = attention(%qr, %keys, %values) {causal = 0}\n")

REFUSED(causal_attribute,
        "causal=true", [ATTENTION] = "%o = attention(%qr, %keys, %values, %mask) {causal = 1}\n")

REFUSED(angles_that_are_not_linear, "not those of position * frequency",
        [ROPE] = "%p3 = reshape(%pos, @row3) {special_zero = 0}\n"
                 "%p1 = convert(%p3) {type = \"f32\"}\n%pf = multiply(%p1, %p1)\n"
                 "%columns = matmul(@frequencies, %pf) {transpose_a = 0, transpose_b = 0}\n"
                 "%half = transpose(%columns) {perm = [0, 2, 1]}\n"
                 "%angles = concat(%half, %half) {axis = 2}\n"
                 "%c3 = cosine(%angles)\n%s3 = sine(%angles)\n"
                 "%c = reshape(%c3, @table4) {special_zero = 0}\n"
                 "%s = reshape(%s3, @table4) {special_zero = 0}\n" ROTATION)

REFUSED(sines_of_other_angles, "not those of position * frequency",
        [ROPE] = "%c3 = gather(@costable, %pos) {axis = 0, batch_dims = 0}\n"
                 "%s3 = gather(@costable, %pos) {axis = 0, batch_dims = 0}\n"
                 "%c = reshape(%c3, @table4) {special_zero = 0}\n"
                 "%s = reshape(%s3, @table4) {special_zero = 0}\n" ROTATION)

REFUSED(heads_repeated_in_another_order, "keys, values and queries differ",
        [ATTENTION] = "%o = attention(%qr, %keys, %allv, %mask) {causal = 0}\n")

REFUSED(an_operation_of_another_kind,
        "\"odd\" (square_root)", [MLP] = "%z = square_root(%y) \"odd\"\n")

REFUSED(a_scaled_activation,
        "\"lm_head\" (matmul: its input is scaled", [MLP] = "%z = multiply(%y, @third)\n")

REFUSED(a_state_that_keeps_something_else, "writes something else",
        [STATES] = "%pastk = read_state() {state = \"v\"}\n"
                   "%pk = gather(%pastk, %beam) {axis = 0, batch_dims = 0}\n"
                   "%allk = concat(%pk, %kr) {axis = 2}\n"
                   "%pastv = read_state() {state = \"k\"}\n"
                   "%pv = gather(%pastv, %beam) {axis = 0, batch_dims = 0}\n"
                   "%allv = concat(%pv, %vh) {axis = 2}\n"
                   "%k5 = reshape(%allk, @group5) {special_zero = 0}\n"
                   "%kb = broadcast(%k5, @repeat) {bidirectional = 1}\n"
                   "%keys = reshape(%kb, @heads4) {special_zero = 0}\n"
                   "%v5 = reshape(%allv, @group5) {special_zero = 0}\n"
                   "%vb = broadcast(%v5, @repeat) {bidirectional = 1}\n"
                   "%values = reshape(%vb, @heads4) {special_zero = 0}\n")

TEST(a_graph_without_states_is_no_decoder)
{
    static const char text[] = "module \"m\"\ngraph \"g\" {\ninput %x \"x\": f32[2]\n"
                               "%y = negate(%x)\noutput \"y\" = %y\n}\n";
    td_context context;
    ir_module *module;
    td_context_init(&context);
    CHECK_MESSAGE(ir_parse(&context, text, sizeof text - 1, "text", &module) == TD_OK, "%s",
                  context.message);
    CHECK(ir_pass_raise(module) == TD_UNSUPPORTED);
    CHECK(strstr(context.message, "not a decoder") != NULL);
    ir_module_release(module);
}

TEST_MAIN()

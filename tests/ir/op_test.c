/* The op table is sound, and docs/ir.md describes every row of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"
#include "ir/ir.h"

#include "tests/test.h"

TEST(rows_are_sound_and_found_by_name)
{
    for (int i = 0; i < IR_OP_COUNT; i++) {
        const ir_op_info *info = ir_op((ir_opcode)i);
        ir_opcode found = IR_OP_COUNT;
        CHECK(ir_op_from_name(info->name, &found) && found == (ir_opcode)i);
        CHECK(info->infer != NULL && info->summary[0] != '\0');
        CHECK(info->max_inputs == -1 || info->max_inputs >= info->min_inputs);
        if ((info->flags & IR_FLAG_ELEMENTWISE) != 0)
            CHECK(info->outputs == 1);
    }
    ir_opcode op;
    CHECK(!ir_op_from_name("no such operation", &op));
    CHECK(ir_op(IR_OP_COUNT) == NULL);
}

TEST(element_types_are_found_by_name)
{
    for (int i = 0; i < IR_TYPE_COUNT; i++) {
        ir_type found = IR_TYPE_COUNT;
        CHECK(ir_type_from_name(ir_type_name((ir_type)i), &found) && found == (ir_type)i);
    }
    CHECK(ir_type_bits(IR_U4) == 4 && ir_type_bits(IR_BF16) == 16 && ir_type_bits(IR_BOOL) == 8);
}

/* The row of a table in docs/ir.md, as the op table would write it. */
static void describe(const ir_op_info *info, td_text *row)
{
    static const char *const flags[] = {"elementwise", "in place", "view", "effect", "raised"};
    td_text_printf(row, "| `%s` | %d", info->name, info->min_inputs);
    if (info->max_inputs < 0)
        td_text_printf(row, " or more");
    else if (info->max_inputs != info->min_inputs)
        td_text_printf(row, " to %d", info->max_inputs);
    if (info->outputs < 0)
        td_text_printf(row, " | any | ");
    else
        td_text_printf(row, " | %d | ", info->outputs);
    const char *separator = "";
    for (unsigned i = 0; i < TD_COUNT_OF(flags); i++)
        if ((info->flags >> i & 1) != 0) {
            td_text_printf(row, "%s%s", separator, flags[i]);
            separator = ", ";
        }
    td_text_printf(row, " | ");
    for (const char *c = info->summary; *c != '\0'; c++) {
        if (*c == '|')
            td_text_printf(row, "&#124;");
        else
            td_text_append(row, c, 1);
    }
    td_text_printf(row, " |\n");
}

TEST(the_manual_describes_every_row)
{
    td_context context;
    td_file file;
    td_text manual;
    td_context_init(&context);
    td_text_init(&manual, &context);
    CHECK(td_file_map(&context, TEST_SOURCE_FOLDER "/docs/ir.md", &file) == TD_OK);
    td_text_append(&manual, (const char *)file.data, file.size);
    for (int i = 0; i < IR_OP_COUNT; i++) {
        td_text row;
        td_text_init(&row, &context);
        describe(ir_op((ir_opcode)i), &row);
        CHECK_MESSAGE(strstr(manual.data, row.data) != NULL, "docs/ir.md lacks the row\n%s",
                      row.data);
        td_text_release(&row);
    }
    td_text_release(&manual);
    td_file_unmap(&context, &file);
}

TEST_MAIN()

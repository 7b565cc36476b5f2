/* Whole compiles: outputs, determinism, plans and budgets, refusals.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "codegen/program.h"
#include "tests/codegen/tiny_program.h"
#include "tests/failing.h"
#include "tests/test.h"

static const synthetic_options tiny = {.layers = 2,
                                       .features = 32,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .head_size = 8,
                                       .hidden = 48,
                                       .vocabulary = 64,
                                       .max_tokens = 32,
                                       .type = IR_F16,
                                       .cache_type = IR_F16};

static bool begin(tiny_program *self)
{
    if (!tiny_start(self) || synthetic_llama(&self->context, &tiny, &self->models[0]) != TD_OK ||
        tiny_plan(self, 1, 0) != TD_OK)
        return false;
    self->request.emit = CG_OBJECT;
    return true;
}

static bool same_files(td_context *context, const char *left, const char *right)
{
    td_file a, b;
    if (td_file_map(context, left, &a) != TD_OK)
        return false;
    bool same = td_file_map(context, right, &b) == TD_OK;
    if (same) {
        same = a.size == b.size && a.size > 0 && memcmp(a.data, b.data, a.size) == 0;
        td_file_unmap(context, &b);
    }
    td_file_unmap(context, &a);
    return same;
}

TEST(two_compiles_are_byte_identical)
{
    static const cg_emit emits[] = {CG_OBJECT, CG_BITCODE, CG_LLVM_IR, CG_EXECUTABLE, CG_SHARED};
    for (size_t i = 0; i < TD_COUNT_OF(emits); i++) {
        tiny_program self;
        cg_plan plan;
        char again[96];
        if ((emits[i] == CG_EXECUTABLE || emits[i] == CG_SHARED) && !tiny_has_runtime())
            SKIP("the runtime archive is not built");
        CHECK(begin(&self));
        self.request.emit = emits[i];
        CHECK_MESSAGE(cg_compile(&self.context, &self.request, &plan) == TD_OK, "%s",
                      self.context.message);
        snprintf(again, sizeof again, "%s/again", self.folder);
        CHECK(rename(self.output, again) == 0);
        CHECK(cg_compile(&self.context, &self.request, &plan) == TD_OK);
        CHECK_MESSAGE(same_files(&self.context, self.output, again), "emit %zu", i);
        tiny_end(&self);
    }
}

/* Ends with the trailer, which points at a page where the weights start. */
TEST(linked_outputs_end_with_their_weights)
{
    tiny_program self;
    cg_plan plan;
    td_file file;
    tandem_payload_trailer trailer;
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    CHECK(begin(&self));
    self.request.emit = CG_EXECUTABLE;
    CHECK(cg_compile(&self.context, &self.request, &plan) == TD_OK);
    CHECK(access(self.output, X_OK) == 0);
    CHECK(td_file_map(&self.context, self.output, &file) == TD_OK);
    memcpy(&trailer, file.data + file.size - sizeof trailer, sizeof trailer);
    CHECK(memcmp(trailer.magic, "TANDEMPL", 8) == 0);
    CHECK(trailer.offset % 4096 == 0 && trailer.bytes == plan.weights);
    CHECK(trailer.offset + trailer.bytes + sizeof trailer == file.size);
    td_file_unmap(&self.context, &file);
    char command[160];
    snprintf(command, sizeof command, "%s --check >/dev/null", self.output);
    CHECK(system(command) == 0);
    tiny_end(&self);
}

TEST(a_shared_library_has_a_header)
{
    tiny_program self;
    cg_plan plan;
    char command[256];
    if (!tiny_has_runtime() || !td_path_exists(TINY_RUNTIME_ROOT "/include/tandem.h"))
        SKIP("the runtime archive is not built");
    CHECK(begin(&self));
    self.request.emit = CG_SHARED;
    CHECK(cg_compile(&self.context, &self.request, &plan) == TD_OK);
    snprintf(command, sizeof command,
             "cd %s && echo '#include \"out.h\"' | cc -std=c99 -Werror -I. -fsyntax-only -x c -",
             self.folder);
    CHECK(system(command) == 0);
    snprintf(command, sizeof command,
             "test \"$(nm -D --defined-only %s | grep -v ' A ' | wc -l)\" = 1", self.output);
    CHECK(system(command) == 0);
    tiny_end(&self);
}

/* Compiles and says whether the artefact describes how keys turn. */
static bool describes_rotation(tiny_program *self, bool *interleaved)
{
    self->request.emit = CG_SHARED;
    if (tiny_load(self) != TD_OK)
        return false;
    const tandem_rotary_info *rotary = &self->artefact->models[0].rotary;
    *interleaved = rotary->interleaved != 0;
    return rotary->frequencies != NULL && rotary->count == tiny.head_size / 2;
}

/* Turns the keys of one layer, or of both, in pairs that lie side by side. */
static void interleave_keys(const cg_model *model, bool all)
{
    bool first = true;
    for (ir_node *node = model->forward->first; node != NULL; node = node->next)
        if (node->op == IR_OP_cached_attention && (first || all)) {
            ir_node_set_int(node->inputs[1]->producer, "interleaved", 1);
            first = false;
        }
}

TEST(only_a_rotation_of_all_layers_is_described)
{
    if (!tiny_has_runtime())
        SKIP("the runtime archive is not built");
    for (int changed = 0; changed <= 2; changed++) {
        tiny_program self;
        bool interleaved = false;
        CHECK(begin(&self));
        if (changed > 0)
            interleave_keys(&self.models[0], changed == 2);
        CHECK(describes_rotation(&self, &interleaved) == (changed != 1));
        CHECK(interleaved == (changed == 2));
        tiny_end(&self);
    }
}

TEST(a_failure_leaves_the_old_file)
{
    tiny_program self;
    cg_plan plan;
    char text[8] = "";
    CHECK(begin(&self));
    FILE *old = fopen(self.output, "w");
    fputs("old", old);
    fclose(old);
    self.models[0].module->constants.items[0]->missing = true;
    CHECK(cg_compile(&self.context, &self.request, &plan) == TD_INVALID);
    CHECK(strstr(self.context.message, "has no data") != NULL);
    self.models[0].module->constants.items[0]->missing = false;
    self.request.emit = CG_EXECUTABLE;
    self.request.runtime_root = "/nonexistent";
    CHECK(cg_compile(&self.context, &self.request, &plan) == TD_IO);
    CHECK(strstr(self.context.message, "/nonexistent") != NULL);
    old = fopen(self.output, "r");
    CHECK(old != NULL && fgets(text, sizeof text, old) != NULL);
    fclose(old);
    CHECK_STRING(text, "old");
    tiny_end(&self);
    CHECK(!td_path_exists(self.folder)); /* nothing else was left behind */
}

/* The plan needs no weights, is the one that the compile makes, and adds up. */
TEST(plans_agree_and_add_up)
{
    tiny_program self;
    cg_plan planned, compiled;
    CHECK(begin(&self));
    for (size_t i = 0; i < self.models[0].module->constants.count; i++)
        self.models[0].module->constants.items[i]->missing = true;
    CHECK_MESSAGE(cg_make_plan(&self.context, &self.request, &planned) == TD_OK, "%s",
                  self.context.message);
    for (size_t i = 0; i < self.models[0].module->constants.count; i++)
        self.models[0].module->constants.items[i]->missing = false;
    CHECK(cg_compile(&self.context, &self.request, &compiled) == TD_OK);
    CHECK(memcmp(&planned, &compiled, sizeof planned) == 0);
    /* K and V of 2 layers, 2 heads of 8 elements of 2 bytes. */
    CHECK(planned.slot_bytes == 2 * 2 * 2 * 8 * 2);
    CHECK(planned.slots == 1056 && planned.minimum_slots == 16); /* 1024 + 32 */
    CHECK(planned.resident == planned.weights + planned.arena + planned.tokenizer + planned.code +
                                  planned.overhead + planned.caches);
    CHECK(planned.caches >= planned.slots * planned.slot_bytes);
    CHECK(planned.code > 4096 && planned.smallest < planned.resident);
    tiny_end(&self);
}

/* A program with its code, to be planned for one state of self->request after the other. */
static bool emit(tiny_program *self, cg_program *program)
{
    return cg_program_create(&self->context, &self->request, program) == TD_OK &&
           cg_program_emit(program) == TD_OK;
}

TEST(budgets_buy_slots)
{
    tiny_program self;
    cg_program program;
    cg_plan all, least, some;
    CHECK(begin(&self) && emit(&self, &program));
    CHECK(cg_program_plan(&program, &all) == TD_OK);
    self.request.memory_budget = all.smallest;
    CHECK(cg_program_plan(&program, &least) == TD_OK);
    /* What is left of a page may hold a few slots more. */
    CHECK(least.slots >= least.minimum_slots && least.resident <= all.smallest);
    CHECK(least.slots < least.minimum_slots + 4096 / least.slot_bytes + 16);
    self.request.memory_budget = (all.smallest + all.resident) / 2;
    CHECK(cg_program_plan(&program, &some) == TD_OK);
    CHECK(some.slots > least.slots && some.slots < all.slots && some.slots % 16 == 0);
    CHECK(some.resident <= self.request.memory_budget);
    CHECK(some.resident + 17 * some.slot_bytes + 4096 > self.request.memory_budget);
    self.request.memory_budget = all.smallest - 1;
    CHECK(cg_program_plan(&program, &some) == TD_INVALID);
    char number[32];
    snprintf(number, sizeof number, "smallest that works is %llu",
             (unsigned long long)all.smallest);
    CHECK(strstr(self.context.message, number) != NULL);
    self.request.memory_budget = 0;
    self.request.slots = 100000;
    CHECK(cg_make_plan(&self.context, &self.request, &some) == TD_INVALID);
    self.request.slots = 15;
    CHECK(cg_make_plan(&self.context, &self.request, &some) == TD_INVALID);
    self.request.slots = 16;
    CHECK(cg_program_plan(&program, &some) == TD_OK && some.slots == 16);
    cg_program_release(&program);
    tiny_end(&self);
}

TEST(threads_and_sessions_enter_the_plan)
{
    tiny_program self;
    cg_program program;
    cg_plan one, two, many;
    CHECK(begin(&self) && emit(&self, &program));
    self.request.threads = 0; /* what is not said is one */
    self.request.sessions = 0;
    CHECK(cg_program_plan(&program, &one) == TD_OK);
    CHECK(one.choice.threads == 1 && one.choice.sessions == 1);
    self.request.threads = 2;
    CHECK(cg_program_plan(&program, &two) == TD_OK);
    CHECK(two.resident - one.resident == TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES);
    self.request.threads = 1;
    self.request.sessions = 5;
    CHECK(cg_program_plan(&program, &many) == TD_OK);
    CHECK(many.weights == one.weights && many.arena == one.arena && many.slots == one.slots);
    CHECK(many.caches == 5 * one.caches);
    CHECK(many.resident > one.resident + 4 * one.caches);
    /* A budget is shared by all sessions. */
    self.request.memory_budget = one.resident;
    CHECK(cg_program_plan(&program, &many) == TD_OK);
    CHECK(many.slots < one.slots / 4 && many.resident <= one.resident);
    cg_program_release(&program);
    tiny_end(&self);
}

/* What has no kernel is refused by graph, node and op. */
TEST(unknown_operations_are_refused)
{
    tiny_program self;
    cg_plan plan;
    ir_node *node;
    CHECK(begin(&self));
    ir_value *logits = self.models[0].forward->outputs[0];
    CHECK(ir_graph_add_node(self.models[0].forward, IR_OP_exponential, "odd one", 1, &logits, 1,
                            &node) == TD_OK);
    CHECK(ir_node_infer(node) == TD_OK);
    sched_plan_release(&self.schedule);
    ir_graph *const graphs[] = {self.models[0].forward, self.models[0].commit};
    const sched_request order = {.graphs = graphs, .graph_count = 2, .orderer = "file"};
    CHECK(sched_plan_make(&self.context, &order, NULL, &self.schedule) == TD_OK);
    CHECK(cg_make_plan(&self.context, &self.request, &plan) == TD_UNSUPPORTED);
    CHECK_STRING(self.context.message,
                 "forward: node \"odd one\" (exponential): this operation has no kernel");
    tiny_end(&self);
}

TEST(names_must_be_identifiers)
{
    tiny_program self;
    cg_plan plan;
    CHECK(begin(&self));
    self.request.name = "not-c";
    CHECK(cg_make_plan(&self.context, &self.request, &plan) == TD_USAGE);
    tiny_end(&self);
}

/* --- running out of memory --- */

/* Fails allocations one after the other, each time with more that went well before. */
TEST(running_out_of_memory_is_reported)
{
    tiny_program self;
    cg_plan plan;
    CHECK(begin(&self));
    uint64_t failures = 0;
    for (long at = 0;; at += at < 30 ? 1 : 23) {
        td_context context = self.context;
        failing_allocator failing = {.countdown = at, .once = true};
        context.reallocate = fail_later;
        context.reallocate_self = &failing;
        const td_status status = cg_make_plan(&context, &self.request, &plan);
        if (status == TD_OK)
            break;
        CHECK(status == TD_NO_MEMORY && failing.held == 0);
        failures++;
    }
    CHECK(failures > 5);
    tiny_end(&self);
}

TEST_MAIN()

/* Opening: what does not fit the machine, the runtime, the file or the budget is refused in a
 * sentence, and memory is as planned.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/payload_hash.h"
#include "tests/runtime/fake.h"
#include "tests/runtime/fake_tokenizer.h"
#include "tests/test.h"

#include <fcntl.h>
#include <unistd.h>

static tandem_error error;

/* Opens and closes; the sentence of a refusal is in error.text. */
static tandem_status try_open(const tandem_options *options)
{
    tandem_model *model = NULL;
    error.text[0] = '\0';
    tandem_status status = tandem_runtime_api.open(&fake_artefact, options, &error, &model);
    tandem_runtime_api.close(model);
    return status;
}

static bool refused(const char *part)
{
    return try_open(NULL) == TANDEM_REFUSED && strstr(error.text, part) != NULL;
}

TEST(another_interface_version_is_refused)
{
    fake_make(2, 16, 16)->abi_version = TANDEM_ABI_VERSION + 1;
    CHECK(refused("interface version 4"));
    fake_make(2, 16, 16)->size = 8;
    CHECK(refused("8 bytes"));
    tandem_model *model = NULL;
    CHECK(tandem_runtime_api.open(NULL, NULL, &error, &model) == TANDEM_REFUSED);
    CHECK(strstr(error.text, "newer runtime") != NULL);
}

TEST(missing_and_unknown_processor_features_are_refused)
{
    fake_make(2, 16, 16)->features = "warp9";
    CHECK(refused("\"warp9\", which its runtime does not know"));
#if defined(__x86_64__)
    fake_artefact.features = "sse3,,x86-64";
    CHECK(try_open(NULL) == TANDEM_OK);
    fake_artefact.features = "sse3,warp9";
    CHECK(refused("warp9"));
    /* One of the newest is likely to be missing here; if it is not, it must be accepted. */
    bool present = __builtin_cpu_supports("avx512bf16");
    fake_artefact.features = "avx512bf16";
    CHECK(try_open(NULL) == (present ? TANDEM_OK : TANDEM_REFUSED));
    CHECK(present || strstr(error.text, "lacks \"avx512bf16\"") != NULL);
#elif defined(__aarch64__)
    fake_artefact.features = "fp,asimd";
    CHECK(try_open(NULL) == TANDEM_OK);
#endif
}

TEST(contradicting_tables_are_refused)
{
    fake_make(2, 16, 16)->model_count = 3;
    CHECK(refused("3 models"));
    fake_make(2, 16, 16)->arena_bytes = 64;
    CHECK(refused("contradicts itself"));
    fake_make(2, 16, 16);
    fake_models[1].commit = NULL;
    CHECK(refused("\"drafter\" contradicts itself"));
    fake_make(2, 16, 16)->scratch[TANDEM_SCRATCH_DRAFT_PROBABILITIES].bytes = 64;
    CHECK(refused("no room for 128 probabilities"));
    fake_make(2, 16, 16);
    fake_trim(RT_DRAFTER, 3);
    fake_head_ids[RT_DRAFTER][1] = 1; /* not ascending */
    CHECK(refused("contradicts itself"));
}

/* --- budget --- */

TEST(the_mapping_is_as_large_as_planned)
{
    for (uint32_t threads = 1; threads <= 3; threads++)
        for (uint32_t sessions = 1; sessions <= 3; sessions++)
            for (uint32_t slots = 16; slots <= 512; slots *= 4) {
                tandem_options options = {.threads = threads, .slots = slots, .sessions = sessions};
                tandem_model *model = NULL;
                fake_make(2, 16, 65);
                CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) ==
                      TANDEM_OK);
                /* Everything that was placed ends where the stacks begin. */
                uint64_t stacks = (threads - 1) * (TANDEM_STACK_BYTES + TANDEM_PAGE_BYTES);
                CHECK(model->stacks + stacks <= model->mapping + model->mapping_bytes);
                CHECK(model->stacks + stacks + (sessions + 1) * TANDEM_HANDLE_BYTES >=
                      model->mapping + model->mapping_bytes);
                CHECK(model->slots[RT_TARGET] == slots && model->threads == threads);
                CHECK(model->slots[RT_DRAFTER] == slots && model->tokens == slots);
                CHECK(model->planned_bytes > model->mapping_bytes);
                tandem_runtime_api.close(model);
            }
}

TEST(a_budget_takes_slots_away_and_names_the_smallest_that_works)
{
    tandem_model *model = NULL;
    tandem_options options = {.threads = 2};
    fake_make(2, 16, 16);
    CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) == TANDEM_OK);
    uint64_t all = model->planned_bytes;
    uint32_t slots = model->slots[RT_TARGET];
    CHECK(slots == 512);
    tandem_runtime_api.close(model);
    for (uint64_t budget = all; budget > all - 200000; budget -= 7919) {
        options.memory_budget = budget;
        CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) == TANDEM_OK);
        CHECK(model->planned_bytes <= budget && model->budget_bytes == budget);
        CHECK(model->slots[RT_TARGET] % 16 == 0 && model->slots[RT_TARGET] <= slots);
        slots = model->slots[RT_TARGET];
        tandem_runtime_api.close(model);
    }
    CHECK(slots < 512);
    options.memory_budget = 100000;
    CHECK(try_open(&options) == TANDEM_REFUSED);
    const char *sentence = strstr(error.text, "smallest that works is ");
    CHECK(sentence != NULL);
    unsigned long long smallest = strtoull(sentence + 23, NULL, 10);
    options.memory_budget = smallest;
    CHECK(try_open(&options) == TANDEM_OK);
    options.memory_budget = smallest - 1;
    CHECK(try_open(&options) == TANDEM_REFUSED);
    /* The budget of the compilation holds, too; the smaller one counts. */
    fake_artefact.plan.budget = smallest - 1;
    options.memory_budget = 0;
    CHECK(try_open(&options) == TANDEM_REFUSED);
    options.memory_budget = all;
    CHECK(try_open(&options) == TANDEM_REFUSED);
}

TEST(a_prompt_may_be_as_long_as_slots_and_budget_allow)
{
    tandem_options options = {.threads = 1};
    rt_text_limit limit;
    fake_make(2, FAKE_TOKENS, 16)->tokenizer_bytes = fake_make_tokenizer();
    fake_artefact.tokenizer = fake_tokenizer;
    CHECK(rt_find_text_limit(&fake_artefact, &options, &error, &limit) == TANDEM_OK);
    CHECK(limit.bytes == 2048 + 512 * 32 && limit.tokens == 512 && limit.budget == 0);
    options.slots = 100; /* 112 */
    CHECK(rt_find_text_limit(&fake_artefact, &options, &error, &limit) == TANDEM_OK);
    CHECK(limit.bytes == 2048 + 112 * 32 && limit.tokens == 112);
    /* What a policy drops takes no slots; the context is the limit. */
    fake_models[RT_TARGET].context_length = 65536;
    options = (tandem_options){.threads = 1, .eviction = "recent"};
    CHECK(rt_find_text_limit(&fake_artefact, &options, &error, &limit) == TANDEM_OK);
    CHECK(limit.tokens == 65536 && limit.bytes == 2048 + 65536 * 32);
    uint64_t before = 0;
    for (options.memory_budget = 100000; options.memory_budget < 9000000;
         options.memory_budget += 123457) {
        const tandem_status status = rt_find_text_limit(&fake_artefact, &options, &error, &limit);
        options.text_bytes = 0;
        CHECK(status == try_open(&options)); /* it refuses what can have no text at all */
        if (status != TANDEM_OK)
            continue;
        CHECK(limit.budget == options.memory_budget && limit.bytes >= before);
        before = limit.bytes;
        options.text_bytes = limit.bytes;
        CHECK(try_open(&options) == TANDEM_OK);
        options.text_bytes = limit.bytes + 1024;
        CHECK(try_open(&options) == TANDEM_REFUSED);
    }
    CHECK(before > 100000);
}

TEST(threads_that_nobody_asked_for_are_given_up_for_slots)
{
    tandem_model *model = NULL;
    tandem_options options = {.slots = 16, .threads = 1};
    fake_make(2, 16, 16);
    CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) == TANDEM_OK);
    options = (tandem_options){.memory_budget = model->planned_bytes};
    tandem_runtime_api.close(model);
    /* The smallest budget has one thread, however many processors there are. */
    CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) == TANDEM_OK);
    CHECK(model->threads == 1 && model->planned_bytes <= options.memory_budget);
    tandem_runtime_api.close(model);
    options.threads = 2;
    CHECK(try_open(&options) == TANDEM_REFUSED && strstr(error.text, "2 threads") != NULL);
}

TEST(the_plan_says_how_many_sessions_and_drafter_slots_there_are)
{
    tandem_model *model = NULL;
    tandem_session *sessions[4];
    fake_make(2, 16, 16)->plan.sessions = 3;
    fake_artefact.plan.drafter_slots = 64;
    CHECK(tandem_runtime_api.open(&fake_artefact, NULL, &error, &model) == TANDEM_OK);
    CHECK(model->slots[RT_TARGET] == 512 && model->slots[RT_DRAFTER] == 64);
    for (int i = 0; i < 4; i++)
        CHECK(tandem_runtime_api.session_create(model, &sessions[i]) ==
              (i < 3 ? TANDEM_OK : TANDEM_FULL));
    tandem_runtime_api.close(model);
}

TEST(under_eviction_the_drafter_has_what_is_of_use_to_it)
{
    static const struct {
        const char *policy;
        uint32_t asked, drafter;
    } rows[] = {{"none", 0, 512}, {"recent", 0, 128}, {"recent", 256, 256}, {"none", 50, 64}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tandem_model *model = NULL;
        tandem_options options = {.eviction = rows[i].policy, .drafter_slots = rows[i].asked};
        fake_make(2, 16, 16)->plan.drafter_slots = 1024;
        CHECK(tandem_runtime_api.open(&fake_artefact, &options, &error, &model) == TANDEM_OK);
        CHECK(model->slots[RT_TARGET] == 512 && model->slots[RT_DRAFTER] == rows[i].drafter);
        tandem_runtime_api.close(model);
    }
}

TEST(choices_out_of_range_are_refused)
{
    tandem_options slots = {.slots = 10000}, few = {.slots = 3}, threads = {.threads = 10000},
                   sessions = {.sessions = 10000}, fixed = {.slots = 512, .memory_budget = 2000000};
    fake_make(2, 16, 16);
    CHECK(try_open(&slots) == TANDEM_INVALID && strstr(error.text, "16 to 512") != NULL);
    CHECK(try_open(&few) == TANDEM_INVALID);
    CHECK(try_open(&threads) == TANDEM_INVALID && strstr(error.text, "at most 64") != NULL);
    CHECK(try_open(&sessions) == TANDEM_INVALID);
    CHECK(try_open(&fixed) == TANDEM_REFUSED && strstr(error.text, "512 slots") != NULL);
}

/* --- payload --- */

#define PAYLOAD_OFFSET 8192
#define PAYLOAD_BYTES  10001
static unsigned char image[PAYLOAD_OFFSET + PAYLOAD_BYTES + sizeof(tandem_payload_trailer)];
static char path[] = "/tmp/tandem-open-test-XXXXXX";
static tandem_options from_file = {.threads = 1, .payload = path};

static tandem_payload_trailer *make_image(void)
{
    fake_make(1, 16, 16);
    for (size_t i = 0; i < PAYLOAD_OFFSET + PAYLOAD_BYTES; i++)
        image[i] = (unsigned char)fake_hash(5, i);
    static tandem_payload_trailer trailer;
    trailer =
        (tandem_payload_trailer){.magic = "TANDEMP",
                                 .offset = PAYLOAD_OFFSET,
                                 .bytes = PAYLOAD_BYTES,
                                 .hash = tandem_payload_hash(TANDEM_PAYLOAD_HASH_START,
                                                             image + PAYLOAD_OFFSET, PAYLOAD_BYTES),
                                 .header_hash = 99};
    trailer.magic[7] = 'L';
    fake_artefact.payload_bytes = PAYLOAD_BYTES;
    fake_artefact.payload_hash = trailer.hash;
    fake_artefact.header_hash = 99;
    return &trailer;
}

/* Writes the first `bytes` of the image and the trailer behind its payload. */
static bool write_image(const tandem_payload_trailer *trailer, size_t bytes)
{
    memcpy(image + PAYLOAD_OFFSET + PAYLOAD_BYTES, trailer, sizeof *trailer);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int file = mkstemp(path);
    bool fine = file >= 0 && write(file, image, bytes) == (ssize_t)bytes;
    return close(file) == 0 && fine;
}

static bool refused_file(const tandem_payload_trailer *trailer, size_t bytes, const char *part)
{
    bool fine = write_image(trailer, bytes) && try_open(&from_file) == TANDEM_REFUSED &&
                strstr(error.text, part) != NULL && strstr(error.text, path) != NULL;
    if (!fine)
        printf("    %s\n", error.text);
    unlink(path);
    return fine;
}

TEST(the_payload_is_mapped_at_its_offset)
{
    tandem_model *model = NULL;
    CHECK(write_image(make_image(), sizeof image));
    CHECK(tandem_runtime_api.open(&fake_artefact, &from_file, &error, &model) == TANDEM_OK);
    CHECK(memcmp(model->payload.bytes, image + PAYLOAD_OFFSET, PAYLOAD_BYTES) == 0);
    CHECK((uintptr_t)model->payload.bytes % 4096 == 0);
    tandem_runtime_api.close(model);
    CHECK(tandem_runtime_api.check(&fake_artefact, &from_file, &error) == TANDEM_OK);
    unlink(path);
}

TEST(damaged_trailers_are_refused)
{
    tandem_payload_trailer *trailer = make_image();
    trailer->magic[0] = 'X';
    CHECK(refused_file(trailer, sizeof image, "does not end with the weights"));
    CHECK(refused_file(make_image(), sizeof image - 1, "does not end with the weights"));
    CHECK(refused_file(make_image(), 10, "does not end with the weights"));
    CHECK(refused_file(make_image(), 0, "does not end with the weights"));
    (trailer = make_image())->header_hash++;
    CHECK(refused_file(trailer, sizeof image, "belong to another program"));
    (trailer = make_image())->hash++;
    CHECK(refused_file(trailer, sizeof image, "is damaged"));
    (trailer = make_image())->bytes++;
    CHECK(refused_file(trailer, sizeof image, "is damaged"));
    static const uint64_t offsets[] = {1, 4096 * 3, UINT64_C(1) << 40, ~UINT64_C(0) - 4095};
    for (size_t i = 0; i < 4; i++) {
        (trailer = make_image())->offset = offsets[i];
        CHECK(refused_file(trailer, sizeof image, "is damaged"));
    }
    make_image();
    from_file.payload = "/nonexistent/file";
    CHECK(try_open(&from_file) == TANDEM_FAILED && strstr(error.text, "/nonexistent/file"));
    from_file.payload = path;
    CHECK(refused("open_test: the file does not end with the weights")); /* its own program */
}

TEST(check_finds_one_changed_byte)
{
    tandem_payload_trailer *trailer = make_image();
    for (size_t at = 0; at < PAYLOAD_BYTES; at += 2500) {
        make_image();
        image[PAYLOAD_OFFSET + at] ^= 16;
        CHECK(write_image(trailer, sizeof image));
        CHECK(try_open(&from_file) == TANDEM_OK); /* opening does not read everything */
        CHECK(tandem_runtime_api.check(&fake_artefact, &from_file, &error) == TANDEM_REFUSED);
        CHECK(strstr(error.text, "is damaged") != NULL);
        unlink(path);
    }
}

TEST_MAIN()

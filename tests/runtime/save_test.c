/* Saved sessions: a restored one generates what the saved one would have, and no file that is
 * damaged, cut, foreign or too large is taken.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "runtime/payload_hash.h"
#include "tests/runtime/fake.h"
#include "tests/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/tandem-save-test-XXXXXX";
static char path[64];

static const char *file_path(void)
{
    if (path[0] == '\0') {
        if (mkdtemp(folder) == NULL)
            abort();
        snprintf(path, sizeof path, "%s/session", folder);
    }
    return path;
}

static void clean_up(void)
{
    unlink(file_path());
    rmdir(folder);
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    path[0] = '\0';
}

typedef struct outcome {
    int32_t ids[512];
    size_t count;
} outcome;

static bool gather(void *user, const tandem_piece *piece)
{
    outcome *result = user;
    for (size_t i = 0; i < piece->count; i++)
        result->ids[result->count++] = piece->ids[i];
    return true;
}

static bool feed(tandem_session *session, uint32_t count)
{
    bool fine = true;
    for (uint32_t i = 0; i < count; i++) {
        const int32_t id = (int32_t)(i * 7 % 16);
        fine = fine && tandem_runtime_api.feed(session, &id, 1) == TANDEM_OK;
    }
    return fine;
}

static bool go_on(tandem_session *session, uint32_t tokens, double temperature, const char *draft,
                  outcome *result)
{
    const tandem_generate_options options = {
        .max_tokens = tokens, .temperature = temperature, .seed = 5, .draft = draft};
    *result = (outcome){0};
    return tandem_runtime_api.generate(session, &options, gather, result) == TANDEM_OK;
}

/* Saves a session in the middle of a text. */
static bool make_file(uint32_t prompt, outcome *rest)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome before;
    bool fine = fake_open(256, 1, &model, &session) == TANDEM_OK && feed(session, prompt) &&
                go_on(session, 20, 0, "3", &before) &&
                tandem_runtime_api.save(session, file_path()) == TANDEM_OK &&
                go_on(session, 40, 0, "3", rest);
    if (!fine)
        printf("    %s\n", tandem_runtime_api.error(model));
    tandem_runtime_api.close(model);
    return fine && fake_faults == 0;
}

TEST(a_restored_session_goes_on_as_the_saved_one)
{
    static const double temperatures[] = {0, 1};
    static const char *const drafts[] = {"0", "3", "rsd-c:2,2"};
    for (size_t t = 0; t < 2; t++)
        for (size_t d = 0; d < 3; d++) {
            tandem_model *model = NULL;
            tandem_session *session = NULL, *other = NULL;
            outcome before, rest, again;
            fake_make(2, 16, 16);
            tandem_options options = {.slots = 256, .sessions = 2, .threads = 1};
            CHECK(tandem_runtime_api.open(&fake_artefact, &options, NULL, &model) == TANDEM_OK);
            CHECK(tandem_runtime_api.session_create(model, &other) == TANDEM_OK);
            CHECK(tandem_runtime_api.session_create(model, &session) == TANDEM_OK);
            CHECK(feed(session, 50) && go_on(session, 20, temperatures[t], drafts[d], &before));
            CHECK(tandem_runtime_api.save(session, file_path()) == TANDEM_OK);
            CHECK(go_on(session, 40, temperatures[t], drafts[d], &rest));
            /* In the other session of this process: over the same copy of the weights. */
            CHECK(tandem_runtime_api.restore(other, path) == TANDEM_OK);
            const uint64_t passed = fake_pass_tokens[RT_TARGET];
            CHECK(go_on(other, 40, temperatures[t], drafts[d], &again));
            CHECK(rest.count == 40 && again.count == 40);
            CHECK(memcmp(rest.ids, again.ids, sizeof rest.ids) == 0);
            /* The prompt was not passed again. */
            CHECK(fake_pass_tokens[RT_TARGET] - passed < 200);
            tandem_runtime_api.close(model);
            /* In another process: with more and with fewer slots. */
            for (uint32_t slots = 128; slots <= 512; slots *= 2) {
                CHECK(fake_open(slots, 2, &model, &session) == TANDEM_OK);
                CHECK(tandem_runtime_api.restore(session, path) == TANDEM_OK);
                CHECK(go_on(session, 40, temperatures[t], drafts[d], &again));
                CHECK(memcmp(rest.ids, again.ids, sizeof rest.ids) == 0);
                tandem_runtime_api.close(model);
            }
            CHECK(fake_faults == 0);
        }
    clean_up();
}

TEST(a_prompt_alone_can_be_saved)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome direct, restored;
    fake_make(2, 16, 16);
    CHECK(fake_open(256, 1, &model, &session) == TANDEM_OK && feed(session, 100));
    CHECK(tandem_runtime_api.save(session, file_path()) == TANDEM_OK);
    CHECK(go_on(session, 30, 0, "2", &direct));
    tandem_runtime_api.close(model);
    CHECK(fake_open(256, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_OK);
    const uint64_t passes = fake_passes[RT_TARGET];
    CHECK(go_on(session, 1, 0, "2", &restored));
    CHECK(fake_passes[RT_TARGET] == passes + 1); /* no prefill */
    CHECK(restored.ids[0] == direct.ids[0]);
    tandem_runtime_api.close(model);
    clean_up();
}

TEST(a_text_that_ended_for_want_of_slots_can_be_restored)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome result;
    fake_make(2, 16, 16);
    CHECK(fake_open(32, 1, &model, &session) == TANDEM_OK && feed(session, 10));
    CHECK(go_on(session, 100, 0, "3", &result) && result.count == 23);
    CHECK(tandem_runtime_api.save(session, file_path()) == TANDEM_OK);
    tandem_runtime_api.close(model);
    CHECK(fake_open(32, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_OK);
    CHECK(go_on(session, 5, 0, "3", &result) && result.count == 0);
    tandem_runtime_api.close(model);
    CHECK(fake_open(64, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_OK);
    CHECK(go_on(session, 5, 0, "3", &result) && result.count == 5 && fake_faults == 0);
    tandem_runtime_api.close(model);
    clean_up();
}

static bool refuses(const char *name, const char *part)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome result;
    if (fake_open(256, 1, &model, &session) != TANDEM_OK)
        return false;
    const tandem_status status = tandem_runtime_api.restore(session, name);
    bool fine = status != TANDEM_OK && strstr(tandem_runtime_api.error(model), part) != NULL;
    if (!fine)
        printf("    status %d: %s\n", status, tandem_runtime_api.error(model));
    /* The session stays empty and can be used. */
    fine = fine && feed(session, 5) && go_on(session, 5, 0, "2", &result) && result.count == 5;
    tandem_runtime_api.close(model);
    return fine;
}

TEST(damaged_files_are_refused)
{
    static unsigned char bytes[1 << 20];
    outcome rest;
    fake_make(2, 16, 16);
    CHECK(make_file(50, &rest));
    FILE *stream = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    CHECK(size > 1000 && size < sizeof bytes);
    for (size_t at = 0; at < size; at += at < 256 ? 1 : 997) {
        bytes[at] ^= 16;
        stream = fopen(path, "wb");
        fwrite(bytes, 1, size, stream);
        fclose(stream);
        CHECK(refuses(path, "cannot be restored"));
        bytes[at] ^= 16;
    }
    static const size_t cuts[] = {0, 7, 8, 64, 200, 1000};
    for (size_t i = 0; i <= 6; i++) {
        stream = fopen(path, "wb");
        fwrite(bytes, 1, i < 6 ? cuts[i] : size - 8, stream);
        fclose(stream);
        CHECK(refuses(path, i < 5 ? "cannot be restored" : "damaged"));
    }
    stream = fopen(path, "wb");
    fwrite(bytes, 1, size, stream);
    fputs("12345678", stream);
    fclose(stream);
    CHECK(refuses(path, "damaged"));
    CHECK(refuses("/nonexistent/session", "No such file"));
    CHECK(refuses("/dev/null", "no saved session"));
    CHECK(refuses("/tmp", "cannot be restored"));
    clean_up();
}

/* Byte offsets in the file: of the length of the text, and of a model's fed and held. */
enum { LENGTH_AT = 48, FED_AT = 96, HELD_AT = 100, MODEL_BYTES = 24 };

/* Writes a file anew with a 32-bit number changed and a hash that says it is whole. */
static bool forge(unsigned char *bytes, size_t size, size_t at, uint32_t number)
{
    uint32_t old;
    memcpy(&old, bytes + at, sizeof old);
    memcpy(bytes + at, &number, sizeof number);
    uint64_t hash = tandem_payload_hash(TANDEM_PAYLOAD_HASH_START, bytes, size - sizeof hash);
    memcpy(bytes + size - sizeof hash, &hash, sizeof hash);
    FILE *stream = fopen(path, "wb");
    const bool fine = stream != NULL && fwrite(bytes, 1, size, stream) == size;
    memcpy(bytes + at, &old, sizeof old);
    return stream != NULL && fclose(stream) == 0 && fine;
}

TEST(forged_counts_are_refused)
{
    static unsigned char bytes[1 << 20];
    outcome rest;
    fake_make(2, 16, 16);
    CHECK(make_file(50, &rest)); /* 70 tokens, 69 of which are fed */
    FILE *stream = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    uint32_t length, fed, held;
    memcpy(&length, bytes + LENGTH_AT, sizeof length);
    memcpy(&fed, bytes + FED_AT, sizeof fed);
    memcpy(&held, bytes + HELD_AT, sizeof held);
    CHECK(length == 70 && fed == 69 && held == 69);
    for (size_t model = 0; model < 2; model++) {
        const size_t at = FED_AT + model * MODEL_BYTES;
        CHECK(forge(bytes, size, at, 70)); /* nothing would be left to pass */
        CHECK(refuses(path, "cannot be restored"));
        CHECK(forge(bytes, size, at, 0)); /* slots that are taken by no token */
        CHECK(refuses(path, "cannot be restored"));
    }
    CHECK(forge(bytes, size, LENGTH_AT, 69));
    CHECK(refuses(path, "cannot be restored"));
    clean_up();
}

/* Any number anywhere, in a file that calls itself whole: it is refused, or gives some text. */
TEST(forged_numbers_do_no_harm)
{
    static unsigned char bytes[1 << 20];
    static const uint32_t numbers[] = {0,  1,  16,          69,          70,
                                       71, 99, 0x7fffffffu, 0x80000000u, 0xffffffffu};
    outcome rest;
    uint32_t accepted = 0, seed = 1;
    fake_make(2, 16, 16);
    CHECK(make_file(50, &rest));
    FILE *stream = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    for (uint32_t run = 0; run < 400; run++) {
        tandem_model *model = NULL;
        tandem_session *session = NULL;
        seed = seed * 1664525 + 1013904223;
        const size_t words = run % 2 == 0 ? 60 : size / 4 - 2; /* every second time in the header */
        const size_t at = (seed >> 8) % words * 4;
        CHECK(forge(bytes, size, at, numbers[(seed >> 4) % 10]));
        CHECK(fake_open(96, 1, &model, &session) == TANDEM_OK);
        const tandem_status status = tandem_runtime_api.restore(session, path);
        CHECK(status == TANDEM_OK || status == TANDEM_REFUSED || status == TANDEM_FULL);
        CHECK(status != TANDEM_OK || go_on(session, 20, 0, "3", &rest));
        accepted += status == TANDEM_OK;
        tandem_runtime_api.close(model);
    }
    CHECK(accepted > 20 && accepted < 380);
    clean_up();
}

TEST(sessions_that_do_not_fit_are_refused)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome rest;
    fake_make(2, 16, 16);
    CHECK(make_file(100, &rest));
    CHECK(fake_open(64, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_FULL);
    CHECK(strstr(tandem_runtime_api.error(model), "120 tokens") != NULL);
    CHECK(feed(session, 3));
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_REFUSED);
    CHECK(strstr(tandem_runtime_api.error(model), "not empty") != NULL);
    tandem_runtime_api.close(model);
    fake_artefact.header_hash++;
    CHECK(refuses(path, "another program"));
    clean_up();
}

TEST(a_failure_to_save_leaves_the_old_file)
{
    tandem_model *model = NULL;
    tandem_session *session = NULL;
    outcome rest, again;
    struct stat before, after;
    fake_make(2, 16, 16);
    CHECK(make_file(50, &rest));
    CHECK(stat(path, &before) == 0);
    CHECK(fake_open(256, 1, &model, &session) == TANDEM_OK);
    CHECK(tandem_runtime_api.restore(session, path) == TANDEM_OK);
    CHECK(tandem_runtime_api.save(session, "/dev/full") == TANDEM_FAILED);
    CHECK(strstr(tandem_runtime_api.error(model), "regular file") != NULL);
    CHECK(tandem_runtime_api.save(session, "/nonexistent/file") == TANDEM_FAILED);
    CHECK(stat(path, &after) == 0 && after.st_ino == before.st_ino);
    /* It goes on as if nothing had been. */
    CHECK(go_on(session, 40, 0, "3", &again));
    CHECK(memcmp(rest.ids, again.ids, sizeof rest.ids) == 0);
    tandem_runtime_api.close(model);
    clean_up();
}

TEST_MAIN()

/* The command line of a generated program: main() in child processes, over a table model.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#define main program_main
int program_main(int count, char **arguments);
#include "runtime/main.c"
#undef main

#include "tests/runtime/fake.h"
#include "tests/runtime/fake_tokenizer.h"
#include "tests/test.h"

#include <jansson.h>
#include <sys/wait.h>

static const int32_t script[] = {FAKE_A,  FAKE_E2, FAKE_82, FAKE_AC, FAKE_SPACE_B, FAKE_A,  FAKE_A,
                                 FAKE_E2, FAKE_82, FAKE_AC, FAKE_A,  FAKE_A,       FAKE_EOS};
static bool endless;

static const tandem_artefact *query(uint32_t newest)
{
    fake_make(2, FAKE_TOKENS, 16);
    if (!endless) {
        fake_rule.script = script;
        fake_rule.script_count = sizeof script / sizeof *script;
        fake_rule.script_start = 3;
    }
    fake_artefact.tokenizer_bytes = fake_make_tokenizer();
    fake_artefact.tokenizer = fake_tokenizer;
    return newest >= TANDEM_ABI_VERSION ? &fake_artefact : NULL;
}
const tandem_query tandem_program = query;

/* What a run left behind. */
typedef struct result {
    int status; /* exit status, or minus the signal */
    char out[65536], err[8192];
} result;
static result last;

static void drain(int file, char *text, size_t room)
{
    size_t length = 0;
    for (ssize_t count; length < room - 1; length += (size_t)count)
        if ((count = read(file, text + length, room - 1 - length)) <= 0)
            break;
    text[length] = '\0';
    close(file);
}

/* Runs the program with arguments separated by blanks and `input` on its standard input.
 * close_output: nobody reads its text beyond the first byte. signal: sent after that byte. */
static bool run_with(const char *arguments, const char *input, bool close_output, int signal)
{
    int in[2], out[2], err[2];
    if (pipe(in) != 0 || pipe(out) != 0 || pipe(err) != 0)
        return false;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        for (int i = 0; i < 2; i++)
            close(in[i]), close(out[i]), close(err[i]);
        char copy[1024], *list[32] = {copy};
        int count = 1;
        snprintf(copy, sizeof copy, "model %s", arguments);
        for (char *next = copy; (next = strchr(next, ' ')) != NULL;) {
            *next++ = '\0';
            if (*next != '\0')
                list[count++] = next;
        }
        exit(program_main(count, list));
    }
    close(in[0]), close(out[1]), close(err[1]);
    bool fine = write(in[1], input, strlen(input)) == (ssize_t)strlen(input);
    close(in[1]);
    memset(&last, 0, sizeof last);
    if (close_output || signal != 0)
        fine = read(out[0], last.out, 1) == 1 && fine;
    if (signal != 0)
        kill(child, signal);
    if (close_output)
        close(out[0]);
    else
        drain(out[0], last.out + (signal != 0), sizeof last.out - 1);
    drain(err[0], last.err, sizeof last.err);
    int status;
    waitpid(child, &status, 0);
    last.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return fine;
}

static bool run(const char *arguments, const char *input)
{
    endless = false;
    return run_with(arguments, input, false, 0);
}

#define TEXT "a\xe2\x82\xac baa\xe2\x82\xac"
#define FULL TEXT "aa"

TEST(prompts_come_from_an_option_a_file_or_standard_input)
{
    char path[] = "/tmp/tandem-program-test-XXXXXX", arguments[128];
    CHECK(run("--prompt aa", "") && last.status == 0);
    CHECK_STRING(last.out, FULL);
    CHECK_STRING(last.err, "");
    CHECK(run("", "aa") && last.status == 0);
    CHECK_STRING(last.out, FULL);
    CHECK(run("", "aa\n") && last.status == 0);
    CHECK_STRING(last.out, FULL);
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, "aa\n", 3) == 3 && close(file) == 0);
    snprintf(arguments, sizeof arguments, "--prompt-file %s", path);
    CHECK(run(arguments, "") && last.status == 0);
    CHECK_STRING(last.out, FULL);
    unlink(path);
    CHECK(run("--prompt-ids 5,0,0", "") && last.status == 0);
    CHECK_STRING(last.out, FULL);
    CHECK(run("--prompt-file /nonexistent", "") && last.status == 1);
    CHECK_STRING(last.err, "model: /nonexistent: cannot read the prompt: No such file or "
                           "directory\n");
}

TEST(text_or_ids_are_written)
{
    CHECK(run("--prompt aa --echo", "") && last.status == 0);
    CHECK_STRING(last.out, "aa" FULL);
    CHECK(run("--prompt aa --ids", "") && last.status == 0);
    CHECK_STRING(last.out, "0 1 2 3 4 0 0 1 2 3 0 0 6\n");
    CHECK(run("--prompt aa --ids --max-tokens 5", "") && last.status == 0);
    CHECK_STRING(last.out, "0 1 2 3 4\n");
    CHECK(run("--prompt aa --max-tokens 10", "") && last.status == 0);
    CHECK_STRING(last.out, TEXT);
    CHECK(run("--prompt aa --max-tokens 0", "") && last.status == 0);
    CHECK_STRING(last.out, "");
    CHECK(run("--prompt aa --ids --max-tokens 20 --ignore-eos", "") && last.status == 0);
    CHECK(strncmp(last.out, "0 1 2 3 4 0 0 1 2 3 0 0 6 ", 26) == 0);
}

TEST(how_it_is_done_does_not_change_the_text)
{
    static const char *const ways[] = {
        "--draft 0",   "--draft 1",   "--draft 8",  "--draft rsd-c:2,2", "--draft rsd-s:3x2",
        "--threads 1", "--threads 3", "--slots 32", "--memory-budget 8M"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "--prompt aa %s", ways[i]);
        CHECK(run(arguments, "") && last.status == 0);
        CHECK_STRING(last.out, FULL);
    }
}

TEST(statistics_are_one_json_object_on_standard_error)
{
    static const char *const numbers[] = {
        "prompt_tokens", "tokens",  "prefill_seconds", "seconds",          "tokens_per_second",
        "rounds",        "drafted", "accepted",        "block_efficiency", "acceptance",
        "mbsu",          "slots",   "threads",         "planned_bytes",    "peak_bytes",
        "budget_bytes"};
    CHECK(run("--prompt aa --stats=json --memory-budget 64M --threads 1", ""));
    json_error_t problem;
    json_t *object = json_loads(last.err, 0, &problem);
    CHECK_MESSAGE(object != NULL, "%s in %s", problem.text, last.err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        CHECK_MESSAGE(json_is_number(json_object_get(object, numbers[i])), "%s", numbers[i]);
    CHECK_STRING(json_string_value(json_object_get(object, "stop")), "end");
    CHECK(json_integer_value(json_object_get(object, "tokens")) == 13);
    CHECK(json_integer_value(json_object_get(object, "prompt_tokens")) == 3);
    CHECK(json_integer_value(json_object_get(object, "budget_bytes")) == 64 << 20);
    CHECK(json_integer_value(json_object_get(object, "peak_bytes")) > 0);
    json_decref(object);
    CHECK(run("--prompt aa --stats", ""));
    CHECK(strstr(last.err, "tokens/s") != NULL && strstr(last.err, "block efficiency") != NULL);
    CHECK_STRING(last.out, FULL);
}

TEST(a_full_context_is_said_and_is_no_failure)
{
    CHECK(run("--prompt aa --slots 32 --ignore-eos --stats=json --ids", ""));
    CHECK(last.status == 0);
    CHECK(strstr(last.err, "context full: all 32 slots") != NULL);
    CHECK(strstr(last.err, "\"stop\": \"slots\"") != NULL);
    CHECK(strstr(last.err, "\"tokens\": 30,") != NULL);
}

TEST(faults_of_the_input_have_status_1_and_values_that_cannot_be_2)
{
    static const struct {
        const char *arguments, *part;
        int status;
    } rows[] = {
        {"--prompt aa --memory-budget 100K", "smallest that works", 1},
        {"--prompt aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --slots 16", "39 tokens", 1},
        {"--restore /nonexistent", "No such file", 1},
        {"--prompt aa --max-tokens 0 --save /dev/full", "not a regular file", 1},
        {"--prompt aa --costs /dev/null", "line 1", 1},
        {"--prompt-ids 1,2,x", "\"x\" cannot be understood", 2},
        {"--prompt-ids 1,", "cannot be understood", 2},
        {"--prompt-ids 99", "token id 99", 2},
        {"--prompt aa --slots 9999", "9999 slots", 2},
        {"--prompt aa --threads 999", "999 threads", 2},
        {"--prompt aa --draft 9", "more than 8 tokens", 2},
        {"--prompt aa --draft 2x", "draft \"2x\" cannot be understood", 2},
        {"--prompt aa --top-p 2", "top-p 2 cannot be used", 2},
        {"--prompt aa --evict lru", "no eviction policy lru", 2},
        {"--prompt aa --positions odd", "positions odd", 2},
        {"--prompt aa --sessions 2", "give --prompts FILE", 2},
        {"--prompts /dev/null --sessions 999", "999 sessions", 2},
        {"--prompts /dev/null --save x", "one session", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(run(rows[i].arguments, ""));
        CHECK_MESSAGE(last.status == rows[i].status && strstr(last.err, rows[i].part) != NULL,
                      "%s: %d %s", rows[i].arguments, last.status, last.err);
        CHECK_MESSAGE(strchr(last.err, '\n') == last.err + strlen(last.err) - 1, "%s", last.err);
        CHECK_STRING(last.out, "");
    }
}

TEST(a_prompt_that_is_far_too_long_is_one_sentence)
{
    static char text[60000];
    memset(text, 'a', sizeof text - 1);
    CHECK(run("--max-tokens 5", text) && last.status == 1);
    CHECK_STRING(last.err, "model: standard input: the prompt has more than 18432 bytes, the most "
                           "for texts of up to 512 tokens: shorten it\n");
    CHECK(run("--max-tokens 5 --prompt-file /dev/zero", "") && last.status == 1);
    CHECK(strstr(last.err, "model: /dev/zero: the prompt has more than 18432 bytes") == last.err);
    text[18433] = '\0'; /* one byte too many, unless it is the newline at the end */
    CHECK(run("--max-tokens 5", text) && last.status == 1);
    CHECK(strstr(last.err, "more than 18432 bytes") != NULL);
    text[18432] = '\n';
    CHECK(run("--max-tokens 5", text) && last.status == 1);
    CHECK(strstr(last.err, "18433 tokens, but 512 slots") != NULL);
    text[600] = '\0';
    CHECK(run("--max-tokens 5", text) && last.status == 1);
    CHECK(strstr(last.err, "601 tokens, but 512 slots") != NULL);
}

TEST(faults_of_the_command_line_have_status_2)
{
    static const char *const lines[] = {"--nonsense",
                                        "--max-tokens",
                                        "--max-tokens x",
                                        "--max-tokens -1",
                                        "--temperature -1",
                                        "--temperature nan",
                                        "--seed 1.5",
                                        "--threads 0",
                                        "--memory-budget lots",
                                        "--memory-budget 5X",
                                        "--stats=xml",
                                        "text",
                                        "-x",
                                        "--prompt a --prompt-ids 1",
                                        "--max-tokens 99999999999",
                                        "--help=3"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        CHECK(run(lines[i], "aa"));
        CHECK_MESSAGE(last.status == 2, "%s: %d %s", lines[i], last.status, last.err);
        CHECK(strncmp(last.err, "model: ", 7) == 0 && strlen(last.err) > 20);
        CHECK_STRING(last.out, "");
    }
}

TEST(help_version_and_check_need_no_prompt)
{
    CHECK(run("--help", "") && last.status == 0);
    CHECK(strstr(last.out, "Examples:\n  model --prompt") != NULL);
    CHECK(run("--version", "") && last.status == 0);
    CHECK(strstr(last.out, "fake, compiled by a test") != NULL);
    CHECK(run("--check", "") && last.status == 0);
    CHECK(strstr(last.out, "fine") != NULL);
}

TEST(a_reader_that_leaves_ends_the_program_cleanly)
{
    endless = true;
    CHECK(run_with("--prompt aa --max-tokens 500 --ids --ignore-eos", "", true, 0));
    CHECK_MESSAGE(last.status == 0, "%d %s", last.status, last.err);
}

TEST(an_interrupt_ends_the_text_after_the_round)
{
    endless = true;
    CHECK(run_with("--prompt aa --max-tokens 500 --ids --ignore-eos --stats=json", "", false,
                   SIGINT));
    CHECK_MESSAGE(last.status == 130, "%d %s", last.status, last.err);
    CHECK(strstr(last.err, "\"stop\": ") != NULL);
    CHECK(last.out[strlen(last.out) - 1] == '\n');
    CHECK(run_with("--prompt aa --max-tokens 500 --ids --ignore-eos --stats=json", "", false,
                   SIGTERM));
    CHECK_MESSAGE(last.status == 143, "%d %s", last.status, last.err);
}

/* --- several prompts --- */

/* Writes prompts to a file and runs the program on it. */
static bool run_prompts(const char *prompts, const char *arguments)
{
    char path[] = "/tmp/tandem-program-test-XXXXXX", all[256];
    int file = mkstemp(path);
    const size_t length = strlen(prompts);
    bool fine = file >= 0 && write(file, prompts, length) == (ssize_t)length && close(file) == 0;
    snprintf(all, sizeof all, "--prompts %s %s", path, arguments);
    fine = fine && run_with(all, "", false, 0);
    unlink(path);
    return fine;
}

TEST(prompts_of_a_file_are_continued_in_their_order)
{
    static const char *const prompts[] = {"aa", "ba", "a\nb", "b b b", "aaaaaa"};
    static const char *const files[] = {"aa\n\nba\n\na\nb\n\nb b b\n\naaaaaa",
                                        "\n\n\naa\n\n\n\nba\n\na\nb\n\nb b b\n\naaaaaa\n\n"};
    static const char *const ways[] = {"", "--temperature 1 --draft 2"};
    static char expected[65536];
    char arguments[128];
    endless = true;
    for (size_t way = 0; way < 2; way++) {
        size_t length = 0;
        for (size_t i = 0; way == 0 && i < sizeof prompts / sizeof *prompts; i++) {
            CHECK(run_with("--max-tokens 40 --ignore-eos", prompts[i], false, 0));
            length +=
                (size_t)snprintf(expected + length, sizeof expected - length, "%s\n\n", last.out);
        }
        for (uint32_t sessions = 1; sessions <= 7; sessions += 2)
            for (size_t f = 0; f < 2; f++) {
                snprintf(arguments, sizeof arguments,
                         "--max-tokens 40 --ignore-eos --sessions %u %s", sessions, ways[way]);
                CHECK(run_prompts(files[f], arguments));
                CHECK_MESSAGE(last.status == 0, "%d %s", last.status, last.err);
                if (way == 1 && sessions == 1 && f == 0)
                    strcpy(expected, last.out);
                CHECK_STRING(last.out, expected);
                CHECK_STRING(last.err, "");
            }
    }
}

TEST(ids_and_figures_come_for_each_prompt)
{
    endless = false;
    CHECK(run_prompts("aa\n\naa", "--ids --sessions 2 --stats=json") && last.status == 0);
    CHECK_STRING(last.out, "0 1 2 3 4 0 0 1 2 3 0 0 6\n0 1 2 3 4 0 0 1 2 3 0 0 6\n");
    const char *first = strstr(last.err, "\"tokens\": 13,");
    CHECK(first != NULL && strstr(first + 1, "\"tokens\": 13,") != NULL);
    CHECK(run_prompts("aa\n\nba", "--echo --max-tokens 1") && last.status == 0);
    CHECK(strncmp(last.out, "aaa\n\nba", 7) == 0);
}

/* Texts that wait are longer than what is kept of them: their sessions pause until it is their
 * turn. */
TEST(long_texts_wait_for_their_turn)
{
    static char alone[sizeof last.out];
    endless = true;
    CHECK(run_prompts("aa\n\nba\n\nb", "--max-tokens 460 --ignore-eos --ids") && last.status == 0);
    strcpy(alone, last.out);
    CHECK(run_prompts("aa\n\nba\n\nb", "--max-tokens 460 --ignore-eos --ids --sessions 3"));
    CHECK(last.status == 0);
    CHECK_STRING(last.out, alone);
}

TEST(a_prompt_that_does_not_fit_leaves_an_empty_text)
{
    endless = false;
    CHECK(run_prompts("aa\n\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\naa", "--slots 32"));
    CHECK_STRING(last.out, FULL "\n\n\n\n" FULL "\n\n");
    CHECK(strstr(last.err, "model: prompt 2: the prompt has 40 tokens, but 32 slots") == last.err);
    CHECK(strstr(last.err, "model: 1 prompt could not be taken up\n") != NULL && last.status == 1);
    CHECK(run_prompts("aa\n\naa", "--draft 99") && last.status == 2);
    CHECK_STRING(last.out, "");
    CHECK(run_prompts("", "") && last.status == 0);
    CHECK_STRING(last.out, "");
}

TEST(a_prompt_that_is_far_too_long_is_passed_over)
{
    static char text[3 * 18432 + 64];
    endless = false;
    for (size_t length = 18400; length < 3 * 18432; length += 1777) {
        strcpy(text, "aa\n\n");
        memset(text + 4, 'a', length);
        strcpy(text + 4 + length, "\n\naa");
        CHECK(run_prompts(text, "") && last.status == 1);
        CHECK_STRING(last.out, FULL "\n\n\n\n" FULL "\n\n");
        CHECK(strstr(last.err, length > 18432 ? "has more than 18432 bytes, the most for texts"
                                              : "tokens, but 512 slots") != NULL);
    }
}

TEST(echoes_come_in_front_of_their_texts)
{
    endless = false;
    for (int sessions = 1; sessions <= 3; sessions++) {
        char arguments[32];
        snprintf(arguments, sizeof arguments, "--echo --sessions %d", sessions);
        CHECK(run_prompts("aa\n\naa\n\naa", arguments) && last.status == 0);
        CHECK_STRING(last.out, "aa" FULL "\n\naa" FULL "\n\naa" FULL "\n\n");
    }
}

TEST(sizes_have_units)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } rows[] = {{"1", 1},
                {"64M", 64 << 20},
                {"64MiB", 64 << 20},
                {"64MB", 64000000},
                {"1.5G", 3u << 29},
                {"2k", 2048},
                {"1T", UINT64_C(1) << 40},
                {"12B", 12},
                {"", 0},
                {"M", 0},
                {"0", 0},
                {"-1", 0},
                {"5X", 0},
                {"5MM", 0},
                {"1e99", 0},
                {"5 M", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t bytes = 0;
        CHECK_MESSAGE(rt_parse_size(rows[i].text, &bytes) == (rows[i].bytes > 0), "%s",
                      rows[i].text);
        CHECK_MESSAGE(bytes == rows[i].bytes, "%s", rows[i].text);
    }
}

TEST_MAIN()

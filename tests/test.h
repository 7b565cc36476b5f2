/* A small test harness. A test file defines tests and ends with TEST_MAIN():
 *
 *     TEST(adds_dimensions) { CHECK(1 + 1 == 2); CHECK_STRING(text, "expected"); }
 *     TEST_MAIN()
 *
 * The program prints one line per test (`ok`, `FAILED`, `skipped` with a reason) and exits 1 when
 * one failed. Arguments select tests by name prefix.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_TESTS_TEST_H
#define TANDEM_TESTS_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;

/* The harness's own state: tests are the one place where globals are allowed. */
static test_case *test_first, **test_end = &test_first;
static bool test_failed;
static const char *test_skip_reason;

#define TEST(test_name)                                                                            \
    static void test_##test_name(void);                                                            \
    __attribute__((constructor)) static void register_##test_name(void)                            \
    {                                                                                              \
        static test_case self = {#test_name, test_##test_name, NULL};                              \
        *test_end = &self;                                                                         \
        test_end = &self.next;                                                                     \
    }                                                                                              \
    static void test_##test_name(void)

/* Reports and leaves the test when the condition is false. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("    %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                     \
            test_failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* As CHECK, with a printf message. */
#define CHECK_MESSAGE(condition, ...)                                                              \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("    %s:%d: not so: %s: ", __FILE__, __LINE__, #condition);                     \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            test_failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define CHECK_STRING(actual, expected)                                                             \
    do {                                                                                           \
        const char *test_actual = (actual), *test_expected = (expected);                           \
        if (test_actual == NULL || strcmp(test_actual, test_expected) != 0) {                      \
            printf("    %s:%d: got\n%s\n    expected\n%s\n", __FILE__, __LINE__,                   \
                   test_actual == NULL ? "(null)" : test_actual, test_expected);                   \
            test_failed = true;                                                                    \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Leaves the test as skipped; it counts neither as passed nor as failed. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        test_skip_reason = (reason);                                                               \
        return;                                                                                    \
    } while (0)

static inline int test_run(int argc, char **argv)
{
    int failed = 0;
    for (test_case *test = test_first; test != NULL; test = test->next) {
        bool wanted = argc < 2;
        for (int i = 1; i < argc; i++)
            wanted = wanted || strncmp(test->name, argv[i], strlen(argv[i])) == 0;
        if (!wanted)
            continue;
        test_failed = false;
        test_skip_reason = NULL;
        test->run();
        if (test_failed)
            printf("FAILED %s\n", test->name);
        else if (test_skip_reason != NULL)
            printf("skipped %s: %s\n", test->name, test_skip_reason);
        else
            printf("ok %s\n", test->name);
        fflush(stdout);
        failed += test_failed;
    }
    return failed > 0;
}

#define TEST_MAIN()                                                                                \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return test_run(argc, argv);                                                               \
    }

#endif

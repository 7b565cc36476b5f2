/* See command_line.h.
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/command_line.h"

#include "runtime/internal.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char rt_help[] =
    "Usage: %1$s [OPTION...]\n"
    "Continues a text with the language model that is compiled into this program.\n"
    "\n"
    "The prompt (without any of these: standard input, less one newline at its end)\n"
    "  --prompt TEXT          the text to continue\n"
    "  --prompt-file FILE     the same, from a file (less one newline at its end)\n"
    "  --prompt-ids 1,2,3     token ids instead of a text\n"
    "  --prompts FILE         several texts, with empty lines between them, each to be continued\n"
    "  --sessions N           as many of them at a time, which take turns (1)\n"
    "  --restore FILE         go on with a saved session, behind which a prompt may come\n"
    "  --save FILE            save the session at the end (--max-tokens 0: only the prompt)\n"
    "\n"
    "What is written\n"
    "  --max-tokens N         at most this many tokens (256)\n"
    "  --temperature T        0: always the most probable token (0)\n"
    "  --seed S               of the draws when T > 0 (0)\n"
    "  --top-k K              draw from the K most probable tokens (0: all)\n"
    "  --top-p P              draw from the most probable tokens that have P of the mass (0: all)\n"
    "  --min-p P              draw from tokens with P of the largest probability (0: all)\n"
    "  --repetition-penalty R, --repetition-window N\n"
    "                         divide logits of the last N tokens (0: all) by R (0: not)\n"
    "  --stop TEXT            ends before this text; may be given several times\n"
    "  --ignore-eos           go on after the end of the text\n"
    "  --echo                 write the prompt first\n"
    "  --ids                  write token ids instead of text\n"
    "  --stats[=json]         figures on standard error, for people or as one JSON object\n"
    "\n"
    "How it is done; none of this but --evict and the slots that it has changes the text at\n"
    "temperature 0\n"
    "  --draft DRAFT          what is guessed per round: auto (default) what pays on this device,\n"
    "                         0 nothing, N a chain of tokens, rsd-c:2,2,1 children of each node "
    "by\n"
    "                         level, rsd-s:4x3 a beam of 4 with 3 levels\n"
    "  --costs FILE           auto decides by the costs in this file, so that a seed repeats a\n"
    "                         text; they are written there when there is no such file\n"
    "  --threads N            (the processors it may use, at most 16)\n"
    "  --memory-budget SIZE   resident memory, such as 64M or 1.5G; fewer slots if need be\n"
    "  --evict POLICY         what full caches drop: none (the text ends), recent, h2o, tova,\n"
    "                         snapkv, keydiff, the last four also +caote or +fastcaote\n"
    "  --evict-every N        tokens between evictions (128, or a quarter of the slots if less)\n"
    "  --positions KIND       absolute: of a token in the text (default); compact: among those\n"
    "                         that are kept, for texts beyond the model's context\n"
    "  --slots N              room for so many tokens of prompt and text\n"
    "  --drafter-slots N      the same for the drafter (as many as are of use to it)\n"
    "\n"
    "  --check                read the whole program file and compare its hash\n"
    "  --version, --help\n"
    "\n"
    "An interrupt (SIGINT or SIGTERM) ends the text after the current round; a second one ends "
    "the\n"
    "program. Exit status: 0 fine, 1 the input or the machine is at fault, 2 the command line is,\n"
    "130 or 143 interrupted.\n"
    "\n"
    "Examples:\n"
    "  %1$s --prompt 'Once upon a time' --stats\n"
    "  %1$s --temperature 0.8 --seed 7 --max-tokens 100 < prompt.txt\n"
    "  %1$s --prompt 'Once' --draft 0 --memory-budget 48M --stats=json 2> figures.json\n"
    "  %1$s --prompt-file long.txt --max-tokens 0 --save long.session\n"
    "  %1$s --restore long.session --prompt ' And then' --stop . --stop '!'\n"
    "  %1$s --prompts questions.txt --sessions 4 > answers.txt\n";

/* What an option's value is. */
typedef enum value_kind {
    VALUE_FLAG,
    VALUE_TEXT,
    VALUE_STOP,  /* one more of a list of texts */
    VALUE_COUNT, /* uint32_t */
    VALUE_SEED,  /* uint64_t */
    VALUE_SIZE,  /* uint64_t, bytes */
    VALUE_REAL,
    VALUE_ACTION,
    VALUE_REPORT
} value_kind;

typedef struct option_row {
    const char *name;
    value_kind kind;
    size_t offset;  /* in rt_command */
    uint32_t least; /* of a count, or the action */
    const char *accepted;
} option_row;

#define FIELD(field) offsetof(rt_command, field)
static const option_row rows[] = {
    {"prompt", VALUE_TEXT, FIELD(prompt), 0, "a text"},
    {"prompt-file", VALUE_TEXT, FIELD(prompt_file), 0, "a file name"},
    {"prompt-ids", VALUE_TEXT, FIELD(prompt_ids), 0, "ids separated by commas"},
    {"prompts", VALUE_TEXT, FIELD(prompts), 0, "a file name"},
    {"sessions", VALUE_COUNT, FIELD(open.sessions), 1, "a number, 1 or more"},
    {"max-tokens", VALUE_COUNT, FIELD(generate.max_tokens), 0, "a number from 0 to 4294967295"},
    {"temperature", VALUE_REAL, FIELD(generate.temperature), 0, "a number from 0 to 1e30"},
    {"seed", VALUE_SEED, FIELD(generate.seed), 0, "a number from 0 to 2^64 - 1"},
    {"draft", VALUE_TEXT, FIELD(generate.draft), 0, "a draft"},
    {"top-k", VALUE_COUNT, FIELD(generate.top_k), 0, "a number from 0 to 4294967295"},
    {"top-p", VALUE_REAL, FIELD(generate.top_p), 0, "a number from 0 to 1"},
    {"min-p", VALUE_REAL, FIELD(generate.min_p), 0, "a number from 0 to 1"},
    {"repetition-penalty", VALUE_REAL, FIELD(generate.repetition_penalty), 0,
     "a number from 0 to 1e30"},
    {"repetition-window", VALUE_COUNT, FIELD(generate.repetition_window), 0,
     "a number from 0 to 4294967295"},
    {"threads", VALUE_COUNT, FIELD(open.threads), 1, "a number, 1 or more"},
    {"slots", VALUE_COUNT, FIELD(open.slots), 1, "a number, 1 or more"},
    {"drafter-slots", VALUE_COUNT, FIELD(open.drafter_slots), 1, "a number, 1 or more"},
    {"evict", VALUE_TEXT, FIELD(open.eviction), 0, "a policy"},
    {"evict-every", VALUE_COUNT, FIELD(open.evict_step), 1, "a number, 1 or more"},
    {"positions", VALUE_TEXT, FIELD(open.positions), 0, "absolute or compact"},
    {"memory-budget", VALUE_SIZE, FIELD(open.memory_budget), 0, "a size such as 64M or 1.5G"},
    {"costs", VALUE_TEXT, FIELD(costs), 0, "a file name"},
    {"save", VALUE_TEXT, FIELD(save), 0, "a file name"},
    {"restore", VALUE_TEXT, FIELD(restore), 0, "a file name"},
    {"stop", VALUE_STOP, 0, 0, "one of at most 16 texts"},
    {"ignore-eos", VALUE_FLAG, FIELD(generate.ignore_end), 0, NULL},
    {"echo", VALUE_FLAG, FIELD(echo), 0, NULL},
    {"ids", VALUE_FLAG, FIELD(ids), 0, NULL},
    {"stats", VALUE_REPORT, FIELD(report), 0, "json, or nothing"},
    {"check", VALUE_ACTION, FIELD(action), RT_CHECK, NULL},
    {"version", VALUE_ACTION, FIELD(action), RT_VERSION, NULL},
    {"help", VALUE_ACTION, FIELD(action), RT_HELP, NULL},
};
#define ROW_COUNT (sizeof rows / sizeof *rows)

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < least || number > most)
        return false;
    *value = number;
    return true;
}

static bool parse_real(const char *text, double *value)
{
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '.')
        return false;
    errno = 0;
    double number = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(number >= 0 && number <= 1e30))
        return false;
    *value = number;
    return true;
}

bool rt_parse_size(const char *text, uint64_t *bytes)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    double number = strtod(text, &end);
    static const char units[] = "KMGT";
    double base = 1024;
    int power = 0;
    if (*end != '\0' && strcmp(end, "B") != 0) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit == NULL)
            return false;
        power = (int)(unit - units) + 1;
        if (strcmp(end + 1, "B") == 0)
            base = 1000;
        else if (end[1] != '\0' && strcmp(end + 1, "iB") != 0)
            return false;
    }
    for (int i = 0; i < power; i++)
        number *= base;
    if (!(number >= 1 && number < 0x1p63))
        return false;
    *bytes = (uint64_t)number;
    return true;
}

/* Stores one option; false when its value cannot be understood. */
static bool store(const option_row *row, const char *text, rt_command *command)
{
    void *field = (char *)command + row->offset;
    uint64_t number = 0;
    switch (row->kind) {
    case VALUE_FLAG:
        *(bool *)field = true;
        return true;
    case VALUE_TEXT:
        *(const char **)field = text;
        return true;
    case VALUE_STOP:
        if (command->generate.stop_count == RT_MOST_STOPS)
            return false;
        command->stops[command->generate.stop_count++] = text;
        command->generate.stop = command->stops;
        return true;
    case VALUE_COUNT:
        if (!parse_number(text, row->least, UINT32_MAX, &number))
            return false;
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case VALUE_SEED:
        return parse_number(text, 0, UINT64_MAX, (uint64_t *)field);
    case VALUE_SIZE:
        return rt_parse_size(text, (uint64_t *)field);
    case VALUE_REAL:
        return parse_real(text, (double *)field);
    case VALUE_ACTION:
        command->action = (rt_action)row->least;
        return true;
    case VALUE_REPORT:
        command->report = text == NULL ? RT_REPORT_TEXT : RT_REPORT_JSON;
        return text == NULL || strcmp(text, "json") == 0;
    }
    return false;
}

static int argument_rule(value_kind kind)
{
    if (kind == VALUE_FLAG || kind == VALUE_ACTION)
        return no_argument;
    return kind == VALUE_REPORT ? optional_argument : required_argument;
}

static bool refuse(tandem_error *error, const char *sentence, const char *what)
{
    rt_fail(error, TANDEM_INVALID, sentence, what);
    return false;
}

/* Options that exclude each other. */
static bool check_together(const rt_command *command, tandem_error *error)
{
    const int prompts = (command->prompt != NULL) + (command->prompt_file != NULL) +
                        (command->prompt_ids != NULL) + (command->prompts != NULL);
    if (prompts > 1)
        return refuse(error, "%s can be given only one at a time",
                      "--prompt, --prompt-file, --prompt-ids and --prompts");
    if (command->prompts != NULL && (command->save != NULL || command->restore != NULL))
        return refuse(error, "%s are of one session, and --prompts has one for each text",
                      "--save and --restore");
    if (command->prompts == NULL && command->open.sessions > 1)
        return refuse(error, "%s take turns over several texts: give --prompts FILE", "--sessions");
    return true;
}

bool rt_read_command_line(int count, char **arguments, rt_command *command, tandem_error *error)
{
    struct option table[ROW_COUNT + 1] = {0};
    for (size_t i = 0; i < ROW_COUNT; i++)
        table[i] = (struct option){rows[i].name, argument_rule(rows[i].kind), NULL, (int)i};
    *command = (rt_command){
        .open = {.sessions = 1},
        .generate = {.max_tokens = TANDEM_TOKENS_DEFAULT},
    };
    optind = 0; /* start afresh: may be called more than once */
    opterr = 0;
    for (;;) {
        int current = optind == 0 ? 1 : optind;
        int index = getopt_long(count, arguments, ":", table, NULL);
        if (index == -1)
            break;
        if (index == ':')
            return refuse(error, "%s needs a value; --help lists the options",
                          arguments[optind - 1]);
        if (index == '?')
            return refuse(error, "there is no option %s; --help lists them",
                          arguments[current < count ? current : count - 1]);
        const option_row *row = &rows[index];
        if (!store(row, optarg, command)) {
            rt_fail(error, TANDEM_INVALID, "--%s \"%s\" cannot be understood: %s is accepted",
                    row->name, optarg, row->accepted);
            return false;
        }
    }
    if (optind < count)
        return refuse(error, "\"%s\" is no option; a prompt is given by --prompt TEXT",
                      arguments[optind]);
    return check_together(command, error);
}

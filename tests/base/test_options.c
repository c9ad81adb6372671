/* options: one table, four uses. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/options.h"
#include "common/base/rng.h"

static int ran;

static enum tacit_err run_add(const struct options *o)
{
    ran = o->n_args;
    return TACIT_OK;
}

static enum tacit_err run_fail(const struct options *o)
{
    (void)o;
    return fail_as(E_NOT_INITIALISED, "nothing is here");
}

static const struct option_row global[] = {
    {"home", 0, "DIR", "TACIT_TEST_HOME", "where the state is"},
    {"json", 0, NULL, NULL, "print one JSON envelope"},
    {"quiet", 'q', NULL, "TACIT_TEST_QUIET", "say less"},
};
static const struct option_row add_options[] = {
    {"output", 'o', "FILE", NULL, "where to write"},
    {"ttl", 0, "TIME", NULL, "how long"},
    {"count", 'n', "N", NULL, "how many"},
};
static const struct option_command commands[] = {
    {.name = "add",
     .args = "PATH…",
     .args_min = 1,
     .args_max = 3,
     .summary = "index files and folders, one after the other, until all of "
                "them are there",
     .options = add_options,
     .n_options = 3,
     .run = run_add},
    {.name = "plan check",
     .args = "FILE",
     .args_min = 1,
     .args_max = 1,
     .summary = "check",
     .run = run_add},
    {.name = "plan submit",
     .args = "FILE",
     .args_min = 1,
     .args_max = 1,
     .summary = "submit",
     .run = run_add},
    {.name = "break", .summary = "always fails", .run = run_fail},
    {.name = "explain",
     .args = "[CODE]",
     .args_max = 1,
     .summary = "explain",
     .run = options_explain},
};
static const struct options_program program = {
    .name = "tester",
    .version = "9.8",
    .summary = "tests the table",
    .help = ".a line that roff would take for a request",
    .global = global,
    .n_global = 3,
    .commands = commands,
    .n_commands = 5};

static struct options o;

/* Parse a command line given as words separated by spaces. */
static enum tacit_err parse(const char *line)
{
    static char copy[512];
    const char *argv[128] = {"tester"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w && argc < 128; w = strtok(NULL, " "))
        argv[argc++] = w;
    return options_parse(&program, argc, argv, &o);
}

static void check_usage(const char *line, const char *message)
{
    enum tacit_err err = parse(line);
    check(err != TACIT_OK && err_id() == E_USAGE);
    check(err_exit(err) == TACIT_EXIT_USAGE);
    if (!strstr(err_message(), message))
        print_error("%s\nlacks: %s\n", err_message(), message);
    check(strstr(err_message(), message) != NULL);
    err_clear();
}

static void options_and_arguments_may_be_mixed(void **unused)
{
    (void)unused;
    check_ok(parse("--home /h add a --output x b -n3 --json"));
    check(o.command == &commands[0] && o.n_args == 2);
    assert_string_equal(o.args[1], "b");
    assert_string_equal(options_value(&o, "home"), "/h");
    assert_string_equal(options_value(&o, "output"), "x");
    check(options_flag(&o, "json") && !options_flag(&o, "quiet"));
    int64_t n = 0;
    check_ok(options_int(&o, "count", 1, 9, 5, &n));
    check(n == 3);
    check_ok(parse("add --output=a --output=b -o c -- --json -x"));
    assert_string_equal(options_value(&o, "output"), "c");
    assert_string_equal(options_value_at(&o, "output", 1), "b");
    check(options_value_at(&o, "output", 3) == NULL);
    check(o.n_args == 2 && !options_flag(&o, "json"));
    check_ok(parse("plan submit f -q"));
    check(o.command == &commands[2] && options_flag(&o, "quiet"));
}

static void a_value_comes_from_the_flag_then_the_environment(void **unused)
{
    (void)unused;
    setenv("TACIT_TEST_HOME", "/env", 1);
    setenv("TACIT_TEST_QUIET", "0", 1);
    check_ok(parse("break"));
    assert_string_equal(options_value(&o, "home"), "/env");
    check(!options_flag(&o, "quiet"));
    check_ok(parse("break --home /flag"));
    assert_string_equal(options_value(&o, "home"), "/flag");
    setenv("TACIT_TEST_HOME", "", 1);
    check_ok(parse("break"));
    check(options_value(&o, "home") == NULL);
    unsetenv("TACIT_TEST_HOME");
    unsetenv("TACIT_TEST_QUIET");
}

static void every_fault_names_the_word_and_the_way_out(void **unused)
{
    (void)unused;
    check_usage("ad x", "did you mean `add`");
    check_usage("plan chekc f", "did you mean `plan check`");
    check_usage("plan", "`plan` wants one more word: check, submit");
    check_usage("frobnicate-everything", "`tester --help` lists them");
    check_usage("add x --outptu y", "did you mean --output");
    check_usage("--output y add x", "after the command");
    check_usage("add", "tester add PATH…");
    check_usage("add a b c d", "`d`");
    check_usage("add x --output", "--output FILE");
    check_usage("add x -o", "-o FILE");
    check_usage("add x --json=1", "takes no value");
    check_usage("add x -z", "-z");
    char many[512] = "add x";
    for (int i = 0; i < OPTIONS_GIVEN_MAX + 1; i++) strcat(many, " -q");
    check_usage(many, "more than");
}

static void numbers_and_durations_are_checked(void **unused)
{
    (void)unused;
    int64_t v = 0;
    check_ok(parse("add x"));
    check_ok(options_duration_ms(&o, "ttl", 77, &v));
    check(v == 77);
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"250ms", 250},
                {"90s", 90000},
                {"15m", 900000},
                {"24h", 86400000},
                {"7d", 604800000}};
    for (size_t i = 0; i < 5; i++) {
        char line[64];
        snprintf(line, sizeof line, "add x --ttl %s", good[i].text);
        check_ok(parse(line));
        check_ok(options_duration_ms(&o, "ttl", 0, &v));
        check(v == good[i].ms);
    }
    static const char *const bad[] = {"5",   "x",   "-5s", "9999999999999999h",
                                      "5 s", "1.5h"};
    for (size_t i = 0; i < 6; i++) {
        char line[64];
        snprintf(line, sizeof line, "add x --ttl=%s", bad[i]);
        check_ok(parse(line));
        check_code(options_duration_ms(&o, "ttl", 0, &v), E_USAGE);
    }
    check_ok(parse("add x -n 12"));
    check_code(options_int(&o, "count", 1, 9, 5, &v), E_USAGE);
    check_ok(parse("add x -n 1x"));
    check_code(options_int(&o, "count", 1, 9, 5, &v), E_USAGE);
}

/* Run options_main with stdout and stderr in a file; *text gets both. */
static int run_main(const char *line, char *text, size_t cap)
{
    char copy[256], *argv[32] = {"tester"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    FILE *f = tmpfile();
    check(f != NULL);
    fflush(NULL);
    int out = dup(1), err = dup(2);
    dup2(fileno(f), 1);
    dup2(fileno(f), 2);
    int status = options_main(&program, argc, argv);
    fflush(NULL);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    rewind(f);
    text[fread(text, 1, cap - 1, f)] = 0;
    fclose(f);
    err_clear();
    return status;
}

static void main_reports_and_exits_by_the_contract(void **unused)
{
    (void)unused;
    static char text[1 << 16];
    check(run_main("add a b", text, sizeof text) == 0 && ran == 2);
    check(run_main("break", text, sizeof text) == TACIT_EXIT_FAILED);
    check(strstr(text, "tester: nothing is here (TACIT-E0104)") != NULL);
    check(strstr(text, "tester explain E0104") != NULL);
    check(run_main("break --json", text, sizeof text) == TACIT_EXIT_FAILED);
    check(strstr(text, "\"status\":\"error\"") != NULL);
    check(strstr(text, "TACIT-E0104") != NULL);
    check(run_main("add --json", text, sizeof text) == TACIT_EXIT_USAGE);
    check(strstr(text, "TACIT-E0013") != NULL);
    check(run_main("", text, sizeof text) == TACIT_EXIT_USAGE);
    check(strstr(text, "Commands") != NULL);
    check(run_main("--version", text, sizeof text) == 0);
    assert_string_equal(text, "tester 9.8\n");
    check(run_main("explain e0013", text, sizeof text) == 0);
    check(strstr(text, "TACIT-E0013  the command line is wrong") != NULL);
    check(run_main("explain 9999", text, sizeof text) == TACIT_EXIT_FAILED);
    check(run_main("explain", text, sizeof text) == 0);
    check(strstr(text, "E0001") && strstr(text, "E0013"));
}

static void help_man_and_completion_name_every_option(void **unused)
{
    (void)unused;
    static char text[1 << 16];
    check(run_main("--help", text, sizeof text) == 0);
    check(strstr(text, "plan submit FILE") && strstr(text, "TACIT_TEST_HOME"));
    check(strstr(text, "\033") == NULL); /* not a terminal: no colour */
    check(run_main("add --help", text, sizeof text) == 0);
    check(strstr(text, "-o, --output FILE") && strstr(text, "--home DIR"));
    for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
        check(strlen(l) <= 82);
    check(run_main("help add", text, sizeof text) == 0);
    check(strstr(text, "--ttl TIME") != NULL);
    check(run_main("--man", text, sizeof text) == 0);
    check(strncmp(text, ".TH \"TESTER\" 1", 14) == 0);
    check(strstr(text, "\\-\\-ttl TIME") && strstr(text, "\n\\&.a line"));
    check(run_main("--completion", text, sizeof text) == 0);
    check(strstr(text, "complete -o default -F _tester tester") != NULL);
    check(strstr(text, "'plan') words='check submit'") != NULL);
    check(strstr(text, "--output") != NULL);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_may_be_mixed),
        cmocka_unit_test(a_value_comes_from_the_flag_then_the_environment),
        cmocka_unit_test(every_fault_names_the_word_and_the_way_out),
        cmocka_unit_test(numbers_and_durations_are_checked),
        cmocka_unit_test(main_reports_and_exits_by_the_contract),
        cmocka_unit_test(help_man_and_completion_name_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * options: one table per program makes the parser, `--help`, the man page and
 * the shell completion, so that the four never disagree.
 *
 *   static const struct option_row global[] = {
 *       {"home", 0, "DIR", "TACIT_HOME", "where this device keeps its state"},
 *       {"json", 0, NULL, NULL, "print one JSON envelope"}};
 *   static const struct option_command commands[] = {
 *       {.name = "add", .args = "PATH…", .args_min = 1, .args_max = -1,
 *        .summary = "index files and folders", .run = add_run}, …};
 *   int main(int argc, char **argv)
 *   { return options_main(&program, argc, argv); }
 *
 * Grammar: `program [global options] command [options] [arguments]`; options
 * and arguments may be mixed; `--` ends the options; `--name value`,
 * `--name=value`, `-n value` and `-nvalue` are the same. A value comes from the
 * flag, else from the option's environment variable.
 *
 * options_main() adds by itself: `--help` and `-h` (also `program help
 * command`), `--version`, `--man`, `--completion`. It prints a failure on
 * stderr, or as the error envelope on stdout when the table has `json` and it
 * was given, and returns the exit code of the catalogue.
 */
#ifndef TACIT_BASE_OPTIONS_H
#define TACIT_BASE_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"

enum { OPTIONS_GIVEN_MAX = 64, OPTIONS_ARGS_MAX = 4096 };

struct option_row {
    const char *name;     /* "home" for --home */
    char letter;          /* 'o' for -o; 0 = none */
    const char *argument; /* "DIR"; NULL = a flag without a value */
    const char *env;      /* environment variable, or NULL */
    const char *help;     /* one sentence, no full stop */
};

struct options;

struct option_command {
    const char *name;       /* "add", or two words: "plan submit" */
    const char *args;       /* usage text of the arguments, or NULL */
    int args_min, args_max; /* how many; args_max -1 = any number */
    const char *summary;    /* one line, in lists */
    const char *help; /* paragraphs for --help and the man page, or NULL */
    const struct option_row *options; /* [n_options], besides the global ones */
    size_t n_options;
    enum tacit_err (*run)(const struct options *o);
};

struct options_program {
    const char *name;                /* "tacit" */
    const char *version;             /* "1.0.0" */
    const char *summary;             /* one line */
    const char *help;                /* a paragraph, or NULL */
    const struct option_row *global; /* [n_global] */
    size_t n_global;
    const struct option_command *commands; /* [n_commands], in help's order */
    size_t n_commands;
};

/* What a command was called with. Everything is borrowed from argv, the table
 * and the environment. */
struct options {
    const struct options_program *program;
    const struct option_command *command; /* NULL: none was named */
    int n_args;
    const char *args[OPTIONS_ARGS_MAX];
    size_t n_given;
    struct option_given {
        const struct option_row *row;
        const char *value; /* "" for a flag */
    } given[OPTIONS_GIVEN_MAX];
    int want_help;
};

/* Parse argv (with the program's name first) into *out. Every fault is
 * E_USAGE, names the word and, where one is near, the word that was meant. */
TACIT_CHECKED enum tacit_err options_parse(const struct options_program *p,
                                           int argc, const char *const *argv,
                                           struct options *out);
/* The option's last value, else its environment variable when that is set and
 * not empty, else NULL. */
const char *options_value(const struct options *o, const char *name);
/* Value number i of an option that may be repeated, or NULL. Flags only. */
const char *options_value_at(const struct options *o, const char *name,
                             size_t i);
/* 1 when a flag was given (or its variable is set to something but "0"). */
int options_flag(const struct options *o, const char *name);
/* A whole number in [min, max], or fallback; E_USAGE otherwise. */
TACIT_CHECKED enum tacit_err options_int(const struct options *o,
                                         const char *name, int64_t min,
                                         int64_t max, int64_t fallback,
                                         int64_t *out);
/* A number in [min, max]; *out stays as it is without the option. E_USAGE. */
TACIT_CHECKED enum tacit_err options_real(const struct options *o,
                                          const char *name, double min,
                                          double max, double *out);
/* "250ms", "90s", "15m", "24h", "7d" in milliseconds, or fallback_ms. */
TACIT_CHECKED enum tacit_err options_duration_ms(const struct options *o,
                                                 const char *name,
                                                 int64_t fallback_ms,
                                                 int64_t *out);

/* The `explain` command of every program: the catalogue entry for the first
 * argument ("E0203", "TACIT-E0203", "203"), or the whole list without one. */
TACIT_CHECKED enum tacit_err options_explain(const struct options *o);

/* Rows that programs have in common: their commands end in OPTIONS_EXPLAIN. */
#define OPTIONS_JSON                                                           \
 {                                                                             \
  "json", 0, NULL, NULL, "print one JSON envelope on stdout"                   \
 }
#define OPTIONS_QUIET                                                          \
 {                                                                             \
  "quiet", 'q', NULL, NULL, "no progress and no hints"                         \
 }
#define OPTIONS_EXPLAIN                                                        \
 {                                                                             \
  .name = "explain", .args = "[CODE]", .args_max = 1,                          \
  .summary = "say what an error code means and what to do",                    \
  .run = options_explain                                                       \
 }

/* One line for a person: "error: MESSAGE (TACIT-E0203)" and where to read
 * more. */
void options_print_error(FILE *f, const char *program, enum tacit_err err);
/* Parse, run, report; returns the exit code. */
int options_main(const struct options_program *p, int argc, char **argv);

#endif

/* options: what the table prints: help, manual, completion, errors. */
#include <ctype.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/base/options.h"
#include "common/base/progress.h"
#include "common/base/terminal.h"

enum { HELP_WIDTH = 78, HELP_COLUMN = 26 };

struct style {
    const char *bold, *plain;
};

static struct style style_for(FILE *f)
{
    int fd = fileno(f);
    if (fd >= 0 && progress_colour(fd))
        return (struct style){"\033[1m", "\033[0m"};
    return (struct style){"", ""};
}

/* Print words of s from column `at`, wrapping to `indent`: in a file, too. */
static void print_wrapped(FILE *f, const char *s, size_t at, size_t indent)
{
    size_t columns = terminal_columns(fileno(f));
    if (columns == 0 || columns > HELP_WIDTH) columns = HELP_WIDTH;
    terminal_wrap(f, s, at, indent, columns);
    fputc('\n', f);
}

/* "  left        right", the right part wrapped in its column. */
static void print_pair(FILE *f, const char *left, const char *right)
{
    size_t width;
    (void)terminal_fit(left, SIZE_MAX, &width);
    fprintf(f, "  %s", left);
    if (width + 2 >= HELP_COLUMN)
        fprintf(f, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(f, "%*s", HELP_COLUMN - 2 - (int)width, "");
    print_wrapped(f, right, HELP_COLUMN, HELP_COLUMN);
}

static void option_left(char *out, size_t cap, const struct option_row *r)
{
    char letter[5] = "";
    if (r->letter) snprintf(letter, sizeof letter, "-%c, ", r->letter);
    snprintf(out, cap, "%s--%s%s%s", letter, r->name, r->argument ? " " : "",
             r->argument ? r->argument : "");
}

static void print_options(FILE *f, const struct option_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left[128], right[512];
        option_left(left, sizeof left, &rows[i]);
        snprintf(right, sizeof right, "%s%s%s%s", rows[i].help,
                 rows[i].env ? " (or $" : "", rows[i].env ? rows[i].env : "",
                 rows[i].env ? ")" : "");
        print_pair(f, left, right);
    }
}

static const char *const exit_codes[][2] = {
    {"0", "done"},
    {"1", "failed"},
    {"2", "no connection, or not authenticated"},
    {"3", "took too long"},
    {"4", "the command line is wrong"},
    {"5", "a bug"},
    {"6", "nothing relevant was found"},
    {"7", "the privacy budget is spent"},
    {"130", "interrupted"}};
enum { N_EXIT_CODES = sizeof exit_codes / sizeof exit_codes[0] };

static void print_command_help(FILE *f, const struct options_program *p,
                               const struct option_command *c)
{
    struct style s = style_for(f);
    fprintf(f, "%sUsage:%s %s %s%s%s%s\n\n", s.bold, s.plain, p->name, c->name,
            c->n_options ? " [options]" : "", c->args ? " " : "",
            c->args ? c->args : "");
    print_wrapped(f, c->summary, 0, 0);
    if (c->help) {
        fputc('\n', f);
        print_wrapped(f, c->help, 0, 0);
    }
    if (c->n_options) {
        fprintf(f, "\n%sOptions%s\n", s.bold, s.plain);
        print_options(f, c->options, c->n_options);
    }
    fprintf(f, "\n%sGlobal options%s\n", s.bold, s.plain);
    print_options(f, p->global, p->n_global);
    print_pair(f, "-h, --help", "show this help");
}

/* Help for one command, or for the program when c is NULL. */
static void print_help(FILE *f, const struct options_program *p,
                       const struct option_command *c)
{
    if (c) {
        print_command_help(f, p, c);
        return;
    }
    struct style s = style_for(f);
    fprintf(f, "%s - %s\n\n%sUsage:%s %s [options] COMMAND …\n", p->name,
            p->summary, s.bold, s.plain, p->name);
    if (p->help) {
        fputc('\n', f);
        print_wrapped(f, p->help, 0, 0);
    }
    fprintf(f, "\n%sCommands%s\n", s.bold, s.plain);
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct option_command *c2 = &p->commands[i];
        char left[160];
        snprintf(left, sizeof left, "%s%s%s", c2->name, c2->args ? " " : "",
                 c2->args ? c2->args : "");
        print_pair(f, left, c2->summary);
    }
    fprintf(f, "\n%sGlobal options%s\n", s.bold, s.plain);
    print_options(f, p->global, p->n_global);
    print_pair(f, "-h, --help", "show help, also for one command");
    print_pair(f, "--version", "show the version");
    fprintf(f, "\n%sExit codes%s\n", s.bold, s.plain);
    for (size_t i = 0; i < N_EXIT_CODES; i++)
        print_pair(f, exit_codes[i][0], exit_codes[i][1]);
}

/* ---- manual ------------------------------------------------------------- */

/* Text with roff's own characters escaped; a leading dot or quote is kept. */
static void roff(FILE *f, const char *s)
{
    if (*s == '.' || *s == '\'') fputs("\\&", f);
    for (; *s; s++) {
        if (*s == '\\')
            fputs("\\e", f);
        else if (*s == '-')
            fputs("\\-", f);
        else
            fputc(*s, f);
    }
}

static void roff_options(FILE *f, const struct option_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left[128];
        option_left(left, sizeof left, &rows[i]);
        fputs(".TP\n\\fB", f);
        roff(f, left);
        fputs("\\fR\n", f);
        roff(f, rows[i].help);
        if (rows[i].env) fprintf(f, " (or $%s)", rows[i].env);
        fputs(".\n", f);
    }
}

static void roff_command(FILE *f, const struct options_program *p,
                         const struct option_command *c)
{
    fputs(".SS ", f);
    fputc('"', f);
    roff(f, p->name);
    fputc(' ', f);
    roff(f, c->name);
    fputs("\"\n.B ", f);
    roff(f, p->name);
    fputc(' ', f);
    roff(f, c->name);
    fputs("\n", f);
    if (c->n_options) fputs("[options]\n", f);
    if (c->args) {
        roff(f, c->args);
        fputc('\n', f);
    }
    fputs(".PP\n", f);
    roff(f, c->summary);
    fputs(".\n", f);
    if (c->help) {
        fputs(".PP\n", f);
        roff(f, c->help);
        fputc('\n', f);
    }
    roff_options(f, c->options, c->n_options);
}

/* The whole manual as roff for section 1. */
static void print_man(FILE *f, const struct options_program *p)
{
    char upper[64];
    snprintf(upper, sizeof upper, "%s", p->name);
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    fprintf(f, ".TH \"%s\" 1 \"\" \"Tacit %s\" \"User Commands\"\n.SH NAME\n",
            upper, p->version);
    roff(f, p->name);
    fputs(" \\- ", f);
    roff(f, p->summary);
    fputs("\n.SH SYNOPSIS\n.B ", f);
    roff(f, p->name);
    fputs("\n[options] COMMAND ...\n", f);
    if (p->help) {
        fputs(".SH DESCRIPTION\n", f);
        roff(f, p->help);
        fputc('\n', f);
    }
    fputs(".SH GLOBAL OPTIONS\n", f);
    roff_options(f, p->global, p->n_global);
    fputs(".TP\n\\fB\\-h, \\-\\-help\\fR\nshow help, also for one command.\n"
          ".TP\n\\fB\\-\\-version\\fR\nshow the version.\n",
          f);
    fputs(".SH COMMANDS\n", f);
    for (size_t i = 0; i < p->n_commands; i++)
        roff_command(f, p, &p->commands[i]);
    fputs(".SH EXIT STATUS\n", f);
    for (size_t i = 0; i < N_EXIT_CODES; i++)
        fprintf(f, ".TP\n%s\n%s\n", exit_codes[i][0], exit_codes[i][1]);
    fputs(".SH ERRORS\nEvery error has a code such as TACIT\\-E0203;\n.B ", f);
    roff(f, p->name);
    fputs("\nexplain CODE\ntells what it means and what to do.\n", f);
}

/* ---- completion --------------------------------------------------------- */

static void complete_words(FILE *f, const struct option_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) fprintf(f, " --%s", rows[i].name);
}

/* A bash completion. */
static void print_completion(FILE *f, const struct options_program *p)
{
    char fn[64];
    snprintf(fn, sizeof fn, "%s", p->name);
    for (char *c = fn; *c; c++)
        if (*c == '-') *c = '_';
    fprintf(f,
            "# bash completion for %s, made from its option table\n_%s()\n{\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} words='' cmd='' w\n"
            "    for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
            "        [[ $w == -* ]] || cmd+=\"${cmd:+ }$w\"\n    done\n"
            "    case $cmd in\n    '') words='",
            p->name, fn);
    for (size_t i = 0; i < p->n_commands; i++)
        fprintf(f, "%s%.*s", i ? " " : "",
                (int)strcspn(p->commands[i].name, " "), p->commands[i].name);
    complete_words(f, p->global, p->n_global);
    fputs("' ;;\n", f);
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct option_command *c = &p->commands[i];
        fprintf(f, "    '%s'*) words='--help", c->name);
        complete_words(f, c->options, c->n_options);
        complete_words(f, p->global, p->n_global);
        fputs("' ;;\n", f);
    }
    for (size_t i = 0; i < p->n_commands; i++) {
        const char *space = strchr(p->commands[i].name, ' ');
        if (!space) continue;
        int len = (int)(space - p->commands[i].name);
        if (i && strncmp(p->commands[i - 1].name, p->commands[i].name,
                         (size_t)len + 1) == 0)
            continue; /* the group's words are printed once */
        fprintf(f, "    '%.*s') words='", len, p->commands[i].name);
        for (size_t k = i; k < p->n_commands; k++)
            if (strncmp(p->commands[k].name, p->commands[i].name,
                        (size_t)len + 1) == 0)
                fprintf(f, "%s%s", k > i ? " " : "",
                        p->commands[k].name + len + 1);
        fputs("' ;;\n", f);
    }
    fprintf(f,
            "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
            "}\ncomplete -o default -F _%s %s\n",
            fn, p->name);
}

/* ---- explain, errors, main ---------------------------------------------- */

static json_t *code_json(const struct err_code *c)
{
    char code[16];
    snprintf(code, sizeof code, "TACIT-E%04u", c->id);
    return json_pack("{s:s, s:s, s:s, s:i}", "code", code, "title", c->title,
                     "help", c->help, "exit", (int)c->exit);
}

static enum tacit_err explain_all(const struct options *o)
{
    json_t *list = options_flag(o, "json") ? json_array() : NULL;
    for (size_t i = 0; err_code_at(i); i++) {
        const struct err_code *c = err_code_at(i);
        if (list)
            json_array_append_new(list, code_json(c));
        else
            printf("E%04u  %s\n", c->id, c->title);
    }
    return list ? json_print_ok(stdout, list) : TACIT_OK;
}

enum tacit_err options_explain(const struct options *o)
{
    if (o->n_args == 0) return explain_all(o);
    const char *s = o->args[0];
    if (strncasecmp(s, "TACIT-", 6) == 0) s += 6;
    if (*s == 'E' || *s == 'e') s++;
    char *end = NULL;
    unsigned long id = strtoul(s, &end, 10);
    const struct err_code *c =
        end != s && !*end && id < 10000 ? err_code_find((unsigned)id) : NULL;
    if (!c)
        return fail(TACIT_NOTFOUND,
                    "no error code `%.32s`; `%s explain` lists all", o->args[0],
                    o->program->name);
    if (options_flag(o, "json")) return json_print_ok(stdout, code_json(c));
    struct style st = style_for(stdout);
    printf("%sTACIT-E%04u%s  %s\n\n", st.bold, c->id, st.plain, c->title);
    print_wrapped(stdout, c->help, 0, 0);
    printf("\nExit code %d.\n", (int)c->exit);
    return TACIT_OK;
}

void options_print_error(FILE *f, const char *program, enum tacit_err err)
{
    int fd = fileno(f);
    int colour = fd >= 0 && progress_colour(fd);
    const char *message = err_message();
    char code[20] = "";
    if (err_id()) snprintf(code, sizeof code, " (TACIT-E%04u)", err_id());
    terminal_say(f, 0, "%s%s:%s %s%s", colour ? "\033[31m" : "", program,
                 colour ? "\033[0m" : "", message[0] ? message : err_text(err),
                 code);
    if (err_id() && err_exit(err) != TACIT_EXIT_USAGE)
        fprintf(f, "  more: %s explain E%04u\n", program, err_id());
}

static int given_on_line(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], word) == 0) return 1;
    return 0;
}

int options_main(const struct options_program *p, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", p->name, p->version);
        return TACIT_EXIT_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--man") == 0) {
        print_man(stdout, p);
        return TACIT_EXIT_OK;
    }
    if (argc == 2 && strcmp(argv[1], "--completion") == 0) {
        print_completion(stdout, p);
        return TACIT_EXIT_OK;
    }
    struct options o;
    signal(SIGXFSZ, SIG_IGN); /* then a limit on files is an error to report */
    enum tacit_err err = options_parse(p, argc, (const char *const *)argv, &o);
    if (err == TACIT_OK && (o.want_help || !o.command)) {
        print_help(o.want_help ? stdout : stderr, p, o.command);
        return o.want_help ? TACIT_EXIT_OK : TACIT_EXIT_USAGE;
    }
    if (err == TACIT_OK) err = o.command->run(&o);
    /* ferror: a part that was lost when it was flushed before. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && err == TACIT_OK)
        err = fail(TACIT_IO, "cannot write the output");
    if (err == TACIT_OK) return TACIT_EXIT_OK;
    int exit_code = (int)err_exit(err);
    if (given_on_line(argc, argv, "--json") || options_flag(&o, "json"))
        json_print_error(stdout, err);
    else
        options_print_error(stderr, p->name, err);
    return exit_code;
}

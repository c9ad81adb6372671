/* options: the parser. Help, manual and completion are in options_help.c. */
#include "common/base/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/yaml.h"

enum { CANDIDATES_MAX = 128 };

/* The row for a long name [len] among the global ones and c's own. */
static const struct option_row *row_find(const struct options *o,
                                         const char *name, size_t len)
{
    const struct options_program *p = o->program;
    for (size_t i = 0; i < p->n_global; i++)
        if (strlen(p->global[i].name) == len &&
            memcmp(p->global[i].name, name, len) == 0)
            return &p->global[i];
    const struct option_command *c = o->command;
    for (size_t i = 0; c && i < c->n_options; i++)
        if (strlen(c->options[i].name) == len &&
            memcmp(c->options[i].name, name, len) == 0)
            return &c->options[i];
    return NULL;
}

static const struct option_row *row_find_letter(const struct options *o,
                                                char letter)
{
    const struct options_program *p = o->program;
    for (size_t i = 0; i < p->n_global; i++)
        if (p->global[i].letter == letter) return &p->global[i];
    const struct option_command *c = o->command;
    for (size_t i = 0; c && i < c->n_options; i++)
        if (c->options[i].letter == letter) return &c->options[i];
    return NULL;
}

static enum tacit_err unknown_option(const struct options *o, const char *word,
                                     size_t len)
{
    const char *names[CANDIDATES_MAX] = {"help", "version"};
    size_t n = 2;
    const struct options_program *p = o->program;
    const struct option_command *c = o->command;
    for (size_t i = 0; i < p->n_global && n < CANDIDATES_MAX; i++)
        names[n++] = p->global[i].name;
    for (size_t i = 0; c && i < c->n_options && n < CANDIDATES_MAX; i++)
        names[n++] = c->options[i].name;
    char name[65];
    if (len > sizeof name - 1) len = sizeof name - 1;
    memcpy(name, word, len);
    name[len] = 0;
    const char *near = yaml_nearest(name, names, n);
    const char *of = c ? c->name : "";
    const char *gap = c ? " " : "";
    if (near)
        return fail_as(E_USAGE, "%s%sdoes not know --%s; did you mean --%s?",
                       of, gap, name, near);
    /* An option that stands before the command belongs behind it. */
    for (size_t i = 0; !c && i < p->n_commands; i++)
        for (size_t k = 0; k < p->commands[i].n_options; k++)
            if (strcmp(p->commands[i].options[k].name, name) == 0)
                return fail_as(E_USAGE,
                               "--%s belongs to `%s`: write it after the "
                               "command",
                               name, p->commands[i].name);
    return fail_as(E_USAGE, "%s%sdoes not know --%s; see `%s%s%s --help`", of,
                   gap, name, p->name, gap, of);
}

static enum tacit_err give(struct options *o, const struct option_row *row,
                           const char *value)
{
    if (o->n_given == OPTIONS_GIVEN_MAX)
        return fail_as(E_USAGE, "more than %d options", OPTIONS_GIVEN_MAX);
    o->given[o->n_given++] = (struct option_given){row, value};
    return TACIT_OK;
}

/* argv[*i] starts with "--"; takes the next word too when it is the value. */
static enum tacit_err take_long(struct options *o, int argc,
                                const char *const *argv, int *i)
{
    const char *word = argv[*i] + 2;
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : strlen(word);
    const struct option_row *row = row_find(o, word, len);
    if (!row) return unknown_option(o, word, len);
    if (!row->argument) {
        if (equals) return fail_as(E_USAGE, "--%s takes no value", row->name);
        return give(o, row, "");
    }
    if (equals) return give(o, row, equals + 1);
    if (*i + 1 >= argc)
        return fail_as(E_USAGE, "--%s wants a value: --%s %s", row->name,
                       row->name, row->argument);
    return give(o, row, argv[++*i]);
}

/* argv[*i] is "-x…": letters of flags, the last may take a value. */
static enum tacit_err take_short(struct options *o, int argc,
                                 const char *const *argv, int *i)
{
    for (const char *s = argv[*i] + 1; *s; s++) {
        if (*s == 'h') {
            o->want_help = 1;
            continue;
        }
        const struct option_row *row = row_find_letter(o, *s);
        if (!row)
            return fail_as(E_USAGE, "unknown option -%c; see `%s --help`", *s,
                           o->program->name);
        if (!row->argument) {
            TRY(give(o, row, ""));
            continue;
        }
        if (s[1]) return give(o, row, s + 1);
        if (*i + 1 >= argc)
            return fail_as(E_USAGE, "-%c wants a value: -%c %s", *s, *s,
                           row->argument);
        return give(o, row, argv[++*i]);
    }
    return TACIT_OK;
}

/* Does the command's name start with this word, followed by a space? */
static int is_group(const struct option_command *c, const char *word)
{
    size_t n = strlen(word);
    return strncmp(c->name, word, n) == 0 && c->name[n] == ' ';
}

static enum tacit_err unknown_command(const struct options *o,
                                      const char *first, const char *second)
{
    const struct options_program *p = o->program;
    const char *names[CANDIDATES_MAX];
    size_t n = 0;
    char word[130];
    snprintf(word, sizeof word, "%s%s%s", first, second ? " " : "",
             second ? second : "");
    for (size_t i = 0; i < p->n_commands && n < CANDIDATES_MAX; i++)
        names[n++] = p->commands[i].name;
    const char *near = yaml_nearest(word, names, n);
    if (near)
        return fail_as(E_USAGE, "no command `%.64s`; did you mean `%s`?", word,
                       near);
    return fail_as(E_USAGE, "no command `%.64s`; `%s --help` lists them", word,
                   p->name);
}

/* "`eval` wants one more word: retrieval, answers" */
static enum tacit_err name_group(const struct options_program *p,
                                 const char *first)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < p->n_commands && used < sizeof names; i++)
        if (is_group(&p->commands[i], first))
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used ? ", " : "",
                                     p->commands[i].name + strlen(first) + 1);
    return fail_as(E_USAGE,
                   "`%.64s` wants one more word: %s; `%s %s %.*s --help` tells "
                   "of one",
                   first, names, p->name, first, (int)strcspn(names, ","),
                   names);
}

/* The command named by words[0..n); *used gets 1 or 2. */
static enum tacit_err command_find(struct options *o, const char *first,
                                   const char *second, int *used)
{
    const struct options_program *p = o->program;
    int is_known = 0;
    for (size_t i = 0; i < p->n_commands; i++) {
        const struct option_command *c = &p->commands[i];
        if (strcmp(c->name, first) == 0) {
            o->command = c;
            *used = 1;
            return TACIT_OK;
        }
        if (!is_group(c, first)) continue;
        is_known = 1;
        if (second && strcmp(c->name + strlen(first) + 1, second) == 0) {
            o->command = c;
            *used = 2;
            return TACIT_OK;
        }
    }
    if (is_known && !second) return name_group(p, first);
    return unknown_command(o, first, is_known ? second : NULL);
}

static enum tacit_err check_count(const struct options *o)
{
    const struct option_command *c = o->command;
    if (!c || o->want_help) return TACIT_OK;
    const char *args = c->args ? c->args : "";
    if (o->n_args < c->args_min)
        return fail_as(E_USAGE, "`%s` wants more: %s %s %s", c->name,
                       o->program->name, c->name, args);
    if (c->args_max >= 0 && o->n_args > c->args_max)
        return fail_as(E_USAGE,
                       "`%s` does not know what to do with `%.64s`; "
                       "usage: %s %s %s",
                       c->name, o->args[c->args_max], o->program->name, c->name,
                       args);
    return TACIT_OK;
}

/* A word that is no option: the command's name, then its arguments. */
static enum tacit_err take_word(struct options *o, int argc,
                                const char *const *argv, int *i)
{
    if (!o->command) {
        const char *second = *i + 1 < argc ? argv[*i + 1] : NULL;
        if (second && second[0] == '-') second = NULL;
        if (strcmp(argv[*i], "help") == 0) {
            o->want_help = 1;
            return TACIT_OK;
        }
        int used = 1;
        TRY(command_find(o, argv[*i], second, &used));
        *i += used - 1;
        return TACIT_OK;
    }
    if (o->n_args == OPTIONS_ARGS_MAX)
        return fail_as(E_USAGE, "more than %d arguments; pass a folder instead",
                       OPTIONS_ARGS_MAX);
    o->args[o->n_args++] = argv[*i];
    return TACIT_OK;
}

enum tacit_err options_parse(const struct options_program *p, int argc,
                             const char *const *argv, struct options *out)
{
    memset(out, 0, sizeof *out);
    out->program = p;
    int only_words = 0;
    for (int i = 1; i < argc; i++) {
        const char *w = argv[i];
        if (!only_words && strcmp(w, "--") == 0) {
            only_words = 1;
        } else if (!only_words && strcmp(w, "--help") == 0) {
            out->want_help = 1;
        } else if (!only_words && w[0] == '-' && w[1] == '-') {
            TRY(take_long(out, argc, argv, &i));
        } else if (!only_words && w[0] == '-' && w[1]) {
            TRY(take_short(out, argc, argv, &i));
        } else {
            TRY(take_word(out, argc, argv, &i));
        }
    }
    return check_count(out);
}

const char *options_value_at(const struct options *o, const char *name,
                             size_t i)
{
    for (size_t k = 0; k < o->n_given; k++)
        if (strcmp(o->given[k].row->name, name) == 0 && i-- == 0)
            return o->given[k].value;
    return NULL;
}

const char *options_value(const struct options *o, const char *name)
{
    for (size_t k = o->n_given; k-- > 0;)
        if (strcmp(o->given[k].row->name, name) == 0) return o->given[k].value;
    const struct option_row *row = row_find(o, name, strlen(name));
    const char *env = row && row->env ? getenv(row->env) : NULL;
    return env && env[0] ? env : NULL;
}

int options_flag(const struct options *o, const char *name)
{
    const char *v = options_value(o, name);
    return v && strcmp(v, "0") != 0;
}

enum tacit_err options_int(const struct options *o, const char *name,
                           int64_t min, int64_t max, int64_t fallback,
                           int64_t *out)
{
    const char *v = options_value(o, name);
    if (!v) {
        *out = fallback;
        return TACIT_OK;
    }
    char *end = NULL;
    errno = 0;
    long long n = strtoll(v, &end, 10);
    if (end == v || *end || errno || n < min || n > max)
        return fail_as(E_USAGE,
                       "--%s %.32s: wants a whole number from %lld "
                       "to %lld",
                       name, v, (long long)min, (long long)max);
    *out = n;
    return TACIT_OK;
}

enum tacit_err options_real(const struct options *o, const char *name,
                            double min, double max, double *out)
{
    const char *v = options_value(o, name);
    char *end = NULL;
    if (!v) return TACIT_OK;
    double x = strtod(v, &end);
    if (end == v || *end || !(x >= min && x <= max))
        return fail_as(E_USAGE, "--%s %.32s: wants a number from %g to %g",
                       name, v, min, max);
    *out = x;
    return TACIT_OK;
}

enum tacit_err options_duration_ms(const struct options *o, const char *name,
                                   int64_t fallback_ms, int64_t *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1},
                 {"s", 1000},
                 {"m", 60 * 1000},
                 {"h", 3600 * 1000},
                 {"d", 24 * 3600 * 1000}};
    const char *v = options_value(o, name);
    if (!v) {
        *out = fallback_ms;
        return TACIT_OK;
    }
    char *end = NULL;
    errno = 0;
    long long n = strtoll(v, &end, 10);
    for (size_t i = 0; end != v && i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        if (errno || n < 0 || n > 10LL * 365 * 24 * 3600 * 1000 / units[i].ms)
            break;
        *out = n * units[i].ms;
        return TACIT_OK;
    }
    return fail_as(E_USAGE,
                   "--%s %.32s: wants a duration such as 90s, 15m, "
                   "24h or 7d",
                   name, v);
}

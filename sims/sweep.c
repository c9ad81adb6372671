#include "sims/sweep.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/faults.h"
#include "sims/commands.h"

/* ---- axes --------------------------------------------------------------- */

/* Length of the value at s: up to a comma outside brackets and quotes. */
static size_t value_length(const char *s)
{
    int depth = 0;
    char quote = 0;
    size_t i = 0;
    for (; s[i]; i++) {
        if (quote) {
            if (s[i] == quote) quote = 0;
        } else if (s[i] == '"' || s[i] == '\'') {
            quote = s[i];
        } else if (strchr("[{", s[i])) {
            depth++;
        } else if (strchr("]}", s[i])) {
            depth--;
        } else if (s[i] == ',' && depth <= 0) {
            break;
        }
    }
    return i;
}

static void axis_release(struct sweep_axis *a)
{
    for (size_t i = 0; i < a->n; i++) free(a->value[i]);
    free(a->key);
    memset(a, 0, sizeof *a);
}

static enum tacit_err take_value(struct sweep_axis *a, const char *s, size_t n)
{
    while (n && s[0] == ' ') s++, n--;
    while (n && s[n - 1] == ' ') n--;
    if (n == 0) return fail_as(E_USAGE, "--set %s: a value is empty", a->key);
    if (a->n == SWEEP_VALUES_MAX)
        return fail_as(E_USAGE, "--set %s: more than %d values", a->key,
                       SWEEP_VALUES_MAX);
    for (size_t i = 0; i < a->n; i++)
        if (strlen(a->value[i]) == n && memcmp(a->value[i], s, n) == 0)
            return fail_as(E_USAGE, "--set %s: %s stands twice", a->key,
                           a->value[i]);
    a->value[a->n] = strndup(s, n);
    if (!a->value[a->n]) return fail(TACIT_NOMEM, "out of memory");
    a->n++;
    return TACIT_OK;
}

enum tacit_err sweep_axis_parse(const char *text, struct sweep_axis *out)
{
    struct sweep_axis a = {0};
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return fail_as(E_USAGE,
                       "--set %s: key=value,value is wanted, as in "
                       "local.learning_rate=0.1,0.01",
                       text);
    a.key = strndup(text, (size_t)(equals - text));
    if (!a.key) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = TACIT_OK;
    for (const char *p = equals + 1;;) {
        size_t n = value_length(p);
        err = take_value(&a, p, n);
        if (err || !p[n]) break;
        p += n + 1;
    }
    if (err)
        axis_release(&a);
    else
        *out = a;
    return err;
}

/* ---- variants ----------------------------------------------------------- */

/* The last word of an axis's key, or all of it where two axes share that. */
static const char *short_key(const struct sweep *s, size_t a)
{
    const char *dot = strrchr(s->axis[a].key, '.');
    const char *word = dot ? dot + 1 : s->axis[a].key;
    for (size_t i = 0; i < s->n_axes; i++) {
        const char *other = strrchr(s->axis[i].key, '.');
        other = other ? other + 1 : s->axis[i].key;
        if (i != a && strcmp(other, word) == 0) return s->axis[a].key;
    }
    return word;
}

static size_t digit(const struct sweep *s, size_t v, size_t axis)
{
    for (size_t a = s->n_axes; --a > axis;) v /= s->axis[a].n;
    return v % s->axis[axis].n;
}

/* A folder's name: letters, digits, '.', '-' and '_'; long or equal ones end in
 * their number. */
static void make_slug(struct sweep *s, size_t v)
{
    struct sweep_variant *x = &s->variants[v];
    char text[2 * SWEEP_SLUG] = "";
    size_t n = 0;
    for (size_t a = 0; a < s->n_axes && n < sizeof text; a++)
        n +=
            (size_t)snprintf(text + n, sizeof text - n, "%s%s-%s", a ? "_" : "",
                             short_key(s, a), s->axis[a].value[digit(s, v, a)]);
    if (n == 0) n = (size_t)snprintf(text, sizeof text, "plan");
    for (size_t i = 0; text[i]; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._", text[i]))
            text[i] = '-';
    int taken = n > SWEEP_SLUG - 24;
    for (size_t i = 0; i < v; i++)
        taken |= strcmp(s->variants[i].slug, text) == 0;
    if (taken)
        snprintf(x->slug, sizeof x->slug, "%.*s_%zu", SWEEP_SLUG - 24, text,
                 v + 1);
    else
        snprintf(x->slug, sizeof x->slug, "%.*s", SWEEP_SLUG - 1, text);
}

static enum tacit_err make_variant(struct sweep *s, size_t v, const char *text,
                                   size_t n)
{
    struct sweep_variant *x = &s->variants[v];
    size_t said = 0;
    buf_init(&x->text, PLAN_BYTES_MAX);
    buf_put(&x->text, text, n);
    TRY(buf_end(&x->text));
    for (size_t a = 0; a < s->n_axes; a++) {
        const char *key = s->axis[a].key;
        const char *value = s->axis[a].value[digit(s, v, a)];
        if (said < sizeof x->said)
            said += (size_t)snprintf(x->said + said, sizeof x->said - said,
                                     "%s%s=%s", a ? " " : "", key, value);
        TRY(sim_plan_set(s->name, &x->text, key, value));
    }
    make_slug(s, v);
    return plan_parse(s->name, (const char *)x->text.data, x->text.len,
                      &x->plan);
}

/* What is wrong with the keys would be wrong with every variant. */
static enum tacit_err check_keys(const struct sweep *s, const char *text,
                                 size_t n)
{
    struct faults f = {0};
    for (size_t a = 0; a < s->n_axes; a++) {
        struct buf copy;
        enum tacit_err err = TACIT_OK;
        for (size_t i = 0; i < a && !err; i++)
            if (strcmp(s->axis[i].key, s->axis[a].key) == 0)
                err = fail_as(E_USAGE, "--set %s stands twice", s->axis[a].key);
        if (!err && s->n_seeds > 1 && strcmp(s->axis[a].key, "seed") == 0)
            err = fail_as(E_USAGE, "--set seed and --seeds exclude each other");
        if (err) return err;
        buf_init(&copy, PLAN_BYTES_MAX);
        buf_put(&copy, text, n);
        err = buf_end(&copy);
        if (!err)
            err = sim_plan_set(s->name, &copy, s->axis[a].key,
                               s->axis[a].value[0]);
        buf_release(&copy);
        TRY(faults_take(&f, err_context(err, "--set")));
    }
    return faults_end(&f);
}

enum tacit_err sweep_expand(struct sweep *s, const char *text, size_t n)
{
    struct faults f = {0};
    size_t n_variants = 1;
    for (size_t a = 0; a < s->n_axes; a++) {
        n_variants *= s->axis[a].n;
        if (n_variants * s->n_seeds > SWEEP_RUNS_MAX)
            return fail(TACIT_LIMIT, "more than %d runs; give fewer values",
                        SWEEP_RUNS_MAX);
    }
    TRY(check_keys(s, text, n));
    s->variants = calloc(n_variants, sizeof *s->variants);
    if (!s->variants) return fail(TACIT_NOMEM, "%zu variants", n_variants);
    s->n_variants = n_variants;
    for (size_t v = 0; v < n_variants; v++) {
        enum tacit_err err = make_variant(s, v, text, n);
        if (err && s->n_axes) err_context(err, "%s", s->variants[v].said);
        TRY(faults_take(&f, err));
    }
    TRY(faults_end(&f));
    s->first_seed = s->variants[0].plan->seed;
    return TACIT_OK;
}

enum tacit_err sweep_text(const struct sweep *s, size_t v, uint32_t i,
                          struct buf *out, struct digest *hash)
{
    const struct sweep_variant *x = &s->variants[v];
    char seed[32];
    buf_put(out, x->text.data, x->text.len);
    TRY(buf_end(out));
    snprintf(seed, sizeof seed, "%" PRIu64, x->plan->seed + i);
    TRY(sim_plan_set(s->name, out, "seed", seed));
    digest_of(hash, out->data, out->len);
    return TACIT_OK;
}

void sweep_release(struct sweep *s)
{
    for (size_t a = 0; a < s->n_axes; a++) axis_release(&s->axis[a]);
    for (size_t v = 0; v < s->n_variants; v++) {
        buf_release(&s->variants[v].text);
        plan_free(s->variants[v].plan);
    }
    free(s->variants);
    memset(s, 0, sizeof *s);
}

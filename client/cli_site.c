/* Commands for whoever answers for this site: audit, policy, status. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/generator.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "client/trial.h"
#include "common/base/codes.h"
#include "common/base/plural.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"

/* Said with every number about what left. */
static const char open_note[] =
    "no differential-privacy noise is added: epsilon is not bounded; what "
    "protects an update is that only the sum of at least min_cohort devices "
    "can be read";
static const char mixed_note[] =
    "epsilon is of the updates with noise alone, of one record, against "
    "whoever sees the sums; of those with noise none it is not bounded";
static const char noised_note[] =
    "epsilon is of one record (one training row), by Renyi accounting, against "
    "whoever sees the sums of at least min_cohort devices";

static const char *note_of(uint64_t n_noised, uint64_t n_open)
{
    if (n_noised == 0) return open_note;
    return n_open ? mixed_note : noised_note;
}

/* ---- audit -------------------------------------------------------------- */

struct auditing {
    json_t *list;
    int header;
    uint64_t n, bytes;
    struct digest head;
    uint64_t n_noised;
    double delta;
    struct account spent, release; /* release: of noise and sample */
    double noise, sample;
};

/* What this row and all before it tell of one record at most. */
static double epsilon_with(struct auditing *a, const struct ledger_row *r)
{
    if (r->noise < a->noise || r->noise > a->noise || r->sample < a->sample ||
        r->sample > a->sample) {
        a->release = (struct account){{0}};
        account_add(&a->release, r->sample, r->noise, 1);
        a->noise = r->noise;
        a->sample = r->sample;
    }
    account_join(&a->spent, &a->release);
    a->n_noised++;
    return account_epsilon(&a->spent, a->delta);
}

static void add_noise(json_t *j, const struct ledger_row *r, double epsilon)
{
    if (!(r->noise > 0)) {
        json_object_set_new(j, "noise", json_string("none"));
        json_object_set_new(j, "epsilon", json_null());
        return;
    }
    json_object_set_new(j, "noise", json_real(r->noise));
    json_object_set_new(j, "sample", json_real(r->sample));
    json_object_set_new(j, "unit", json_string("record"));
    json_object_set_new(j, "epsilon", json_real(epsilon));
}

static json_t *release_json(const struct ledger_row *r)
{
    char when[21], plan[DIGEST_HEX], model[DIGEST_HEX], session[65],
        hash[DIGEST_HEX];
    tick_iso8601(r->time_s, when);
    hex_encode(plan, r->plan_hash.b, DIGEST_BYTES);
    hex_encode(model, r->model_hash.b, DIGEST_BYTES);
    hex_encode(session, r->session, sizeof r->session);
    hex_encode(hash, r->hash.b, DIGEST_BYTES);
    return json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:f, s:f, s:f, s:I,"
        " s:s}",
        "id", (json_int_t)r->id, "time", when, "plan", r->plan, "plan_hash",
        plan, "model_hash", model, "round", (json_int_t)r->round, "attempt",
        (json_int_t)r->attempt, "session", session, "bytes",
        (json_int_t)r->bytes, "norm", r->norm, "clip", r->clip, "weight",
        (double)r->weight / 65535, "min_cohort", (json_int_t)r->min_cohort,
        "hash", hash);
}

/* One line, or two where the window has no room for the widest. */
static void print_halves(const char *front, const char *rest)
{
    enum { WIDEST = 136, INDENT = 6 };
    size_t columns = terminal_columns(STDOUT_FILENO);
    if (columns == 0 || columns >= WIDEST) {
        printf("%s %s\n", front, rest);
        return;
    }
    terminal_say(stdout, 0, "%s", front);
    terminal_say(stdout, INDENT, "%s", rest);
}

static enum tacit_err audit_row(const struct ledger_row *r, void *ctx)
{
    struct auditing *a = ctx;
    char when[21], size[32], front[256], rest[256];
    a->n++;
    a->bytes += r->bytes;
    a->head = r->hash;
    double epsilon = r->noise > 0 ? epsilon_with(a, r) : 0;
    if (a->list) {
        json_t *j = release_json(r);
        add_noise(j, r, epsilon);
        json_array_append_new(a->list, j);
        return TACIT_OK;
    }
    char noise[64] = "none";
    if (r->noise > 0)
        snprintf(noise, sizeof noise, "%.3f x clip, epsilon %.3g", r->noise,
                 epsilon);
    snprintf(front, sizeof front, "%5s %-20s %-20s %5s %3s %10s", "ID", "WHEN",
             "PLAN", "ROUND", "TRY", "MASKED");
    snprintf(rest, sizeof rest, "%9s %6s %6s %6s %s", "NORM", "CLIP", "WEIGHT",
             "COHORT", "NOISE");
    if (!a->header++) print_halves(front, rest);
    tick_iso8601(r->time_s, when);
    snprintf(front, sizeof front,
             "%5" PRIu64 " %-20s %-20.20s %5" PRIu32 " %3" PRIu32 " %10s",
             r->id, when, r->plan, r->round, r->attempt + 1,
             cli_size(r->bytes, size));
    snprintf(rest, sizeof rest, "%9.4f %6g %6.3f   >= %" PRIu32 " %s", r->norm,
             r->clip, (double)r->weight / 65535, r->min_cohort, noise);
    print_halves(front, rest);
    return TACIT_OK;
}

static enum tacit_err print_audit(const struct options *o,
                                  const struct auditing *a, uint64_t first_bad)
{
    char head[DIGEST_HEX], size[32];
    const char *note = note_of(a->n_noised, a->n - a->n_noised);
    double epsilon = account_epsilon(&a->spent, a->delta);
    hex_encode(head, a->head.b, DIGEST_BYTES);
    if (cli_json(o))
        return json_print_ok(
            stdout,
            json_pack("{s:O, s:b, s:I, s:s, s:I, s:s, s:{s:s, s:f, s:f, s:I, "
                      "s:I}}",
                      "releases", a->list, "chain_ok", first_bad == 0,
                      "first_bad", (json_int_t)first_bad, "head", head, "bytes",
                      (json_int_t)a->bytes, "note", note, "privacy", "unit",
                      "record", "epsilon", epsilon, "delta", a->delta,
                      "with_noise", (json_int_t)a->n_noised, "without_noise",
                      (json_int_t)(a->n - a->n_noised)));
    if (a->n == 0)
        printf("Nothing has left this device.\n");
    else
        terminal_say(stdout, 0,
                     "%" PRIu64
                     " masked update%s, %s in all; nothing else ever leaves",
                     a->n, plural_s(a->n), cli_size(a->bytes, size));
    if (a->n)
        terminal_say(stdout, 0, "chain %s, head %s",
                     first_bad ? "BROKEN" : "whole", head);
    if (a->n_noised)
        terminal_say(stdout, 0,
                     "epsilon %.4g at delta %g of one record, in %" PRIu64
                     " update%s with noise; %" PRIu64 " without",
                     epsilon, a->delta, a->n_noised, plural_s(a->n_noised),
                     a->n - a->n_noised);
    cli_hint(o, "Note: %s.", note);
    return TACIT_OK;
}

enum tacit_err cli_audit(const struct options *o)
{
    struct device d;
    struct auditing a = {0};
    struct policy p;
    uint64_t first_bad = 0;
    TRY(cli_open_to_read(o, &d));
    if (cli_json(o)) a.list = json_array();
    /* What has left is told even where policy.yaml cannot be read. */
    a.delta = POLICY_DELTA;
    if (device_policy(&d, &p) == TACIT_OK)
        a.delta = p.delta;
    else
        err_clear();
    enum tacit_err err = ledger_walk(&d.db, audit_row, &a, &first_bad);
    if (!err) err = print_audit(o, &a, first_bad);
    if (!err && first_bad && !a.list)
        err = fail_as(E_LEDGER_BROKEN, "row %" PRIu64 " does not fit the chain",
                      first_bad);
    json_decref(a.list);
    device_close(&d);
    if (err || !first_bad) return err;
    fflush(stdout); /* the envelope has told it */
    exit(TACIT_EXIT_FAILED);
}

/* ---- policy ------------------------------------------------------------- */

static json_t *tasks_json(const struct policy *p)
{
    static const enum plan_task all[] = {PLAN_CLASSIFY, PLAN_REGRESS,
                                         PLAN_RETRIEVER};
    json_t *list = json_array();
    for (size_t i = 0; i < 3; i++)
        if (p->tasks >> all[i] & 1)
            json_array_append_new(list, json_string(plan_task_name(all[i])));
    return list;
}

/* epsilon_max null: no bound is set. */
static json_t *epsilon_json(const struct policy *p,
                            const struct policy_epsilon *e)
{
    json_t *j =
        json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:n, s:n}", "unit", "record",
                  "delta", p->delta, "epsilon_spent",
                  account_epsilon(&e->all, p->delta), "epsilon_today",
                  account_epsilon(&e->today, p->delta), "with_noise",
                  (json_int_t)e->noised, "without_noise", (json_int_t)e->open,
                  "epsilon_max", "epsilon_per_day");
    if (p->epsilon_max > 0)
        json_object_set_new(j, "epsilon_max", json_real(p->epsilon_max));
    if (p->epsilon_per_day > 0)
        json_object_set_new(j, "epsilon_per_day",
                            json_real(p->epsilon_per_day));
    return j;
}

static void print_epsilon(const struct policy *p,
                          const struct policy_epsilon *e)
{
    printf("%-20s epsilon %.4g", "privacy spent",
           account_epsilon(&e->all, p->delta));
    if (p->epsilon_max > 0) printf(" of %g", p->epsilon_max);
    printf("; %.4g", account_epsilon(&e->today, p->delta));
    if (p->epsilon_per_day > 0) printf(" of %g", p->epsilon_per_day);
    printf(" within 24 hours (unit record, delta %g)\n", p->delta);
    if (e->open)
        printf("%-20s %" PRIu64 " update%s without noise: not bounded\n", "",
               e->open, plural_s(e->open));
    if (!(p->epsilon_max > 0))
        printf("%-20s no epsilon_max: updates without noise may leave\n", "");
}

/* 0: no bound. */
static json_t *bound_json(uint32_t n)
{
    return n ? json_integer((json_int_t)n) : json_null();
}

static json_t *policy_json(const struct policy *p, const char *path,
                           const struct policy_spent *spent,
                           const struct policy_epsilon *epsilon)
{
    json_t *data = json_array();
    for (size_t i = 0; i < p->n_sources; i++)
        json_array_append_new(data, json_pack("{s:s, s:s}", "source",
                                              p->sources[i].name, "file",
                                              p->sources[i].path));
    return json_pack(
        "{s:s, s:o, s:o, s:s, s:I, s:f, s:{s:I, s:I}, s:{s:I, s:I}, s:b, "
        "s:o, s:o, s:o}",
        "file", path, "tasks", tasks_json(p), "data", data, "secagg",
        "required", "min_cohort", (json_int_t)p->min_cohort, "clip_max",
        p->clip_max, "budget", "updates", (json_int_t)p->updates,
        "updates_per_day", (json_int_t)p->updates_per_day, "spent", "updates",
        (json_int_t)spent->updates, "updates_today",
        (json_int_t)spent->updates_today, "always_open",
        p->from_minute == p->to_minute, "privacy", epsilon_json(p, epsilon),
        "memory_mib", bound_json(p->memory_mib), "adapter_rank_max",
        bound_json(p->adapter_rank_max));
}

static void print_policy(const struct policy *p, const char *path,
                         const struct policy_spent *spent,
                         const struct policy_epsilon *epsilon)
{
    printf("%-20s %s\n%-20s", "file", path, "tasks");
    for (int t = 0; t < 3; t++)
        if (p->tasks >> t & 1) printf(" %s", plan_task_name((enum plan_task)t));
    printf("\n%-20s required; there is no other way\n", "secure aggregation");
    for (size_t i = 0; i < p->n_sources; i++)
        printf("%-20s %s -> %s\n", i ? "" : "data", p->sources[i].name,
               p->sources[i].path);
    if (p->n_sources == 0) printf("%-20s none\n", "data");
    printf("%-20s at least %" PRIu32 " device%s\n%-20s at most %g\n",
           "min_cohort", p->min_cohort, plural_s(p->min_cohort), "clip_max",
           p->clip_max);
    printf("%-20s %" PRIu64 " of %" PRIu64 " update%s; %" PRIu64 " of %" PRIu64
           " within 24 hours\n",
           "budget spent", spent->updates, p->updates, plural_s(p->updates),
           spent->updates_today, p->updates_per_day);
    print_epsilon(p, epsilon);
    if (p->memory_mib)
        printf("%-20s at most %" PRIu32 " MiB for an adapter\n", "memory_mib",
               p->memory_mib);
    if (p->adapter_rank_max)
        printf("%-20s at most %" PRIu32 "\n", "adapter_rank_max",
               p->adapter_rank_max);
    if (p->from_minute == p->to_minute)
        printf("%-20s always\n", "hours");
    else
        printf("%-20s %02d:%02d-%02d:%02d\n", "hours", p->from_minute / 60,
               p->from_minute % 60, p->to_minute / 60, p->to_minute % 60);
}

enum tacit_err cli_policy(const struct options *o)
{
    struct device d;
    struct policy p;
    struct policy_spent spent;
    struct policy_epsilon epsilon;
    char path[DEVICE_PATH_MAX];
    TRY(cli_open_to_read(o, &d));
    enum tacit_err err = device_path(&d, "policy.yaml", path);
    if (!err) err = device_policy(&d, &p);
    if (!err) err = ledger_spent(&d.db, tick_wall_s(), &spent);
    if (!err) err = ledger_epsilon(&d.db, tick_wall_s(), NULL, &epsilon);
    if (!err && cli_json(o))
        err = json_print_ok(stdout, policy_json(&p, path, &spent, &epsilon));
    else if (!err)
        print_policy(&p, path, &spent, &epsilon);
    device_close(&d);
    return err;
}

/* ---- status ------------------------------------------------------------- */

struct models {
    struct device *d;
    json_t *list; /* borrowed */
};

/* Of held-out questions, for how many the answer is among the first five. */
static json_t *trial_json(const struct trial *t)
{
    if (t->n_rows == 0) return json_null();
    return json_pack("{s:I, s:I, s:I, s:o, s:s}", "held_out",
                     (json_int_t)t->n_rows, "untrained",
                     (json_int_t)t->hits[TRIAL_UNTRAINED], "shared",
                     (json_int_t)t->hits[TRIAL_SHARED], "own",
                     t->hits[TRIAL_OWN] < 0 ? json_null()
                                            : json_integer(t->hits[TRIAL_OWN]),
                     "searches", trial_name(trial_choose(t)));
}

static enum tacit_err add_model(const struct device_model *m, void *ctx)
{
    struct models *x = ctx;
    char hash[DIGEST_HEX], when[21];
    int is_own;
    struct trial tried;
    TRY(device_own(x->d, &m->plan_hash, NULL, &is_own));
    TRY(trial_find(x->d, &m->plan_hash, &tried));
    hex_encode(hash, m->model_hash.b, DIGEST_BYTES);
    tick_iso8601(m->adopted_s, when);
    json_array_append_new(
        x->list,
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s, s:s, s:o}", "plan",
                  m->plan, "task", plan_task_name(m->task), "kind", m->kind,
                  "version", (json_int_t)m->version, "devices",
                  (json_int_t)m->n_clients, "own", is_own, "model_hash", hash,
                  "adopted", when, "trial", trial_json(&tried)));
    return TACIT_OK;
}

static enum tacit_err add_reader(struct device *d, json_t *out)
{
    struct readers r;
    TRY(readers_open(d, &r));
    json_object_set_new(out, "reader",
                        json_pack("{s:s, s:s}", "name", r.name, "set_aside",
                                  r.aside));
    readers_close(&r);
    return TACIT_OK;
}

static enum tacit_err add_encoder(struct device *d, json_t *out)
{
    struct embedding_choice c;
    struct reranker_choice again;
    struct generator_choice writes;
    char version[ENCODER_VERSION_MAX];
    int is_aside = 0;
    TRY(embedding_chosen(d, &c));
    TRY(embedding_sets_aside(d, &is_aside));
    TRY(encoder_built_in_version(version));
    json_object_set_new(out, "encoder",
                        json_pack("{s:s, s:I, s:b, s:s}", "name", c.name,
                                  "numbers", (json_int_t)c.dim,
                                  "adapter_set_aside", is_aside,
                                  "built_in_version", version));
    TRY(reranker_chosen(d, &again));
    json_object_set_new(out, "reranker",
                        json_pack("{s:s, s:I}", "name", again.name, "passages",
                                  (json_int_t)again.n));
    TRY(generator_chosen(d, &writes));
    json_object_set_new(out, "generator", json_string(writes.name));
    return add_reader(d, out);
}

static enum tacit_err gather_status(struct device *d, json_t *out)
{
    int64_t n_documents = 0, n_chunks = 0;
    struct policy_spent spent;
    struct store_source source;
    char print[KEYS_FINGERPRINT], key[STORE_PLACE_MAX + 16];
    json_t *models = json_array();
    json_object_set_new(out, "models", models);
    TRY(device_models(d, add_model, &(struct models){d, models}));
    TRY(add_encoder(d, out));
    TRY(db_int(&d->db, &n_documents, "SELECT count(*) FROM document", ""));
    TRY(db_int(&d->db, &n_chunks, "SELECT count(*) FROM chunk", ""));
    TRY(ledger_spent(&d->db, tick_wall_s(), &spent));
    keys_fingerprint(print, d->keys.sign_public);
    TRY(store_source_of(d->home, &source));
    store_source_text(&source, key, sizeof key);
    json_object_set_new(out, "home", json_string(d->home));
    json_object_set_new(out, "store_sealed", json_boolean(source.kind != 0));
    json_object_set_new(out, "store_key", json_string(key));
    json_object_set_new(out, "fingerprint", json_string(print));
    json_object_set_new(out, "documents", json_integer(n_documents));
    json_object_set_new(out, "passages", json_integer(n_chunks));
    json_object_set_new(out, "updates_left_device",
                        json_integer((json_int_t)spent.updates));
    json_object_set_new(out, "running", json_boolean(device_is_running(d)));
    json_object_set_new(out, "federation",
                        d->joined ? json_pack("{s:s, s:s}", "name",
                                              d->federation.name, "address",
                                              d->federation.address)
                                  : json_null());
    return TACIT_OK;
}

static void print_reader(const json_t *r)
{
    const char *aside = json_string_value(json_object_get(r, "set_aside"));
    printf("reader       %s%s%s\n",
           json_string_value(json_object_get(r, "name")),
           *aside ? "; set aside: " : "", aside);
}

static void print_reranker(const json_t *r)
{
    json_int_t n = json_integer_value(json_object_get(r, "passages"));
    printf("reranker     %s", json_string_value(json_object_get(r, "name")));
    if (n)
        printf(", the best %" JSON_INTEGER_FORMAT " passage%s", n, plural_s(n));
    putchar('\n');
}

static void print_trial(const json_t *t)
{
    const json_t *own = json_object_get(t, "own");
    json_int_t n = json_integer_value(json_object_get(t, "held_out"));
    if (json_is_null(t)) return;
    printf(
        "             of %lld held-out question%s %lld untrained, %lld shared",
        n, plural_s(n), json_integer_value(json_object_get(t, "untrained")),
        json_integer_value(json_object_get(t, "shared")));
    if (json_is_integer(own)) printf(", %lld own", json_integer_value(own));
    printf(": %s searches\n",
           json_string_value(json_object_get(t, "searches")));
}

static void print_status(const json_t *s)
{
    const json_t *f = json_object_get(s, "federation");
    const json_t *models = json_object_get(s, "models"), *m;
    const json_t *e = json_object_get(s, "encoder");
    json_int_t n_documents =
        json_integer_value(json_object_get(s, "documents"));
    json_int_t n_passages = json_integer_value(json_object_get(s, "passages"));
    json_int_t n_left =
        json_integer_value(json_object_get(s, "updates_left_device"));
    size_t i;
    printf("home         %s\nfingerprint  %s\n",
           json_string_value(json_object_get(s, "home")),
           json_string_value(json_object_get(s, "fingerprint")));
    printf("store        %s%s\n",
           json_is_true(json_object_get(s, "store_sealed")) ? "sealed; " : "",
           json_string_value(json_object_get(s, "store_key")));
    printf("documents    %lld (%lld passage%s)\n", n_documents, n_passages,
           plural_s(n_passages));
    const char *name = json_string_value(json_object_get(e, "name"));
    int is_built_in = strcmp(name, EMBEDDING_BUILT_IN) == 0;
    printf("encoder      %s%s%s, %lld numbers%s\n", name,
           is_built_in ? " " : "",
           is_built_in
               ? json_string_value(json_object_get(e, "built_in_version"))
               : "",
           json_integer_value(json_object_get(e, "numbers")),
           json_is_true(json_object_get(e, "adapter_set_aside"))
               ? "; the federation's search adapter is set aside"
               : "");
    print_reader(json_object_get(s, "reader"));
    print_reranker(json_object_get(s, "reranker"));
    printf("generator    %s\n",
           json_string_value(json_object_get(s, "generator")));
    if (json_is_null(f))
        printf("federation   none\n");
    else
        printf("federation   %s at %s, %s\n",
               json_string_value(json_object_get(f, "name")),
               json_string_value(json_object_get(f, "address")),
               json_is_true(json_object_get(s, "running")) ? "running"
                                                           : "not running");
    printf("left device  %lld masked update%s (`tacit audit`)\n", n_left,
           plural_s(n_left));
    json_array_foreach(models, i, m)
    {
        json_int_t n = json_integer_value(json_object_get(m, "devices"));
        printf("%-12s %s version %lld, of %lld device%s%s, %s\n",
               i ? "" : "models", json_string_value(json_object_get(m, "plan")),
               json_integer_value(json_object_get(m, "version")), n,
               plural_s(n),
               json_is_true(json_object_get(m, "own"))
                   ? ", and this device's own"
                   : "",
               json_string_value(json_object_get(m, "adopted")));
        print_trial(json_object_get(m, "trial"));
    }
}

enum tacit_err cli_status(const struct options *o)
{
    struct device d;
    json_t *status = json_object();
    enum tacit_err err = cli_open_to_read(o, &d);
    if (err) {
        json_decref(status);
        return err;
    }
    err = gather_status(&d, status);
    if (!err && cli_json(o)) {
        err = json_print_ok(stdout, status);
        status = NULL;
    } else if (!err) {
        print_status(status);
    }
    json_decref(status);
    device_close(&d);
    return err;
}

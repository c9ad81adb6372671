#include "client/policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"
#include "common/base/yaml.h"

enum {
    FILE_MAX = 64 << 10,
    MINUTES = 24 * 60,
    COHORT_DEFAULT = 3,
    MEMORY_MIB_MAX = 1 << 20,
    RANK_MAX = 512
};

const char policy_default[] =
    "# What this device allows, whatever a coordinator asks. Tacit reads this\n"
    "# file before every round; `tacit policy` shows it.\n"
    "\n"
    "# What may be learnt here: classify, regress, cox, lm, retriever, "
    "reader.\n"
    "tasks: [classify, regress, retriever]\n"
    "\n"
    "# Files that plans may learn from, by the plan's data.source. Without a\n"
    "# line here, a plan gets nothing (a retriever plan may use the feedback\n"
    "# that people gave on answers).\n"
    "# data:\n"
    "#   - {source: patients, file: /srv/export/patients.csv}\n"
    "\n"
    "# Fewest devices that an update may be added up with.\n"
    "min_cohort: 3\n"
    "# Largest length (L2 norm) of an update; plans that clip later are "
    "refused.\n"
    "clip_max: 10\n"
    "# How many updates may leave, ever and within 24 hours.\n"
    "budget: {updates: 1000, updates_per_day: 500}\n"
    "# Most memory, in MiB, that training an adapter may take, the base\n"
    "# included. No bound when left out.\n"
    "# memory_mib: 2048\n"
    "# Highest rank of pairs that are trained here. A plan of kind flora is\n"
    "# trained at it, one of another kind with a higher rank is refused. No\n"
    "# bound when left out.\n"
    "# adapter_rank_max: 8\n"
    "# What all noised updates together may tell about one row. With it,\n"
    "# plans without a privacy block are refused.\n"
    "# privacy: {epsilon_max: 8, epsilon_per_day: 2, delta: 1e-5}\n"
    "# Local hours in which rounds may run. Always when left out.\n"
    "# hours: \"20:00-06:00\"\n";

/* ---- the file's shape: an absent key is a NULL pointer ---- */

struct raw_source {
    char *source, *file;
};
struct raw_budget {
    int64_t *updates, *updates_per_day;
};
struct raw_epsilon {
    double *epsilon_max, *epsilon_per_day, *delta;
};
struct raw_policy {
    char **tasks;
    unsigned n_tasks;
    struct raw_source *data;
    unsigned n_data;
    int64_t *min_cohort, *memory_mib, *adapter_rank_max;
    double *clip_max;
    struct raw_budget *budget;
    struct raw_epsilon *privacy;
    char *hours;
};

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define NUMBER   (OPTIONAL | CYAML_FLAG_STRICT)

static const cyaml_schema_value_t task_name = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, PLAN_NAME_MAX - 1)};
static const cyaml_schema_field_t source_fields[] = {
    CYAML_FIELD_STRING_PTR("source", CYAML_FLAG_POINTER, struct raw_source,
                           source, 0, PLAN_NAME_MAX - 1),
    CYAML_FIELD_STRING_PTR("file", CYAML_FLAG_POINTER, struct raw_source, file,
                           0, POLICY_PATH_MAX - 1),
    CYAML_FIELD_END};
static const cyaml_schema_value_t source = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_source, source_fields)};
static const cyaml_schema_field_t budget_fields[] = {
    CYAML_FIELD_INT_PTR("updates", NUMBER, struct raw_budget, updates),
    CYAML_FIELD_INT_PTR("updates_per_day", NUMBER, struct raw_budget,
                        updates_per_day),
    CYAML_FIELD_END};
static const cyaml_schema_field_t epsilon_fields[] = {
    CYAML_FIELD_FLOAT_PTR("epsilon_max", NUMBER, struct raw_epsilon,
                          epsilon_max),
    CYAML_FIELD_FLOAT_PTR("epsilon_per_day", NUMBER, struct raw_epsilon,
                          epsilon_per_day),
    CYAML_FIELD_FLOAT_PTR("delta", NUMBER, struct raw_epsilon, delta),
    CYAML_FIELD_END};
/* An empty list of tasks is an error: it reads like one that was left out. */
static const cyaml_schema_field_t policy_fields[] = {
    CYAML_FIELD_SEQUENCE_COUNT("tasks", OPTIONAL, struct raw_policy, tasks,
                               n_tasks, &task_name, 1, 16),
    CYAML_FIELD_SEQUENCE_COUNT("data", OPTIONAL, struct raw_policy, data,
                               n_data, &source, 0, POLICY_SOURCES_MAX),
    CYAML_FIELD_INT_PTR("min_cohort", NUMBER, struct raw_policy, min_cohort),
    CYAML_FIELD_INT_PTR("memory_mib", NUMBER, struct raw_policy, memory_mib),
    CYAML_FIELD_INT_PTR("adapter_rank_max", NUMBER, struct raw_policy,
                        adapter_rank_max),
    CYAML_FIELD_FLOAT_PTR("clip_max", NUMBER, struct raw_policy, clip_max),
    CYAML_FIELD_MAPPING_PTR("budget", OPTIONAL, struct raw_policy, budget,
                            budget_fields),
    CYAML_FIELD_MAPPING_PTR("privacy", OPTIONAL, struct raw_policy, privacy,
                            epsilon_fields),
    CYAML_FIELD_STRING_PTR("hours", OPTIONAL, struct raw_policy, hours, 0, 16),
    CYAML_FIELD_END};
static const cyaml_schema_value_t policy_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_policy, policy_fields)};

/* ---- checking ---- */

struct checking {
    const char *name, *text;
    size_t n;
    struct policy *p;
};

static enum tacit_err wrong(const struct checking *c, const char *key,
                            const char *want)
{
    return fail_as(E_YAML_VALUE, "%s:%u: %s: %s", c->name,
                   yaml_line(c->text, c->n, key), key, want);
}

static enum tacit_err take_tasks(const struct checking *c,
                                 const struct raw_policy *raw)
{
    static const enum plan_task all[] = {PLAN_CLASSIFY,  PLAN_REGRESS,
                                         PLAN_RETRIEVER, PLAN_COX,
                                         PLAN_LM,        PLAN_READER};
    const size_t n = sizeof all / sizeof *all;
    for (unsigned i = 0; i < raw->n_tasks; i++) {
        size_t k = 0;
        while (k < n && strcmp(raw->tasks[i], plan_task_name(all[k])) != 0) k++;
        if (k == n)
            return wrong(c, "tasks",
                         "there are classify, regress, cox, lm, retriever and "
                         "reader");
        c->p->tasks |= 1U << all[k];
    }
    if (!raw->tasks) c->p->tasks = ~0U;
    return TACIT_OK;
}

static enum tacit_err take_data(const struct checking *c,
                                const struct raw_policy *raw)
{
    for (unsigned i = 0; i < raw->n_data; i++) {
        const struct raw_source *s = &raw->data[i];
        if (policy_path(c->p, s->source))
            return wrong(c, "data", "a source is named twice");
        if (s->file[0] != '/')
            return wrong(c, "data", "a file must be a full path, from /");
        struct policy_source *to = &c->p->sources[c->p->n_sources++];
        snprintf(to->name, sizeof to->name, "%s", s->source);
        snprintf(to->path, sizeof to->path, "%s", s->file);
    }
    return TACIT_OK;
}

static enum tacit_err take_budget(const struct checking *c,
                                  const struct raw_budget *b)
{
    if (!b) return TACIT_OK;
    if (b->updates) {
        if (*b->updates < 0) return wrong(c, "budget.updates", "0 or more");
        c->p->updates = (uint64_t)*b->updates;
    }
    if (b->updates_per_day) {
        if (*b->updates_per_day < 0)
            return wrong(c, "budget.updates_per_day", "0 or more");
        c->p->updates_per_day = (uint64_t)*b->updates_per_day;
    }
    return TACIT_OK;
}

static enum tacit_err take_epsilon(const struct checking *c,
                                   const struct raw_epsilon *e)
{
    c->p->delta = POLICY_DELTA;
    if (!e) return TACIT_OK;
    if (!e->epsilon_max)
        return wrong(c, "privacy",
                     "epsilon_max is missing: the most that all "
                     "updates together may tell of one row");
    if (!(*e->epsilon_max > 0 && *e->epsilon_max <= 1e6))
        return wrong(c, "privacy.epsilon_max", "above 0, to 1e6");
    c->p->epsilon_max = *e->epsilon_max;
    if (e->delta && !(*e->delta >= 1e-12 && *e->delta <= 0.01))
        return wrong(c, "privacy.delta", "1e-12 to 0.01");
    if (e->delta) c->p->delta = *e->delta;
    if (!e->epsilon_per_day) return TACIT_OK;
    if (!(*e->epsilon_per_day > 0 && *e->epsilon_per_day <= 1e6))
        return wrong(c, "privacy.epsilon_per_day", "above 0, to 1e6");
    c->p->epsilon_per_day = *e->epsilon_per_day;
    return TACIT_OK;
}

static enum tacit_err take_hours(const struct checking *c, const char *hours)
{
    int h0, m0, h1, m1, end = 0;
    if (!hours) return TACIT_OK;
    if (strspn(hours, "0123456789:-") != strlen(hours) ||
        sscanf(hours, "%2d:%2d-%2d:%2d%n", &h0, &m0, &h1, &m1, &end) != 4 ||
        hours[end] || h0 < 0 || h1 < 0 || m0 < 0 || m0 > 59 || m1 < 0 ||
        m1 > 59 || h0 * 60 + m0 > MINUTES || h1 * 60 + m1 > MINUTES)
        return wrong(c, "hours", "write a span like \"20:00-06:00\"");
    c->p->from_minute = (h0 * 60 + m0) % MINUTES;
    c->p->to_minute = (h1 * 60 + m1) % MINUTES;
    /* Meant as never or as always? Only one span says it plainly. */
    if (c->p->from_minute == c->p->to_minute && h1 * 60 - h0 * 60 != MINUTES)
        return wrong(c, "hours",
                     "the span ends where it begins; leave hours out for "
                     "always, or write budget: {updates: 0} for never");
    return TACIT_OK;
}

static enum tacit_err check(const struct checking *c,
                            const struct raw_policy *raw)
{
    struct policy *p = c->p;
    TRY(take_tasks(c, raw));
    TRY(take_data(c, raw));
    TRY(take_budget(c, raw->budget));
    TRY(take_epsilon(c, raw->privacy));
    TRY(take_hours(c, raw->hours));
    if (raw->min_cohort) {
        if (*raw->min_cohort < 2 || *raw->min_cohort > PLAN_CLIENTS_MAX)
            return wrong(c, "min_cohort", "2 to 128; an update is never alone");
        p->min_cohort = (uint32_t)*raw->min_cohort;
    }
    if (raw->memory_mib) {
        if (*raw->memory_mib < 1 || *raw->memory_mib > MEMORY_MIB_MAX)
            return wrong(c, "memory_mib", "1 to 1048576");
        p->memory_mib = (uint32_t)*raw->memory_mib;
    }
    if (raw->adapter_rank_max) {
        if (*raw->adapter_rank_max < 1 || *raw->adapter_rank_max > RANK_MAX)
            return wrong(c, "adapter_rank_max", "1 to 512");
        p->adapter_rank_max = (uint32_t)*raw->adapter_rank_max;
    }
    if (raw->clip_max) {
        if (!isfinite(*raw->clip_max) || *raw->clip_max <= 0)
            return wrong(c, "clip_max", "a number above 0");
        p->clip_max = *raw->clip_max;
    }
    return TACIT_OK;
}

enum tacit_err policy_parse(const char *name, const char *text, size_t n,
                            struct policy *out)
{
    void *raw = NULL;
    struct policy p = {.min_cohort = COHORT_DEFAULT,
                       .clip_max = 10,
                       .updates = 1000,
                       .updates_per_day = 500};
    struct checking c = {name, text, n, &p};
    TRY(yaml_load(name, text, n, &policy_schema, &raw));
    enum tacit_err err = check(&c, raw);
    yaml_unload(&policy_schema, raw);
    if (!err) *out = p;
    return err;
}

enum tacit_err policy_load(const char *path, struct policy *out)
{
    struct buf text;
    buf_init(&text, 0);
    enum tacit_err err = file_read(path, FILE_MAX, &text);
    if (!err) err = buf_end(&text);
    if (!err) err = policy_parse(path, (const char *)text.data, text.len, out);
    buf_release(&text);
    return err;
}

const char *policy_path(const struct policy *p, const char *source_name)
{
    for (size_t i = 0; i < p->n_sources; i++)
        if (strcmp(p->sources[i].name, source_name) == 0)
            return p->sources[i].path;
    return NULL;
}

static int is_open(const struct policy *p, int minute)
{
    if (p->from_minute == p->to_minute) return 1;
    if (p->from_minute < p->to_minute)
        return minute >= p->from_minute && minute < p->to_minute;
    return minute >= p->from_minute || minute < p->to_minute;
}

static int is_too_wide(const struct policy *p, const struct plan *plan)
{
    return plan_has_base(plan) && p->adapter_rank_max &&
           (plan->base.adapter == PLAN_FFA ||
            plan->base.adapter == PLAN_LORA) &&
           plan->base.rank > p->adapter_rank_max;
}

/* Behind "update". */
static const char *have(uint64_t n)
{
    return n == 1 ? " has" : "s have";
}

enum tacit_err policy_allow(const struct policy *p, const struct plan *plan,
                            uint32_t u_min, const struct policy_spent *spent,
                            int local_minute)
{
    if (!(p->tasks >> plan->task & 1))
        return fail_as(E_POLICY_REFUSED, "plan %s: tasks does not list %s",
                       plan->name, plan_task_name(plan->task));
    if (plan->task != PLAN_RETRIEVER && !policy_path(p, plan->source))
        return fail_as(E_POLICY_REFUSED,
                       "plan %s: data names no file for source \"%s\"",
                       plan->name, plan->source);
    if (u_min < p->min_cohort)
        return fail_as(
            E_POLICY_REFUSED,
            "plan %s adds up as few as %u device%s; min_cohort is %u",
            plan->name, u_min, plural_s(u_min), p->min_cohort);
    if (plan->clip > p->clip_max)
        return fail_as(E_POLICY_REFUSED,
                       "plan %s clips updates at %g; clip_max is %g",
                       plan->name, plan->clip, p->clip_max);
    if (is_too_wide(p, plan))
        return fail_as(E_POLICY_REFUSED,
                       "plan %s trains pairs of rank %u; adapter_rank_max is "
                       "%u, and only adapter.kind: flora may be trained at "
                       "less",
                       plan->name, plan->base.rank, p->adapter_rank_max);
    if (p->epsilon_max > 0 && !plan->privacy.record)
        return fail_as(E_POLICY_REFUSED,
                       "plan %s adds no noise; privacy.epsilon_max allows only "
                       "plans with a privacy block",
                       plan->name);
    if (!is_open(p, local_minute))
        return fail_as(E_POLICY_REFUSED, "plan %s: outside of the hours",
                       plan->name);
    if (spent->updates >= p->updates)
        return fail_as(E_BUDGET_SPENT, "%llu of %llu update%s left",
                       (unsigned long long)spent->updates,
                       (unsigned long long)p->updates, have(p->updates));
    if (spent->updates_today >= p->updates_per_day)
        return fail_as(E_BUDGET_SPENT,
                       "%llu of %llu update%s left within 24 hours",
                       (unsigned long long)spent->updates_today,
                       (unsigned long long)p->updates_per_day,
                       have(p->updates_per_day));
    return TACIT_OK;
}

uint32_t policy_memory_mib(const struct policy *p, const struct plan *plan)
{
    if (!plan_has_base(plan) || !p->memory_mib) return plan->memory_mib;
    return plan->memory_mib && plan->memory_mib < p->memory_mib
               ? plan->memory_mib
               : p->memory_mib;
}

static enum tacit_err fits(const struct plan *plan,
                           const struct task_privacy *v,
                           const struct account *spent, double delta,
                           double most, const char *when)
{
    struct account a = *spent;
    double before = account_epsilon(spent, delta);
    if (!(most > 0)) return TACIT_OK;
    account_add(&a, plan->privacy.sample, v->noise, 1);
    if (account_epsilon(&a, delta) <= most) return TACIT_OK;
    return fail_as(E_EPSILON_SPENT,
                   "plan %s: epsilon %.4g of %g%s is spent (unit record, delta "
                   "%g); another update would make it %.4g",
                   plan->name, before, most, when, delta,
                   account_epsilon(&a, delta));
}

enum tacit_err policy_allow_private(const struct policy *p,
                                    const struct plan *plan,
                                    const struct task_privacy *v,
                                    const struct policy_epsilon *spent)
{
    if (!v->record) return TACIT_OK;
    if (spent->uploads >= v->uploads)
        return fail_as(E_EPSILON_SPENT,
                       "plan %s: its epsilon %g holds for %llu update%s of a "
                       "device, and so many have left",
                       plan->name, plan->privacy.epsilon,
                       (unsigned long long)v->uploads, plural_s(v->uploads));
    TRY(fits(plan, v, &spent->all, p->delta, p->epsilon_max, ""));
    return fits(plan, v, &spent->today, p->delta, p->epsilon_per_day,
                " within 24 hours");
}

/* plan: every bound, every key that would change nothing, every impossible
 * combination, each with its line. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/plan/plan.h"

static const char classify[] =
    "name: heart-risk\n"
    "task: classify\n"
    "model: {kind: mlp, hidden: [16, 8]}\n"
    "data:\n"
    "  source: patients\n"
    "  label: disease\n"
    "  positive_above: 0.5\n"
    "  columns:\n"
    "    - {name: age, mean: 54, sd: 9}\n"
    "    - {name: cp, values: [1, 2, 3, 4]}\n"
    "  standardise: plan\n"
    "  holdout: 0.34\n"
    "rounds: 15\n"
    "cohort: {size: 4, min_reports: 3, over_select: 1.5}\n"
    "local: {steps: 100, batch: 4, optimizer: adamw, learning_rate: 0.001,\n"
    "        weight_decay: 0.1}\n"
    "weighting: {by: examples, cap: 500}\n"
    "clip: 4.0\n"
    "secagg: {ring_bits: 24}\n"
    "deadline: {stage: 1500ms, train: 2h}\n"
    "seed: 42\n"
    "sim: {clients: 100, rows: 50, threads: 2, partition: iid, dropout: 0.1}\n";

static const char regress[] = "name: stay\n"
                              "task: regress\n"
                              "model: {kind: linear}\n"
                              "data:\n"
                              "  source: stays\n"
                              "  label: days\n"
                              "  columns: [{name: age}]\n";

static const char retriever[] = "name: guide\n"
                                "task: retriever\n"
                                "model: {kind: static, dim: 64}\n"
                                "data: {source: pairs}\n";

static enum tacit_err parse(const char *text, struct plan **out)
{
    return plan_parse("risk.yaml", text, strlen(text), out);
}

static void every_key_arrives(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(classify, &p));
    assert_string_equal(p->name, "heart-risk");
    check(p->task == PLAN_CLASSIFY);
    assert_string_equal(p->model, "mlp");
    check(p->n_hidden == 2 && p->hidden[0] == 16 && p->hidden[1] == 8);
    assert_string_equal(p->source, "patients");
    assert_string_equal(p->label, "disease");
    check(p->label_positive_above == 0.5);
    check(p->n_columns == 2 && p->n_features == 1 + 3);
    assert_string_equal(p->columns[0].name, "age");
    check(p->columns[0].n_values == 0 && p->columns[0].mean == 54 &&
          p->columns[0].sd == 9);
    check(p->columns[1].n_values == 4 && p->columns[1].values[3] == 4 &&
          p->columns[1].sd == 1);
    check(p->standardise == PLAN_STANDARDISE_PLAN && p->holdout == 0.34);
    check(p->rounds == 15 && p->cohort_size == 4 && p->min_reports == 3);
    check(p->over_select == 1.5 && p->local_steps == 100 && p->batch == 4);
    assert_string_equal(p->optimizer, "adamw");
    check(p->learning_rate == 0.001 && p->weight_decay == 0.1);
    check(p->weighting == PLAN_BY_EXAMPLES && p->weight_cap == 500);
    check(p->clip == 4 && p->ring_bits == 24 && p->seed == 42);
    check(p->stage_deadline_ms == 1500 && p->train_deadline_ms == 7200000);
    check(p->sim.clients == 100 && p->sim.rows == 50 && p->sim.threads == 2);
    check(p->sim.partition == PLAN_PART_IID && p->sim.dropout == 0.1);
    plan_free(p);
    plan_free(NULL);
}

static void what_is_absent_has_its_default(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(regress, &p));
    check(p->task == PLAN_REGRESS && p->n_features == 1);
    check(p->standardise == PLAN_STANDARDISE_SITE && p->holdout == 0.3);
    check(p->rounds == 10 && p->cohort_size == 3 && p->min_reports == 2);
    check(p->over_select == 1.3 && p->local_steps == 10 && p->batch == 16);
    assert_string_equal(p->optimizer, "sgd");
    check(p->learning_rate == 0.01 && p->momentum == 0);
    check(p->weighting == PLAN_BY_EXAMPLES && p->weight_cap == 1000);
    check(p->clip == 1 && p->ring_bits == 32 && p->seed == 1);
    check(p->stage_deadline_ms == 30000 && p->train_deadline_ms == 600000);
    check(p->sim.clients == 3 && p->sim.partition == PLAN_PART_SITES);
    plan_free(p);
}

static void a_retriever_has_no_columns(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(retriever, &p));
    check(p->task == PLAN_RETRIEVER && p->dim == 64 && p->n_features == 64);
    check(p->n_columns == 0 && p->temperature == 0.05);
    plan_free(p);
    assert_string_equal(plan_task_name(PLAN_RETRIEVER), "retriever");
    assert_string_equal(plan_task_name(PLAN_CLASSIFY), "classify");
}

static void a_retriever_has_wrong_passages_on_request(void **state)
{
    (void)state;
    struct plan *p = NULL;
    char text[512];
    check_ok(parse(retriever, &p));
    check(p->hard_negatives == 0);
    plan_free(p);
    snprintf(text, sizeof text, "%slocal: {hard_negatives: 16}\n", retriever);
    check_ok(parse(text, &p));
    check(p->hard_negatives == 16);
    plan_free(p);
}

static void the_hash_is_of_the_files_bytes(void **state)
{
    (void)state;
    struct plan *a = NULL, *b = NULL;
    struct digest want;
    char text[sizeof retriever + 2];
    check_ok(parse(retriever, &a));
    digest_of(&want, retriever, strlen(retriever));
    check(digest_equal(&a->hash, &want));
    /* A comment changes nothing but the hash. */
    snprintf(text, sizeof text, "%s#", retriever);
    check_ok(parse(text, &b));
    check(!digest_equal(&a->hash, &b->hash));
    plan_free(a);
    plan_free(b);
}

/* ---- bounds -------------------------------------------------------------- */

/* text with the first `from` replaced; malloc'd. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("\"%s\" is not in the plan", from);
    size_t n = strlen(text) + strlen(to) + 1;
    char *out = malloc(n);
    check(out != NULL);
    snprintf(out, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

/* A line for the end of a plan, with %s for the value. */
struct bound {
    const char *key, *line;
    const char *least, *most, *below, *above;
};

static const struct bound bounds[] = {
    {"rounds", "rounds: %s", "1", "100000", "0", "100001"},
    {"cohort.size", "cohort: {size: %s}", "2", "128", "1", "129"},
    {"cohort.min_reports", "cohort: {size: 10, min_reports: %s}", "2", "10",
     "1", "11"},
    {"cohort.over_select", "cohort: {over_select: %s}", "1", "4", "0.99",
     "4.01"},
    {"local.steps", "local: {steps: %s}", "1", "1000000", "0", "1000001"},
    {"local.batch", "local: {batch: %s}", "1", "4096", "0", "4097"},
    {"local.learning_rate", "local: {learning_rate: %s}", "1e-9", "100", "0",
     "100.1"},
    {"local.momentum", "local: {momentum: %s}", "0", "0.9999", "-0.1", "1"},
    {"local.weight_decay", "local: {weight_decay: %s}", "0", "1", "-1e-9",
     "1.1"},
    {"weighting.cap", "weighting: {cap: %s}", "1", "1000000000", "0",
     "1000000001"},
    {"clip", "clip: %s", "1e-6", "1000000", "0", "1000001"},
    {"secagg.ring_bits", "secagg: {ring_bits: %s}", "24", "32", "23", "33"},
    {"seed", "seed: %s", "0", "9223372036854775807", "-1",
     "9223372036854775808"},
    {"sim.clients", "sim: {clients: %s}", "3", "1000000", "2", "1000001"},
    {"sim.rows", "sim: {rows: %s}", "2", "10000000", "1", "10000001"},
    {"sim.threads", "sim: {threads: %s}", "0", "64", "-1", "65"},
    {"sim.dropout", "sim: {dropout: %s}", "0", "0.9", "-0.1", "0.91"},
    {"deadline.stage", "deadline: {stage: %s}", "100ms", "24h", "99ms",
     "24.1h"},
    {"deadline.train", "deadline: {train: %s}", "0.1s", "1440m", "0s", "1441m"},
};

static enum tacit_err parse_with(const char *line, const char *value,
                                 struct plan **out)
{
    char text[1024], *last = replaced(line, "%s", value);
    snprintf(text, sizeof text, "%s%s\n", regress, last);
    free(last);
    return parse(text, out);
}

static void refused_with(const char *line, const char *value, const char *key)
{
    struct plan *p = NULL;
    enum tacit_err e = parse_with(line, value, &p);
    /* The last line of that plan is the eighth. */
    if (e != TACIT_FORMAT || !strstr(err_message(), key) ||
        strncmp(err_message(), "risk.yaml:8: ", 13) != 0)
        print_error("%s of %s: \"%s\"\n", value, line, err_message());
    check(strstr(err_message(), key) != NULL);
    check(strncmp(err_message(), "risk.yaml:8: ", 13) == 0);
    check_err(e, TACIT_FORMAT);
    check(p == NULL);
}

static void every_bound_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const struct bound *b = &bounds[i];
        struct plan *p = NULL;
        check_ok(parse_with(b->line, b->least, &p));
        plan_free(p);
        check_ok(parse_with(b->line, b->most, &p));
        plan_free(p);
        refused_with(b->line, b->below, b->key);
        refused_with(b->line, b->above, b->key);
    }
}

static void a_time_has_a_number_and_a_unit(void **state)
{
    (void)state;
    static const char *const bad[] = {"30",   "s",    "30 s", "30sec",
                                      "''",   "-30s", "1e3s", "0x30s",
                                      "nans", "3.0.s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused_with("deadline: {stage: %s}", bad[i], "deadline.stage");
}

/* ---- what does not go together ------------------------------------------- */

struct change {
    const char *plan, *from, *to; /* one replacement in a good plan */
    const char *says;
};

static const struct change changes[] = {
    /* Names of things. */
    {classify, "name: heart-risk", "name: heart risk", ":1: name is"},
    {classify, "name: heart-risk", "name: ../x/y", "name is"},
    {classify, "name: heart-risk", "name: .x", "begins with"},
    {classify, "name: heart-risk", "name: ''", "name is empty"},
    {classify, "task: classify", "task: clasify",
     ":2: task is \"clasify\"; it may be classify, regress, retriever, cox, "
     "lm or reader (did you mean \"classify\"?)"},
    {classify, "kind: mlp", "kind: logit",
     ":3: model.kind is \"logit\"; it may be logistic, softmax, mlp or cnn"},
    {regress, "kind: linear", "kind: logistic", "linear or mlp"},
    {retriever, "kind: static", "kind: mlp", "it may be static"},
    {classify, "optimizer: adamw", "optimizer: lbfgs",
     "sgd, adam, adamw or mezo"},
    {classify, "by: examples", "by: example", "did you mean \"examples\"?"},
    {classify, "partition: iid", "partition: dirichlett", "\"dirichlet\"?"},
    {classify, "standardise: plan", "standardise: all", "site, plan or none"},
    {classify, "ring_bits: 24", "ring_bits: 28", "it may be 24 or 32"},
    /* The network. */
    {classify, ", hidden: [16, 8]", "", ":3: model.hidden is missing"},
    {classify, "hidden: [16, 8]", "hidden: [16, 0]", "model.hidden is 0"},
    {classify, "hidden: [16, 8]", "hidden: [65537]", "model.hidden"},
    {classify, "hidden: [16, 8]", "hidden: [60000, 60000]",
     "model.hidden makes 36"},
    {classify, "hidden: [16, 8]", "hidden: [1, 1, 1, 1, 1, 1, 1, 1, 1]",
     "too many entries"},
    {classify, "kind: mlp", "kind: logistic",
     "model.hidden has no effect on logistic"},
    {classify, "hidden: [16, 8]", "hidden: [4], dim: 64",
     "model.dim has no effect on mlp"},
    {retriever, "dim: 64", "dim: 15", "model.dim is 15"},
    {retriever, "dim: 64", "dim: 1025", "model.dim is 1025"},
    /* The data. */
    {classify, "source: patients", "source: ''", ":5: data.source is empty"},
    {classify, "  label: disease\n", "", "data.label is missing"},
    {classify, "label: disease", "label: ''", "data.label is missing"},
    {classify, "label: disease", "label: age", "would be told the answer"},
    {classify, "name: cp", "name: age", "names \"age\" twice"},
    {classify, "name: cp", "name: ''", "data.columns[2] has no name"},
    {classify, "[1, 2, 3, 4]", "[1, 2, 1.0]", "cp lists a value twice"},
    {classify, "[1, 2, 3, 4]", "[1]", "too few entries"},
    {classify, "[1, 2, 3, 4]", "[1, nan]", "not a number"},
    {classify, "values: [1, 2, 3, 4]", "values: [1, 2], mean: 1",
     "cp has a mean or sd"},
    {classify, "standardise: plan", "standardise: site",
     "age has a mean or sd"},
    {classify, "sd: 9", "sd: 0", "data.columns.sd is 0"},
    {classify, "mean: 54", "mean: 1e13", "data.columns.mean"},
    {classify, "holdout: 0.34", "holdout: 0.91", ":12: data.holdout is 0.91"},
    {classify, "holdout: 0.34", "holdout: -0.1", "data.holdout is -0.1"},
    {regress, "  columns: [{name: age}]\n", "", "data.columns is missing"},
    {regress, "[{name: age}]", "[]", "data.columns is missing"},
    {regress, "label: days", "label: days\n  positive_above: 1",
     ":7: data.positive_above is for classify"},
    {retriever, "source: pairs", "source: pairs, label: x",
     "a retriever learns from pairs"},
    {retriever, "source: pairs", "source: pairs, columns: [{name: a}]",
     "a retriever learns from pairs"},
    {retriever, "source: pairs", "source: pairs, positive_above: 1",
     "is for classify"},
    /* Keys that would change nothing. */
    {classify, "weight_decay: 0.1", "momentum: 0.9",
     ":16: local.momentum is for sgd"},
    {classify, "weight_decay: 0.1", "temperature: 0.1",
     "local.temperature is for the retriever"},
    {classify, "weight_decay: 0.1", "numbers: fast",
     ":16: local.numbers is for a plan with a base"},
    {classify, "weight_decay: 0.1", "memory_mib: 300",
     ":16: local.memory_mib is for a plan with a base"},
    {classify, "by: examples", "by: uniform", "weighting.cap is for"},
    {classify, "rounds: 15", "runds: 15",
     ":13: unknown key \"runds\"; did you mean \"rounds\"?"},
    {classify, "rounds: 15", "rounds: 15\nrounds: 16", "stands twice"},
    {classify, "rounds: 15", "rounds: 15.5", "not a whole number"},
    {classify, "clients: 100", "clients: 3",
     ":22: sim.clients is 3, fewer than cohort.size 4"},
};

static void what_cannot_work_is_explained(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct change *c = &changes[i];
        struct plan *p = NULL;
        char *text = replaced(c->plan, c->from, c->to);
        enum tacit_err e = parse(text, &p);
        if (e != TACIT_FORMAT || !strstr(err_message(), c->says))
            print_error("%s: \"%s\", want \"%s\"\n", c->to, err_message(),
                        c->says);
        check(strstr(err_message(), c->says) != NULL);
        check(strncmp(err_message(), "risk.yaml:", 10) == 0);
        check_err(e, TACIT_FORMAT);
        check(p == NULL);
        free(text);
    }
}

static void a_missing_group_is_named(void **state)
{
    (void)state;
    static const char *const lines[] = {"name: guide\n", "task: retriever\n",
                                        "data: {source: pairs}\n"};
    static const char *const keys[] = {"\"name\"", "\"task\"", "\"data\""};
    for (size_t i = 0; i < 3; i++) {
        struct plan *p = NULL;
        char *text = replaced(retriever, lines[i], "");
        enum tacit_err e = parse(text, &p);
        check(strstr(err_message(), keys[i]) != NULL);
        check_code(e, E_YAML_KEY);
        free(text);
    }
}

static void values_that_stand_at_the_limit_are_taken(void **state)
{
    (void)state;
    static const char *const good[][3] = {
        {classify, "hidden: [16, 8]", "hidden: [65536]"},
        {classify, "hidden: [16, 8]", "hidden: [8000, 8000]"},
        {retriever, "dim: 64", "dim: 16"},
        {retriever, "dim: 64", "dim: 1024"},
        {retriever, "data: {source: pairs}",
         "data: {source: pairs, holdout: 0}\nlocal: {temperature: 10, "
         "batch: 2}"},
        {classify, "holdout: 0.34", "holdout: 0.9"},
        {classify, "sd: 9", "sd: 1e-9"},
        {classify, "optimizer: adamw", "optimizer: sgd, momentum: 0.9"},
        {classify, "by: examples, cap: 500", "by: uniform"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct plan *p = NULL;
        char *text = replaced(good[i][0], good[i][1], good[i][2]);
        check_ok(parse(text, &p));
        plan_free(p);
        free(text);
    }
}

static void every_fault_is_told_at_once(void **state)
{
    (void)state;
    static const char text[] =
        "name: a b\ntask: classify\nmodel: {kind: mlp}\n"
        "data:\n  source: s\n  labell: y\n  columns: [{name: x}]\n"
        "rounds: -3\ncohort: {size: 1}\nlocal: {steps: 1.5, lr: 2}\n";
    static const char *const says[] = {
        "x:6: unknown key \"labell\"; did you mean \"label\"?",
        "x:10: local.steps: not a whole number",
        "x:10: unknown key \"lr\"",
        "x:1: name is \"a b\"",
        "x:3: model.hidden is missing",
        "x:4: data.label is missing",
        "x:8: rounds is -3; it may be 1",
        "(1 of 8)"};
    struct plan *p = NULL;
    enum tacit_err e = plan_parse("x", text, sizeof text - 1, &p);
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (!strstr(err_message(), says[i]))
            print_error("no \"%s\" in \"%s\"\n", says[i], err_message());
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        check(strstr(err_message(), says[i]) != NULL);
    check_err(e, TACIT_FORMAT);
}

static void an_unknown_task_is_one_fault(void **state)
{
    (void)state;
    static const char text[] = "name: a\ntask: retreiver\n"
                               "model: {kind: static}\ndata: {source: s}\n";
    struct plan *p = NULL;
    enum tacit_err e = plan_parse("x", text, sizeof text - 1, &p);
    check(strstr(err_message(), "did you mean \"retriever\"") != NULL);
    check(strstr(err_message(), " of ") == NULL);
    check_err(e, TACIT_FORMAT);
}

static void a_retrievers_batch_holds_a_negative(void **state)
{
    (void)state;
    struct plan *p = NULL;
    char *text = replaced(retriever, "data:", "local: {batch: 1}\ndata:");
    enum tacit_err e = parse(text, &p);
    check(strstr(err_message(), "local.batch is 1; it may be 2") != NULL);
    check_err(e, TACIT_FORMAT);
    free(text);
}

static void too_many_columns_are_refused(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    for (int n = PLAN_COLUMNS_MAX; n <= PLAN_COLUMNS_MAX + 1; n++) {
        struct plan *p = NULL;
        buf_clear(&b);
        buf_printf(&b, "name: x\ntask: regress\nmodel: {kind: linear}\n"
                       "data:\n  source: s\n  label: y\n  columns:\n");
        for (int i = 0; i < n; i++) buf_printf(&b, "    - name: c%d\n", i);
        enum tacit_err e = plan_parse("x", buf_cstr(&b), b.len, &p);
        if (n == PLAN_COLUMNS_MAX) {
            check_ok(e);
            check(p->n_features == PLAN_COLUMNS_MAX);
            plan_free(p);
        } else {
            check(strstr(err_message(), "too many entries") != NULL);
            check_err(e, TACIT_FORMAT);
        }
    }
    buf_release(&b);
}

static void a_plan_over_the_limit_is_not_read(void **state)
{
    (void)state;
    struct plan *p = NULL;
    char *text = malloc(PLAN_BYTES_MAX + 1);
    check(text != NULL);
    memset(text, '#', PLAN_BYTES_MAX + 1);
    check_err(plan_parse("x", text, PLAN_BYTES_MAX + 1, &p), TACIT_LIMIT);
    check_err(plan_parse("x", text, PLAN_BYTES_MAX, &p), TACIT_FORMAT);
    check_err(plan_parse("x", "", 0, &p), TACIT_FORMAT);
    free(text);
}

static void a_file_is_loaded_by_name(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct plan *p = NULL;
    check_tmpdir(dir);
    check_ok(file_join(path, sizeof path, dir, "guide.yaml"));
    check_err(plan_load(path, &p), TACIT_NOTFOUND);
    check_ok(file_write(path, retriever, strlen(retriever), 0600));
    check_ok(plan_load(path, &p));
    plan_free(p);
    p = NULL;
    check_ok(file_write(path, "name: x\n", 8, 0600));
    enum tacit_err e = plan_load(path, &p);
    check(strncmp(err_message(), "guide.yaml:", 11) == 0);
    check_err(e, TACIT_FORMAT);
    check_ok(file_write(path, "", 0, 0600));
    check_err(plan_load(path, &p), TACIT_FORMAT);
    check(p == NULL);
    check_tmpdir_remove(dir);
}

static void a_damaged_plan_never_upsets_the_parser(void **state)
{
    (void)state;
    static const char bytes[] = "\n :-{}[],#'\"&*!|>%@\x80z9";
    struct rng r;
    char text[sizeof classify];
    rng_init(&r, 21, 0, 0);
    for (int i = 0; i < 2000; i++) {
        struct plan *p = NULL;
        memcpy(text, classify, sizeof text);
        for (int k = 0; k < 3; k++)
            text[rng_below(&r, sizeof text - 1)] =
                bytes[rng_below(&r, sizeof bytes - 1)];
        if (plan_parse("x", text, sizeof text - 1, &p) == TACIT_OK)
            plan_free(p);
        else
            check(err_message()[0] != '\0');
        err_clear();
    }
}

/* ---- a base in place of a model ---- */

static const char based[] =
    "name: guide\n"
    "task: retriever\n"
    "base: {name: minilm, hash: "
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff}\n"
    "adapter: {kind: lora, rank: 4, alpha: 16, targets: [q, v]}\n"
    "data: {source: pairs}\n"
    "local: {hard_negatives: 2}\n";

static void a_base_stands_in_for_a_model(void **state)
{
    (void)state;
    struct plan *p = NULL;
    check_ok(parse(based, &p));
    check(plan_has_base(p));
    assert_string_equal(p->base.name, "minilm");
    check(p->base.hash.b[1] == 0x11 && p->base.hash.b[31] == 0xff);
    check(p->base.adapter == PLAN_LORA && p->base.rank == 4);
    check_near(p->base.alpha, 16, 0);
    check(p->base.targets == (1 | 4));
    check(p->hard_negatives == 2 && p->length == 256);
    assert_string_equal(p->model, "net");
    plan_free(p);
    char *text = replaced(based,
                          "adapter: {kind: lora, rank: 4, alpha: 16, "
                          "targets: [q, v]}\n",
                          "");
    check_ok(parse(text, &p));
    check(p->base.adapter == PLAN_FFA && p->base.rank == 8);
    check_near(p->base.alpha, 16, 0);
    check(p->base.targets == 127);
    check(!p->fast && p->memory_mib == 0);
    plan_free(p);
    free(text);
    text =
        replaced(based, "hard_negatives: 2", "numbers: fast, memory_mib: 300");
    check_ok(parse(text, &p));
    check(p->fast && p->memory_mib == 300);
    plan_free(p);
    free(text);
    check_ok(parse(regress, &p));
    check(!plan_has_base(p));
    plan_free(p);
}

static void forward_passes_send_numbers_along_directions(void **state)
{
    (void)state;
    struct plan *p = NULL;
    char *text = replaced(based, "{hard_negatives: 2}", "{optimizer: mezo}");
    check_ok(parse(text, &p));
    assert_int_equal(p->seeds, 1024);
    check_near(p->epsilon, 1e-3, 0);
    plan_free(p);
    free(text);
    text = replaced(based, "{hard_negatives: 2}",
                    "{optimizer: mezo, seeds: 0, epsilon: 0.5}");
    check_ok(parse(text, &p));
    assert_int_equal(p->seeds, 0);
    check_near(p->epsilon, 0.5, 0);
    plan_free(p);
    free(text);
    check_ok(parse(based, &p));
    check(p->seeds == 0);
    plan_free(p);
}

static void what_forward_passes_cannot_do_is_explained(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"hard_negatives: 2", "optimizer: sgd, seeds: 4",
         ":6: local.seeds is for local.optimizer: mezo"},
        {"hard_negatives: 2", "epsilon: 0.1",
         ":6: local.epsilon is for local.optimizer: mezo"},
        {"hard_negatives: 2", "optimizer: mezo, seeds: 65537",
         ":6: local.seeds is 65537"},
        {"hard_negatives: 2", "optimizer: mezo, weight_decay: 0.1",
         ":6: local.weight_decay has no effect on mezo"},
        {"hard_negatives: 2", "optimizer: mezo, momentum: 0.1",
         ":6: local.momentum is for sgd; mezo has none"},
        {"lora, rank: 4, alpha: 16, targets: [q, v]", "full",
         ":4: adapter.kind: full changes every number"},
        {"lora, rank: 4, alpha: 16, targets: [q, v]", "full, rank: 4",
         ":4: adapter.kind: full has no rank"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *p = NULL;
        char *text = replaced(based, cases[i].from, cases[i].to);
        enum tacit_err e = parse(text, &p);
        if (!strstr(err_message(), cases[i].says))
            fail_msg("%s: %s", cases[i].to, err_message());
        check_code(e, E_PLAN_VALUE);
        free(text);
    }
}

static const char judged[] =
    "name: judge\n"
    "task: classify\n"
    "base: {name: minilm, hash: "
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff}\n"
    "data: {source: pairs, label: kind, classes: 3, length: 96}\n";

static void texts_are_classified_over_a_base(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"classes: 3", "classes: 1", ":4: data.classes is 1"},
        {"classes: 3", "classes: 5000", ":4: data.classes is 5000"},
        {"label: kind", "label: ''", ":4: data.label is empty"},
        {"length: 96", "length: 4", ":4: data.length is 4"},
        {"label: kind", "positive_above: 2", ":4: data.positive_above is for"},
        {"label: kind", "format: text", ":4: data.format is for a model"},
    };
    struct plan *p = NULL;
    (void)state;
    check_ok(parse(judged, &p));
    check(p->task == PLAN_CLASSIFY && p->classes == 3 && p->length == 96);
    assert_string_equal(p->label, "kind");
    assert_string_equal(p->model, "net");
    plan_free(p);
    /* Two classes are one output: yes or no. */
    char *text = replaced(judged, ", label: kind, classes: 3", "");
    check_ok(parse(text, &p));
    check(p->classes == 1);
    assert_string_equal(p->label, "label");
    plan_free(p);
    free(text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text = replaced(judged, cases[i].from, cases[i].to);
        enum tacit_err e = parse(text, &p);
        if (!strstr(err_message(), cases[i].says))
            print_error("%s: \"%s\"\n", cases[i].to, err_message());
        check(strstr(err_message(), cases[i].says) != NULL);
        check_err(e, TACIT_FORMAT);
        free(text);
    }
    text = replaced(classify, "  label: disease",
                    "  classes: 3\n  label: disease");
    enum tacit_err e = parse(text, &p);
    check(strstr(err_message(), "data.classes is for a plan with a base"));
    check_err(e, TACIT_FORMAT);
    free(text);
}

static void a_base_that_cannot_work_is_explained(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"00112233", "0011223", ":3: base.hash is"},
        {"00112233", "z0112233", ":3: base.hash is"},
        {"kind: lora", "kind: lara", ":4: adapter.kind is \"lara\""},
        {"rank: 4", "rank: 0", ":4: adapter.rank is 0"},
        {"[q, v]", "[q, w]", ":4: adapter.targets is \"w\""},
        {"task: retriever", "task: regress", ":2: task is regress"},
        {"data: {source: pairs}", "data: {source: pairs, label: x}",
         ":5: data.label is for classify"},
        {"data: {source: pairs}", "data: {source: pairs, classes: 3}",
         ":5: data.classes is for classify"},
        {"data: {source: pairs}", "data: {source: pairs, columns: [{name: x}]}",
         ":5: data.columns is for a model"},
        {"data:", "model: {kind: static}\ndata:",
         ":5: model and base exclude each other"},
        {"hard_negatives: 2", "numbers: f16", ":6: local.numbers is \"f16\""},
        {"hard_negatives: 2", "memory_mib: 0", ":6: local.memory_mib is 0"},
        {"task: retriever", "task: lm",
         ":6: local.hard_negatives is for a retriever"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct plan *p = NULL;
        char *text = replaced(based, cases[i].from, cases[i].to);
        enum tacit_err e = parse(text, &p);
        if (!strstr(err_message(), cases[i].says))
            print_error("%s: \"%s\"\n", cases[i].to, err_message());
        check(strstr(err_message(), cases[i].says) != NULL);
        check_err(e, TACIT_FORMAT);
        free(text);
    }
    struct plan *p = NULL;
    enum tacit_err e = parse("name: a\ntask: reader\nmodel: {kind: static}\n"
                             "data: {source: s}\n",
                             &p);
    check(strstr(err_message(), "model.kind is \"static\"") != NULL);
    check_err(e, TACIT_FORMAT);
    e = parse("name: a\ntask: lm\ndata: {source: s}\n", &p);
    check(strstr(err_message(), "model is missing, or a base") != NULL);
    check_err(e, TACIT_FORMAT);
}

static void devices_of_different_ranks_have_a_kind_of_their_own(void **state)
{
    (void)state;
    struct plan *p = NULL;
    char *text = replaced(based, "kind: lora", "kind: flora");
    check_ok(parse(text, &p));
    check(p->base.adapter == PLAN_FLORA && p->base.rank == 4);
    check(p->sim.n_ranks == 0);
    plan_free(p);
    free(text);
    text = replaced(based, "kind: lora, rank: 4,", "kind: flora, rank: 64,");
    char *more = replaced(text, "local:", "sim: {ranks: [1, 64]}\nlocal:");
    check_ok(parse(more, &p));
    check(p->sim.n_ranks == 2);
    check(p->sim.ranks[0] == 1 && p->sim.ranks[1] == 64);
    plan_free(p);
    free(more);
    free(text);
}

static void what_different_ranks_do_not_go_with_is_explained(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"rank: 4", "rank: 65", ":4: adapter.rank is 65; of adapter.kind: "},
        {"data:", "strategy: {kind: fedprox}\ndata:",
         ":5: strategy.kind is fedprox; adapter.kind: flora adds up"},
        {"{hard_negatives: 2}", "{optimizer: mezo}",
         ":6: local.optimizer: mezo moves"},
        {"{hard_negatives: 2}", "{optimizer: sgd}\nsim: {ranks: [2, 5]}",
         ":7: sim.ranks has 5; the ranks of clients are 1 to adapter.rank 4"},
        {"{hard_negatives: 2}", "{optimizer: sgd}\nsim: {ranks: [0]}",
         ":7: sim.ranks has 0"},
    };
    (void)state;
    char *flora = replaced(based, "kind: lora", "kind: flora");
    struct plan *p = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = replaced(flora, cases[i].from, cases[i].to);
        enum tacit_err e = parse(text, &p);
        if (!strstr(err_message(), cases[i].says))
            print_error("%s: \"%s\"\n", cases[i].to, err_message());
        check(strstr(err_message(), cases[i].says) != NULL);
        check_err(e, TACIT_FORMAT);
        free(text);
    }
    char *text = replaced(based, "local:", "sim: {ranks: [2]}\nlocal:");
    enum tacit_err e = parse(text, &p);
    check(strstr(err_message(), ":6: sim.ranks is for adapter.kind: flora"));
    check_err(e, TACIT_FORMAT);
    free(text);
    text = replaced(flora, "local: {hard_negatives: 2}\n",
                    "cohort: {size: 4, min_reports: 4, over_select: 1}\n"
                    "local: {steps: 1, optimizer: sgd}\n"
                    "privacy: {unit: record, epsilon: 8, delta: 1e-5, clip: 1, "
                    "sample: 0.1}\n");
    e = parse(text, &p);
    if (!strstr(err_message(), "adapter.kind: flora sends none"))
        print_error("%s\n", err_message());
    check(strstr(err_message(), "adapter.kind: flora sends none") != NULL);
    check_err(e, TACIT_FORMAT);
    free(text);
    free(flora);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_of_different_ranks_have_a_kind_of_their_own),
        cmocka_unit_test(what_different_ranks_do_not_go_with_is_explained),
        cmocka_unit_test(every_key_arrives),
        cmocka_unit_test(what_is_absent_has_its_default),
        cmocka_unit_test(a_retriever_has_no_columns),
        cmocka_unit_test(a_retriever_has_wrong_passages_on_request),
        cmocka_unit_test(the_hash_is_of_the_files_bytes),
        cmocka_unit_test(every_bound_holds),
        cmocka_unit_test(a_time_has_a_number_and_a_unit),
        cmocka_unit_test(what_cannot_work_is_explained),
        cmocka_unit_test(a_missing_group_is_named),
        cmocka_unit_test(values_that_stand_at_the_limit_are_taken),
        cmocka_unit_test(every_fault_is_told_at_once),
        cmocka_unit_test(an_unknown_task_is_one_fault),
        cmocka_unit_test(a_retrievers_batch_holds_a_negative),
        cmocka_unit_test(too_many_columns_are_refused),
        cmocka_unit_test(a_plan_over_the_limit_is_not_read),
        cmocka_unit_test(a_file_is_loaded_by_name),
        cmocka_unit_test(a_base_stands_in_for_a_model),
        cmocka_unit_test(texts_are_classified_over_a_base),
        cmocka_unit_test(a_base_that_cannot_work_is_explained),
        cmocka_unit_test(forward_passes_send_numbers_along_directions),
        cmocka_unit_test(what_forward_passes_cannot_do_is_explained),
        cmocka_unit_test(a_damaged_plan_never_upsets_the_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "sims/compare.h"
#include "sims/outputs.h"
#include "sims/sweep.h"
#include "tests/base/window.h"
#include "tests/sims/page.h"

static const char text[] = "name: small\n"
                           "task: classify\n"
                           "model: {kind: mlp, hidden: [4]}\n"
                           "data: {source: p, label: y, columns: [{name: x}]}\n"
                           "rounds: 3\n"
                           "seed: 7\n";

static void begin(struct sweep *s, uint32_t n_seeds, const char *const *axes,
                  size_t n)
{
    *s = (struct sweep){.name = "small.yaml", .n_seeds = n_seeds};
    for (size_t i = 0; i < n; i++)
        check_ok(sweep_axis_parse(axes[i], &s->axis[s->n_axes++]));
}

/* ---- axes --------------------------------------------------------------- */

static void values_part_at_commas_outside_brackets(void **state)
{
    struct sweep s;
    (void)state;
    begin(&s, 1,
          (const char *[]){"model.hidden=[4, 2], [8],\"a,b\"",
                           "strategy={kind: krum, byzantine: 1},{kind: fedavg}",
                           "rounds=1"},
          3);
    check(s.axis[0].n == 3 && s.axis[1].n == 2 && s.axis[2].n == 1);
    assert_string_equal(s.axis[0].value[0], "[4, 2]");
    assert_string_equal(s.axis[0].value[1], "[8]");
    assert_string_equal(s.axis[0].value[2], "\"a,b\"");
    assert_string_equal(s.axis[1].value[0], "{kind: krum, byzantine: 1}");
    assert_string_equal(s.axis[1].key, "strategy");
    sweep_release(&s);
}

static void an_axis_that_makes_no_sense_is_refused(void **state)
{
    static const char *const bad[] = {"rounds", "=1",  "rounds=", "r=1,,2",
                                      "r=1,1",  "r= ", "",        "r=1,2, 1"};
    struct sweep_axis a;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_code(sweep_axis_parse(bad[i], &a), E_USAGE);
}

/* ---- variants ----------------------------------------------------------- */

static void the_grid_is_the_product_of_its_axes(void **state)
{
    struct sweep s;
    struct buf out;
    struct digest hash[2];
    (void)state;
    begin(&s, 2,
          (const char *[]){"local.learning_rate=0.1,0.01", "rounds=2,4,6"}, 2);
    check_ok(sweep_expand(&s, text, strlen(text)));
    check(s.n_variants == 6 && s.first_seed == 7);
    for (size_t v = 0; v < 6; v++) {
        check_near(s.variants[v].plan->learning_rate, v < 3 ? .1 : .01, 1e-12);
        check(s.variants[v].plan->rounds == 2 * (v % 3) + 2);
    }
    assert_string_equal(s.variants[0].slug, "learning_rate-0.1_rounds-2");
    assert_string_equal(s.variants[0].said, "local.learning_rate=0.1 rounds=2");
    buf_init(&out, 0);
    for (uint32_t i = 0; i < 2; i++) {
        out.len = 0;
        check_ok(sweep_text(&s, 1, i, &out, &hash[i]));
        struct plan *p = NULL;
        check_ok(plan_parse("x", (const char *)out.data, out.len, &p));
        check(p->seed == 7 + i && p->rounds == 4);
        check(digest_equal(&p->hash, &hash[i]));
        plan_free(p);
    }
    check(!digest_equal(&hash[0], &hash[1]));
    buf_release(&out);
    sweep_release(&s);
}

static void no_axis_is_one_variant(void **state)
{
    struct sweep s;
    (void)state;
    begin(&s, 3, NULL, 0);
    check_ok(sweep_expand(&s, text, strlen(text)));
    check(s.n_variants == 1);
    assert_string_equal(s.variants[0].slug, "plan");
    sweep_release(&s);
}

static void folders_of_variants_are_distinct_and_plain(void **state)
{
    struct sweep s;
    (void)state;
    begin(&s, 1,
          (const char *[]){"model.hidden=[4],[4, 4],[ 4 ]",
                           "data.source=\"a/../b\",\"a/..-b\",x"},
          2);
    check_ok(sweep_expand(&s, text, strlen(text)));
    for (size_t v = 0; v < s.n_variants; v++) {
        check(strspn(s.variants[v].slug,
                     "abcdefghijklmnopqrstuvwxyz0123456789._-") ==
              strlen(s.variants[v].slug));
        check(s.variants[v].slug[0] != '.');
        for (size_t w = 0; w < v; w++)
            check(strcmp(s.variants[v].slug, s.variants[w].slug) != 0);
    }
    sweep_release(&s);
}

static void every_fault_is_told_at_once(void **state)
{
    struct sweep s;
    (void)state;
    begin(&s, 1, (const char *[]){"rounds=0,2", "clip=1,-1"}, 2);
    enum tacit_err err = sweep_expand(&s, text, strlen(text));
    check(err == TACIT_FORMAT && err_id() == E_PLAN_VALUE);
    check(strstr(err_message(), "rounds=0 clip=1: ") != NULL);
    check(strstr(err_message(), "clip is -1") != NULL);
    check(strstr(err_message(), "of 3") != NULL);
    err_clear();
    sweep_release(&s);
    begin(&s, 1, (const char *[]){"strategy.knd=a", "sim.alpa=1"}, 2);
    err = sweep_expand(&s, text, strlen(text));
    check(err == TACIT_FORMAT && err_id() == E_YAML_KEY);
    check(strstr(err_message(), "strategy.kind") != NULL);
    check(strstr(err_message(), "sim.alpha") != NULL);
    err_clear();
    sweep_release(&s);
}

static void what_would_run_twice_or_for_ever_is_refused(void **state)
{
    struct sweep s;
    (void)state;
    begin(&s, 2, (const char *[]){"seed=1,2"}, 1);
    check_code(sweep_expand(&s, text, strlen(text)), E_USAGE);
    sweep_release(&s);
    begin(&s, 1, (const char *[]){"rounds=1", "rounds=2"}, 2);
    check_code(sweep_expand(&s, text, strlen(text)), E_USAGE);
    sweep_release(&s);
    begin(&s, 5001, (const char *[]){"rounds=1,2"}, 1);
    check_err(sweep_expand(&s, text, strlen(text)), TACIT_LIMIT);
    sweep_release(&s);
}

/* ---- comparing ---------------------------------------------------------- */

/* A run whose metric ends at `end`. */
static void write_run(const char *folder, const char *name, uint64_t seed,
                      uint32_t rounds, double end, enum runlog_state state)
{
    char path[512], plan_text[512];
    struct plan *plan = NULL;
    struct runlog record;
    struct outputs *o = NULL;
    snprintf(plan_text, sizeof plan_text,
             "name: small\ntask: classify\nmodel: {kind: logistic}\n"
             "data: {source: p, label: y, columns: [{name: x}]}\n"
             "rounds: %u\nseed: %u\n",
             rounds, (unsigned)seed);
    check_ok(plan_parse("p", plan_text, strlen(plan_text), &plan));
    check_ok(
        runlog_of_plan(plan, plan_text, strlen(plan_text), NULL, 9, &record));
    plan_free(plan);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_ok(outputs_open(path, &record, &o));
    for (uint32_t k = 1; k <= rounds; k++) {
        const struct fleet_round r = {.round = k,
                                      .has_pooled = 1,
                                      .virtual_ms = 1000 * (int64_t)k,
                                      .pooled = {.5, end * k / rounds, 10}};
        check_ok(outputs_round(o, &r));
    }
    check_ok(outputs_close(o, state, NULL));
    outputs_free(o);
}

static void seeds_merge_into_mean_and_sd(void **state)
{
    char folder[256], path[512];
    struct compare c;
    struct buf page;
    (void)state;
    check_tmpdir(folder);
    write_run(folder, "a", 1, 2, .6, RUNLOG_FINISHED);
    write_run(folder, "b/x", 2, 2, .8, RUNLOG_FINISHED);
    write_run(folder, "b/y", 1, 4, .9, RUNLOG_FINISHED);
    write_run(folder, "b/z", 1, 4, .9, RUNLOG_FINISHED); /* b/y again */
    write_run(folder, "c", 3, 2, .1, RUNLOG_INTERRUPTED);
    check_ok(compare_init(&c, .65));
    check_ok(compare_add(&c, folder));
    check_ok(compare_group(&c));
    check(c.n_runs == 3 && c.n_groups == 2 && c.n_keys == 1);
    check(json_array_size(c.left_out) == 2);
    assert_string_equal(c.key[0], "rounds");
    assert_string_equal(c.groups[0].value[0], "2");
    const struct compare_stat *m = &c.groups[0].figure[COMPARE_METRIC];
    check(m->n == 2 && !c.groups[0].is_best && c.groups[1].is_best);
    check_near(m->mean, .7, 1e-12);
    check_near(m->sd, .2 / sqrt(2), 1e-12);
    check(c.groups[0].figure[COMPARE_TARGET_ROUNDS].n == 1);
    check_near(c.groups[0].figure[COMPARE_TARGET_TIME].mean, 2, 1e-12);
    check(isnan(c.groups[1].figure[COMPARE_METRIC].sd));
    snprintf(path, sizeof path, "%s/c.html", folder);
    check_ok(compare_page(&c, path));
    buf_init(&page, 0);
    check_ok(file_read(path, 1 << 20, &page));
    page_check(&page);
    check(strstr(buf_cstr(&page), "(1/2)") != NULL);
    buf_release(&page);
    json_t *data = compare_json(&c);
    check(data && json_array_size(json_object_get(data, "groups")) == 2);
    json_decref(data);
    compare_release(&c);
    check_tmpdir_remove(folder);
}

static void a_table_fits_its_window_in_parts(void **state)
{
    char folder[256], shown[8192];
    struct window w;
    struct compare c;
    FILE *whole = tmpfile();
    (void)state;
    check_tmpdir(folder);
    write_run(folder, "a", 1, 2, .6, RUNLOG_FINISHED);
    write_run(folder, "b", 1, 4, .9, RUNLOG_FINISHED);
    check_ok(compare_init(&c, .65));
    check_ok(compare_add(&c, folder));
    check_ok(compare_group(&c));
    for (unsigned short columns = 30; columns <= 80; columns += 10) {
        window_begin(&w, columns);
        compare_print(stderr, &c);
        window_end(&w, shown, sizeof shown);
        check(window_widest(shown) <= columns);
        /* Each part has the key, each figure is in one of them. */
        assert_memory_equal(shown, "rounds", 6);
        assert_non_null(strstr(shown, "\n\nrounds"));
        const char *last = strstr(shown, "virtual time");
        assert_non_null(last);
        assert_null(strstr(last + 1, "virtual time"));
    }
    compare_print(whole, &c);
    rewind(whole);
    size_t n_lines = 0;
    while (fgets(shown, sizeof shown, whole)) n_lines++;
    assert_int_equal(n_lines, 3);
    check(fclose(whole) == 0);
    compare_release(&c);
    check_tmpdir_remove(folder);
}

static void folders_without_runs_are_an_error(void **state)
{
    char folder[256];
    struct compare c;
    (void)state;
    check_tmpdir(folder);
    check_ok(compare_init(&c, NAN));
    check_err(compare_add(&c, folder), TACIT_NOTFOUND);
    check_err(compare_add(&c, "/nowhere/at/all"), TACIT_NOTFOUND);
    write_run(folder, "a", 1, 2, .6, RUNLOG_FAILED);
    check_ok(compare_add(&c, folder));
    check_err(compare_group(&c), TACIT_NOTFOUND);
    compare_release(&c);
    check_tmpdir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_part_at_commas_outside_brackets),
        cmocka_unit_test(an_axis_that_makes_no_sense_is_refused),
        cmocka_unit_test(the_grid_is_the_product_of_its_axes),
        cmocka_unit_test(no_axis_is_one_variant),
        cmocka_unit_test(folders_of_variants_are_distinct_and_plain),
        cmocka_unit_test(every_fault_is_told_at_once),
        cmocka_unit_test(what_would_run_twice_or_for_ever_is_refused),
        cmocka_unit_test(seeds_merge_into_mean_and_sd),
        cmocka_unit_test(a_table_fits_its_window_in_parts),
        cmocka_unit_test(folders_without_runs_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

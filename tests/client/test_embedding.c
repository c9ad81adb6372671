/* Which encoder searches, and what a federation's retriever comes to beside
 * another one. With a real network: tests/e2e/test_encoder.py. */
#include "tests/client/home.h"

#include <stdio.h>
#include <string.h>

#include "client/embedding.h"
#include "client/local.h"
#include "common/base/codes.h"

static struct device d;

static int begin(void **state)
{
    home_begin(state);
    check_ok(device_open(&d, home));
    return 0;
}

static int end(void **state)
{
    device_close(&d);
    return home_end(state);
}

static void choose(const char *hash)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "INSERT INTO search_encoder VALUES(1, 'tiny', x'%s', 384, '', '')",
             hash);
    check_ok(db_exec(&d.db, sql));
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_chosen_table_is_treated_as_the_built_in_one(void **state)
{
    (void)state;
    struct embedding_choice c;
    struct encoder *e;
    char network[ENCODER_VERSION_MAX], table[ENCODER_VERSION_MAX];
    choose(HASH);
    check_ok(embedding_open(&d, &e));
    check(!encoder_is_table(e));
    encoder_version(e, network);
    encoder_free(e);
    check_ok(db_exec(&d.db, "INSERT INTO model VALUES('tiny', 'words', 'Q4_0',"
                            " '', '', x'" HASH "', x'" HASH "', 1, 1, 1, 0)"));
    check_ok(embedding_chosen(&d, &c));
    check(c.kind == ENCODER_TABLE);
    check_ok(embedding_open(&d, &e));
    check(encoder_is_table(e) && !encoder_is_built_in(e));
    /* A store that had the same file's vectors embeds again. */
    encoder_version(e, table);
    assert_string_not_equal(network, table);
    encoder_free(e);
}

static void adopt_a_retriever(void)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "INSERT INTO adopted VALUES(x'" HASH "', 'guide', 'static', %d, 1,"
             " x'" HASH "', x'" HASH "', 3, x'00', 0, 1)",
             (int)PLAN_RETRIEVER);
    check_ok(db_exec(&d.db, sql));
}

static void nobodys_choice_is_the_built_in_encoder(void **state)
{
    (void)state;
    struct embedding_choice c;
    struct encoder *e;
    int is_aside = 1;
    check_ok(embedding_chosen(&d, &c));
    assert_string_equal(c.name, EMBEDDING_BUILT_IN);
    assert_int_equal(c.dim, ENCODER_DIM);
    check_ok(embedding_open(&d, &e));
    check(encoder_is_built_in(e));
    encoder_free(e);
    adopt_a_retriever();
    check_ok(embedding_sets_aside(&d, &is_aside));
    assert_int_equal(is_aside, 0);
}

static void an_adapter_is_set_aside_while_another_encoder_searches(void **state)
{
    (void)state;
    struct encoder *e;
    float *w = &(float){1};
    int is_aside = 0;
    choose(HASH);
    check_ok(embedding_sets_aside(&d, &is_aside));
    assert_int_equal(is_aside, 0);
    adopt_a_retriever();
    check_ok(embedding_sets_aside(&d, &is_aside));
    assert_int_equal(is_aside, 1);
    check_ok(embedding_open(&d, &e));
    assert_int_equal(encoder_dim(e), 384);
    check_ok(embedding_adapter(&d, e, &w));
    check(w == NULL);
    encoder_free(e);
}

static void a_retriever_is_not_trained_while_another_encoder_searches(
    void **state)
{
    (void)state;
    const struct plan plan = {.name = "guide", .task = PLAN_RETRIEVER};
    const struct policy policy = {0};
    const struct dataset *data = NULL;
    struct local *l;
    check_ok(local_new(&d, &l));
    choose(HASH);
    enum tacit_err err = local_dataset(l, &plan, &policy, &data);
    check(strstr(err_message(), "plan guide") != NULL);
    check(strstr(err_message(), "tacit model use built-in") != NULL);
    check_err(err, TACIT_STATE);
    local_free(l);
}

static void a_damaged_choice_is_an_error(void **state)
{
    (void)state;
    struct embedding_choice c;
    choose("0123");
    check_code(embedding_chosen(&d, &c), E_STORE_DAMAGED);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        ROW(nobodys_choice_is_the_built_in_encoder),
        ROW(a_chosen_table_is_treated_as_the_built_in_one),
        ROW(an_adapter_is_set_aside_while_another_encoder_searches),
        ROW(a_retriever_is_not_trained_while_another_encoder_searches),
        ROW(a_damaged_choice_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tacit_vec.so, as any SQLite program loads it. */
#include "tests/retrieval/vectable.h"

#include <unistd.h>

static void the_extension_brings_the_table_to_any_program(void **state)
{
    const char *build = getenv("TACIT_BUILD");
    char path[512], *message = NULL;
    sqlite3 *db;
    (void)state;
    snprintf(path, sizeof path, "%s/tacit_vec.so",
             build ? build : "build/release");
    if (access(path, R_OK) != 0) {
        print_message("[ SKIPPED  ] %s is not built\n", path);
        skip();
    }
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    vectable_refused(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[3])",
                     "no such module");
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    /* The entry point is found by the file's name. */
    if (sqlite3_load_extension(db, path, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", path, message ? message : "");
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[3]"
                     " metric=l2 store=f32, n int filter)");
    vectable_run(db, "WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                     " FROM i WHERE i < 1500) INSERT INTO v(rowid, e, n) SELECT"
                     " i, '[' || i || ',0,' || (i % 7) || ']', i % 3 FROM i");
    vectable_is(db,
                "SELECT rowid, distance FROM v WHERE e MATCH '[700,0,0]' AND"
                " k = 2 AND n = 1",
                "700|0.0 703|4.24264049530029");
    vectable_refused(db, "INSERT INTO v(e) VALUES ('[1]')", "3 are wanted");
    vectable_is(db, "SELECT tacit_vec_check('v')", "ok");
    /* Where the program has it already, that one stays. */
    check_ok(vecindex_register(db));
    vectable_is(db, "SELECT count(*) FROM v", "1500");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_extension_brings_the_table_to_any_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

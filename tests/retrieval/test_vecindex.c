/* What a table of vectors takes, refuses and finds, statement by statement. */
#include "tests/retrieval/vectable.h"

#include <locale.h>
#include <math.h>

#define ALL_KINDS                                                              \
 "CREATE VIRTUAL TABLE v USING tacit_vec(embedding float[4] metric=l2 "        \
 "store=f32, dept int filter, lang text filter, price real filter, "           \
 "tenant text partition key, +chunk text)"

static sqlite3 *with_rows(void)
{
    sqlite3 *db = vectable_open(":memory:");
    vectable_run(db, ALL_KINDS);
    vectable_run(db,
                 "INSERT INTO v(rowid, embedding, dept, lang, price, tenant,"
                 " chunk) VALUES"
                 " (1, '[1, 0, 0, 0]', 1, 'en', 1.5, 'a', 'one'),"
                 " (2, '[2, 0, 0, 0]', 2, 'de', -2.5, 'a', 'two'),"
                 " (3, '[3, 0, 0, 0]', 3, 'cardiology', 0, 'b', 'three'),"
                 " (4, '[4, 0, 0, 0]', NULL, 'cardiologist', NULL, 'b', NULL),"
                 " (5, '[5, 0, 0, 0]', 5, NULL, 5, 'c', 'five'),"
                 " (6, '[6, 0, 0, 0]', 5, '', 1e300, 'c', 'six')");
    return db;
}

/* ---- CREATE ---------------------------------------------------------------
 */

static void declarations_are_checked(void **state)
{
    static const char *const cases[][2] = {
        {"", "no vector column"},
        {"a int filter", "no vector column"},
        {"e float[0]", "1 to 4096"},
        {"e float[4097]", "1 to 4096"},
        {"e float[x]", "float[N]"},
        {"e float[4 x]", "float[N]"},
        {"e int8[4]", "float[N]"},
        {"e float[4], f float[4]", "one vector column"},
        {"e float[4] metric=hamming", "cosine, l2 or dot"},
        {"e float[4] store=bit", "int8 or f32"},
        {"e float[4] recall=1.5", "at most 1"},
        {"e float[4] what=1", "metric, store and recall"},
        {"e float[4] metric", "name=value"},
        {"e float[4], a int", "filter"},
        {"e float[4], a blob filter", "int, real or text"},
        {"e float[4], a int partition", "partition key"},
        {"e float[4], a real partition key", "int or text"},
        {"e float[4], a int filter twice", "too late"},
        {"e float[4], e int filter", "taken"},
        {"e float[4], K int filter", "taken"},
        {"e float[4], rowid int filter", "taken"},
        {"e float[4], v int filter", "taken"},
        {"e float[4], +a text default 'x'", "letters and digits"},
        {"e float[4], ?", "a column or an option"},
    };
    sqlite3 *db = vectable_open(":memory:");
    char sql[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE v USING tacit_vec(%s)",
                 cases[i][0]);
        vectable_refused(db, sql, cases[i][1]);
    }
    vectable_is(db, "SELECT count(*) FROM sqlite_master", "0");
    sqlite3_close(db);
}

static void numbers_of_columns_are_bounded(void **state)
{
    static const struct {
        const char *form;
        int max;
        const char *message;
    } kinds[] = {{", f%d int filter", 16, "over 16 filter columns"},
                 {", p%d int partition key", 4, "over 4 partition keys"},
                 {", +a%d text", 32, "over 32 auxiliary columns"}};
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int more = 0; more <= 1; more++) {
            char sql[2048];
            int n = snprintf(sql, sizeof sql,
                             "CREATE VIRTUAL TABLE v USING tacit_vec("
                             "e float[4]");
            for (int k = 0; k < kinds[i].max + more; k++) {
                char column[64];
                snprintf(column, sizeof column, "%s", kinds[i].form);
                char *at = strchr(column, '%');
                char rest[64];
                snprintf(rest, sizeof rest, "%s", at + 2);
                *at = '\0';
                n += snprintf(sql + n, sizeof sql - (size_t)n, "%s%d%s", column,
                              k, rest);
            }
            snprintf(sql + n, sizeof sql - (size_t)n, ")");
            if (more) {
                vectable_refused(db, sql, kinds[i].message);
            } else {
                vectable_run(db, sql);
                vectable_run(db, "DROP TABLE v");
            }
        }
    sqlite3_close(db);
}

static void names_may_be_quoted_and_odd(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE \"a \"\"b\" USING tacit_vec("
                     "\"the vec\" float[2], [an int] int filter,"
                     " `text` text filter, +größe)");
    vectable_run(db, "INSERT INTO \"a \"\"b\"(\"the vec\", \"an int\", text,"
                     " größe) VALUES ('[1, 2]', 3, 'x', 4.5)");
    vectable_is(db,
                "SELECT \"an int\", text, größe FROM \"a \"\"b\" WHERE"
                " \"the vec\" MATCH '[1, 2]' AND k = 1 AND text = 'x'",
                "3|x|4.5");
    vectable_run(db, "INSERT INTO \"a \"\"b\"(\"a \"\"b\") VALUES"
                     " ('integrity-check')");
    vectable_run(db, "ALTER TABLE \"a \"\"b\" RENAME TO \"c'd\"");
    vectable_is(db, "SELECT count(*) FROM \"c'd\"", "1");
    vectable_refused(db, "ALTER TABLE \"c'd\" RENAME TO text", "is called");
    vectable_run(db, "DROP TABLE \"c'd\"");
    vectable_is(db, "SELECT count(*) FROM sqlite_master", "0");
    sqlite3_close(db);
}

static void a_table_never_takes_over_one_that_is_there(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE TABLE v_seg(mine)");
    vectable_refused(db, ALL_KINDS, "v_seg");
    vectable_is(db, "SELECT group_concat(name) FROM sqlite_master", "v_seg");
    sqlite3_close(db);
}

/* ---- vectors --------------------------------------------------------------
 */

static void bad_vectors_are_refused_and_change_nothing(void **state)
{
    static const char *const cases[][2] = {
        {"NULL", "NULL is no vector"},
        {"5", "an integer is no vector"},
        {"'[1, 2, 3]'", "a vector of 3 numbers, 4 are wanted"},
        {"'[1, 2, 3, 4, 5]'", "a vector of 5 numbers, 4 are wanted"},
        {"'[]'", "a vector of 0 numbers"},
        {"'1, 2, 3, 4'", "no JSON array"},
        {"'[1, 2, 3, 4'", "no JSON array"},
        {"'[1, 2, 3, 4,]'", "no JSON array"},
        {"'[1, 2, 3, x]'", "no JSON array"},
        {"'[1, 2, 3, NaN]'", "no JSON array"},
        {"'[1, 2, 3, inf]'", "no JSON array"},
        {"'[1, 2, 3, 0x1]'", "no JSON array"},
        {"'[1, 2, 3, 4] 5'", "no JSON array"},
        {"'[1, 2, 3, 1e99]'", "number 4 is not finite"},
        {"x'000000000000000000000000'", "a vector of 3 numbers"},
        {"x'00000000000000000000000000'", "13 bytes is no vector"},
        {"x'00000000000000000000c07f00000000'", "number 3"}, /* NaN */
        {"x'00000000000000000000807f00000000'", "number 3"}, /* infinity */
        {"zeroblob(16)", "zero"},
    };
    sqlite3 *db = vectable_open(":memory:");
    char sql[512];
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[4])");
    vectable_run(db, "INSERT INTO v(e) VALUES ('[1, 2, 3, 4]')");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(sql, sizeof sql, "INSERT INTO v(e) VALUES (%s)", cases[i][0]);
        vectable_refused(db, sql, cases[i][1]);
        snprintf(sql, sizeof sql, "UPDATE v SET e = %s", cases[i][0]);
        vectable_refused(db, sql, cases[i][1]);
        snprintf(sql, sizeof sql, "SELECT * FROM v WHERE e MATCH %s AND k = 1",
                 cases[i][0]);
        vectable_refused(db, sql, cases[i][1]);
    }
    vectable_is(db, "SELECT count(*) FROM v", "1");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void bytes_and_json_are_the_same_vector(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[2] "
                     "store=f32 metric=l2)");
    /* Written by Python's struct.pack('<2f', 1.5, -0.1).hex(). */
    vectable_run(db, "INSERT INTO v(rowid, e) VALUES"
                     " (1, x'0000c03fcdccccbd'), (2, ' [ 1.5 , -1e-1 ] ')");
    vectable_is(db, "SELECT rowid, hex(e) FROM v",
                "1|0000C03FCDCCCCBD 2|0000C03FCDCCCCBD");
    /* A point is a point, also where people write a comma. */
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8"))
        vectable_run(db, "UPDATE v SET e = '[1.5, -0.1]' WHERE rowid = 1");
    setlocale(LC_NUMERIC, "C");
    vectable_is(db, "SELECT hex(e) FROM v WHERE rowid = 1", "0000C03FCDCCCCBD");
    sqlite3_close(db);
}

/* Far from the origin, where the squares of lengths leave no digit. */
static void close_vectors_have_exact_distances(void **state)
{
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[2] "
                     "store=f32 metric=l2)");
    vectable_run(db, "INSERT INTO v(rowid, e) VALUES (1, '[4096, 4096]'),"
                     " (2, '[4096.0625, 4096]'), (3, '[4096, 4097]')");
    vectable_is(db,
                "SELECT rowid, distance FROM v WHERE e MATCH '[4096, 4096]'"
                " AND k = 3",
                "1|0.0 2|0.0625 3|1.0");
    sqlite3_close(db);
}

/* ---- searching ------------------------------------------------------------
 */

#define NEAR "SELECT rowid FROM v WHERE embedding MATCH '[0, 0, 0, 0]'"

static const char *const conditions[] = {
    "dept = 5",
    "dept = 5.0",
    "dept = '5'",
    "dept = 4.5",
    "dept = NULL",
    "dept < 3",
    "dept < 2.5",
    "dept <= 2.5",
    "dept > 2.5",
    "dept >= 2",
    "dept < 'x'",
    "dept > 'x'",
    "dept = 'x'",
    "dept != 5",
    "dept != 4.5",
    "dept != 'x'",
    "dept IS NULL",
    "dept IS NOT NULL",
    "dept IS 5",
    "dept IN (1, 3, NULL)",
    "dept IN (1.0, '3', 'x')",
    "dept IN (7)",
    "dept < 9223372036854775807",
    "dept >= 9223372036854775807",
    "dept > 9223372036854775807",
    "dept < -9223372036854775807",
    "dept > -9.3e18",
    "dept < -9.3e18",
    "dept < 9.3e18",
    "dept > 9.3e18",
    "dept BETWEEN 2 AND 4",
    "dept >= x'00'",
    "dept < x'00'",
    "price < 0",
    "price <= 0",
    "price = 0",
    "price = -0.0",
    "price > 1e200",
    "price != 0",
    "price IS NULL",
    "price IN (0, 5)",
    "price >= -2.5",
    "price < 'a'",
    "price > 2",
    "price BETWEEN -3 AND 2",
    "lang = 'en'",
    "lang = 'cardiology'",
    "lang = 'cardiologis'",
    "lang > 'cardiologist'",
    "lang >= 'cardiology'",
    "lang < 'cardiology'",
    "lang <= 'cardiologist'",
    "lang != 'cardiology'",
    "lang != 'en'",
    "lang = ''",
    "lang > ''",
    "lang < ''",
    "lang IS NULL",
    "lang IS 'de'",
    "lang IN ('de', 'cardiology', NULL)",
    "lang IN ('')",
    "lang < 'cardiol'",
    "lang > 'cardiol'",
    "lang >= 'cardiolz'",
    "lang = 5",
    "lang < x'00'",
    "lang > x'00'",
    "tenant = 'b'",
    "tenant IN ('a', 'c')",
    "tenant > 'a'",
    "tenant != 'b'",
    "tenant = NULL",
    "tenant = 'zzz'",
    "tenant < 'b'",
    "tenant = 'b' AND dept = 3",
    "tenant > 'a' AND lang != 'cardiology'",
    "dept > 1 AND dept < 5 AND price < 100",
    "rowid IN (2, 5, 77)",
    "rowid IN (2, 5) AND dept = 5",
    "rowid IN ('x')",
    "rowid IN (2.5, 3.0)",
    "lang LIKE 'card%'",
    "lang = 'EN' COLLATE NOCASE",
    "chunk = 'two'",
    "chunk IS NULL",
    "dept + 0 = 5",
    "rowid = 3",
    "rowid > 3",
    "1",
};

static void filters_compare_as_sqlite_does(void **state)
{
    sqlite3 *db = with_rows();
    char sql[512], want[256];
    (void)state;
    /* The same rows in an ordinary table, whose answers are SQLite's own. */
    vectable_run(db, "CREATE TABLE o(id INTEGER PRIMARY KEY, dept INTEGER,"
                     " lang TEXT, price REAL, tenant TEXT, chunk TEXT)");
    vectable_run(db, "INSERT INTO o SELECT rowid, dept, lang, price, tenant,"
                     " chunk FROM v");
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        snprintf(sql, sizeof sql, "SELECT id FROM o WHERE %s ORDER BY id",
                 conditions[i]);
        snprintf(want, sizeof want, "%s", vectable_text(db, sql));
        snprintf(sql, sizeof sql, NEAR " AND k = 9 AND %s", conditions[i]);
        if (strcmp(vectable_text(db, sql), want) != 0)
            fail_msg("%s: \"%s\", want \"%s\"", conditions[i],
                     vectable_text(db, sql), want);
    }
    sqlite3_close(db);
}

static void hits_come_by_distance_with_what_was_asked(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
    vectable_is(db,
                "SELECT rowid, distance, dept, lang, price, tenant, chunk, k,"
                " exact FROM v WHERE embedding MATCH '[6, 0, 0, 0]' AND k = 2",
                "6|0.0|5||1.0e+300|c|six|2|0 5|1.0|5|-|5.0|c|five|2|0");
    vectable_is(db, NEAR " AND k = 3 ORDER BY distance", "1 2 3");
    vectable_is(db, NEAR " AND k = 3 ORDER BY distance DESC", "3 2 1");
    vectable_is(db, NEAR " AND k = 3 ORDER BY rowid DESC", "3 2 1");
    vectable_is(db, NEAR " AND k = 9 AND exact = 1", "1 2 3 4 5 6");
    vectable_is(db, NEAR " AND k = 9 AND recall = 1.0", "1 2 3 4 5 6");
    vectable_is(db, NEAR " AND k = 9 AND recall = 0.5 AND tenant = 'a'", "1 2");
    vectable_is(db, NEAR " AND k = 2 AND probes = 1 AND tenant = 'a'", "1 2");
    vectable_is(db, NEAR " AND k = 9 AND distance < 3", "1 2");
    vectable_is(db, NEAR " AND k = 9 AND distance <= 3", "1 2 3");
    vectable_is(db, NEAR " AND k = 9 AND distance > 4", "5 6");
    vectable_is(db, NEAR " AND k = 9 AND distance < NULL", "");
    vectable_is(db, NEAR " AND k = 0", "");
    vectable_is(db,
                "SELECT recall FROM v WHERE embedding MATCH '[0,0,0,0]' AND"
                " k = 1 AND recall = 0.8",
                "0.8");
    /* A join with each row's own neighbours. */
    vectable_is(db,
                "SELECT a.rowid, b.rowid FROM v a JOIN v b ON b.embedding MATCH"
                " a.embedding AND b.k = 1 WHERE a.dept = 5 ORDER BY a.rowid",
                "5|5 6|6");
    /* And one that names what was found. */
    vectable_run(db, "CREATE TABLE d(id INTEGER PRIMARY KEY, name)");
    vectable_run(db, "INSERT INTO d VALUES (1,'x'),(2,'y'),(3,'z'),(4,'u')");
    vectable_is(db,
                "SELECT name FROM v JOIN d ON d.id = v.rowid WHERE embedding"
                " MATCH '[0,0,0,0]' AND k = 2 ORDER BY distance",
                "x y");
    sqlite3_close(db);
}

static void a_search_that_cannot_be_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {NEAR, "needs k"},
        {NEAR " AND k = -1", "k is a number from 0"},
        {NEAR " AND k = 5000", "k is a number from 0 to 4096"},
        {NEAR " AND k = 'x'", "k is a number"},
        {NEAR " AND k = NULL", "k is a number"},
        {NEAR " AND k > 3", "set with ="},
        {NEAR " AND k IN (3, 4)", "set with ="},
        {NEAR " AND k = 1 AND recall = 0", "recall is a number"},
        {NEAR " AND k = 1 AND recall = 2", "recall is a number"},
        {NEAR " AND k = 1 AND probes = -1", "probes is a number"},
        {NEAR " AND k = 1 AND exact = 2", "exact is a number"},
        {NEAR " AND embedding MATCH '[1,1,1,1]' AND k = 1", "one MATCH"},
        {"SELECT * FROM v WHERE k = 3", "needs MATCH"},
        {"SELECT * FROM v WHERE distance < 3", "needs MATCH"},
        {"SELECT * FROM v WHERE dept MATCH 'x'", "unable to use function"},
        {"INSERT INTO v(embedding, tenant, k) VALUES ('[1,1,1,1]', 'a', 3)",
         "belong to a search"},
        {"UPDATE v SET distance = 3", "belong to a search"},
        {"INSERT INTO v(v) VALUES ('nonsense')", "integrity-check"},
    };
    sqlite3 *db = with_rows();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        vectable_refused(db, cases[i][0], cases[i][1]);
    vectable_is(db, "SELECT count(*) FROM v", "6");
    sqlite3_close(db);
}

static void limit_is_k_where_sqlite_tells_it(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
    if (sqlite3_libversion_number() >= 3041000) {
        vectable_is(db, NEAR " LIMIT 2", "1 2");
        vectable_is(db, NEAR " ORDER BY distance LIMIT 2 OFFSET 1", "2 3");
        vectable_refused(db, NEAR " AND chunk = 'two' LIMIT 2", "say k");
    }
    vectable_is(db, NEAR " AND k = 5 LIMIT 2 OFFSET 1", "2 3");
    sqlite3_close(db);
}

/* ---- writing --------------------------------------------------------------
 */

static void each_kind_of_update_is_seen_by_searches(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
    vectable_run(db, "UPDATE v SET dept = 9, lang = 'fr', price = NULL WHERE"
                     " rowid = 1");
    vectable_is(db, NEAR " AND k = 9 AND dept = 9 AND lang = 'fr'", "1");
    vectable_run(db, "UPDATE v SET tenant = 'new' WHERE rowid IN (1, 2)");
    vectable_is(db, NEAR " AND k = 9 AND tenant = 'new'", "1 2");
    vectable_is(db, NEAR " AND k = 9 AND tenant = 'a'", "");
    vectable_run(db, "UPDATE v SET rowid = 100 WHERE rowid = 1");
    vectable_is(db, NEAR " AND k = 9", "100 2 3 4 5 6");
    vectable_run(db, "UPDATE v SET embedding = '[9, 0, 0, 0]', chunk = 'far'"
                     " WHERE rowid = 100");
    vectable_is(db,
                "SELECT rowid, chunk, distance FROM v WHERE embedding MATCH"
                " '[9, 0, 0, 0]' AND k = 1",
                "100|far|0.0");
    vectable_refused(db, "UPDATE v SET rowid = 2 WHERE rowid = 3",
                     "UNIQUE constraint failed: v.rowid");
    vectable_run(db, "UPDATE OR REPLACE v SET rowid = 2 WHERE rowid = 3");
    vectable_is(db, NEAR " AND k = 9", "2 4 5 6 100");
    vectable_is(db, "SELECT chunk FROM v WHERE rowid = 2", "three");
    vectable_refused(db, "UPDATE v SET dept = 'x'", "dept: text, an integer");
    vectable_refused(db, "UPDATE v SET tenant = NULL", "not NULL");
    vectable_refused(db, "UPDATE v SET price = 'x'", "price: text, a number");
    vectable_refused(db, "UPDATE v SET lang = 5", "lang: an integer, text");
    vectable_refused(db, "UPDATE v SET dept = -9223372036854775807 - 1",
                     "stands for NULL");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void an_update_from_another_table_changes_what_it_names(void **state)
{
    static const char near[] = "SELECT rowid, distance FROM v WHERE embedding "
                               "MATCH '[3, 1, 4, 1]' AND k = 9";
    char before[1024];
    sqlite3 *db = vectable_open(":memory:");
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec("
                     "embedding float[4] metric=cosine, dept int filter)");
    vectable_run(db, "INSERT INTO v(rowid, embedding) VALUES"
                     " (1, '[0.3, 0.1, 0.7, 0.2]'), (2, '[2, 7, 1, 8]')");
    vectable_run(db, "CREATE TABLE s(id INTEGER PRIMARY KEY, dept, v)");
    vectable_run(db, "INSERT INTO s VALUES (1, 31, '[9,0,0,0]'), (2, 32, 0)");
    snprintf(before, sizeof before, "%s", vectable_text(db, near));
    vectable_run(db, "UPDATE v SET dept = s.dept FROM s WHERE id = v.rowid");
    vectable_is(db, "SELECT rowid, dept FROM v", "1|31 2|32");
    vectable_is(db, near, before);
    vectable_run(db, "UPDATE v SET embedding = s.v FROM s WHERE s.id = 1 AND"
                     " v.rowid = 2");
    vectable_is(db,
                "SELECT rowid, distance FROM v WHERE embedding MATCH"
                " '[9, 0, 0, 0]' AND k = 1 AND dept = 32",
                "2|0.0");
    vectable_run(db, "UPDATE v SET dept = 33 FROM s WHERE s.id = 1 AND"
                     " v.embedding MATCH s.v AND k = 1");
    vectable_is(db, "SELECT rowid FROM v WHERE dept = 33", "2");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void conflicts_are_settled_as_the_statement_says(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
#define ROW(id, x) "(" #id ", '[" #x ", 0, 0, 0]', 'a')"
    vectable_refused(db,
                     "INSERT INTO v(rowid, embedding, tenant) VALUES " ROW(
                         7, 7) ", " ROW(1, 8),
                     "UNIQUE constraint failed: v.rowid");
    vectable_is(db, "SELECT count(*) FROM v", "6");
    vectable_run(
        db, "INSERT OR IGNORE INTO v(rowid, embedding, tenant) VALUES " ROW(
                7, 7) ", " ROW(1, 8));
    vectable_is(
        db, "SELECT rowid FROM v WHERE rowid IN (1, 6, 7, 8) ORDER BY rowid",
        "1 6 7");
    vectable_run(db, "REPLACE INTO v(rowid, embedding, tenant) VALUES " ROW(
                         1, 11) ", " ROW(8, 8));
    vectable_is(db, NEAR " AND k = 9", "2 3 4 5 6 7 8 1");
    vectable_is(db, "SELECT dept, chunk FROM v WHERE rowid = 1", "-|-");
    vectable_refused(db,
                     "INSERT INTO v(rowid, embedding, tenant) VALUES"
                     " ('x', '[1,1,1,1]', 'a')",
                     "datatype mismatch");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void rowids_are_sqlites(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
    vectable_run(db, "INSERT INTO v(embedding, tenant) VALUES ('[1,1,1,1]',"
                     " 'a')");
    vectable_is(db, "SELECT last_insert_rowid(), changes()", "7|1");
    vectable_run(db, "UPDATE v SET dept = 1 WHERE rowid < 4");
    vectable_is(db, "SELECT last_insert_rowid(), changes()", "7|3");
    vectable_run(db, "INSERT INTO v(v) VALUES ('optimize')");
    vectable_is(db, "SELECT last_insert_rowid()", "7");
    vectable_run(db, "DELETE FROM v WHERE rowid = 7");
    vectable_is(db, "SELECT last_insert_rowid(), changes()", "7|1");
    vectable_run(db, "INSERT INTO v(rowid, embedding, tenant) VALUES"
                     " (-5, '[1,1,1,1]', 'a'),"
                     " (9223372036854775807, '[1,1,1,1]', 'a')");
    vectable_refused(db,
                     "INSERT INTO v(embedding, tenant) VALUES"
                     " ('[1,1,1,1]', 'a')",
                     "no rowid is left");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid = -5", "-5");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid = '3'", "3");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid = 3.5", "");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid = NULL", "");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid BETWEEN 2 AND 3.5", "2 3");
    vectable_is(db, "SELECT rowid FROM v WHERE rowid > 4 AND rowid <= 6",
                "5 6");
    vectable_is(db, "SELECT rowid FROM v ORDER BY rowid DESC LIMIT 1",
                "9223372036854775807");
    vectable_run(db, "DELETE FROM v");
    vectable_is(db, "SELECT count(*) FROM v", "0");
    vectable_is(db, NEAR " AND k = 9", "");
    vectable_sound(db, "main");
    sqlite3_close(db);
}

static void a_deleted_vector_leaves_no_bytes(void **state)
{
    char folder[256], path[300];
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/v.db", folder);
    sqlite3 *db = vectable_open(path);
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[64] "
                     "store=f32)");
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = 1234.5F + (float)i;
    vectable_bind(db, "INSERT INTO v(rowid, e) VALUES (1, ?1)", v, 64);
    vectable_run(db, "DELETE FROM v WHERE rowid = 1");
    sqlite3_close(db);
    FILE *f = fopen(path, "rb");
    static uint8_t bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_null(memmem(bytes, n, &v[7], 4 * sizeof *v));
    check_tmpdir_remove(folder);
}

static void commands_and_functions_say_ok(void **state)
{
    sqlite3 *db = with_rows();
    (void)state;
    vectable_run(db, "INSERT INTO v(v) VALUES ('integrity-check')");
    vectable_run(db, "INSERT INTO v(v) VALUES ('optimize')");
    vectable_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
    vectable_is(db, "SELECT tacit_vec_check('v')", "ok");
    vectable_is(db, "SELECT tacit_vec_check('main', 'v')", "ok");
    vectable_refused(db, "SELECT tacit_vec_check('nothing')", "no such");
    vectable_refused(db, "SELECT tacit_vec_check(NULL)", "no such");
    vectable_refused(db, "SELECT tacit_vec_check('sqlite_master')", "no such");
    vectable_is(db, NEAR " AND k = 9 AND tenant > 'a'", "3 4 5 6");
    struct vecindex_recall m;
    check_ok(vecindex_measure(db, "main", "v", 3, 2, NULL, &m));
    assert_true(m.n_queries == 3 && m.recall == 1.0);
    check_err(vecindex_measure(db, "main", "w", 3, 2, NULL, &m),
              TACIT_NOTFOUND);
    sqlite3_close(db);
}

static void thousands_of_equal_vectors_are_rows_like_others(void **state)
{
    (void)state;
    sqlite3 *db = vectable_open(":memory:");
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec("
                     "e float[4], kind int filter)");
    vectable_run(db, "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                     "WHERE i < 6000) INSERT INTO v(rowid, e, kind) "
                     "SELECT i, '[1, 2, 3, ' || iif(i % 10, 4, -i) || ']', "
                     "i % 100 FROM n");
    vectable_sound(db, "main");
    vectable_is(db,
                "SELECT count(*), sum(rowid % 10 > 0) FROM v "
                "WHERE e MATCH '[1, 2, 3, 4]' AND k = 50",
                "50|50");
    vectable_is(db,
                "SELECT count(*), sum(rowid % 100 = 7) FROM v "
                "WHERE e MATCH '[1, 2, 3, 4]' AND k = 100 AND kind = 7",
                "60|60");
    vectable_run(db, "DELETE FROM v WHERE rowid % 20 > 0");
    vectable_sound(db, "main");
    vectable_is(db, "SELECT count(*) FROM v", "300");
    vectable_run(db, "UPDATE v SET e = '[4, 3, 2, 1]'");
    vectable_sound(db, "main");
    vectable_is(db,
                "SELECT count(*) FROM v "
                "WHERE e MATCH '[4, 3, 2, 1]' AND k = 400",
                "300");
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(declarations_are_checked),
        cmocka_unit_test(numbers_of_columns_are_bounded),
        cmocka_unit_test(names_may_be_quoted_and_odd),
        cmocka_unit_test(a_table_never_takes_over_one_that_is_there),
        cmocka_unit_test(bad_vectors_are_refused_and_change_nothing),
        cmocka_unit_test(bytes_and_json_are_the_same_vector),
        cmocka_unit_test(close_vectors_have_exact_distances),
        cmocka_unit_test(filters_compare_as_sqlite_does),
        cmocka_unit_test(hits_come_by_distance_with_what_was_asked),
        cmocka_unit_test(a_search_that_cannot_be_is_refused),
        cmocka_unit_test(limit_is_k_where_sqlite_tells_it),
        cmocka_unit_test(each_kind_of_update_is_seen_by_searches),
        cmocka_unit_test(an_update_from_another_table_changes_what_it_names),
        cmocka_unit_test(conflicts_are_settled_as_the_statement_says),
        cmocka_unit_test(rowids_are_sqlites),
        cmocka_unit_test(a_deleted_vector_leaves_no_bytes),
        cmocka_unit_test(commands_and_functions_say_ok),
        cmocka_unit_test(thousands_of_equal_vectors_are_rows_like_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Tables of sqlite-vec come over with all that they hold, from their shadow
 * tables alone. These are written here byte by byte, as version 0.1.10-alpha.4
 * writes them for
 *
 *   CREATE VIRTUAL TABLE old USING vec0(id integer primary key, embedding
 *     float[3] distance_metric=cosine, tenant text partition key, dept integer,
 *     live boolean, price float, lang text, +chunk text, chunk_size=8);
 *   INSERT INTO old VALUES
 *     (3, '[1,2,3]', 'a', 1, 1, 0.5, 'en', 'one'),
 *     (7, '[4,5,-6]', 'b', -2, 0, -1.25, 'a language that is long', 'two'),
 *     (9, …), (11, '[1,0,0]', 'a', 4, 0, 0.0, '', 'four');
 *   DELETE FROM old WHERE id = 9;
 */
#include "tests/retrieval/vectable.h"

/* Bytes, and zeros up to n in all. */
#define FILLED(hex, n)                                                         \
 "CAST(x'" hex "' || zeroblob(" #n " - length(x'" hex "')) AS BLOB)"

static const char *const old_tables[] = {
    "CREATE TABLE old_chunks(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size"
    " INTEGER NOT NULL,sequence_id integer,partition00,validity BLOB NOT NULL,"
    " rowids BLOB NOT NULL)",
    "INSERT INTO old_chunks VALUES (1, 8, NULL, 'a', x'05', " FILLED(
        "030000000000000000000000000000000B", 64) "), (2, 8, NULL, 'b', x'01',"
                                                  " " FILLED("07", 64) ")",
    "CREATE TABLE old_vector_chunks00(rowid PRIMARY KEY,vectors BLOB NOT NULL)",
    "INSERT INTO old_vector_chunks00 VALUES (1, " FILLED(
        "0000803F00000040000040400000000000000000000000000000803F",
        96) "),"
            " "
            "(2,"
            " " FILLED("000080400000A0400000C0C0", 96) ")",
    "CREATE TABLE old_metadatachunks00(rowid PRIMARY KEY, data BLOB NOT NULL)",
    "INSERT INTO old_metadatachunks00 VALUES (1, " FILLED(
        "0100000000000000000000000000000004",
        64) "), (2, " FILLED("FEFFFFFFFFFFFFFF", 64) ")",
    "CREATE TABLE old_metadatachunks01(rowid PRIMARY KEY, data BLOB NOT NULL)",
    "INSERT INTO old_metadatachunks01 VALUES (1, x'01'), (2, x'00')",
    "CREATE TABLE old_metadatachunks02(rowid PRIMARY KEY, data BLOB NOT NULL)",
    "INSERT INTO old_metadatachunks02 VALUES (1, " FILLED(
        "000000000000E03F", 64) "), (2, " FILLED("000000000000F4BF", 64) ")",
    "CREATE TABLE old_metadatachunks03(rowid PRIMARY KEY, data BLOB NOT NULL)",
    "INSERT INTO old_metadatachunks03 VALUES (1, " FILLED(
        "02000000656E",
        128) "), (2, " FILLED("1700000061206C616E67756167652074", 128) ")",
    "CREATE TABLE old_metadatatext03(rowid PRIMARY KEY, data TEXT)",
    "INSERT INTO old_metadatatext03 VALUES (7, 'a language that is long')",
    "CREATE TABLE old_auxiliary(rowid integer PRIMARY KEY, value00)",
    "INSERT INTO old_auxiliary VALUES (3, 'one'), (7, 'two'), (11, 'four')",
    "CREATE TABLE keyed_chunks(chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,size"
    " INTEGER NOT NULL,validity BLOB NOT NULL,rowids BLOB NOT NULL)",
    "INSERT INTO keyed_chunks VALUES (1, 8, x'03', " FILLED(
        "010000000000000002", 64) ")",
    "CREATE TABLE keyed_rowids(rowid INTEGER PRIMARY KEY AUTOINCREMENT,id TEXT"
    " UNIQUE NOT NULL,chunk_id INTEGER,chunk_offset INTEGER)",
    "INSERT INTO keyed_rowids VALUES (1, 'first', 1, 0), (2, 'second', 1, 1)",
    "CREATE TABLE keyed_vector_chunks00(rowid PRIMARY KEY,vectors BLOB NOT"
    " NULL)",
    "INSERT INTO keyed_vector_chunks00 VALUES (1, " FILLED("01FE0364807F",
                                                           24) ")",
};

static const char *const declarations[][2] = {
    {"old", "CREATE VIRTUAL TABLE old using vec0(id integer primary key,"
            " embedding float[3] distance_metric=cosine, tenant text partition"
            " key, dept integer, live boolean, price float, lang text, +chunk"
            " text, chunk_size=8)"},
    {"keyed", "CREATE VIRTUAL TABLE keyed USING vec0(\n  name text primary"
              " key,\n  e int8[3], chunk_size=8)"},
    {"two", "CREATE VIRTUAL TABLE two using vec0(e float[3], f float[3])"},
    {"bits", "CREATE VIRTUAL TABLE bits using vec0(embedding bit[8])"},
    {"lost", "CREATE VIRTUAL TABLE lost using vec0(embedding float[3])"},
    {"open", "CREATE VIRTUAL TABLE open using vec0(embedding float[3]"},
    {"other", "CREATE VIRTUAL TABLE other using fts5(embedding)"},
    {"wide", "CREATE VIRTUAL TABLE wide using vec0(embedding float[4])"},
};

static sqlite3 *with_old(void)
{
    sqlite3 *db = vectable_open(":memory:");
    for (size_t i = 0; i < sizeof old_tables / sizeof old_tables[0]; i++)
        vectable_run(db, old_tables[i]);
    vectable_run(db, "PRAGMA writable_schema = on");
    for (size_t i = 0; i < sizeof declarations / sizeof declarations[0]; i++) {
        char *sql = sqlite3_mprintf("INSERT INTO sqlite_master VALUES ('table',"
                                    " %Q, %Q, 0, %Q)",
                                    declarations[i][0], declarations[i][0],
                                    declarations[i][1]);
        vectable_run(db, sql);
        sqlite3_free(sql);
    }
    vectable_run(db, "PRAGMA writable_schema = off");
    return db;
}

#define TARGET                                                                 \
 "CREATE VIRTUAL TABLE v USING tacit_vec(embedding float[3] store=f32, "       \
 "tenant text partition key, dept int filter, live int filter, price real "    \
 "filter, lang text filter, +chunk text)"
#define ALL                                                                    \
 "SELECT rowid,hex(embedding),tenant,dept,live,price,lang,chunk FROM v"
#define WANT                                                                   \
 "3|0000803F0000004000004040|a|1|1|0.5|en|one "                                \
 "7|000080400000A0400000C0C0|b|-2|0|-1.25|a language that is long|two "        \
 "11|0000803F0000000000000000|a|4|0|0.0||four"

static void every_column_comes_over(void **state)
{
    sqlite3 *db = with_old();
    (void)state;
    vectable_run(db, TARGET);
    vectable_run(db, "INSERT INTO v(v) VALUES ('import:old')");
    vectable_is(db, ALL, WANT);
    vectable_is(db,
                "SELECT rowid FROM v WHERE embedding MATCH '[4,5,-6]' AND k = 3"
                " AND lang = 'a language that is long'",
                "7");
    vectable_sound(db, "main");
    /* Rows that are there already are not written over. */
    vectable_refused(db, "INSERT INTO v(v) VALUES ('import:old')",
                     "there is a row 3");
    vectable_is(db, ALL, WANT);
    sqlite3_close(db);
}

static void a_text_key_and_bytes_come_over(void **state)
{
    sqlite3 *db = with_old();
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(e float[3]"
                     " metric=l2 store=f32, +name)");
    vectable_is(db, "SELECT tacit_vec_import('v', 'keyed')", "-");
    vectable_is(db, "SELECT rowid, name, hex(e) FROM v",
                "1|first|0000803F000000C000004040 "
                "2|second|0000C842000000C30000FE42");
    sqlite3_close(db);
}

static void what_cannot_come_over_is_named(void **state)
{
    static const char *const cases[][2] = {
        {"old", "old.tenant would be lost"},
        {"keyed", "keyed.name would be lost"},
        {"two", "two.e would be lost"},
        {"bits", "its vectors are bits"},
        {"lost", "lost_chunks"},
        {"open", "has no end"},
        {"other", "no table of sqlite-vec"},
        {"wide", "vectors of 4 numbers"},
        {"v", "no table of sqlite-vec"},
        {"nothing", "no such table"},
        {"it's", "no such table"},
        {"", "no such table"},
    };
    sqlite3 *db = with_old();
    (void)state;
    vectable_run(db, "CREATE VIRTUAL TABLE v USING tacit_vec(embedding"
                     " float[3])");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *sql = sqlite3_mprintf("INSERT INTO v(v) VALUES ('import:%q')",
                                    cases[i][0]);
        vectable_refused(db, sql, cases[i][1]);
        sqlite3_free(sql);
    }
    vectable_is(db, "SELECT count(*) FROM v", "0");
    sqlite3_close(db);
}

static void damaged_sources_are_refused_and_change_nothing(void **state)
{
    static const char *const damages[][2] = {
        {"UPDATE old_chunks SET rowids = zeroblob(63)", "shorter"},
        {"UPDATE old_chunks SET validity = zeroblob(99999)", "shorter"},
        {"UPDATE old_chunks SET validity = 'text of many bytes'", "shorter"},
        {"UPDATE old_vector_chunks00 SET vectors = zeroblob(95)", "shorter"},
        {"UPDATE old_metadatachunks00 SET data = zeroblob(3)", "shorter"},
        {"UPDATE old_metadatachunks03 SET data = zeroblob(3)", "shorter"},
        {"UPDATE old_metadatachunks01 SET data = x''", "shorter"},
        {"DELETE FROM old_metadatachunks02", "lost its metadata"},
        {"DROP TABLE old_auxiliary", "old_auxiliary"},
        {"UPDATE old_chunks SET partition00 = NULL", "not NULL"},
        {"UPDATE old_vector_chunks00 SET vectors = zeroblob(96)", "row"},
        {"UPDATE old_chunks SET rowids = zeroblob(64)", "there is a row 0"},
        {"UPDATE old_metadatachunks03 SET data = CAST(x'ffffffff' ||"
         " zeroblob(124) AS BLOB)",
         ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        sqlite3 *db = with_old();
        vectable_run(db, TARGET);
        vectable_run(db, damages[i][0]);
        if (damages[i][1][0]) {
            vectable_refused(db, "INSERT INTO v(v) VALUES ('import:old')",
                             damages[i][1]);
            vectable_is(db, "SELECT count(*) FROM v", "0");
        } else {
            vectable_run(db, "INSERT INTO v(v) VALUES ('import:old')");
        }
        vectable_sound(db, "main");
        sqlite3_close(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column_comes_over),
        cmocka_unit_test(a_text_key_and_bytes_come_over),
        cmocka_unit_test(what_cannot_come_over_is_named),
        cmocka_unit_test(damaged_sources_are_refused_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

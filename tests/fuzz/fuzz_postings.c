/* A word index whose leaves and records are damaged as the bytes say: a
 * question is answered from them or they are damaged, and its segments are
 * merged or left alone: nothing but errors comes of it, and nothing stays
 * recorded. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/postings.h"
#include "retrieval/words.h"
#include "retrieval/words_merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 24, SEGMENTS = 3, INPUT_MAX = 600, DAMAGES_MAX = 4 };

/* Bytes that decide; zeros behind the end. */
struct source {
    const uint8_t *p;
    size_t left;
};

static unsigned draw(struct source *s, unsigned n)
{
    unsigned v = 0;
    for (int i = 0; i < 2 && s->left; i++, s->left--) v = v << 8 | *s->p++;
    return v % n;
}

static void must(enum tacit_err err)
{
    if (!err) return;
    fprintf(stderr, "%s\n", err_message());
    abort();
}

/* Rows of a segment; a third of them replace those of the one before. */
static void fill(struct db *db, int64_t segment)
{
    must(db_begin(db));
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t id = segment * ROWS * 2 / 3 + i;
        must(db_run(db, "DELETE FROM chunk_fts WHERE rowid = ?", "i", id));
        must(db_run(db,
                    "INSERT INTO chunk_content VALUES(?1, 't7', '',"
                    " 'w1 w' || ?1 || replace(hex(zeroblob(?1 % 9)), '0',"
                    " ' w2') || ' w3')"
                    " ON CONFLICT DO UPDATE SET text = 'w1 w4 w1'",
                    "i", id));
        must(db_run(db,
                    "INSERT INTO chunk_fts(rowid, title, heading, text)"
                    " SELECT * FROM chunk_content WHERE id = ?",
                    "i", id));
    }
    must(db_commit(db));
}

static void make(struct db *db)
{
    *db = (struct db){.path = ":memory:"};
    db_setup();
    if (sqlite3_open(db->path, &db->sql) != SQLITE_OK) abort();
    must(db_exec(db, "CREATE TABLE chunk_content(id INTEGER PRIMARY KEY,"
                     " title, heading, text)"));
    must(words_open(db));
    must(db_exec(db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                     " VALUES('pgsz', 64), ('automerge', 0)"));
    for (int64_t i = 0; i < SEGMENTS; i++) fill(db, i);
    must(db_exec(db, "CREATE TEMP TABLE whole AS"
                     " SELECT * FROM chunk_fts_data"));
}

/* Of one row some bytes become others, or it ends there, or is gone. */
static void damage(struct db *db, struct source *s)
{
    static const char *const how[] = {
        "UPDATE chunk_fts_data SET block = substr(block, 1, ?2) || ?3 ||"
        " substr(block, ?2 + length(?3) + 1)",
        "UPDATE chunk_fts_data SET block = substr(block, 1, ?2) || ?3",
        "UPDATE chunk_fts_data SET block = substr(block, 1, ?2) || ?3 ||"
        " substr(block, ?2 + 1)",
        "DELETE FROM chunk_fts_data"};
    char sql[256];
    snprintf(sql, sizeof sql,
             "%s WHERE id = (SELECT id FROM chunk_fts_data LIMIT 1 OFFSET ?1)",
             how[draw(s, 4)]);
    int64_t row = draw(s, 64), at = draw(s, 96);
    size_t n = draw(s, 80);
    if (n > s->left) n = s->left;
    sqlite3_stmt *st;
    must(db_query(db, &st, sql, ""));
    sqlite3_bind_int64(st, 1, row);
    sqlite3_bind_int64(st, 2, at);
    sqlite3_bind_blob(st, 3, s->p, (int)n, SQLITE_STATIC);
    if (sqlite3_step(st) != SQLITE_DONE) abort();
    db_finish(st);
    s->p += n;
    s->left -= n;
}

static enum tacit_err read_all(struct postings *p)
{
    static const char *const tokens[] = {"w1", "w2", "w17", "w4", "t7", "x"};
    struct postings_window *w;
    uint64_t n, n_words;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        TRY(postings_add(p, tokens[i], strlen(tokens[i])));
    for (int depth = POSTINGS_ROWS; depth <= POSTINGS_PLACES; depth++) {
        TRY(postings_begin(p, (enum postings_depth)depth));
        do TRY(postings_next(p, &w));
        while (w);
    }
    return postings_totals(p, &n, &n_words);
}

static enum tacit_err ask(struct db *db)
{
    static const uint32_t weight[WORDS_COLUMNS] = {1, 3, 1};
    struct postings *p;
    TRY(postings_open(db, weight, &p));
    if (!p) return TACIT_OK;
    enum tacit_err err = read_all(p);
    postings_close(p);
    return err;
}

static enum tacit_err merge(struct words_rows *rows, struct words_record *r)
{
    const char *wrong;
    int is_done = 0;
    TRY(words_record_read(rows, r, &wrong));
    if (wrong || r->n_segments > WORDS_MERGED_MAX) return TACIT_OK;
    struct words_span out = {.id = words_record_free_id(r)};
    TRY(words_merge(rows, r->segment, r->n_segments, 1, &out, &is_done));
    return is_done ? words_record_add(rows->db, r, 1, &out) : TACIT_OK;
}

static void merge_all(struct db *db)
{
    static struct words_record record;
    struct words_rows rows;
    must(db_begin(db));
    must(words_rows_open(db, &rows));
    if (merge(&rows, &record)) err_clear();
    words_rows_close(&rows);
    must(db_exec(db, "ROLLBACK"));
}

static size_t count_statements(const struct db *db)
{
    size_t n = 0;
    sqlite3_stmt *st = NULL;
    while ((st = sqlite3_next_stmt(db->sql, st))) n++;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct db db;
    struct source s = {data, size};
    if (size > INPUT_MAX) return 0;
    if (!db.sql) make(&db);
    size_t n_statements = count_statements(&db);
    for (int i = 0; i < DAMAGES_MAX && s.left; i++) damage(&db, &s);
    if (ask(&db)) err_clear();
    merge_all(&db);
    must(db_exec(&db, "DELETE FROM chunk_fts_data;"
                      "INSERT INTO chunk_fts_data SELECT * FROM whole"));
    assert(count_statements(&db) == n_statements);
    assert(err_message()[0] == '\0');
    return 0;
}

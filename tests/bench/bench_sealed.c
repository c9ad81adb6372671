/*
 * bench_sealed: what sealing the store costs (common/crypto/sealed.h).
 *
 *   sealed_search   one search_hybrid(), words and vectors, best 5, over the
 *                   same passages in a sealed and in a plain store, asked in
 *                   turn: `warm`, one question after the other; `first`, each
 *                   from a connection opened for it, as a command is; ratios
 *   sealed_ingest   adding the documents, per passage; and `index`, the part
 *                   of it that is SQLite's: rows in one transaction
 *   sealed_page_us  sealing and opening one page of 4, 8, 16 KiB
 *
 * The documents are drawn from a seeded stream: words by Zipf's law, so that
 * posting lists have the lengths of real ones. Both stores must give the same
 * hits. CPU time of the thread, since the machine may do other things; files
 * are in the system's cache, so that the disk does not hide the cost.
 */
#include "tests/check.h"

#include "tests/bench/bench.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/crypto/sealed.h"
#include "retrieval/corpus.h"
#include "retrieval/schema.h"
#include "retrieval/search.h"

enum {
    DOCUMENTS = 1500,
    SECTIONS = 10,
    SECTION_WORDS = 90,
    VOCABULARY = 30000,
    QUESTIONS = 60,
    QUESTION_WORDS = 6,
    FIRST = 15,
    TURNS = 5,
    BEST = 5,
    ROWS = 20000,
    SEED = 31
};

struct store {
    const char *name;
    char path[300];
    const struct db_vfs *door; /* NULL: plain */
    struct db db;
    struct corpus *corpus;
    double add_ms, rows_ms;
};

static char folder[256];
static struct encoder *encoder;

/* A word of rank r: short for the frequent ones, as in a language. */
static size_t put_word(char *out, struct rng *r)
{
    static const char sounds[] = "etaoinshrdlucmfwyp";
    double u = (double)rng_below(r, 1u << 30) / (double)(1u << 30);
    unsigned rank = (unsigned)(exp(u * log(VOCABULARY)) - 1);
    size_t n = 0;
    for (unsigned k = rank + 18; k; k /= 18) out[n++] = sounds[k % 18];
    return n;
}

static const char *draw_question(unsigned i)
{
    static char text[QUESTION_WORDS * 12];
    struct rng r;
    size_t n = 0;
    rng_init(&r, SEED, 2, i);
    for (int k = 0; k < QUESTION_WORDS; k++) {
        n += put_word(text + n, &r);
        text[n++] = ' ';
    }
    text[n] = '\0';
    return text;
}

static void write_documents(void)
{
    static char text[SECTIONS * (SECTION_WORDS * 10 + 64)];
    for (unsigned i = 0; i < DOCUMENTS; i++) {
        struct rng r;
        size_t n = 0;
        char path[300];
        rng_init(&r, SEED, 1, i);
        for (unsigned s = 0; s < SECTIONS; s++) {
            n += (size_t)sprintf(text + n, "## Part %u\n\n", s);
            for (int k = 0; k < SECTION_WORDS; k++) {
                n += put_word(text + n, &r);
                text[n++] = k % 15 == 14 ? '.' : ' ';
                if (k % 15 == 14) text[n++] = ' ';
            }
            n += (size_t)sprintf(text + n, "\n\n");
        }
        snprintf(path, sizeof path, "%s/docs/d%04u.md", folder, i);
        must(file_write(path, text, n, 0600));
    }
}

static enum tacit_err visit(const char *path, void *ctx)
{
    enum corpus_outcome outcome;
    size_t n;
    return corpus_add(ctx, path, &outcome, &n);
}

static void store_open(struct store *s)
{
    must(schema_open(&s->db, s->path, DB_CREATE, s->door));
    must(corpus_open(&s->db, encoder, &s->corpus));
}

static void store_close(struct store *s)
{
    corpus_close(s->corpus);
    db_close(&s->db);
}

static void ingest(struct store *s)
{
    char docs[300];
    snprintf(docs, sizeof docs, "%s/docs", folder);
    store_open(s);
    double from = bench_cpu_ms();
    must(file_walk(docs, visit, s->corpus));
    s->add_ms = bench_cpu_ms() - from;
    fprintf(stderr, "%s: %d documents in %.0f ms of CPU\n", s->name, DOCUMENTS,
            s->add_ms);
}

/* Rows, words and vectors as an ingest writes them, in one transaction. */
static void insert_rows(struct store *s)
{
    static float v[384];
    char text[600];
    struct rng r;
    rng_init(&r, SEED, 3, 0);
    must(db_exec(&s->db, "CREATE TABLE bench_row(id INTEGER PRIMARY KEY,"
                         " text TEXT, v BLOB);"
                         "CREATE VIRTUAL TABLE bench_fts USING fts5(text,"
                         " content='bench_row', content_rowid='id')"));
    double from = bench_cpu_ms();
    must(db_begin(&s->db));
    for (int i = 0; i < ROWS; i++) {
        size_t n = 0;
        while (n < sizeof text - 16) {
            n += put_word(text + n, &r);
            text[n++] = ' ';
        }
        text[n] = '\0';
        v[i % 384] = (float)i;
        must(db_run(&s->db, "INSERT INTO bench_row VALUES(?, ?, ?)", "isb",
                    (int64_t)i, text, (const void *)v, sizeof v));
        must(db_run(&s->db, "INSERT INTO bench_fts(rowid, text) VALUES(?, ?)",
                    "is", (int64_t)i, text));
    }
    must(db_commit(&s->db));
    s->rows_ms = bench_cpu_ms() - from;
    must(db_exec(&s->db, "DROP TABLE bench_fts; DROP TABLE bench_row;"
                         "PRAGMA wal_checkpoint(TRUNCATE)"));
}

/* One question; returns a sum that tells the hits apart. */
static uint64_t ask(struct store *s, unsigned i, double *ms)
{
    struct arena a;
    struct search_hit *hits = NULL;
    struct search_query q = {.text = draw_question(i), .limit = BEST};
    size_t n = 0;
    uint64_t sum = 0;
    arena_init(&a, 0);
    double from = bench_cpu_ms();
    must(search_hybrid(s->corpus, &q, &a, &hits, &n));
    *ms += bench_cpu_ms() - from;
    for (size_t k = 0; k < n; k++)
        sum = sum * 1000003 + (uint64_t)hits[k].chunk_id;
    arena_release(&a);
    return sum;
}

static void compare(uint64_t a, uint64_t b)
{
    if (a == b) return;
    fprintf(stderr, "the stores give different hits\n");
    exit(1);
}

static void print_ratio(const char *name, double *sealed, double *plain,
                        size_t n, double limit)
{
    struct bench_figure f = {.bench = "sealed_search",
                             .name = name,
                             .unit = "ms",
                             .peer = "the same in a plain store"};
    double ratio[QUESTIONS * TURNS];
    for (size_t i = 0; i < n; i++) ratio[i] = sealed[i] / plain[i];
    f.value = bench_median(sealed, n);
    f.peer_value = bench_median(plain, n);
    bench_print(&f);
    printf("{\"bench\": \"sealed_search\", \"case\": \"%s, over plain\", "
           "\"value\": %.4g, \"unit\": \"times\", \"peer\": null, "
           "\"peer_value\": null, \"ratio\": null, \"limit\": %g}\n",
           name, bench_median(ratio, n), limit);
    fflush(stdout);
}

static void warm(struct store *sealed, struct store *plain)
{
    double a[TURNS] = {0}, b[TURNS] = {0}, none = 0;
    for (unsigned i = 0; i < QUESTIONS; i++) { /* caches fill */
        ask(sealed, i, &none);
        ask(plain, i, &none);
    }
    for (int t = 0; t < TURNS; t++) {
        for (unsigned i = 0; i < QUESTIONS; i++)
            compare(ask(sealed, i, &a[t]), ask(plain, i, &b[t]));
        a[t] /= QUESTIONS;
        b[t] /= QUESTIONS;
    }
    print_ratio("warm", a, b, TURNS, 1.15);
}

static double first_of(struct store *s, unsigned i)
{
    double ms = 0, from;
    store_close(s);
    from = bench_cpu_ms();
    store_open(s);
    ask(s, i, &ms);
    return bench_cpu_ms() - from;
}

static void first(struct store *sealed, struct store *plain)
{
    double a[FIRST], b[FIRST];
    for (unsigned i = 0; i < FIRST; i++) {
        a[i] = first_of(sealed, i);
        b[i] = first_of(plain, i);
    }
    print_ratio("first, opening included", a, b, FIRST, 0);
}

static void pages(void)
{
    static uint8_t plain[16384], out[16384];
    uint8_t key[SEAL_KEY] = {1};
    for (size_t n = 4096; n <= sizeof plain; n *= 2) {
        double seal[9], open[9];
        char name[32];
        const struct seal_place place = {SEAL_PAGE, n, 0};
        size_t body = n - SEAL_EXTRA;
        for (int t = 0; t < 9; t++) {
            double from = bench_cpu_ms();
            for (int i = 0; i < 1000; i++)
                seal_close(key, &place, plain, body, out, out + body);
            seal[t] = bench_cpu_ms() - from;
            from = bench_cpu_ms();
            for (int i = 0; i < 1000; i++) {
                seal_close(key, &place, plain, body, out, out + body);
                if (seal_open(key, &place, out, body, out + body)) exit(1);
            }
            open[t] = bench_cpu_ms() - from - seal[t];
        }
        snprintf(name, sizeof name, "seal %zu", n);
        bench_print(&(struct bench_figure){.bench = "sealed_page_us",
                                           .name = name,
                                           .unit = "us",
                                           .value = bench_median(seal, 9)});
        snprintf(name, sizeof name, "open %zu", n);
        bench_print(&(struct bench_figure){.bench = "sealed_page_us",
                                           .name = name,
                                           .unit = "us",
                                           .value = bench_median(open, 9)});
    }
}

static void prepare(struct store *s, const struct db_vfs *door)
{
    s->name = door ? "sealed" : "plain";
    s->door = door;
    snprintf(s->path, sizeof s->path, "%s/%s.db", folder, s->name);
    ingest(s);
    insert_rows(s);
}

int main(void)
{
    static struct store sealed, plain;
    uint8_t key[SEAL_KEY];
    struct sealed_vfs *vfs;
    char path[300];
    rng_setup();
    rng_secure(key, sizeof key);
    pages();
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/docs", folder);
    must(file_mkdirs(path, 0700));
    must(encoder_new(&encoder));
    must(sealed_new(key, &vfs));
    struct db_vfs door = sealed_door(vfs);
    write_documents();
    prepare(&sealed, &door);
    prepare(&plain, NULL);
    warm(&sealed, &plain);
    first(&sealed, &plain);
    bench_print(&(struct bench_figure){.bench = "sealed_ingest",
                                       .name = "tacit add, all documents",
                                       .unit = "ms",
                                       .value = sealed.add_ms,
                                       .peer = "the same in a plain store",
                                       .peer_value = plain.add_ms});
    bench_print(&(struct bench_figure){.bench = "sealed_ingest",
                                       .name = "20,000 rows with words",
                                       .unit = "ms",
                                       .value = sealed.rows_ms,
                                       .peer = "the same in a plain store",
                                       .peer_value = plain.rows_ms});
    store_close(&sealed);
    store_close(&plain);
    sealed_free(vfs);
    encoder_free(encoder);
    check_tmpdir_remove(folder);
    return 0;
}

/*
 * bench_ask: the search part of an answer over 100,000 passages, one thread.
 *
 *   ingest_embed      vectors of those passages by the built-in encoder, per
 *                     second of CPU: two of three words are made up, and so
 *                     some twenty n-grams each
 *   ingest_rows       what SQLite takes of an addition: those passages with
 *                     their vectors given, 5,000 to a transaction: rows, words
 *                     (FTS5), vectors, commits; per second of CPU of the
 *                     thread that has more to do: the writer or that which
 *                     indexes the words (words_ahead.h); and by the clock,
 *                     embedding and cutting not counted, which the second
 *                     thread may work in, too. 128 are cut and embedded, then
 *                     written, as corpus.c does, before it locks the store and
 *                     behind that: between two embeddings a write would find
 *                     the processor's caches full of the model. Each passage
 *                     is a document; then the same, ten to a document (a
 *                     collection of real files has more)
 *   ask_search_ms     search_hybrid() as the answerer calls it: the best 20, by
 *                     words and vectors, fused by scores, with their texts; and
 *                     its parts as `ask --explain` has them, by the clock, the
 *                     least of three times, so that other work hides less
 *
 * Passages are 40 to 160 words of a seeded stream: English function words where
 * the commonest stand, then made-up ones, by Zipf and Mandelbrot's law
 * (1 / (rank + 2.7)). A question is 3 to 7 content words of one passage. The
 * best by words are compared with FTS5's own bm25(), which is the peer of the
 * words' part. CPU time of the thread, but for ingest_rows.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/schema.h"
#include "retrieval/search.h"
#include "retrieval/shelve.h"
#include "retrieval/words.h"
#include "tests/bench/bench.h"

enum {
    PASSAGES = 100000,
    VOCABULARY = 60000,
    QUESTIONS = 101,
    PER_WRITE = 5000,
    PER_GATHER = 128, /* documents, as in corpus.c */
    PER_DOCUMENT = 10,
    WORDS_MIN = 40,
    WORDS_MAX = 160,
    TEXT_MAX = WORDS_MAX * 24,
    BEST = 20,
    CANDIDATES = 100,
    SEED = 31
};

static const char function_words[] =
    "the of and to in a is that for it as was with be by on not he this are or "
    "his from at which but have an had they you were their one all we can her "
    "has there been if more when will would who so no";

struct desk {
    char folder[64], path[96];
    struct db db;
    struct encoder *encoder;
    struct corpus *corpus;
    struct arena a;
    char (*vocabulary)[16];
    char (*texts)[TEXT_MAX]; /* [PER_GATHER] */
    size_t n_function;
    double *mass; /* cumulative */
    char (*questions)[256];
    /* Of all passages: CPU of this thread and of the others, the clock. */
    double embed_ms, write_ms, others_ms, wall_ms;
    long per_document;
};

static void name_word(char *out, size_t i)
{
    static const char *const head[] = {"b", "br", "d",  "f", "g",  "k",
                                       "l", "m",  "n",  "p", "pl", "r",
                                       "s", "st", "tr", "v"};
    static const char vowel[] = "aeiou";
    size_t n = 0, left = i * 7 + 6400; /* at least two syllables and a half */
    while (left) {
        n += (size_t)snprintf(out + n, 16 - n, "%s%c", head[left % 16],
                              vowel[left / 16 % 5]);
        left /= 80;
    }
    snprintf(out + n, 16 - n, "x");
}

static void make_vocabulary(struct desk *d)
{
    d->vocabulary = calloc(VOCABULARY, sizeof *d->vocabulary);
    d->mass = calloc(VOCABULARY, sizeof *d->mass);
    d->texts = calloc(PER_GATHER, sizeof *d->texts);
    d->questions = calloc(QUESTIONS, sizeof *d->questions);
    if (!d->vocabulary || !d->mass || !d->texts || !d->questions) exit(1);
    for (const char *p = function_words; *p;) {
        size_t n = strcspn(p, " ");
        memcpy(d->vocabulary[d->n_function++], p, n);
        p += n + (p[n] == ' ');
    }
    double sum = 0;
    for (size_t i = 0; i < VOCABULARY; i++) {
        if (i >= d->n_function) name_word(d->vocabulary[i], i);
        d->mass[i] = sum += 1 / ((double)i + 2.7);
    }
}

static size_t draw(const struct desk *d, struct rng *r)
{
    double at = rng_f64(r) * d->mass[VOCABULARY - 1];
    size_t from = 0, to = VOCABULARY - 1;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (d->mass[mid] <= at)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* A passage; its first content words also make question i, if i is one. */
static void make_text(struct desk *d, struct rng *r, char *text, long question)
{
    size_t n = WORDS_MIN + rng_below(r, WORDS_MAX - WORDS_MIN + 1), at = 0;
    size_t wanted = 3 + rng_below(r, 5), asked = 0;
    for (size_t i = 0; i < n; i++) {
        size_t w = draw(d, r);
        at += (size_t)snprintf(text + at, TEXT_MAX - at, "%s%s",
                               d->vocabulary[w], i % 12 == 11 ? ". " : " ");
        if (question < 0 || w < d->n_function || asked == wanted) continue;
        char *q = d->questions[question];
        size_t len = strlen(q);
        snprintf(q + len, sizeof *d->questions - len, "%s ", d->vocabulary[w]);
        asked++;
    }
}

static double clock_ms(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

struct started {
    double cpu, wall;
};

static struct started start_writing(void)
{
    return (struct started){bench_cpu_ms(), clock_ms(CLOCK_MONOTONIC)};
}

static void stop_writing(struct desk *d, const struct started *at)
{
    d->write_ms += bench_cpu_ms() - at->cpu;
    d->wall_ms += clock_ms(CLOCK_MONOTONIC) - at->wall;
}

/* Passage w, the first of a document or a further one. */
static void shelve_one(struct desk *d, long w, const char *text,
                       const struct shelve_cut *cut, const float *v)
{
    char path[32];
    if (w % d->per_document == 0) {
        snprintf(path, sizeof path, "/made/%ld.txt", w);
        const struct shelve_row row = {path, "", text};
        must(shelve_vector(d->corpus, &row, cut, v));
        return;
    }
    size_t n = strlen(text);
    int64_t document = w / d->per_document + 1; /* of a new store, in order */
    must(corpus_write(d->corpus,
                      &(struct corpus_row){.document_id = document,
                                           .title = "",
                                           .text = text,
                                           .text_len = n,
                                           .heading = "",
                                           .place = {.byte_end = n,
                                                     .line_first = 1,
                                                     .line_last = 1},
                                           .places = cut->places.data,
                                           .n_places = cut->places.len,
                                           .v = v}));
}

/* Passages [first..first + n), their vectors given: those are made first, as
 * corpus_add() embeds what one transaction takes before it writes. */
static void shelve_some(struct desk *d, long first, long n)
{
    static float v[PER_GATHER][ENCODER_DIM];
    static struct shelve_cut cut[PER_GATHER];
    for (long i = 0; i < n; i++) must(shelve_cut(d->texts[i], &cut[i]));
    double from = bench_cpu_ms();
    for (long i = 0; i < n; i++) {
        struct text whole = {d->texts[i], strlen(d->texts[i])};
        must(embedder_passage(d->encoder, &d->a, "", "", whole, v[i]));
    }
    d->embed_ms += bench_cpu_ms() - from;
    struct started at = start_writing();
    for (long i = 0; i < n; i++)
        shelve_one(d, first + i, d->texts[i], &cut[i], v[i]);
    stop_writing(d, &at);
    for (long i = 0; i < n; i++) shelve_cut_release(&cut[i]);
}

/* One transaction. */
static void write_some(struct desk *d, struct rng *r, long first)
{
    const long every = PASSAGES / QUESTIONS;
    struct started started = start_writing();
    must(db_begin(&d->db));
    stop_writing(d, &started);
    for (long at = first, n; at < first + PER_WRITE; at += n) {
        n = first + PER_WRITE - at;
        if (n > PER_GATHER) n = PER_GATHER;
        for (long i = 0; i < n; i++) {
            long w = at + i;
            long question =
                w % every == 0 && w / every < QUESTIONS ? w / every : -1;
            make_text(d, r, d->texts[i], question);
        }
        shelve_some(d, at, n);
    }
    started = start_writing();
    must(shelve_end(d->corpus));
    must(db_commit(&d->db));
    stop_writing(d, &started);
    fprintf(stderr, "# %ld passages\n", first + PER_WRITE);
}

static void fill(struct desk *d)
{
    struct rng r;
    rng_init(&r, SEED, 0, 0);
    d->others_ms = bench_cpu_ms() - clock_ms(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < PASSAGES; i += PER_WRITE) write_some(d, &r, i);
    d->others_ms += clock_ms(CLOCK_PROCESS_CPUTIME_ID) - bench_cpu_ms();
    fprintf(stderr, "# us of CPU a passage: writer %.1f, others %.1f\n",
            d->write_ms * 1e3 / PASSAGES, d->others_ms * 1e3 / PASSAGES);
}

static void setup(struct desk *d)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(d->folder, sizeof d->folder, "%s/tacit-bench-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(d->folder)) exit(1);
    snprintf(d->path, sizeof d->path, "%s/tacit.db", d->folder);
    arena_init(&d->a, 0);
    must(encoder_new(&d->encoder));
    must(schema_open(&d->db, d->path, DB_CREATE, NULL));
    must(db_exec(&d->db, "PRAGMA synchronous = OFF"));
    must(corpus_open(&d->db, d->encoder, &d->corpus));
    make_vocabulary(d);
    fill(d);
}

static void finish(struct desk *d)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];
    corpus_close(d->corpus);
    db_close(&d->db);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", d->path, ends[i]);
        unlink(path);
    }
    rmdir(d->folder);
    encoder_free(d->encoder);
    arena_release(&d->a);
    free(d->vocabulary);
    free(d->mass);
    free(d->texts);
    free(d->questions);
}

/* ---- figures ----------------------------------------------------------- */

enum { EMBED, VECTORS, WORDS, FUSE, READ, N_PARTS, TIMES = 3 };
static const char *const part_names[N_PARTS] = {
    "of it, the question's vector, by the clock, median",
    "of it, the vectors, by the clock, median",
    "of it, the words, by the clock, median",
    "of it, fusing, by the clock, median",
    "of it, reading the texts, by the clock, median"};

/* ms of each part, where less than part[] has. */
static void keep_least(const struct search_report *r, double *part)
{
    const int64_t ns[N_PARTS] = {r->embed_ns, r->vectors_ns, r->words_ns,
                                 r->fuse_ns, r->read_ns};
    for (int k = 0; k < N_PARTS; k++)
        if ((double)ns[k] / 1e6 < part[k]) part[k] = (double)ns[k] / 1e6;
}

static double search_ms(struct desk *d, size_t i, double *part)
{
    const double weight = 0.3;
    struct search_hit *hits = NULL;
    struct search_report report;
    size_t n = 0;
    struct search_query q = {.text = d->questions[i],
                             .limit = BEST,
                             .weight = &weight,
                             .report = &report};
    arena_reset(&d->a);
    double from = bench_cpu_ms();
    must(search_hybrid(d->corpus, &q, &d->a, &hits, &n));
    from = bench_cpu_ms() - from;
    keep_least(&report, part);
    return from;
}

/* FTS5's ranking, and whether ours is the same. */
static double peer_ms(struct desk *d, size_t i, double *ours_ms)
{
    struct question q;
    struct words_hit best[CANDIDATES];
    sqlite3_stmt *st;
    int has_row;
    size_t n = 0;
    arena_reset(&d->a);
    must(question_read(&d->a, d->questions[i], &q));
    struct words_query w = {.fts = q.fts,
                            .term = q.term,
                            .n_terms = q.n_terms,
                            .n_best = CANDIDATES,
                            .best = best};
    double from = bench_cpu_ms();
    must(words_search(&d->db, &w));
    *ours_ms = bench_cpu_ms() - from;
    from = bench_cpu_ms();
    must(db_query(&d->db, &st,
                  "SELECT rowid, bm25(chunk_fts, 1, 3, 1) FROM chunk_fts"
                  " WHERE chunk_fts MATCH ?1"
                  " ORDER BY bm25(chunk_fts, 1, 3, 1), rowid LIMIT ?2",
                  "si", q.fts, (int64_t)CANDIDATES));
    must(db_step(&d->db, st, &has_row));
    for (; has_row; n++) {
        double gap =
            n < w.n_found ? best[n].score + sqlite3_column_double(st, 1) : 1;
        if (gap > 1e-9 || gap < -1e-9) {
            fprintf(stderr, "question %zu: place %zu is not FTS5's\n", i, n);
            exit(1);
        }
        must(db_step(&d->db, st, &has_row));
    }
    db_finish(st);
    return bench_cpu_ms() - from;
}

static void print(const char *name, double value, double limit, double peer)
{
    struct bench_figure f = {.bench = "ask_search_ms",
                             .name = name,
                             .unit = "ms",
                             .value = value,
                             .limit = limit};
    if (peer > 0) f.peer = "FTS5 bm25()", f.peer_value = peer;
    bench_print(&f);
}

static void print_rate(const char *bench, const char *name, double ms)
{
    bench_print(&(struct bench_figure){.bench = bench,
                                       .name = name,
                                       .unit = "1/s",
                                       .value = PASSAGES * 1e3 / ms});
}

/* CPU time of each question, once, and the least of TIMES of each part. */
static void measure(struct desk *d, double *took,
                    double part[N_PARTS][QUESTIONS])
{
    for (size_t i = 0; i < QUESTIONS; i++) {
        double least[N_PARTS];
        for (int k = 0; k < N_PARTS; k++) least[k] = 1e9;
        took[i] = search_ms(d, i, least);
        for (int t = 1; t < TIMES; t++) search_ms(d, i, least);
        for (int k = 0; k < N_PARTS; k++) part[k][i] = least[k];
    }
}

static void print_ingest(const struct desk *d, const char *what)
{
    print_rate("ingest_rows", what,
               d->write_ms > d->others_ms ? d->write_ms : d->others_ms);
    print_rate("ingest_rows", "the same, by the clock", d->wall_ms);
}

int main(void)
{
    static struct desk files = {.per_document = PER_DOCUMENT};
    static struct desk d = {.per_document = 1};
    static double part[N_PARTS][QUESTIONS];
    double took[QUESTIONS], words[QUESTIONS], peer[QUESTIONS];
    rng_setup();
    setup(&d);
    print_rate("ingest_embed", "their vectors, by the built-in encoder",
               d.embed_ms);
    print_ingest(&d, "100,000 passages of 100 words, vectors given");
    search_ms(&d, 0, part[0]); /* vectors and pages are read once */
    measure(&d, took, part);
    for (size_t i = 0; i < QUESTIONS; i++) peer[i] = peer_ms(&d, i, &words[i]);
    double median = bench_median(took, QUESTIONS); /* sorts */
    print("100,000 passages, best 20, median", median, 15, 0);
    print("100,000 passages, best 20, 95th of 100", took[QUESTIONS * 95 / 100],
          0, 0);
    print("of it, the words, best 100, median", bench_median(words, QUESTIONS),
          0, bench_median(peer, QUESTIONS));
    for (int k = 0; k < N_PARTS; k++)
        print(part_names[k], bench_median(part[k], QUESTIONS), 0, 0);
    finish(&d);
    setup(&files);
    print_ingest(&files, "ten of them to a document");
    finish(&files);
    return 0;
}

/*
 * shelf: a corpus in a store of its own below a temporary folder, for tests.
 */
#ifndef TACIT_TESTS_RETRIEVAL_SHELF_H
#define TACIT_TESTS_RETRIEVAL_SHELF_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "retrieval/corpus.h"
#include "retrieval/schema.h"
#include "retrieval/search.h"

struct shelf {
    char folder[256];
    const struct db_vfs *door; /* NULL: the store is plain */
    struct db db;
    struct encoder *encoder;
    struct corpus *corpus;
    struct arena a;
};

/* Open (again) the store of a shelf that has its folder. */
static inline void shelf_open(struct shelf *s)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tacit.db", s->folder);
    check_ok(schema_open(&s->db, path, DB_CREATE, s->door));
    check_ok(corpus_open(&s->db, s->encoder, &s->corpus));
}

static inline void shelf_close(struct shelf *s)
{
    corpus_close(s->corpus);
    db_close(&s->db);
}

static inline void shelf_new_through(struct shelf *s, const struct db_vfs *door)
{
    rng_setup();
    *s = (struct shelf){.door = door};
    arena_init(&s->a, 0);
    check_tmpdir(s->folder);
    check_ok(encoder_new(&s->encoder));
    shelf_open(s);
}

static inline void shelf_new(struct shelf *s)
{
    shelf_new_through(s, NULL);
}

static inline void shelf_free(struct shelf *s)
{
    shelf_close(s);
    encoder_free(s->encoder);
    arena_release(&s->a);
    check_tmpdir_remove(s->folder);
}

/* Write a file below the shelf's folder; returns its path (static). */
static inline const char *shelf_write(const struct shelf *s, const char *name,
                                      const char *text)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(text, 1, strlen(text), f) != strlen(text))
        fail_msg("cannot write %s", path);
    fclose(f);
    return path;
}

static inline enum corpus_outcome shelf_add(struct shelf *s, const char *name,
                                            const char *text)
{
    enum corpus_outcome outcome;
    size_t n;
    check_ok(corpus_add(s->corpus, shelf_write(s, name, text), &outcome, &n));
    return outcome;
}

static enum tacit_err shelf_visit(const char *path, void *ctx)
{
    struct shelf *s = ctx;
    enum corpus_outcome outcome;
    size_t n;
    return corpus_add(s->corpus, path, &outcome, &n);
}

static inline void shelf_add_all(struct shelf *s, const char *folder)
{
    check_ok(file_walk(folder, shelf_visit, s));
}

/* The three indexes agree with each other, and FTS5 with the text. */
static inline struct corpus_counts shelf_check(struct shelf *s)
{
    struct corpus_counts n;
    check_ok(corpus_count(s->corpus, &n));
    assert_int_equal(n.n_chunks, n.n_fts);
    assert_int_equal(n.n_chunks, n.n_vectors);
    check_ok(db_exec(&s->db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                             " VALUES('integrity-check', 1)"));
    return n;
}

/* Search; the arena holds the hits. */
static inline struct search_hit *shelf_search(struct shelf *s, const char *text,
                                              const char *glob, size_t limit,
                                              size_t *n)
{
    struct search_hit *hits = NULL;
    struct filter filter = {.n = 0};
    struct search_query q = {.text = text, .filter = &filter, .limit = limit};
    if (glob) check_ok(filter_add(&filter, "path", glob, FILTER_LIKE));
    check_ok(search_hybrid(s->corpus, &q, &s->a, &hits, n));
    return hits;
}

#endif

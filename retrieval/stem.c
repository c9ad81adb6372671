#include "retrieval/stem.h"

#include <libstemmer.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/stem_cut.h"

static const char *const snowball[N_LANGUAGES] = {
    [LANGUAGE_ENGLISH] = "porter",  [LANGUAGE_GERMAN] = "german",
    [LANGUAGE_FRENCH] = "french",   [LANGUAGE_SPANISH] = "spanish",
    [LANGUAGE_ITALIAN] = "italian", [LANGUAGE_PORTUGUESE] = "portuguese",
    [LANGUAGE_DUTCH] = "dutch",     [LANGUAGE_SWEDISH] = "swedish",
    [LANGUAGE_DANISH] = "danish",   [LANGUAGE_NORWEGIAN] = "norwegian",
    [LANGUAGE_FINNISH] = "finnish", [LANGUAGE_RUSSIAN] = "russian",
};

#define BIT(l) (1u << (l))

enum {
    STEM_BYTES_MAX = 64, /* a longer word is taken as it is */
    MARK_BYTE = 1,
    KNOWN_BITS = 14,
    KNOWN = 1 << KNOWN_BITS, /* places of two words and their stems: 1 MiB */
    KNOWN_BYTES = 24,
    AHEAD = 8 /* words, whose places are on their way meanwhile */
};

/* Of one connection. */
struct stemming {
    fts5_api *api;
    uint32_t ask_in;
};

/* A word of a text and its stem, which mostly is how the word begins; else it
 * stands behind it. */
struct known {
    uint8_t n, n_stem; /* 0: nothing stands here */
    uint8_t language, stem_at;
    uint32_t note; /* of who takes the stems (stem.h) */
    char bytes[KNOWN_BYTES];
};

/* Texts repeat their words, so each stands at the place that its hash names: a
 * new one second, and first when it comes again. So a rare word does not take
 * the place of a common one. */
struct known_two {
    struct known word[2];
};
_Static_assert(sizeof(struct known_two) == 64, "one line of the cache");

/* FTS5 hands it around as Fts5Tokenizer. */
struct stem_reader {
    struct stemming *shared; /* borrowed */
    struct stem_unicode unicode;
    Fts5Tokenizer *plain; /* unicode61 without accents */
    struct sb_stemmer *rules[N_LANGUAGES];
    struct stem_tokens tokens;
    struct known_two *known; /* [KNOWN] owned, NULL before the first text */
    char stripped[STEM_BYTES_MAX + 1];
    int n_stripped;
};

void stem_mark(enum language l, char out[STEM_MARK_BYTES + 1])
{
    out[0] = MARK_BYTE;
    memcpy(out + 1, language_code(l), STEM_MARK_BYTES);
}

static enum language detect(const struct stem_tokens *t)
{
    struct language_tally tally = {0};
    for (size_t i = 0; i < t->n && i < LANGUAGE_WORDS; i++)
        language_count(&tally, t->bytes + t->list[i].at, t->list[i].n);
    return language_best(&tally);
}

/* ---- stems ---------------------------------------------------------------
 */

static int is_ascii(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((signed char)s[i] < 0) return 0;
    return 1;
}

static int on_stripped(void *ctx, int flags, const char *word, int n, int first,
                       int end)
{
    struct stem_reader *k = ctx;
    (void)flags, (void)first, (void)end;
    if (k->n_stripped || n > STEM_BYTES_MAX) return SQLITE_OK;
    memcpy(k->stripped, word, (size_t)n);
    k->n_stripped = n;
    return SQLITE_OK;
}

/* Without accents, where that leaves a word. */
static int strip(struct stem_reader *k, const char **s, size_t *n)
{
    if (*n > STEM_BYTES_MAX || is_ascii(*s, *n)) return SQLITE_OK;
    k->n_stripped = 0;
    int rc = k->unicode.methods.xTokenize(k->plain, k, FTS5_TOKENIZE_AUX, *s,
                                          (int)*n, on_stripped);
    if (rc == SQLITE_OK && k->n_stripped > 0) {
        *s = k->stripped;
        *n = (size_t)k->n_stripped;
    }
    return rc;
}

static int stem_word(struct stem_reader *k, enum language l, const char **s,
                     size_t *n)
{
    if (*n > STEM_BYTES_MAX) return SQLITE_OK;
    if (!k->rules[l]) k->rules[l] = sb_stemmer_new(snowball[l], NULL);
    if (!k->rules[l]) return SQLITE_NOMEM;
    const sb_symbol *stem =
        sb_stemmer_stem(k->rules[l], (const sb_symbol *)*s, (int)*n);
    if (!stem) return SQLITE_NOMEM;
    int len = sb_stemmer_length(k->rules[l]);
    if (len <= 0) return SQLITE_OK;
    *s = (const char *)stem;
    *n = (size_t)len;
    return SQLITE_OK;
}

/* English has no accents of its own, so they go first ("naïve" is "naive");
 * elsewhere the rules need them. */
static int stem(struct stem_reader *k, enum language l, const char **s,
                size_t *n)
{
    int rc = SQLITE_OK;
    if (l == LANGUAGE_ENGLISH) rc = strip(k, s, n);
    if (rc == SQLITE_OK && *n > 2) rc = stem_word(k, l, s, n);
    if (rc == SQLITE_OK && l != LANGUAGE_ENGLISH) rc = strip(k, s, n);
    return rc;
}

static int is_of(const struct known *k, enum language l, const char *word,
                 size_t n)
{
    return k->n_stem && k->n == n && k->language == (uint8_t)l &&
           memcmp(k->bytes, word, n) == 0;
}

/* Whether the word [n] stands at a place; then it stands first. */
static int find_known(struct known_two *at, enum language l, const char *word,
                      size_t n)
{
    if (is_of(&at->word[0], l, word, n)) return 1;
    if (!is_of(&at->word[1], l, word, n)) return 0;
    struct known first = at->word[0];
    at->word[0] = at->word[1];
    at->word[1] = first;
    return 1;
}

/* Keep the stem of a word, where both have room: whether they had. */
static int keep_known(struct known *at, enum language l, const char *word,
                      size_t n, const char *stem, size_t n_stem)
{
    size_t stem_at = n_stem <= n && memcmp(word, stem, n_stem) == 0 ? 0 : n;
    if (n > KNOWN_BYTES || stem_at + n_stem > KNOWN_BYTES) return 0;
    *at = (struct known){(uint8_t)n, (uint8_t)n_stem,
                         (uint8_t)l, (uint8_t)stem_at,
                         0,          {0}};
    memcpy(at->bytes, word, n);
    memcpy(at->bytes + stem_at, stem, n_stem);
    return 1;
}

static struct known_two *known_at(struct stem_reader *k, enum language l,
                                  const struct stem_token *t)
{
    return &k->known[(t->hash ^ t->hash >> KNOWN_BITS ^ (uint32_t)l << 4) %
                     KNOWN];
}

/* The stem of a text's word: the same, looked up. */
static int stem_token(struct stem_reader *k, enum language l,
                      const struct stem_token *t, struct stem_word *out)
{
    const char *word = k->tokens.bytes + t->at;
    struct known_two *at = known_at(k, l, t);
    *out = (struct stem_word){word, t->n, t->first, t->end, 0, NULL};
    if (find_known(at, l, word, t->n)) {
        out->bytes = at->word[0].bytes + at->word[0].stem_at;
        out->n = at->word[0].n_stem;
        out->note = &at->word[0].note;
        return SQLITE_OK;
    }
    int rc = stem(k, l, &out->bytes, &out->n);
    if (rc == SQLITE_OK &&
        keep_known(&at->word[1], l, word, t->n, out->bytes, out->n))
        out->note = &at->word[1].note;
    return rc;
}

/* ---- the tokenizer -------------------------------------------------------
 */

typedef int on_token(void *ctx, int flags, const char *token, int n, int first,
                     int end);

/* What marks a text of another language than English beside its first word. */
static int emit_mark(enum language l, const struct stem_token *t,
                     stem_on_word *on, void *ctx)
{
    char mark[STEM_MARK_BYTES + 1];
    stem_mark(l, mark);
    const struct stem_word w = {mark, STEM_MARK_BYTES, t->first, t->end, 1,
                                NULL};
    return on(ctx, &w);
}

static int emit_text(struct stem_reader *k, stem_on_word *on, void *ctx)
{
    const struct stem_token *list = k->tokens.list;
    const size_t n = k->tokens.n;
    enum language l = detect(&k->tokens);
    int rc = SQLITE_OK;
    if (!k->known) k->known = calloc(KNOWN, sizeof *k->known);
    if (!k->known) return SQLITE_NOMEM;
    for (size_t i = 0; i < n && i < AHEAD; i++)
        __builtin_prefetch(known_at(k, l, &list[i]));
    for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
        struct stem_word w;
        if (i + AHEAD < n) __builtin_prefetch(known_at(k, l, &list[i + AHEAD]));
        rc = stem_token(k, l, &list[i], &w);
        if (rc == SQLITE_OK) rc = on(ctx, &w);
        if (rc == SQLITE_OK && i == 0 && l != LANGUAGE_ENGLISH)
            rc = emit_mark(l, &list[i], on, ctx);
    }
    return rc;
}

struct fts5_taker {
    on_token *on;
    void *ctx;
};

static int to_fts5(void *ctx, const struct stem_word *w)
{
    const struct fts5_taker *to = ctx;
    return to->on(to->ctx, w->is_beside ? FTS5_TOKEN_COLOCATED : 0, w->bytes,
                  (int)w->n, w->first, w->end);
}

/* A question's word in all languages that are asked in, each stem once. */
static int emit_asked(struct stem_reader *k, const struct stem_token *t,
                      void *ctx, on_token *on)
{
    char seen[N_LANGUAGES][STEM_BYTES_MAX + 1];
    size_t n_seen = 0;
    int rc = SQLITE_OK;
    for (enum language l = 0; l < N_LANGUAGES && rc == SQLITE_OK; l++) {
        const char *s = k->tokens.bytes + t->at;
        size_t n = t->n, same = 0;
        if (l != LANGUAGE_ENGLISH && !(k->shared->ask_in & BIT(l))) continue;
        rc = stem(k, l, &s, &n);
        if (rc != SQLITE_OK) break;
        if (n > STEM_BYTES_MAX)
            return l == LANGUAGE_ENGLISH
                       ? on(ctx, 0, s, (int)n, t->first, t->end)
                       : rc;
        while (same < n_seen &&
               (strlen(seen[same]) != n || memcmp(seen[same], s, n) != 0))
            same++;
        if (same < n_seen) continue;
        memcpy(seen[n_seen], s, n);
        seen[n_seen++][n] = '\0';
        rc = on(ctx, n_seen > 1 ? FTS5_TOKEN_COLOCATED : 0, s, (int)n, t->first,
                t->end);
    }
    return rc;
}

static int x_tokenize(Fts5Tokenizer *self, void *ctx, int flags,
                      const char *text, int n, on_token *on)
{
    struct stem_reader *k = (struct stem_reader *)self;
    if (n <= 0 || !text) return SQLITE_OK;
    if ((flags & FTS5_TOKENIZE_QUERY) && text[0] == MARK_BYTE)
        return on(ctx, 0, text, n, 0, n);
    int rc = stem_cut(&k->tokens, &k->unicode, flags, text, n);
    if (rc != SQLITE_OK) return rc;
    if (!(flags & FTS5_TOKENIZE_QUERY))
        return emit_text(k, to_fts5, &(struct fts5_taker){on, ctx});
    for (size_t i = 0; i < k->tokens.n && rc == SQLITE_OK; i++)
        rc = emit_asked(k, &k->tokens.list[i], ctx, on);
    return rc;
}

static void x_delete(Fts5Tokenizer *self)
{
    struct stem_reader *k = (struct stem_reader *)self;
    if (!k) return;
    if (k->unicode.self) k->unicode.methods.xDelete(k->unicode.self);
    if (k->plain) k->unicode.methods.xDelete(k->plain);
    for (size_t i = 0; i < N_LANGUAGES; i++)
        if (k->rules[i]) sb_stemmer_delete(k->rules[i]);
    free(k->known);
    stem_tokens_release(&k->tokens);
    free(k);
}

static int x_create(void *shared, const char **args, int n_args,
                    Fts5Tokenizer **out)
{
    static const char *folded[] = {"remove_diacritics", "0"};
    static const char *plain[] = {"remove_diacritics", "2"};
    void *unicode = NULL;
    (void)args, (void)n_args; /* the version: for people and for words.c */
    struct stem_reader *k = calloc(1, sizeof *k);
    if (!k) return SQLITE_NOMEM;
    k->shared = shared;
    fts5_api *api = k->shared->api;
    fts5_tokenizer *methods = &k->unicode.methods;
    int rc = api->xFindTokenizer(api, "unicode61", &unicode, methods);
    if (rc == SQLITE_OK)
        rc = methods->xCreate(unicode, folded, 2, &k->unicode.self);
    if (rc == SQLITE_OK) rc = methods->xCreate(unicode, plain, 2, &k->plain);
    if (rc != SQLITE_OK) {
        x_delete((Fts5Tokenizer *)k);
        return rc;
    }
    *out = (Fts5Tokenizer *)k;
    return SQLITE_OK;
}

/* ---- a connection --------------------------------------------------------
 */

enum tacit_err stem_fts5(struct db *db, fts5_api **out)
{
    fts5_api *api = NULL;
    sqlite3_stmt *st;
    int has_row;
    TRY(db_query(db, &st, "SELECT fts5(?1)", ""));
    sqlite3_bind_pointer(st, 1, &api, "fts5_api_ptr", NULL);
    enum tacit_err err = db_step(db, st, &has_row);
    db_finish(st);
    if (err) return err;
    if (!api) return fail(TACIT_UNSUPPORTED, "this SQLite has no FTS5");
    *out = api;
    return TACIT_OK;
}

enum tacit_err stem_register(struct db *db)
{
    static fts5_tokenizer methods = {x_create, x_delete, x_tokenize};
    fts5_api *api;
    TRY(stem_fts5(db, &api));
    struct stemming *shared = calloc(1, sizeof *shared);
    if (!shared) return fail(TACIT_NOMEM, "out of memory");
    shared->api = api;
    int rc = api->xCreateTokenizer(api, "tacit", shared, &methods, free);
    if (rc != SQLITE_OK) free(shared);
    return db_error(db, rc, "cannot add the tokenizer");
}

enum tacit_err stem_ask_in(struct db *db, uint32_t asked)
{
    fts5_api *api;
    fts5_tokenizer methods;
    void *shared = NULL;
    TRY(stem_fts5(db, &api));
    int rc = api->xFindTokenizer(api, "tacit", &shared, &methods);
    TRY(db_error(db, rc, "cannot find the tokenizer"));
    ((struct stemming *)shared)->ask_in = asked;
    return TACIT_OK;
}

/* ---- without FTS5 --------------------------------------------------------
 */

enum tacit_err stem_reader_new(struct db *db, struct stem_reader **out)
{
    fts5_api *api;
    fts5_tokenizer methods;
    void *shared = NULL;
    Fts5Tokenizer *made = NULL;
    TRY(stem_fts5(db, &api));
    int rc = api->xFindTokenizer(api, "tacit", &shared, &methods);
    if (rc == SQLITE_OK) rc = methods.xCreate(shared, NULL, 0, &made);
    TRY(db_error(db, rc, "cannot find the tokenizer"));
    *out = (struct stem_reader *)made;
    return TACIT_OK;
}

int stem_reader_read(struct stem_reader *k, const char *text, size_t n,
                     stem_on_word *on, void *ctx)
{
    if (n == 0) return SQLITE_OK;
    if (n > INT_MAX) return SQLITE_TOOBIG;
    int rc =
        stem_cut(&k->tokens, &k->unicode, FTS5_TOKENIZE_DOCUMENT, text, (int)n);
    return rc == SQLITE_OK ? emit_text(k, on, ctx) : rc;
}

void stem_reader_forget(struct stem_reader *k)
{
    for (size_t i = 0; k->known && i < KNOWN; i++)
        k->known[i].word[0].note = k->known[i].word[1].note = 0;
}

void stem_reader_free(struct stem_reader *k)
{
    x_delete((Fts5Tokenizer *)k);
}

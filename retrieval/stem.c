#include "retrieval/stem.h"

#include <assert.h>
#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

enum language { EN, DE, FR, ES, IT, PT, NL, SV, DA, NO, FI, RU };

static const struct {
    const char *name, *snowball;
} languages[STEM_LANGUAGES] = {
    [EN] = {"en", "porter"},  [DE] = {"de", "german"},
    [FR] = {"fr", "french"},  [ES] = {"es", "spanish"},
    [IT] = {"it", "italian"}, [PT] = {"pt", "portuguese"},
    [NL] = {"nl", "dutch"},   [SV] = {"sv", "swedish"},
    [DA] = {"da", "danish"},  [NO] = {"no", "norwegian"},
    [FI] = {"fi", "finnish"}, [RU] = {"ru", "russian"},
};

#define BIT(l) (1u << (l))

/* Words that say how, not what; the commonest of each language. */
static const char *const function_words[STEM_LANGUAGES] = {
    [EN] = "the of and to in is that it was for on are as with be by at this "
           "not which have from or an a but they were their been has had would "
           "there will can if so who what when we its than these more into "
           "between after during how do does should our no all such may",
    [DE] = "der die das und ist nicht ein eine einen einem zu den dem des "
           "mit von für auf sich auch es im wird bei sind oder nach werden "
           "als wie hat aus nur noch kann wenn aber wurde wer was wo wann "
           "welche",
    [FR] = "le la les des et est un une du que qui dans pour pas sur il elle "
           "au aux ce cette avec sont par ne plus se ou été être son sa ses "
           "mais nous vous comme qu où quel quelle",
    [ES] = "el la los las de del y que en es un una por con para no se su al "
           "lo como más pero sus le ha este esta son fue entre cuando muy "
           "sin sobre también qué cuál dónde quién",
    [IT] = "il lo la gli di del della dei che e è un una in per non con si "
           "sono da dal alla come più ma anche nel nella le questo questa "
           "essere ha al i quando dove chi quale",
    [PT] = "o os as de do da dos das e que em um uma para com não se na no "
           "nas nos por mais como mas foi ao ele são seu sua ou quando muito "
           "também já está pelo pela onde quem qual",
    [NL] = "de het een en van is dat die in te niet op aan met voor zijn er "
           "ook als bij of naar uit door om maar wordt worden heeft deze dit "
           "nog kan wat wie waar wanneer welke",
    [SV] = "och att det som en på är av för med den till inte om ett han men "
           "var jag de så från vid kan har när eller ska där vad vem hur "
           "detta",
    [DA] = "og at det som en på er af for med den til ikke om et han men var "
           "jeg de så fra ved kan har når eller skal der hvad hvem hvor "
           "hvordan dette blev",
    [NO] = "og at det som en på er av for med den til ikke om et han men var "
           "jeg de så fra ved kan har når eller skal der hva hvem hvor "
           "hvordan dette ble",
    [FI] = "ja on ei että se oli hän ovat mutta kun niin kuin myös tai jos "
           "joka mikä sen ole olla voi mitä missä kuka tämä nämä ne hänen",
    [RU] = "и в не на что он с как а то все она так его но да ты к у же вы "
           "за бы по только ее мне было вот от меня еще нет о из ему теперь "
           "когда даже ну если или быть был для это где кто",
};

enum {
    DETECT_WORDS = 256,  /* of a text, that tell its language */
    DETECT_MORE = 2,     /* of another language than of English */
    STEM_BYTES_MAX = 64, /* a longer word is taken as it is */
    MARK_BYTE = 1,
    FUNCTION_WORDS_MAX = 512,
    FUNCTION_BYTES_MAX = 24
};

struct function_word {
    char word[FUNCTION_BYTES_MAX];
    uint32_t in;      /* languages */
    uint64_t seen_in; /* number of the text it was last seen in */
};

/* Of one connection. */
struct stemming {
    fts5_api *api;
    uint32_t ask_in;
    struct function_word words[FUNCTION_WORDS_MAX]; /* in order of bytes */
    size_t n_words;
    uint64_t text; /* texts so far */
};

/* Words of one text, before the stemmer. */
struct token {
    size_t at, n; /* of the bytes */
    int first, end;
};

struct tokens {
    char *bytes;
    size_t n_bytes, cap_bytes;
    struct token *list;
    size_t n, cap;
};

/* FTS5 hands it around as Fts5Tokenizer. */
struct tokenizer {
    struct stemming *shared; /* borrowed */
    fts5_tokenizer unicode;
    Fts5Tokenizer *folded, *plain; /* with accents, without */
    struct sb_stemmer *snowball[STEM_LANGUAGES];
    struct tokens tokens;
    char stripped[STEM_BYTES_MAX + 1];
    int n_stripped;
};

const char *stem_language(unsigned i)
{
    return languages[i].name;
}

int stem_find(const char *name)
{
    for (int i = 0; i < STEM_LANGUAGES; i++)
        if (strcmp(languages[i].name, name) == 0) return i;
    return -1;
}

void stem_mark(unsigned i, char out[STEM_MARK_BYTES + 1])
{
    out[0] = MARK_BYTE;
    memcpy(out + 1, languages[i].name, STEM_MARK_BYTES);
}

/* ---- words ---------------------------------------------------------------
 */

static int grow(void *list_ptr, size_t *cap, size_t need, size_t size)
{
    void *list;
    memcpy(&list, list_ptr, sizeof list);
    if (need <= *cap) return SQLITE_OK;
    size_t more = need + need / 2 + 64;
    void *p = realloc(list, more * size);
    if (!p) return SQLITE_NOMEM;
    memcpy(list_ptr, &p, sizeof p);
    *cap = more;
    /* cppcheck-suppress memleak ; the caller's list has it */
    return SQLITE_OK;
}

static int add_token(struct tokens *t, const char *s, size_t n, int first,
                     int end)
{
    int rc = grow(&t->bytes, &t->cap_bytes, t->n_bytes + n + 1, 1);
    if (rc == SQLITE_OK)
        rc = grow(&t->list, &t->cap, t->n + 1, sizeof *t->list);
    if (rc != SQLITE_OK) return rc;
    t->list[t->n++] = (struct token){t->n_bytes, n, first, end};
    memcpy(t->bytes + t->n_bytes, s, n);
    t->bytes[t->n_bytes + n] = '\0';
    t->n_bytes += n + 1;
    return SQLITE_OK;
}

static int is_ideograph(uint32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x9fff) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static int has_ideograph(const char *s, size_t n)
{
    uint32_t c = 0;
    for (size_t i = 0, k; i < n; i += k) {
        k = utf8_next(s + i, n - i, &c);
        if (!k) k = 1, c = 0;
        if (is_ideograph(c)) return 1;
    }
    return 0;
}

/* A word with ideographs: each alone, and what stands between them. They have
 * no case, so bytes of the word are bytes of the text. */
static int split_word(struct tokens *t, const char *s, size_t n, int first)
{
    size_t from = 0;
    int rc = SQLITE_OK;
    for (size_t i = 0, k; i <= n && rc == SQLITE_OK; i += k) {
        uint32_t c = 0;
        k = i < n ? utf8_next(s + i, n - i, &c) : 1;
        if (!k) k = 1;
        if (i < n && !is_ideograph(c)) continue;
        if (i > from)
            rc = add_token(t, s + from, i - from, first + (int)from,
                           first + (int)i);
        if (i < n && rc == SQLITE_OK)
            rc = add_token(t, s + i, k, first + (int)i, first + (int)(i + k));
        from = i + k;
    }
    return rc;
}

static int on_word(void *ctx, int flags, const char *word, int n, int first,
                   int end)
{
    struct tokens *t = ctx;
    (void)flags;
    if (n <= 0 || end < first) return SQLITE_OK;
    if (end - first == n && (signed char)word[0] < 0 &&
        has_ideograph(word, (size_t)n))
        return split_word(t, word, (size_t)n, first);
    return add_token(t, word, (size_t)n, first, end);
}

/* ---- language ------------------------------------------------------------
 */

static int compare_words(const void *a, const void *b)
{
    const struct function_word *x = a, *y = b;
    return strcmp(x->word, y->word);
}

static int compare_word(const void *key, const void *element)
{
    return strcmp(key, ((const struct function_word *)element)->word);
}

/* The lists of all languages as one. */
static void list_words(struct stemming *s)
{
    struct function_word *w = s->words;
    size_t n = 0;
    for (unsigned l = 0; l < STEM_LANGUAGES; l++)
        for (const char *p = function_words[l]; *p;) {
            size_t len = strcspn(p, " ");
            assert(n < FUNCTION_WORDS_MAX && len < FUNCTION_BYTES_MAX);
            w[n].in = BIT(l);
            memcpy(w[n++].word, p, len);
            p += len + (p[len] == ' ');
        }
    qsort(w, n, sizeof *w, compare_words);
    for (size_t i = 0; i < n; i++) {
        struct function_word *last = s->n_words ? &w[s->n_words - 1] : NULL;
        if (last && strcmp(last->word, w[i].word) == 0)
            last->in |= w[i].in;
        else
            w[s->n_words++] = w[i];
    }
}

/* Each function word counts once: "Au/Zn/Au" is not French. */
static unsigned detect(struct stemming *shared, const struct tokens *t)
{
    unsigned count[STEM_LANGUAGES] = {0}, best = EN;
    shared->text++;
    for (size_t i = 0; i < t->n && i < DETECT_WORDS; i++) {
        struct function_word *w =
            bsearch(t->bytes + t->list[i].at, shared->words, shared->n_words,
                    sizeof *shared->words, compare_word);
        if (!w || w->seen_in == shared->text) continue;
        w->seen_in = shared->text;
        for (unsigned l = 0; l < STEM_LANGUAGES; l++)
            count[l] += (w->in & BIT(l)) != 0;
    }
    for (unsigned l = 0; l < STEM_LANGUAGES; l++)
        if (count[l] > count[best] && count[l] >= count[EN] + DETECT_MORE)
            best = l;
    return best;
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
    struct tokenizer *k = ctx;
    (void)flags, (void)first, (void)end;
    if (k->n_stripped || n > STEM_BYTES_MAX) return SQLITE_OK;
    memcpy(k->stripped, word, (size_t)n);
    k->n_stripped = n;
    return SQLITE_OK;
}

/* Without accents, where that leaves a word. */
static int strip(struct tokenizer *k, const char **s, size_t *n)
{
    if (*n > STEM_BYTES_MAX || is_ascii(*s, *n)) return SQLITE_OK;
    k->n_stripped = 0;
    int rc = k->unicode.xTokenize(k->plain, k, FTS5_TOKENIZE_AUX, *s, (int)*n,
                                  on_stripped);
    if (rc == SQLITE_OK && k->n_stripped > 0) {
        *s = k->stripped;
        *n = (size_t)k->n_stripped;
    }
    return rc;
}

static int stem_word(struct tokenizer *k, unsigned l, const char **s, size_t *n)
{
    if (*n > STEM_BYTES_MAX) return SQLITE_OK;
    if (!k->snowball[l])
        k->snowball[l] = sb_stemmer_new(languages[l].snowball, NULL);
    if (!k->snowball[l]) return SQLITE_NOMEM;
    const sb_symbol *stem =
        sb_stemmer_stem(k->snowball[l], (const sb_symbol *)*s, (int)*n);
    if (!stem) return SQLITE_NOMEM;
    int len = sb_stemmer_length(k->snowball[l]);
    if (len <= 0) return SQLITE_OK;
    *s = (const char *)stem;
    *n = (size_t)len;
    return SQLITE_OK;
}

/* English has no accents of its own, so they go first ("naïve" is "naive");
 * elsewhere the rules need them. */
static int stem(struct tokenizer *k, unsigned l, const char **s, size_t *n)
{
    int rc = SQLITE_OK;
    if (l == EN) rc = strip(k, s, n);
    if (rc == SQLITE_OK && *n > 2) rc = stem_word(k, l, s, n);
    if (rc == SQLITE_OK && l != EN) rc = strip(k, s, n);
    return rc;
}

/* ---- the tokenizer -------------------------------------------------------
 */

typedef int on_token(void *ctx, int flags, const char *token, int n, int first,
                     int end);

static int emit_text(struct tokenizer *k, void *ctx, on_token *on)
{
    unsigned l = detect(k->shared, &k->tokens);
    int rc = SQLITE_OK;
    for (size_t i = 0; i < k->tokens.n && rc == SQLITE_OK; i++) {
        const struct token *t = &k->tokens.list[i];
        const char *s = k->tokens.bytes + t->at;
        size_t n = t->n;
        rc = stem(k, l, &s, &n);
        if (rc == SQLITE_OK) rc = on(ctx, 0, s, (int)n, t->first, t->end);
        if (rc != SQLITE_OK || i > 0 || l == EN) continue;
        char mark[STEM_MARK_BYTES + 1];
        stem_mark(l, mark);
        rc = on(ctx, FTS5_TOKEN_COLOCATED, mark, STEM_MARK_BYTES, t->first,
                t->end);
    }
    return rc;
}

/* A question's word in all languages that are asked in, each stem once. */
static int emit_asked(struct tokenizer *k, const struct token *t, void *ctx,
                      on_token *on)
{
    char seen[STEM_LANGUAGES][STEM_BYTES_MAX + 1];
    size_t n_seen = 0;
    int rc = SQLITE_OK;
    for (unsigned l = 0; l < STEM_LANGUAGES && rc == SQLITE_OK; l++) {
        const char *s = k->tokens.bytes + t->at;
        size_t n = t->n, same = 0;
        if (l != EN && !(k->shared->ask_in & BIT(l))) continue;
        rc = stem(k, l, &s, &n);
        if (rc != SQLITE_OK) break;
        if (n > STEM_BYTES_MAX)
            return l == EN ? on(ctx, 0, s, (int)n, t->first, t->end) : rc;
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
    struct tokenizer *k = (struct tokenizer *)self;
    if (n <= 0 || !text) return SQLITE_OK;
    if ((flags & FTS5_TOKENIZE_QUERY) && text[0] == MARK_BYTE)
        return on(ctx, 0, text, n, 0, n);
    k->tokens.n = k->tokens.n_bytes = 0;
    int rc =
        k->unicode.xTokenize(k->folded, &k->tokens, flags, text, n, on_word);
    if (rc != SQLITE_OK) return rc;
    if (!(flags & FTS5_TOKENIZE_QUERY)) return emit_text(k, ctx, on);
    for (size_t i = 0; i < k->tokens.n && rc == SQLITE_OK; i++)
        rc = emit_asked(k, &k->tokens.list[i], ctx, on);
    return rc;
}

static void x_delete(Fts5Tokenizer *self)
{
    struct tokenizer *k = (struct tokenizer *)self;
    if (!k) return;
    if (k->folded) k->unicode.xDelete(k->folded);
    if (k->plain) k->unicode.xDelete(k->plain);
    for (size_t i = 0; i < STEM_LANGUAGES; i++)
        if (k->snowball[i]) sb_stemmer_delete(k->snowball[i]);
    free(k->tokens.bytes);
    free(k->tokens.list);
    free(k);
}

static int x_create(void *shared, const char **args, int n_args,
                    Fts5Tokenizer **out)
{
    static const char *folded[] = {"remove_diacritics", "0"};
    static const char *plain[] = {"remove_diacritics", "2"};
    void *unicode = NULL;
    (void)args, (void)n_args; /* the version: for people and for words.c */
    struct tokenizer *k = calloc(1, sizeof *k);
    if (!k) return SQLITE_NOMEM;
    k->shared = shared;
    fts5_api *api = k->shared->api;
    int rc = api->xFindTokenizer(api, "unicode61", &unicode, &k->unicode);
    if (rc == SQLITE_OK)
        rc = k->unicode.xCreate(unicode, folded, 2, &k->folded);
    if (rc == SQLITE_OK) rc = k->unicode.xCreate(unicode, plain, 2, &k->plain);
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
    list_words(shared);
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

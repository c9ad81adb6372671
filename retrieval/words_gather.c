#include "retrieval/words_gather.h"

#include <stdlib.h>
#include <string.h>

#include "retrieval/stem_cut.h"

/* A token that is where the one before it is. */
#define BESIDE (1u << 31)

enum {
    COLUMN_BITS = 30, /* of a place: row << 32 | column << 30 | word */
    SLOTS_MIN = 1 << 12,
    /* Bytes of a place that begins a row: the row, its size, a column, it. */
    PLACE_BYTES = WORDS_VARINT_MAX + 5 + 2 + 5
};

struct term {
    uint32_t at, n; /* of the bytes */
    uint32_t hash;
};

/* A term by its first bytes, which mostly tell two apart. */
struct sorted {
    uint64_t head;
    uint32_t term;
};

struct words_gather {
    struct stem_reader *reader; /* owned */
    struct words_segment made;  /* owned */
    struct buf bytes;           /* of terms, each behind WORDS_MAIN */
    struct buf terms;           /* struct term [] */
    uint32_t *slots;            /* [n_slots] number + 1 of a term; owned */
    size_t n_slots;
    struct buf tokens; /* uint32_t: number of the term, BESIDE */
    struct buf rows;   /* struct words_row [] */
    uint32_t n_words;  /* of the text that is read */
    /* While it ends: */
    struct sorted *sorted; /* [terms] */
    uint32_t *place_at;    /* [terms] where the next of its places goes */
    struct buf places;     /* uint64_t [tokens] */
    struct buf list;       /* of one term, as in a leaf */
};

/* ---- terms ----------------------------------------------------------------
 */

static const struct term *term_of(const struct words_gather *g, size_t i)
{
    return (const struct term *)(const void *)g->terms.data + i;
}

static size_t n_terms(const struct words_gather *g)
{
    return g->terms.len / sizeof(struct term);
}

/* The slot of a term, or the empty one where it would stand. */
static size_t find_slot(const struct words_gather *g, const char *s, size_t n,
                        uint32_t hash)
{
    size_t at = hash & (g->n_slots - 1);
    for (; g->slots[at]; at = (at + 1) & (g->n_slots - 1)) {
        const struct term *t = term_of(g, g->slots[at] - 1u);
        if (t->hash == hash && t->n == n + 1 &&
            memcmp(g->bytes.data + t->at + 1, s, n) == 0)
            break;
    }
    return at;
}

/* Slots are twice as many as terms. */
static int grow_slots(struct words_gather *g)
{
    size_t n = g->n_slots ? 2 * g->n_slots : SLOTS_MIN;
    if (2 * n_terms(g) < g->n_slots) return SQLITE_OK;
    uint32_t *slots = calloc(n, sizeof *slots);
    if (!slots) return SQLITE_NOMEM;
    for (size_t i = 0; i < n_terms(g); i++) {
        size_t at = term_of(g, i)->hash & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = (uint32_t)i + 1;
    }
    free(g->slots);
    g->slots = slots;
    g->n_slots = n;
    return SQLITE_OK;
}

static int add_term(struct words_gather *g, size_t slot, const char *s,
                    size_t n, uint32_t hash)
{
    const struct term t = {(uint32_t)g->bytes.len, (uint32_t)n + 1, hash};
    buf_put_u8(&g->bytes, WORDS_MAIN);
    buf_put(&g->bytes, s, n);
    buf_put(&g->terms, &t, sizeof t);
    if (g->bytes.err || g->terms.err) return SQLITE_NOMEM;
    g->slots[slot] = (uint32_t)n_terms(g);
    return grow_slots(g);
}

/* The number + 1 of a term into *out. */
static int number_term(struct words_gather *g, const char *s, size_t n,
                       uint32_t *out)
{
    uint32_t hash = stem_hash(s, n);
    size_t slot = find_slot(g, s, n, hash);
    *out = g->slots[slot];
    if (*out) return SQLITE_OK;
    *out = (uint32_t)n_terms(g) + 1;
    return add_term(g, slot, s, n, hash);
}

/* ---- texts ----------------------------------------------------------------
 */

static int on_word(void *ctx, const struct stem_word *w)
{
    struct words_gather *g = ctx;
    uint32_t number = w->note ? *w->note : 0;
    if (!number) {
        size_t n = w->n < WORDS_TERM_MAX ? w->n : WORDS_TERM_MAX;
        int rc = number_term(g, w->bytes, n, &number);
        if (rc != SQLITE_OK) return rc;
        if (w->note) *w->note = number;
    }
    number--;
    if (w->is_beside)
        number |= BESIDE;
    else
        g->n_words++;
    buf_put(&g->tokens, &number, sizeof number);
    return g->tokens.err ? SQLITE_NOMEM : SQLITE_OK;
}

size_t words_gather_tokens(const struct words_gather *g)
{
    return g->tokens.len / sizeof(uint32_t);
}

enum tacit_err words_gather_add(struct words_gather *g, int64_t id,
                                const struct text column[WORDS_COLUMNS])
{
    struct words_row row = {.id = id};
    for (size_t i = 0; i < WORDS_COLUMNS; i++) {
        size_t had = words_gather_tokens(g);
        if (column[i].n > WORDS_GATHER_BYTES)
            return fail(TACIT_LIMIT, "too long a text");
        g->n_words = 0;
        if (stem_reader_read(g->reader, column[i].s, column[i].n, on_word, g))
            return fail(TACIT_NOMEM, "out of memory");
        row.n_words[i] = g->n_words;
        row.n_tokens[i] = (uint32_t)(words_gather_tokens(g) - had);
    }
    buf_put(&g->rows, &row, sizeof row);
    return buf_end(&g->rows);
}

/* ---- the end: terms in their order ----------------------------------------
 */

static uint64_t head_of(const uint8_t *s, size_t n)
{
    uint64_t head = 0;
    for (size_t i = 0; i < 8; i++) head = head << 8 | (i < n ? s[i] : 0);
    return head;
}

static int compare(const void *a, const void *b, void *ctx)
{
    const struct words_gather *g = ctx;
    const struct sorted *x = a, *y = b;
    if (x->head != y->head) return x->head < y->head ? -1 : 1;
    const struct term *s = term_of(g, x->term), *t = term_of(g, y->term);
    int d = memcmp(g->bytes.data + s->at, g->bytes.data + t->at,
                   s->n < t->n ? s->n : t->n);
    if (d) return d;
    return s->n < t->n ? -1 : s->n > t->n;
}

static void sort_terms(struct words_gather *g)
{
    for (size_t i = 0; i < n_terms(g); i++) {
        const struct term *t = term_of(g, i);
        g->sorted[i].head = head_of(g->bytes.data + t->at + 1, t->n - 1);
        g->sorted[i].term = (uint32_t)i;
    }
    qsort_r(g->sorted, n_terms(g), sizeof *g->sorted, compare, g);
}

/* ---- the end: places by terms ---------------------------------------------
 */

static const uint32_t *tokens_of(const struct words_gather *g)
{
    return (const uint32_t *)(const void *)g->tokens.data;
}

/* Where each term's places begin, in the order of the terms. */
static void make_room(struct words_gather *g)
{
    const uint32_t *token = tokens_of(g);
    uint32_t at = 0;
    memset(g->place_at, 0, n_terms(g) * sizeof *g->place_at);
    for (size_t i = 0; i < words_gather_tokens(g); i++)
        g->place_at[token[i] & ~BESIDE]++;
    for (size_t i = 0; i < n_terms(g); i++) {
        uint32_t *place = &g->place_at[g->sorted[i].term], n = *place;
        *place = at;
        at += n;
    }
}

/* Then place_at[] is where each term's places end. */
static void put_places(struct words_gather *g, uint64_t *places)
{
    const uint32_t *token = tokens_of(g);
    size_t n;
    const struct words_row *rows = words_gather_rows(g, &n);
    for (uint64_t row = 0; row < n; row++)
        for (uint64_t col = 0; col < WORDS_COLUMNS; col++) {
            uint64_t next = row << 32 | col << COLUMN_BITS, place = next;
            for (uint32_t left = rows[row].n_tokens[col]; left--; token++) {
                if (!(*token & BESIDE)) place = next++;
                places[g->place_at[*token & ~BESIDE]++] = place;
            }
        }
}

/* The places of one row, n of them, at p; returns their end. */
static uint8_t *write_places(uint8_t *p, const uint64_t *place, size_t n)
{
    uint32_t col = 0, last = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = (uint32_t)place[i] >> COLUMN_BITS;
        uint32_t word = (uint32_t)place[i] & ((1u << COLUMN_BITS) - 1);
        if (c != col) {
            *p++ = WORDS_COLUMN;
            p += words_varint(p, col = c);
            last = 0;
        }
        p += words_varint(p, word - last + WORDS_PLACE);
        last = word;
    }
    return p;
}

/* One row: how much more it is, the bytes of its places, those. */
static void write_row(struct buf *out, uint64_t more, const uint64_t *place,
                      size_t n)
{
    size_t had = out->len;
    uint8_t size[WORDS_VARINT_MAX];
    uint8_t *p = buf_extend(out, n * PLACE_BYTES), *from;
    if (!p) return;
    from = p + words_varint(p, more);
    p = write_places(from + 1, place, n);
    size_t n_places = (size_t)(p - from - 1);
    size_t n_size = words_varint(size, (uint64_t)n_places << 1);
    if (n_size > 1) memmove(from + n_size, from + 1, n_places);
    memcpy(from, size, n_size);
    out->len = had + (size_t)(from - (out->data + had)) + n_size + n_places;
}

/* The rows of a term whose places are place[n >= 1]. */
static void write_list(struct words_gather *g, const uint64_t *place, size_t n)
{
    size_t n_rows;
    const struct words_row *rows = words_gather_rows(g, &n_rows);
    int64_t last = 0;
    buf_clear(&g->list);
    for (size_t i = 0, end; i < n; i = end) {
        uint64_t row = place[i] >> 32;
        for (end = i + 1; end < n && place[end] >> 32 == row;) end++;
        write_row(&g->list, (uint64_t)(rows[row].id - last), place + i,
                  end - i);
        last = rows[row].id;
    }
}

static enum tacit_err write_terms(struct words_gather *g,
                                  const uint64_t *places)
{
    uint32_t at = 0;
    for (size_t i = 0; i < n_terms(g); i++) {
        const struct term *t = term_of(g, g->sorted[i].term);
        uint32_t end = g->place_at[g->sorted[i].term];
        write_list(g, places + at, end - at);
        TRY(buf_end(&g->list));
        words_segment_put(&g->made, g->bytes.data + t->at, t->n, g->list.data,
                          g->list.len);
        at = end;
    }
    return words_segment_end(&g->made);
}

static void end_sorting(struct words_gather *g)
{
    free(g->sorted);
    free(g->place_at);
    g->sorted = NULL;
    g->place_at = NULL;
}

enum tacit_err words_gather_end(struct words_gather *g)
{
    size_t n = words_gather_tokens(g);
    enum tacit_err err = TACIT_OK;
    if (n == 0) return TACIT_OK;
    g->sorted = calloc(n_terms(g), sizeof *g->sorted);
    g->place_at = calloc(n_terms(g), sizeof *g->place_at);
    buf_clear(&g->places);
    uint64_t *places =
        (uint64_t *)(void *)buf_extend(&g->places, n * sizeof *places);
    if (!g->sorted || !g->place_at || !places) {
        err = fail(TACIT_NOMEM, "out of memory");
    } else {
        sort_terms(g);
        make_room(g);
        put_places(g, places);
        err = write_terms(g, places);
    }
    end_sorting(g);
    return err;
}

const struct words_segment *words_gather_segment(const struct words_gather *g)
{
    return &g->made;
}

const struct words_row *words_gather_rows(const struct words_gather *g,
                                          size_t *n)
{
    *n = g->rows.len / sizeof(struct words_row);
    return (const struct words_row *)(const void *)g->rows.data;
}

/* ---- life -----------------------------------------------------------------
 */

void words_gather_clear(struct words_gather *g)
{
    words_segment_clear(&g->made);
    buf_clear(&g->bytes);
    buf_clear(&g->terms);
    buf_clear(&g->tokens);
    buf_clear(&g->rows);
    memset(g->slots, 0, g->n_slots * sizeof *g->slots);
    stem_reader_forget(g->reader);
}

enum tacit_err words_gather_new(struct db *db, size_t page_bytes,
                                struct words_gather **out)
{
    struct words_gather *g = calloc(1, sizeof *g);
    if (!g) return fail(TACIT_NOMEM, "out of memory");
    buf_init(&g->bytes, UINT32_MAX / 2);
    buf_init(&g->tokens, WORDS_GATHER_MAX * sizeof(uint32_t));
    enum tacit_err err = words_segment_init(&g->made, page_bytes);
    if (!err) err = stem_reader_new(db, &g->reader);
    if (!err && grow_slots(g) != SQLITE_OK)
        err = fail(TACIT_NOMEM, "out of memory");
    if (!err && !sqlite3_threadsafe())
        err = fail(TACIT_UNSUPPORTED, "SQLite was built for one thread");
    if (err) {
        words_gather_free(g);
        return err;
    }
    *out = g;
    return TACIT_OK;
}

void words_gather_free(struct words_gather *g)
{
    if (!g) return;
    words_segment_release(&g->made);
    stem_reader_free(g->reader);
    buf_release(&g->bytes);
    buf_release(&g->terms);
    buf_release(&g->tokens);
    buf_release(&g->rows);
    buf_release(&g->places);
    buf_release(&g->list);
    end_sorting(g);
    free(g->slots);
    free(g);
}

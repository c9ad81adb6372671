#include "retrieval/chunker.h"

#include <string.h>

#include "retrieval/sentence.h"

enum { GLUED_MAX = 8 /* units that may hang together */ };

void chunker_init(struct chunker *k, const struct document *d)
{
    *k = (struct chunker){.d = d};
    for (size_t i = 0; i <= CHUNK_LEVELS; i++) k->heading[i] = SIZE_MAX;
    if (d->n_blocks) k->next.at = d->blocks[0].text_first;
}

static const char *text_of(const struct document *d, const struct block *b,
                           size_t *n)
{
    *n = b->text_end - b->text_first;
    return (const char *)d->text.data + b->text_first;
}

/* Whether block i is a heading over something. One with nothing below it, or
 * as long as a paragraph, is text. */
static int is_context(const struct document *d, size_t i)
{
    const struct block *b = &d->blocks[i], *after = b + 1;
    if (b->kind != BLOCK_HEADING || i + 1 == d->n_blocks) return 0;
    if (b->text_end - b->text_first >= CHUNK_HEADING_MAX) return 0;
    return after->kind != BLOCK_HEADING || after->level > b->level;
}

static int at_end(const struct chunker *k)
{
    return k->next.block >= k->d->n_blocks;
}

static int at_block_start(const struct chunker *k)
{
    return k->next.at == k->d->blocks[k->next.block].text_first;
}

static void next_block(struct chunker *k)
{
    k->next.block++;
    if (!at_end(k)) k->next.at = k->d->blocks[k->next.block].text_first;
}

/* Forget the headings that one of this level ends. */
static void pop_headings(struct chunker *k, unsigned level)
{
    for (unsigned i = level; i <= CHUNK_LEVELS; i++) k->heading[i] = SIZE_MAX;
    for (k->level = CHUNK_LEVELS;
         k->level > 0 && k->heading[k->level] == SIZE_MAX;)
        k->level--;
}

static unsigned level_of(const struct block *b)
{
    return b->level < 1 ? 1 : b->level > CHUNK_LEVELS ? CHUNK_LEVELS : b->level;
}

static void push_heading(struct chunker *k)
{
    unsigned level = level_of(&k->d->blocks[k->next.block]);
    pop_headings(k, level);
    k->heading[level] = k->next.block;
    k->level = level;
    next_block(k);
}

/* Join the headings, innermost kept when they do not all fit. The one that is
 * the document's title goes without saying. */
static void join_headings(const struct chunker *k, char out[CHUNK_HEADING_MAX])
{
    size_t at = CHUNK_HEADING_MAX - 1, first;
    char joined[CHUNK_HEADING_MAX] = "";
    for (unsigned level = CHUNK_LEVELS; level >= 1; level--) {
        size_t n;
        if (k->heading[level] == SIZE_MAX) continue;
        const char *s = text_of(k->d, &k->d->blocks[k->heading[level]], &n);
        if (strlen(k->d->title) == n && memcmp(s, k->d->title, n) == 0)
            continue;
        int has_mark = at != CHUNK_HEADING_MAX - 1;
        if (n + (size_t)has_mark > at) break;
        if (has_mark) joined[--at] = CHUNK_HEADING_MARK;
        at -= n;
        memcpy(joined + at, s, n);
    }
    first = at;
    memcpy(out, joined + first, CHUNK_HEADING_MAX - first);
}

/* One unit of text: a sentence, or a deeper heading within a chunk. */
struct unit {
    size_t first, end; /* without the blanks behind it */
    int is_heading, glues;
};

/* Take the unit at the cursor. */
static struct unit take_unit(struct chunker *k)
{
    const struct document *d = k->d;
    const struct block *b = &d->blocks[k->next.block];
    const char *text = (const char *)d->text.data;
    struct unit u = {.first = k->next.at, .end = b->text_end};
    if (is_context(d, k->next.block)) {
        u.is_heading = u.glues = 1;
        push_heading(k);
        return u;
    }
    size_t next =
        u.first + sentence_length(text + u.first, b->text_end - u.first);
    int is_last = next >= b->text_end;
    u.end = next;
    while (u.end > u.first &&
           (text[u.end - 1] == ' ' || text[u.end - 1] == '\n'))
        u.end--;
    if (!is_last) {
        k->next.at = next;
        return u;
    }
    next_block(k);
    /* "Give in this order:" belongs to the list behind it. */
    if (!at_end(k) && u.end > u.first && text[u.end - 1] == ':') {
        enum block_kind after = d->blocks[k->next.block].kind;
        u.glues =
            after == BLOCK_ITEM || after == BLOCK_ROW || after == BLOCK_CODE;
    }
    return u;
}

static void add_unit(struct chunk *c, const struct document *d, struct unit u)
{
    const char *text = (const char *)d->text.data;
    if (u.end == u.first) return;
    if (c->n_words == 0) c->text_first = u.first;
    c->text_end = u.end;
    c->n_words += sentence_words(text + u.first, u.end - u.first);
    if (u.is_heading || c->n_sentences == CHUNK_SENTENCES_MAX) return;
    c->sentence[c->n_sentences++] =
        (struct chunk_sentence){.text_first =
                                    (uint32_t)(u.first - c->text_first),
                                .text_end = (uint32_t)(u.end - c->text_first)};
}

/* Words from the cursor to the next heading, or more than `cap`. */
static size_t rest_of_section(const struct chunker *k, size_t cap)
{
    struct chunker look = *k;
    size_t n_words = 0;
    while (!at_end(&look) && n_words <= cap) {
        if (at_block_start(&look) && is_context(look.d, look.next.block)) break;
        struct unit u = take_unit(&look);
        n_words += 1 + sentence_words((const char *)k->d->text.data + u.first,
                                      u.end - u.first);
    }
    return n_words;
}

/* Whether the heading at the cursor ends a chunk that began under `level`. A
 * small subsection may join a small chunk. */
static int ends_chunk(const struct chunker *k, const struct chunk *c,
                      unsigned level)
{
    const struct block *b = &k->d->blocks[k->next.block];
    if (!at_block_start(k) || b->kind != BLOCK_HEADING) return 0;
    if (b->level <= level || level == 0) return 1;
    if (!is_context(k->d, k->next.block)) return 0;
    if (c->n_words >= CHUNK_WORDS_MERGE) return 1;
    struct chunker look = *k;
    push_heading(&look);
    return rest_of_section(&look, CHUNK_WORDS_MERGE) > CHUNK_WORDS_MERGE;
}

/* Add the units that hang together at the cursor; 0 when they do not fit, and
 * then nothing has changed. */
static int add_atom(struct chunker *k, struct chunk *c, size_t words_max)
{
    struct chunker k_before = *k;
    size_t n_sentences = c->n_sentences, n_words = c->n_words;
    size_t text_end = c->text_end;
    int glues = 1, was_empty = n_words == 0;
    for (int i = 0; glues && i < GLUED_MAX && !at_end(k); i++) {
        struct unit u = take_unit(k);
        add_unit(c, k->d, u);
        glues = u.glues;
    }
    int fits = c->n_words <= words_max &&
               c->text_end - c->text_first <= CHUNK_BYTES_MAX &&
               n_sentences + GLUED_MAX <= CHUNK_SENTENCES_MAX;
    if (fits || was_empty) return 1;
    *k = k_before;
    c->n_sentences = n_sentences;
    c->n_words = n_words;
    c->text_end = text_end;
    return 0;
}

/* A good place to end: the target is reached at the end of a paragraph, and
 * no list is torn. */
static int may_end(const struct chunker *k, const struct chunk *c)
{
    const struct block *b = &k->d->blocks[k->next.block];
    if (c->n_words < CHUNK_WORDS_TARGET || !at_block_start(k)) return 0;
    int in_list = b->kind == BLOCK_ITEM || b->kind == BLOCK_ROW;
    return !in_list || b[-1].kind != b->kind;
}

static int short_rest(const struct chunker *k, const struct chunk *c)
{
    size_t room = CHUNK_WORDS_HARD - CHUNK_WORDS_MAX;
    size_t rest = rest_of_section(k, room);
    return rest <= room && c->n_words + rest <= CHUNK_WORDS_HARD;
}

int chunker_next(struct chunker *k, struct chunk *out)
{
    const struct document *d = k->d;
    while (!at_end(k) && is_context(d, k->next.block)) push_heading(k);
    if (at_end(k)) return 0;
    const struct block *first = &d->blocks[k->next.block];
    int is_heading = at_block_start(k) && first->kind == BLOCK_HEADING;
    /* A heading that is text still ends what stood before it. */
    if (is_heading) pop_headings(k, level_of(first));
    out->n_words = out->n_sentences = 0;
    out->text_first = out->text_end = k->next.at;
    join_headings(k, out->heading);
    unsigned level = is_heading ? level_of(first) : k->level;
    size_t words_max = CHUNK_WORDS_MAX;
    while (!at_end(k)) {
        if (out->n_words > 0 && ends_chunk(k, out, level)) break;
        if (may_end(k, out) && !short_rest(k, out)) break;
        if (add_atom(k, out, words_max)) continue;
        if (words_max == CHUNK_WORDS_HARD || !short_rest(k, out)) break;
        words_max = CHUNK_WORDS_HARD;
    }
    out->place = document_place(d, out->text_first, out->text_end);
    for (size_t i = 0; i < out->n_sentences; i++) {
        struct chunk_sentence *s = &out->sentence[i];
        s->place = document_place(d, out->text_first + s->text_first,
                                  out->text_first + s->text_end);
    }
    return 1;
}

#include "retrieval/chunker.h"

#include <string.h>

#include "common/model/tokenizer.h"
#include "retrieval/sentence.h"

enum { GLUED_MAX = 8 /* units that may hang together */ };

const struct chunk_sizes chunk_sizes_default = {
    .target = 120, .max = 180, .hard = 220, .merge = 60, .overlap = 30};

void chunker_init(struct chunker *k, const struct document *d,
                  const struct chunk_sizes *sizes)
{
    *k = (struct chunker){.d = d, .sizes = *sizes};
    k->language = language_guess((const char *)d->text.data, d->text.len);
    for (size_t i = 0; i <= CHUNK_LEVELS; i++) k->heading[i] = SIZE_MAX;
    if (d->n_blocks) k->next.at = d->blocks[0].text_first;
}

static size_t count(const struct chunker *k, size_t first, size_t end)
{
    const char *text = (const char *)k->d->text.data + first;
    if (k->sizes.count) return k->sizes.count(k->sizes.ctx, text, end - first);
    return tokenizer_count(text, end - first);
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
    size_t left = b->text_end - u.first;
    int is_row = b->kind == BLOCK_ROW && left <= SENTENCE_BYTES_MAX;
    size_t next =
        u.first +
        (is_row ? left : sentence_length(k->language, text + u.first, left));
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

static void add_unit(const struct chunker *k, struct chunk *c, struct unit u)
{
    if (u.end == u.first) return;
    if (c->text_end == c->text_first) c->text_first = u.first;
    c->text_end = u.end;
    c->n_tokens += count(k, u.first, u.end);
    if (u.is_heading || c->n_sentences == CHUNK_SENTENCES_MAX) return;
    c->sentence[c->n_sentences++] =
        (struct chunk_sentence){.text_first =
                                    (uint32_t)(u.first - c->text_first),
                                .text_end = (uint32_t)(u.end - c->text_first)};
}

/* Tokens from the cursor to the next heading, or more than `cap`. */
static size_t rest_of_section(const struct chunker *k, size_t cap)
{
    struct chunker look = *k;
    size_t n_tokens = 0;
    while (!at_end(&look) && n_tokens <= cap) {
        if (at_block_start(&look) && is_context(look.d, look.next.block)) break;
        struct unit u = take_unit(&look);
        n_tokens += 1 + count(k, u.first, u.end);
    }
    return n_tokens;
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
    if (c->n_tokens >= k->sizes.merge) return 1;
    struct chunker look = *k;
    push_heading(&look);
    return rest_of_section(&look, k->sizes.merge) > k->sizes.merge;
}

/* Add the units that hang together at the cursor; 0 when they do not fit, and
 * then nothing has changed. */
static int add_atom(struct chunker *k, struct chunk *c, size_t tokens_max)
{
    struct chunker k_before = *k;
    size_t n_sentences = c->n_sentences, n_tokens = c->n_tokens;
    size_t text_end = c->text_end;
    int glues = 1, was_empty = c->text_end == c->text_first;
    for (int i = 0; glues && i < GLUED_MAX && !at_end(k); i++) {
        struct unit u = take_unit(k);
        add_unit(k, c, u);
        glues = u.glues;
    }
    int fits = c->n_tokens <= tokens_max &&
               c->text_end - c->text_first <= CHUNK_BYTES_MAX &&
               n_sentences + GLUED_MAX <= CHUNK_SENTENCES_MAX;
    if (fits || was_empty) return 1;
    *k = k_before;
    c->n_sentences = n_sentences;
    c->n_tokens = n_tokens;
    c->text_end = text_end;
    return 0;
}

/* A good place to end: the target is reached at the end of a paragraph, and
 * no list is torn. */
static int may_end(const struct chunker *k, const struct chunk *c)
{
    const struct block *b = &k->d->blocks[k->next.block];
    if (c->n_tokens < k->sizes.target || !at_block_start(k)) return 0;
    int in_list = b->kind == BLOCK_ITEM || b->kind == BLOCK_ROW;
    return !in_list || b[-1].kind != b->kind;
}

static int short_rest(const struct chunker *k, const struct chunk *c)
{
    size_t room = k->sizes.hard - k->sizes.max;
    size_t rest = rest_of_section(k, room);
    return rest <= room && c->n_tokens + rest <= k->sizes.hard;
}

/* ---- overlap --------------------------------------------------------------
 */

/* Put the last sentences of the chunk before, as many as fit, in front of what
 * is new in c, which is not empty. */
static void overlap(const struct chunker *k, struct chunk *c)
{
    size_t n = 0, tokens = 0;
    while (n < k->n_tail && c->n_sentences + n < CHUNK_SENTENCES_MAX / 2) {
        size_t at = k->n_tail - 1 - n;
        size_t more = count(k, k->tail[at].first, k->tail[at].end);
        if (tokens + more > k->sizes.overlap ||
            c->n_tokens + tokens + more > k->sizes.max ||
            c->text_end - k->tail[at].first > CHUNK_BYTES_MAX)
            break;
        tokens += more;
        n++;
    }
    if (n == 0) return;
    size_t first = k->tail[k->n_tail - n].first;
    uint32_t moved = (uint32_t)(c->text_first - first);
    memmove(c->sentence + n, c->sentence, c->n_sentences * sizeof *c->sentence);
    for (size_t i = 0; i < c->n_sentences; i++) {
        c->sentence[n + i].text_first += moved;
        c->sentence[n + i].text_end += moved;
    }
    for (size_t i = 0; i < n; i++)
        c->sentence[i] = (struct chunk_sentence){
            .text_first = (uint32_t)(k->tail[k->n_tail - n + i].first - first),
            .text_end = (uint32_t)(k->tail[k->n_tail - n + i].end - first)};
    c->text_first = first;
    c->n_sentences += n;
    c->n_tokens += tokens;
}

static void keep_tail(struct chunker *k, const struct chunk *c)
{
    size_t n = c->n_sentences;
    if (n > CHUNK_OVERLAP_SENTENCES) n = CHUNK_OVERLAP_SENTENCES;
    k->n_tail = k->sizes.overlap ? n : 0;
    for (size_t i = 0; i < k->n_tail; i++) {
        const struct chunk_sentence *s = &c->sentence[c->n_sentences - n + i];
        k->tail[i].first = c->text_first + s->text_first;
        k->tail[i].end = c->text_first + s->text_end;
    }
}

static void find_places(const struct chunker *k, struct chunk *c)
{
    c->place = document_place(k->d, c->text_first, c->text_end);
    for (size_t i = 0; i < c->n_sentences; i++) {
        struct chunk_sentence *s = &c->sentence[i];
        s->place = document_place(k->d, c->text_first + s->text_first,
                                  c->text_first + s->text_end);
    }
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
    if (at_block_start(k)) k->n_tail = 0;
    out->n_tokens = out->n_sentences = 0;
    out->text_first = out->text_end = out->own_first = k->next.at;
    join_headings(k, out->heading);
    unsigned level = is_heading ? level_of(first) : k->level;
    size_t tokens_max = k->sizes.max;
    while (!at_end(k)) {
        int is_empty = out->text_end == out->text_first;
        if (!is_empty && ends_chunk(k, out, level)) break;
        if (!is_empty && may_end(k, out) && !short_rest(k, out)) break;
        if (add_atom(k, out, tokens_max)) {
            if (is_empty && out->text_end > out->text_first) {
                out->own_first = out->text_first;
                overlap(k, out);
            }
            continue;
        }
        if (tokens_max == k->sizes.hard || !short_rest(k, out)) break;
        tokens_max = k->sizes.hard;
    }
    find_places(k, out);
    keep_tail(k, out);
    return 1;
}

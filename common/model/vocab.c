#include "common/model/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"
#include "common/model/vocab_state.h"

/* ---- token numbers ------------------------------------------------------ */

void vocab_ids_release(struct vocab_ids *ids)
{
    free(ids->id);
    *ids = (struct vocab_ids){0};
}

enum tacit_err vocab_ids_put(struct vocab_ids *ids, int32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? 2 * ids->cap : 64;
        int32_t *p = realloc(ids->id, cap * sizeof *p);
        if (!p) return fail(TACIT_NOMEM, "no memory for %zu tokens", cap);
        ids->id = p;
        ids->cap = cap;
    }
    ids->id[ids->n++] = id;
    return TACIT_OK;
}

/* ---- building ----------------------------------------------------------- */

enum tacit_err vocab_new(enum vocab_kind kind, size_t n, struct vocab **out)
{
    if (n == 0 || n > VOCAB_TOKENS_MAX)
        return fail(TACIT_FORMAT, "a vocabulary of %zu tokens; 1 to %d may be",
                    n, VOCAB_TOKENS_MAX);
    struct vocab *v = calloc(1, sizeof *v);
    if (!v) return fail(TACIT_NOMEM, "no memory for a vocabulary");
    arena_init(&v->arena, 0);
    v->kind = kind;
    v->cap = (int32_t)n;
    v->marks = (struct vocab_marks){-1, -1, -1, -1, -1, -1, -1, -1};
    for (int i = 0; i < 256; i++) v->byte[i] = VOCAB_NONE;
    enum tacit_err err = arena_alloc(&v->arena, n, sizeof *v->token, &v->token);
    if (!err)
        *out = v;
    else
        vocab_free(v);
    return err;
}

void vocab_free(struct vocab *v)
{
    if (!v) return;
    vocab_trie_release(&v->user);
    vocab_trie_release(&v->all);
    vocab_trie_release(&v->pieces);
    vocab_splitter_free(v->splitter);
    arena_release(&v->arena);
    free(v);
}

enum tacit_err vocab_add(struct vocab *v, const char *text, size_t n,
                         unsigned class, double score)
{
    char *copy;
    if (n > VOCAB_TOKEN_BYTES_MAX || v->n == v->cap)
        return fail(TACIT_LIMIT, "token %d has %zu bytes, %d at most", v->n, n,
                    VOCAB_TOKEN_BYTES_MAX);
    if (class < VOCAB_NORMAL || class > VOCAB_BYTE)
        return fail(TACIT_FORMAT, "token %d is of unknown class %u", v->n,
                    class);
    TRY(arena_alloc_raw(&v->arena, n + 1, 1, &copy));
    memcpy(copy, text, n);
    copy[n] = '\0';
    struct vocab_entry *e = &v->token[v->n];
    *e = (struct vocab_entry){.text = copy,
                              .n = (uint32_t)n,
                              .class = (uint8_t) class,
                              .score = (float)score};
    v->n_all = ++v->n;
    return TACIT_OK;
}

/* GPT-2's alphabet: what can be printed stands for itself, the other bytes for
 * the letters from U+0100 on. */
static uint32_t letter_of(unsigned byte)
{
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
        byte >= 0xae)
        return byte;
    if (byte <= 0x20) return 0x100 + byte;
    return byte <= 0xa0 ? 0x100 + 33 + (byte - 0x7f) : 0x100 + 67;
}

size_t vocab_bytes_of(const char *text, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        uint32_t u = 0;
        size_t step = utf8_next(text + i, n - i, &u);
        if (step == 0) return 0;
        i += step;
        unsigned byte = u;
        if (u >= 0x100 && u <= 0x120)
            byte = u - 0x100;
        else if (u > 0x120 && u <= 0x120 + 34)
            byte = u - 0x121 + 0x7f;
        else if (u == 0x100 + 67)
            byte = 0xad;
        if (byte > 0xff || letter_of(byte) != u) return 0;
        out[k++] = (char)byte;
    }
    return k;
}

void vocab_letters_of(const char *bytes, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = letter_of((unsigned char)bytes[i]);
        if (u < 0x80) {
            buf_put_u8(out, (uint8_t)u);
        } else {
            buf_put_u8(out, (uint8_t)(0xc0 | u >> 6));
            buf_put_u8(out, (uint8_t)(0x80 | (u & 0x3f)));
        }
    }
}

static int is_part(const struct vocab *v, const struct vocab_entry *e)
{
    if (e->n == 0) return 0;
    if (v->kind == VOCAB_BYTES || v->kind == VOCAB_WORDPIECE)
        return e->class == VOCAB_NORMAL;
    return e->class == VOCAB_NORMAL || e->class == VOCAB_USER ||
           e->class == VOCAB_UNUSED;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0x0A>": the token of one byte. */
static int byte_value(const struct vocab_entry *e)
{
    if (e->n != 6 || memcmp(e->text, "<0x", 3) != 0 || e->text[5] != '>')
        return -1;
    int hi = hex_digit(e->text[3]), lo = hex_digit(e->text[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

enum tacit_err vocab_index(struct vocab *v, size_t n_merges)
{
    size_t cap = 64;
    TRY(vocab_table_make(v, &v->words, (size_t)v->n + n_merges));
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_entry *e = &v->token[i];
        if (is_part(v, e)) vocab_table_put(v, &v->words, i);
        int byte = -1;
        if (v->kind != VOCAB_BYTES && e->class == VOCAB_BYTE)
            byte = byte_value(e);
        else if (v->kind == VOCAB_BYTES && is_part(v, e) && e->n == 1)
            byte = (unsigned char)e->text[0];
        if (byte >= 0 && v->byte[byte] < 0) v->byte[byte] = i;
    }
    if (v->kind != VOCAB_BYTES) return TACIT_OK;
    while (cap < 2 * n_merges + 2) cap *= 2;
    TRY(arena_alloc(&v->arena, n_merges + 1, sizeof *v->merges, &v->merges));
    TRY(arena_alloc(&v->arena, cap, sizeof *v->merge_slot, &v->merge_slot));
    v->merge_mask = (uint32_t)(cap - 1);
    /* Parts that are no token themselves stand behind the tokens. */
    struct vocab_entry *more;
    TRY(arena_alloc(&v->arena, (size_t)v->n + 3 * n_merges, sizeof *more,
                    &more));
    memcpy(more, v->token, (size_t)v->n * sizeof *more);
    v->token = more;
    return TACIT_OK;
}

/* The token or part of this spelling, made where there is none. */
static enum tacit_err part(struct vocab *v, const char *text, size_t n,
                           int32_t *out)
{
    char *copy;
    *out = vocab_table_find(v, &v->words, text, n);
    if (*out >= 0) return TACIT_OK;
    TRY(arena_alloc_raw(&v->arena, n + 1, 1, &copy));
    memcpy(copy, text, n);
    v->token[v->n_all] =
        (struct vocab_entry){.text = copy, .n = (uint32_t)n, .class = 0};
    *out = v->n_all++;
    /* One that is spelt twice is found by its first number: the table has room
     * for two parts of three, as most pairs are tokens already. */
    if ((size_t)v->n_all < v->words.mask / 4 * 3)
        vocab_table_put(v, &v->words, *out);
    return TACIT_OK;
}

static uint32_t merge_hash(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32);
}

enum tacit_err vocab_add_merge(struct vocab *v, const char *left, size_t n_left,
                               const char *right, size_t n_right)
{
    char both[2 * VOCAB_TOKEN_BYTES_MAX];
    struct vocab_merge m = {.rank = v->n_merges};
    if (n_left > VOCAB_TOKEN_BYTES_MAX || n_right > VOCAB_TOKEN_BYTES_MAX)
        return fail(TACIT_LIMIT, "a merge joins more than %d bytes",
                    VOCAB_TOKEN_BYTES_MAX);
    size_t a = vocab_bytes_of(left, n_left, both);
    size_t b = vocab_bytes_of(right, n_right, both + a);
    if (a == 0 || b == 0)
        return fail(TACIT_FORMAT,
                    "merge %u is not spelt in the letters of "
                    "a byte-level tokenizer",
                    v->n_merges);
    TRY(part(v, both, a, &m.left));
    TRY(part(v, both + a, b, &m.right));
    TRY(part(v, both, a + b, &m.made));
    uint32_t i = merge_hash(m.left, m.right) & v->merge_mask;
    for (; v->merge_slot[i]; i = (i + 1) & v->merge_mask) {
        const struct vocab_merge *o = &v->merges[v->merge_slot[i] - 1];
        if (o->left == m.left && o->right == m.right) break;
    }
    v->merges[v->n_merges++] = m;
    if (v->merge_slot[i] == 0) v->merge_slot[i] = v->n_merges;
    return TACIT_OK;
}

static enum tacit_err check_mark(const struct vocab *v, const char *name,
                                 int32_t id)
{
    if (id < v->n) return TACIT_OK;
    return fail(TACIT_FORMAT, "the %s token is number %d of %d", name, id,
                v->n);
}

static enum tacit_err check_marks(const struct vocab *v)
{
    const struct vocab_marks *m = &v->marks;
    TRY(check_mark(v, "first (bos)", m->bos));
    TRY(check_mark(v, "last (eos)", m->eos));
    TRY(check_mark(v, "unknown", m->unk));
    TRY(check_mark(v, "sep", m->sep));
    TRY(check_mark(v, "pad", m->pad));
    TRY(check_mark(v, "cls", m->cls));
    TRY(check_mark(v, "mask", m->mask));
    return check_mark(v, "end-of-turn", m->eot);
}

static int by_score(const void *a, const void *b)
{
    const struct vocab_entry *const *x = a, *const *y = b;
    return ((*x)->score < (*y)->score) - ((*x)->score > (*y)->score);
}

/* Scores become ranks: equal scores the same. */
static enum tacit_err rank_scores(struct vocab *v)
{
    struct vocab_entry **order = malloc((size_t)v->n * sizeof *order);
    if (!order) return fail(TACIT_NOMEM, "no memory for a vocabulary");
    for (int32_t i = 0; i < v->n; i++) order[i] = &v->token[i];
    qsort(order, (size_t)v->n, sizeof *order, by_score);
    uint32_t rank = 0;
    for (int32_t i = 0; i < v->n; i++) {
        if (i && order[i]->score < order[i - 1]->score) rank++;
        order[i]->rank = rank;
    }
    free(order);
    return TACIT_OK;
}

/* Does a token hold a blank behind something else? If none does, no merge
 * crosses from word to word. */
static int crosses(const struct vocab_entry *e)
{
    for (uint32_t i = 1; i + 3 <= e->n; i++)
        if (memcmp(e->text + i, VOCAB_SPACE, 3) == 0 &&
            (i < 3 || memcmp(e->text + i - 3, VOCAB_SPACE, 3) != 0))
            return 1;
    return 0;
}

static enum tacit_err finish_pieces(struct vocab *v)
{
    float lowest = 0;
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_entry *e = &v->token[i];
        if (!is_part(v, e)) continue;
        if (crosses(e)) v->crosses = 1;
        if (e->class == VOCAB_NORMAL && e->score < lowest) lowest = e->score;
        if (e->class == VOCAB_NORMAL && e->score > v->best_score)
            v->best_score = e->score;
        if (v->kind == VOCAB_UNIGRAM || v->kind == VOCAB_WORDPIECE)
            TRY(vocab_trie_put(&v->pieces, e->text, e->n, i));
    }
    v->unknown_score = lowest - 10;
    return v->kind == VOCAB_SPM ? rank_scores(v) : TACIT_OK;
}

static const char *const turn_ends[] = {"<|im_end|>",      "<|eot_id|>",
                                        "<|end|>",         "<|eom_id|>",
                                        "<end_of_turn>",   "<|endoftext|>",
                                        "<|end_of_text|>", "</s>"};

static void find_turn_end(struct vocab *v)
{
    for (size_t k = 0; k < 3 && v->marks.eot < 0; k++)
        for (int32_t i = v->n - 1; i >= 0 && v->marks.eot < 0; i--)
            if (v->token[i].class == VOCAB_CONTROL &&
                v->token[i].n == strlen(turn_ends[k]) &&
                memcmp(v->token[i].text, turn_ends[k], v->token[i].n) == 0)
                v->marks.eot = i;
}

enum tacit_err vocab_finish(struct vocab *v)
{
    for (int32_t i = 0; i < v->n; i++) {
        const struct vocab_entry *e = &v->token[i];
        if (e->n == 0) continue;
        if (e->class == VOCAB_USER)
            TRY(vocab_trie_put(&v->user, e->text, e->n, i));
        if (e->class == VOCAB_USER || e->class == VOCAB_CONTROL ||
            e->class == VOCAB_UNKNOWN)
            TRY(vocab_trie_put(&v->all, e->text, e->n, i));
    }
    TRY(finish_pieces(v));
    TRY(arena_alloc(&v->arena, (size_t)v->n, sizeof *v->whole, &v->whole));
    find_turn_end(v);
    TRY(check_marks(v));
    if (v->kind == VOCAB_BYTES && !v->splitter)
        return fail(TACIT_FORMAT, "the tokenizer has no pattern for words");
    if (v->kind != VOCAB_BYTES && v->marks.unk < 0 && !v->byte_fallback)
        return fail(TACIT_FORMAT, "the tokenizer has no unknown token");
    if (v->kind == VOCAB_WORDPIECE && v->marks.unk < 0)
        return fail(TACIT_FORMAT, "the tokenizer has no unknown token");
    return TACIT_OK;
}

/* ---- encoding ----------------------------------------------------------- */

static enum tacit_err encode_fragment(const struct vocab *v,
                                      const struct vocab_fragment *f,
                                      struct vocab_ids *out)
{
    if (f->n == 0) return TACIT_OK;
    switch (v->kind) {
    case VOCAB_BYTES: return vocab_encode_bytes(v, f, out);
    case VOCAB_SPM: return vocab_encode_spm(v, f, out);
    case VOCAB_UNIGRAM: return vocab_encode_unigram(v, f, out);
    case VOCAB_WORDPIECE: break;
    }
    return vocab_encode_words(v, f, out);
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Cut the marks out, leftmost and longest; encode what lies between. */
static enum tacit_err encode_text(const struct vocab *v, const char *text,
                                  size_t n, unsigned flags,
                                  struct vocab_ids *out)
{
    const struct vocab_trie *t =
        flags & VOCAB_PARSE_SPECIAL ? &v->all : &v->user;
    struct vocab_fragment f = {.first = 1};
    size_t from = 0;
    for (size_t i = 0; t->key && i < n;) {
        size_t len = 0;
        int32_t id = vocab_trie_longest(t, text + i, n - i, &len);
        if (id < 0) {
            i++;
            continue;
        }
        size_t end = i;
        while (v->token[id].strips & 1 && end > from && is_blank(text[end - 1]))
            end--;
        f.text = text + from;
        f.n = end - from;
        TRY(encode_fragment(v, &f, out));
        TRY(vocab_ids_put(out, id));
        for (i += len; v->token[id].strips & 2 && i < n && is_blank(text[i]);)
            i++;
        from = i;
        f.first = 0;
    }
    f.text = text + from;
    f.n = n - from;
    f.last = 1;
    return encode_fragment(v, &f, out);
}

static size_t find_bad(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t k = (unsigned char)text[i] < 0x80
                       ? 1
                       : utf8_next(text + i, n - i, NULL);
        if (k == 0) break;
        i += k;
    }
    return i;
}

/* A copy in which each byte that is not UTF-8 is U+FFFD. */
static enum tacit_err mend(const char *text, size_t n, struct buf *out)
{
    while (n > 0) {
        size_t good = find_bad(text, n);
        buf_put(out, text, good);
        text += good;
        n -= good;
        if (n == 0) break;
        buf_put(out, "\xef\xbf\xbd", 3);
        text++;
        n--;
    }
    return buf_end(out);
}

enum tacit_err vocab_encode(const struct vocab *v, const char *text, size_t n,
                            unsigned flags, struct vocab_ids *out)
{
    struct buf mended;
    size_t before = out->n;
    if (n > VOCAB_TEXT_MAX)
        return fail(TACIT_LIMIT, "a text of %zu bytes; %d at most are encoded",
                    n, VOCAB_TEXT_MAX);
    int32_t head = v->kind == VOCAB_WORDPIECE ? v->marks.cls : v->marks.bos;
    int32_t tail = v->kind == VOCAB_WORDPIECE ? v->marks.sep : v->marks.eos;
    buf_init(&mended, 0);
    enum tacit_err err = TACIT_OK;
    if (find_bad(text, n) < n) {
        err = mend(text, n, &mended);
        text = (const char *)mended.data;
        n = mended.len;
    }
    if (!err && flags & VOCAB_ADD_SPECIAL && v->add_bos && head >= 0)
        err = vocab_ids_put(out, head);
    if (!err && n > 0) err = encode_text(v, text, n, flags, out);
    if (!err && flags & VOCAB_ADD_SPECIAL && v->add_eos && tail >= 0)
        err = vocab_ids_put(out, tail);
    if (err) out->n = before;
    buf_release(&mended);
    return err;
}

/* ---- decoding ----------------------------------------------------------- */

static void put_spaced(const char *s, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n;)
        if (i + 3 <= n && memcmp(s + i, VOCAB_SPACE, 3) == 0) {
            buf_put_u8(out, ' ');
            i += 3;
        } else {
            buf_put_u8(out, (uint8_t)s[i++]);
        }
}

/* WordPiece: a word begins with a blank, but for a stop that follows one. */
static void put_word(const struct vocab_entry *e, struct buf *out)
{
    const char *s = e->text;
    size_t n = e->n;
    int starts = n >= 3 && memcmp(s, VOCAB_SPACE, 3) == 0;
    if (starts) {
        s += 3;
        n -= 3;
    }
    int is_stop = n == 1 && memchr(".?!,", s[0], 4) != NULL;
    if ((starts && !is_stop) || e->class != VOCAB_NORMAL) buf_put_u8(out, ' ');
    buf_put(out, s, n);
}

void vocab_piece(const struct vocab *v, int32_t id, struct buf *out)
{
    if (id < 0 || id >= v->n) return;
    const struct vocab_entry *e = &v->token[id];
    int byte = e->class == VOCAB_BYTE ? byte_value(e) : -1;
    if (e->class == VOCAB_CONTROL || e->class == VOCAB_UNKNOWN) {
        if (e->class == VOCAB_UNKNOWN && v->kind != VOCAB_WORDPIECE)
            buf_put(out, " \xe2\x81\x87 ", 5); /* as SentencePiece shows it */
    } else if (byte >= 0) {
        buf_put_u8(out, (uint8_t)byte);
    } else if (v->kind == VOCAB_BYTES) {
        buf_put(out, e->text, e->n);
    } else if (v->kind == VOCAB_WORDPIECE) {
        put_word(e, out);
    } else {
        put_spaced(e->text, e->n, out);
    }
}

/* ---- looking up --------------------------------------------------------- */

size_t vocab_size(const struct vocab *v)
{
    return (size_t)v->n;
}

int vocab_folds(const struct vocab *v)
{
    return v->fold;
}

enum vocab_kind vocab_kind_of(const struct vocab *v)
{
    return v->kind;
}

const char *vocab_token(const struct vocab *v, int32_t id, size_t *out_n)
{
    if (id < 0 || id >= v->n) return NULL;
    *out_n = v->token[id].n;
    return v->token[id].text;
}

enum vocab_class vocab_class_of(const struct vocab *v, int32_t id)
{
    if (id < 0 || id >= v->n) return VOCAB_UNUSED;
    return (enum vocab_class)v->token[id].class;
}

int32_t vocab_find(const struct vocab *v, const char *token, size_t n)
{
    size_t len = 0;
    int32_t id = vocab_trie_longest(&v->all, token, n, &len);
    if (id >= 0 && len == n) return id;
    id = vocab_table_find(v, &v->words, token, n);
    return id < v->n ? id : VOCAB_NONE;
}

struct vocab_marks vocab_marks_of(const struct vocab *v)
{
    return v->marks;
}

int vocab_ends(const struct vocab *v, int32_t id)
{
    if (id < 0 || id >= v->n) return 0;
    if (id == v->marks.eos || id == v->marks.eot) return 1;
    const struct vocab_entry *e = &v->token[id];
    if (e->class != VOCAB_CONTROL && e->class != VOCAB_USER) return 0;
    for (size_t k = 0; k < sizeof turn_ends / sizeof *turn_ends; k++)
        if (e->n == strlen(turn_ends[k]) &&
            memcmp(e->text, turn_ends[k], e->n) == 0)
            return 1;
    return 0;
}

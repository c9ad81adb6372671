#include "retrieval/prompt.h"

#include <string.h>

#include "common/base/codes.h"

enum {
    CUT_MIN = 16,    /* tokens of a prefix that is worth keeping */
    PASSAGE_MIN = 80 /* bytes that a cut passage keeps */
};

static const char instructions[] =
    "You answer questions from numbered passages, and from nothing else. "
    "Behind each sentence name the passage that says it, as [1]. Be brief, and "
    "answer in the language of the question. When the passages do not answer "
    "it, say that they do not.";

/* ---- text --------------------------------------------------------------- */

static int begins(const char *s, size_t n, const char *what)
{
    size_t len = strlen(what);
    return n >= len && memcmp(s, what, len) == 0;
}

/* A frame's mark, or what would look like a citation. */
static int is_framing(const char *s, size_t n)
{
    return begins(s, n, "[INST]") || begins(s, n, "[/INST]") ||
           begins(s, n, "<<SYS>>") || begins(s, n, "<</SYS>>") ||
           (n > 1 && s[0] == '[' && s[1] >= '0' && s[1] <= '9');
}

/* Append text as it may stand in a prompt. */
static void put_plain(struct buf *b, const char *text, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if ((text[i] != '[' && text[i] != '<') || !is_framing(text + i, n - i))
            continue;
        buf_put(b, text + from, i - from);
        buf_put_u8(b, '(');
        from = i + 1;
    }
    buf_put(b, text + from, n - from);
}

static void put_line(struct buf *b, const char *text)
{
    size_t before = b->len;
    put_plain(b, text, strlen(text));
    for (size_t i = before; i < b->len; i++)
        if (b->data[i] == '\n') b->data[i] = ' ';
}

/* ---- one try ------------------------------------------------------------ */

struct draft_prompt {
    const struct prompt_source *s;
    const struct prompt_turn *turns; /* as they may stand in it */
    size_t n_passages, first_turn;
    size_t passage_bytes; /* at most so many of each passage */
};

enum { PASSAGES_HEAD, PASSAGES_ALL };
static const char question_head[] = "Question: ";

static void put_passages(struct buf *b, const struct draft_prompt *d)
{
    buf_printf(b, "Passages:\n");
    for (size_t i = 0; i < d->n_passages; i++) {
        const struct search_hit *h = d->s->passages[i].hit;
        size_t n = h->text_len;
        if (n > d->passage_bytes) n = d->passage_bytes;
        while (n < h->text_len && n > 0 &&
               ((unsigned char)h->text[n] & 0xc0) == 0x80)
            n--;
        buf_printf(b, "[%zu] ", i + 1);
        put_line(b, h->title);
        if (*h->heading) {
            buf_printf(b, " > ");
            put_line(b, h->heading);
        }
        buf_printf(b, "\n");
        put_plain(b, h->text, n);
        buf_printf(b, "\n\n");
    }
}

static enum tacit_err encode_chat(const struct draft_prompt *d,
                                  const struct buf *last, struct vocab_ids *out)
{
    struct chat_message m[2 * PROMPT_TURNS_MAX + 2];
    size_t n = 0;
    m[n++] = (struct chat_message){CHAT_SYSTEM, instructions,
                                   sizeof instructions - 1};
    for (size_t i = d->first_turn; i < d->s->n_turns; i++) {
        const struct prompt_turn *t = &d->turns[i];
        m[n++] =
            (struct chat_message){CHAT_USER, t->question, strlen(t->question)};
        m[n++] =
            (struct chat_message){CHAT_ASSISTANT, t->answer, strlen(t->answer)};
    }
    m[n++] =
        (struct chat_message){CHAT_USER, (const char *)last->data, last->len};
    return chat_encode(d->s->chat, d->s->vocab, m, n, out);
}

static enum tacit_err encode_plain(const struct draft_prompt *d,
                                   const struct buf *last,
                                   struct vocab_ids *out)
{
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s\n\n", instructions);
    for (size_t i = d->first_turn; i < d->s->n_turns; i++)
        buf_printf(&b, "%s%s\nAnswer: %s\n\n", question_head,
                   d->turns[i].question, d->turns[i].answer);
    buf_put(&b, last->data, last->len);
    buf_printf(&b, "\nAnswer:");
    enum tacit_err err = buf_end(&b);
    if (!err)
        err = vocab_encode(d->s->vocab, (const char *)b.data, b.len,
                           VOCAB_ADD_SPECIAL, out);
    buf_release(&b);
    /* What ends a text would end it before the answer. */
    if (!err && out->n && vocab_ends(d->s->vocab, out->id[out->n - 1]))
        out->n--;
    return err;
}

/* question NULL: the passages without one. passages 0: where they begin. */
static enum tacit_err encode(const struct draft_prompt *d, int passages,
                             const char *question, struct vocab_ids *out)
{
    struct draft_prompt none = *d;
    struct buf b;
    out->n = 0;
    buf_init(&b, 0);
    if (!passages) none.n_passages = 0;
    put_passages(&b, &none);
    if (passages) {
        buf_printf(&b, "%s", question_head);
        if (question) put_plain(&b, question, strlen(question));
    }
    enum tacit_err err = buf_end(&b);
    if (!err && d->s->chat == CHAT_NONE)
        err = encode_plain(d, &b, out);
    else if (!err)
        err = encode_chat(d, &b, out);
    buf_release(&b);
    return err;
}

/* ---- what fits ---------------------------------------------------------- */

static size_t turn_bytes(const struct draft_prompt *d)
{
    size_t n = 0;
    for (size_t i = d->first_turn; i < d->s->n_turns; i++)
        n += strlen(d->turns[i].question) + strlen(d->turns[i].answer);
    return n;
}

static size_t passages_bytes(const struct draft_prompt *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_passages; i++)
        n += d->s->passages[i].hit->text_len;
    return n;
}

/* Give something up; 0 when nothing is left. Turns may have a third of what
 * the passages have; the best passage goes last. */
static int give_up(struct draft_prompt *d)
{
    int has_turns = d->first_turn < d->s->n_turns;
    if (has_turns &&
        (3 * turn_bytes(d) > passages_bytes(d) || d->n_passages <= 1)) {
        d->first_turn++;
        return 1;
    }
    if (d->n_passages > 1) {
        d->n_passages--;
        return 1;
    }
    if (d->n_passages == 0) return 0;
    size_t n = d->s->passages[0].hit->text_len;
    if (d->passage_bytes < n) n = d->passage_bytes;
    if (n / 2 < PASSAGE_MIN) return 0;
    d->passage_bytes = n * 3 / 4;
    return 1;
}

static size_t common(const struct vocab_ids *a, const struct vocab_ids *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n]) n++;
    return n;
}

static enum tacit_err find_cuts(const struct draft_prompt *d,
                                const struct vocab_ids *all, struct prompt *out)
{
    struct vocab_ids part = {0};
    struct draft_prompt bare = *d;
    bare.first_turn = d->s->n_turns;
    enum tacit_err err = encode(&bare, PASSAGES_HEAD, NULL, &part);
    size_t system = common(all, &part), passages = 0;
    if (!err) err = encode(d, PASSAGES_ALL, NULL, &part);
    if (!err) passages = common(all, &part);
    vocab_ids_release(&part);
    if (err) return err;
    if (system >= CUT_MIN) out->cut[out->n_cuts++] = system;
    if (passages > system + CUT_MIN && passages < all->n)
        out->cut[out->n_cuts++] = passages;
    return TACIT_OK;
}

static enum tacit_err keep(const struct draft_prompt *d,
                           const struct vocab_ids *ids, struct arena *a,
                           struct prompt *out)
{
    struct prompt p = {.n = ids->n,
                       .n_passages = d->n_passages,
                       .n_turns = d->s->n_turns - d->first_turn,
                       .is_cut =
                           d->n_passages &&
                           d->passage_bytes < d->s->passages[0].hit->text_len};
    TRY(arena_alloc(a, ids->n + 1, sizeof *p.token, &p.token));
    for (size_t i = 0; i < ids->n; i++) p.token[i] = (uint32_t)ids->id[i];
    TRY(find_cuts(d, ids, &p));
    *out = p;
    return TACIT_OK;
}

static enum tacit_err plain_copy(struct arena *a, const char *text,
                                 const char **out)
{
    struct buf b;
    char *copy = NULL;
    buf_init(&b, 0);
    put_plain(&b, text, strlen(text));
    enum tacit_err err = buf_end(&b);
    if (!err)
        err = arena_strdup(a, b.data ? (const char *)b.data : "", b.len, &copy);
    buf_release(&b);
    if (!err) *out = copy;
    return err;
}

static enum tacit_err copy_turns(const struct prompt_source *s, struct arena *a,
                                 const struct prompt_turn **out)
{
    struct prompt_turn *turns = NULL;
    TRY(arena_alloc(a, s->n_turns + 1, sizeof *turns, &turns));
    for (size_t i = 0; i < s->n_turns; i++) {
        TRY(plain_copy(a, s->turns[i].question, &turns[i].question));
        TRY(plain_copy(a, s->turns[i].answer, &turns[i].answer));
    }
    *out = turns;
    return TACIT_OK;
}

enum tacit_err prompt_build(const struct prompt_source *s, struct arena *a,
                            struct prompt *out)
{
    struct draft_prompt d = {.s = s,
                             .n_passages = s->n_passages,
                             .passage_bytes = SIZE_MAX};
    struct vocab_ids ids = {0};
    if (d.n_passages > PROMPT_PASSAGES_MAX) d.n_passages = PROMPT_PASSAGES_MAX;
    if (s->n_turns > PROMPT_TURNS_MAX)
        d.first_turn = s->n_turns - PROMPT_TURNS_MAX;
    TRY(copy_turns(s, a, &d.turns));
    enum tacit_err err = encode(&d, PASSAGES_ALL, s->question, &ids);
    while (!err && ids.n > s->room && give_up(&d))
        err = encode(&d, PASSAGES_ALL, s->question, &ids);
    if (!err && ids.n > s->room)
        err = fail_as(E_PROMPT_ROOM,
                      "the question and what stands around it are %zu tokens, "
                      "and there is room for %zu beside the answer",
                      ids.n, s->room);
    if (!err) err = keep(&d, &ids, a, out);
    vocab_ids_release(&ids);
    return err;
}

#include "client/token_sets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/model_files.h"
#include "common/model/text_pair.h"
#include "common/model/tuned_base.h"
#include "common/model/vocab.h"
#include "common/task/task.h"

enum { ROWS_MAX = 1 << 20, TOKENS_MAX = 1 << 28 };

/* Rows of one side, while they are read. */
struct side {
    uint32_t *start, *second, *span; /* arena: [rows + 1], [rows], [2 rows] */
    float *y;                        /* arena: [rows] classes */
    struct vocab_ids ids;
    size_t n;
};

struct reading {
    const struct plan *plan;
    const struct vocab *vocab;
    struct dataset *d;
    struct side side[2];   /* train, test */
    struct vocab_ids a, b; /* first and second part of the row at hand */
    uint32_t second;       /* of a labelled pair: where b begins in a */
    uint32_t answer[2];    /* its first and last token in b; 0, 0: none */
    int has_answer;
    float label; /* its class */
};

struct columns {
    long text, prompt, question, passage, answer, label, split;
};

static enum tacit_err find(const struct csv *t, const char *name, int must,
                           long *out)
{
    size_t at = 0;
    *out = csv_find(t, name);
    if (*out < 0 && !must) return TACIT_OK;
    TRY(csv_column(t, name, &at));
    *out = (long)at;
    return TACIT_OK;
}

static enum tacit_err find_columns(const struct reading *r, const struct csv *t,
                                   struct columns *c)
{
    int reads = r->plan->task == PLAN_READER;
    *c = (struct columns){-1, -1, -1, -1, -1, -1, -1};
    TRY(find(t, "split", 0, &c->split));
    if (reads) {
        TRY(find(t, "question", 1, &c->question));
        TRY(find(t, "passage", 1, &c->passage));
        return find(t, "answer", 1, &c->answer);
    }
    TRY(find(t, "text", 0, &c->text));
    if (r->plan->task == PLAN_CLASSIFY) {
        TRY(find(t, r->plan->label, 1, &c->label));
        if (c->text >= 0) return TACIT_OK;
        TRY(find(t, "question", 1, &c->question));
        return find(t, "passage", 1, &c->passage);
    }
    if (c->text >= 0) return TACIT_OK;
    TRY(find(t, "prompt", 1, &c->prompt));
    return find(t, "answer", 1, &c->answer);
}

static const char *cell(const struct csv *t, size_t row, long column)
{
    const char *s = column < 0 ? "" : csv_cell(t, row, (size_t)column);
    return strcmp(s, "?") == 0 ? "" : s;
}

static enum tacit_err encode(const struct reading *r, const char *text,
                             size_t n, unsigned flags, struct vocab_ids *out)
{
    return vocab_encode(r->vocab, text, n, flags, out);
}

/* Around the answer, so that its tokens are known; *usable 0: it is not in the
 * passage. */
static enum tacit_err read_passage(struct reading *r, const char *passage,
                                   const char *answer, int *usable)
{
    const char *at = *answer ? strstr(passage, answer) : passage;
    size_t n = strlen(answer);
    *usable = at != NULL;
    r->has_answer = n > 0;
    if (!at) return TACIT_OK;
    TRY(encode(r, passage, (size_t)(at - passage), VOCAB_PLAIN, &r->b));
    r->answer[0] = (uint32_t)r->b.n;
    TRY(encode(r, at, n, VOCAB_PLAIN, &r->b));
    *usable = !n || r->b.n > r->answer[0];
    r->answer[1] = r->b.n ? (uint32_t)r->b.n - 1 : 0;
    return encode(r, at + n, strlen(at + n), VOCAB_PLAIN, &r->b);
}

/* A passage that is too long is cut at its end, or around its answer. */
static void cut_passage(struct reading *r, size_t room)
{
    if (r->b.n <= room) return;
    size_t from = 0;
    if (r->has_answer && r->answer[1] >= room)
        from = r->answer[1] + 1 - room + room / 8;
    if (from > r->b.n - room) from = r->b.n - room;
    if (r->has_answer && from > r->answer[0]) from = r->answer[0];
    memmove(r->b.id, r->b.id + from, room * sizeof *r->b.id);
    r->b.n = room;
    r->answer[0] -= r->has_answer ? (uint32_t)from : 0;
    r->answer[1] -= r->has_answer ? (uint32_t)from : 0;
}

static enum tacit_err read_question(struct reading *r, const struct csv *t,
                                    size_t row, const struct columns *c,
                                    int *usable)
{
    const char *question = cell(t, row, c->question);
    const char *passage = cell(t, row, c->passage);
    const struct vocab_marks marks = vocab_marks_of(r->vocab);
    int32_t end = marks.sep >= 0 ? marks.sep : marks.eos;
    size_t most = r->plan->length;
    *usable = *question && *passage;
    if (!*usable) return TACIT_OK;
    TRY(encode(r, question, strlen(question), VOCAB_ADD_SPECIAL, &r->a));
    TRY(read_passage(r, passage, cell(t, row, c->answer), usable));
    if (!*usable) return TACIT_OK;
    if (r->a.n + 4 > most) { /* half a question, and no passage */
        *usable = 0;
        return TACIT_OK;
    }
    cut_passage(r, most - r->a.n - 1);
    if (r->has_answer && r->answer[1] >= r->b.n) *usable = 0;
    return end >= 0 ? vocab_ids_put(&r->b, end) : TACIT_OK;
}

static enum tacit_err read_text(struct reading *r, const struct csv *t,
                                size_t row, const struct columns *c,
                                int *usable)
{
    const char *prompt = cell(t, row, c->prompt);
    const char *text = cell(t, row, c->text >= 0 ? c->text : c->answer);
    const struct vocab_marks marks = vocab_marks_of(r->vocab);
    *usable = *text && (c->text >= 0 || *prompt);
    if (!*usable) return TACIT_OK;
    if (marks.bos >= 0) TRY(vocab_ids_put(&r->a, marks.bos));
    TRY(encode(r, prompt, strlen(prompt), VOCAB_PLAIN, &r->a));
    TRY(encode(r, text, strlen(text), VOCAB_PLAIN, &r->b));
    if (marks.eos >= 0) TRY(vocab_ids_put(&r->b, marks.eos));
    size_t most = r->plan->length;
    *usable = r->a.n + 1 < most && r->b.n && r->a.n + r->b.n > 1;
    if (*usable && r->a.n + r->b.n > most) r->b.n = most - r->a.n;
    return TACIT_OK;
}

/* A whole number below the plan's number of classes. */
static enum tacit_err read_label(struct reading *r, const char *path,
                                 const struct csv *t, size_t row,
                                 const struct columns *c)
{
    const char *s = cell(t, row, c->label);
    uint32_t n = r->plan->classes > 1 ? r->plan->classes : 2;
    char *end = NULL;
    double v = strtod(s, &end);
    if (end == s || *end || !(v >= 0 && v < n) || floor(v) < v)
        return fail_as(E_CSV_VALUE,
                       "%s:%u: column \"%s\" must hold a class, 0 to %u", path,
                       t->line[row], r->plan->label, n - 1);
    r->label = (float)v;
    return TACIT_OK;
}

/* One text, or a question and a passage that is cut before the question is. */
static enum tacit_err read_labelled(struct reading *r, const char *path,
                                    const struct csv *t, size_t row,
                                    const struct columns *c, int *usable)
{
    int pairs = c->text < 0;
    const char *first = cell(t, row, pairs ? c->question : c->text);
    const char *second = pairs ? cell(t, row, c->passage) : "";
    struct text_pair_parts parts;
    *usable = *first && (*second || !pairs) && *cell(t, row, c->label);
    if (!*usable) return TACIT_OK;
    TRY(read_label(r, path, t, row, c));
    TRY(text_pair_encode(r->vocab, (struct text){first, strlen(first)},
                         (struct text){second, strlen(second)}, r->plan->length,
                         &r->a, &parts));
    r->second = pairs ? (uint32_t)parts.second : 0;
    *usable = r->a.n > 0 && r->second < r->a.n;
    return TACIT_OK;
}

static enum tacit_err put(struct side *s, const struct vocab_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++) TRY(vocab_ids_put(&s->ids, ids->id[i]));
    return s->ids.n <= TOKENS_MAX
               ? TACIT_OK
               : fail(TACIT_LIMIT, "over %d tokens", TOKENS_MAX);
}

static enum tacit_err add_row(struct reading *r, struct side *s)
{
    uint32_t first = (uint32_t)r->a.n;
    TRY(put(s, &r->a));
    TRY(put(s, &r->b));
    s->second[s->n] = r->plan->task == PLAN_CLASSIFY ? r->second : first;
    s->y[s->n] = r->label;
    s->span[2 * s->n] = r->has_answer ? first + r->answer[0] : 0;
    s->span[2 * s->n + 1] = r->has_answer ? first + r->answer[1] : 0;
    s->start[++s->n] = (uint32_t)s->ids.n;
    return TACIT_OK;
}

static enum tacit_err take_row(struct reading *r, const char *path,
                               const struct csv *t, size_t row,
                               const struct columns *c)
{
    const char *split = c->split < 0 ? NULL : cell(t, row, c->split);
    int held =
        split ? strcmp(split, "test") == 0 : examples_held_out(r->plan, row);
    int usable = 0;
    if (split && !held && strcmp(split, "train") != 0)
        return fail_as(E_CSV_VALUE,
                       "%s:%u: column \"split\" must hold train or test", path,
                       t->line[row]);
    r->a.n = r->b.n = 0;
    r->has_answer = 0;
    enum tacit_err err = TACIT_OK;
    switch (r->plan->task) {
    case PLAN_READER: err = read_question(r, t, row, c, &usable); break;
    case PLAN_CLASSIFY: err = read_labelled(r, path, t, row, c, &usable); break;
    default: err = read_text(r, t, row, c, &usable);
    }
    if (examples_left_out(r->plan, err))
        usable = 0;
    else
        TRY(err);
    if (usable) return add_row(r, &r->side[held]);
    r->d->n_dropped++;
    return TACIT_OK;
}

static enum tacit_err take_rows(struct reading *r, const char *path,
                                const struct csv *t)
{
    struct columns c;
    TRY(find_columns(r, t, &c));
    if (t->n_rows > ROWS_MAX)
        return fail(TACIT_LIMIT, "%s: %zu rows; at most %d", path, t->n_rows,
                    ROWS_MAX);
    for (int i = 0; i < 2; i++) {
        struct side *s = &r->side[i];
        size_t n = t->n_rows + 1;
        TRY(arena_alloc(&r->d->arena, n, sizeof *s->start, &s->start));
        TRY(arena_alloc(&r->d->arena, n, sizeof *s->second, &s->second));
        TRY(arena_alloc(&r->d->arena, 2 * n, sizeof *s->span, &s->span));
        TRY(arena_alloc(&r->d->arena, n, sizeof *s->y, &s->y));
    }
    for (size_t i = 0; i < t->n_rows; i++) TRY(take_row(r, path, t, i, &c));
    return TACIT_OK;
}

/* The tokens move into the dataset's arena. */
static enum tacit_err keep(struct reading *r, struct side *s,
                           struct examples *out)
{
    struct token_rows *rows = NULL;
    uint32_t *token = NULL;
    TRY(arena_alloc(&r->d->arena, 1, sizeof *rows, &rows));
    TRY(arena_alloc(&r->d->arena, s->ids.n + 1, sizeof *token, &token));
    for (size_t i = 0; i < s->ids.n; i++) token[i] = (uint32_t)s->ids.id[i];
    *rows = (struct token_rows){.token = token,
                                .start = s->start,
                                .second = s->second,
                                .span = s->span};
    *out = (struct examples){.n_rows = s->n, .y = s->y, .text = rows};
    return TACIT_OK;
}

static enum tacit_err read_all(struct reading *r, const char *path,
                               struct arena *text)
{
    struct csv t;
    TRY(csv_load(path, text, &t));
    TRY(take_rows(r, path, &t));
    TRY(keep(r, &r->side[0], &r->d->train));
    TRY(keep(r, &r->side[1], &r->d->test));
    if (r->d->train.n_rows || r->plan->privacy.record) return TACIT_OK;
    return fail_as(E_NO_EXAMPLES,
                   "%s: no row to train on (%zu held out, %zu left out)", path,
                   r->d->test.n_rows, r->d->n_dropped);
}

enum tacit_err token_sets_load(const struct plan *plan, const char *path,
                               struct dataset *out)
{
    struct dataset d = {0};
    struct model_spec spec;
    struct model_files *files = NULL;
    struct vocab *vocab = NULL;
    struct arena text;
    struct reading r = {.plan = plan, .d = &d};
    arena_init(&d.arena, 0);
    arena_init(&text, 0);
    task_spec(plan, &spec);
    enum tacit_err err = tuned_base(&spec.base, &files);
    if (!err) err = model_files_vocab(files, &vocab);
    r.vocab = vocab;
    if (!err) err = read_all(&r, path, &text);
    for (int i = 0; i < 2; i++) vocab_ids_release(&r.side[i].ids);
    vocab_ids_release(&r.a);
    vocab_ids_release(&r.b);
    vocab_free(vocab);
    model_files_close(files);
    arena_release(&text);
    if (err)
        dataset_release(&d);
    else
        *out = d;
    return err;
}

/* What a decoder does: prompts are read, one at a time, and answers written,
 * all that are under way in one pass. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "common/model/decoder_parts.h"
#include "common/model/draft.h"

enum {
    ROOM_STEP = 256,  /* tokens that a cache grows by */
    GUESSED_ROWS = 4, /* of a pass, up to which a guess costs next to nothing */
    ROWS_MAX = DECODER_SEQUENCES_MAX + GUESSED_ROWS
};

_Static_assert((int)DECODER_PIECE <= (int)KV_PIECE, "pieces fit into rings");

/* A sequence under way. */
struct work {
    struct decoder *d;
    struct decoder_seat *seat;
    const struct decoder_job *job; /* NULL: none */
    struct decoder_report report;
    struct sampler *sampler;
    struct draft draft;
    uint32_t *edge; /* of this prompt */
    size_t n_edges;
    uint32_t *token; /* prompt and answer */
    size_t n;
    int64_t begun_ns; /* with the answer */
    /* Of the pass: the last token, which is not in the cache yet, and guesses
     * behind it; where its rows begin. */
    uint32_t step[1 + DRAFT_MAX];
    size_t n_guesses, first_row, known;
    int is_done;
};

/* All of them. */
struct crowd {
    struct decoder *d;
    const struct decoder_queue *queue;
    struct work *works; /* [d->n_seats] */
    size_t n_live;
    float *row; /* [n_vocab] what may be drawn */
};

/* ---- passes ------------------------------------------------------------- */

/* Hidden rows of a batch, and logits of some; in the tape until the next. */
static enum tacit_err pass(struct decoder *d, const struct net_batch *batch,
                           const uint32_t *row, size_t n_rows,
                           const float **logits)
{
    const struct net_run run = {.net = d->net, .tape = &d->tape};
    tape_reset(&d->tape);
    struct var *h = net_hidden(&run, batch);
    if (h && n_rows) {
        const struct var *z = net_logits(&run, h, row, n_rows);
        if (z) *logits = z->v;
    }
    return d->tape.err;
}

static enum tacit_err go_on(const struct work *w)
{
    return w->job->go_on ? w->job->go_on(w->job->ctx) : TACIT_OK;
}

/* Room for n tokens in the cache; what it holds stays. */
static enum tacit_err make_room(const struct decoder *d, struct decoder_seat *s,
                                size_t n)
{
    if (s->kv && kv_shape(s->kv)->n_max >= n) return TACIT_OK;
    size_t most = d->context + NET_STEPS_MAX;
    size_t room = (n + ROOM_STEP - 1) / ROOM_STEP * ROOM_STEP;
    struct kv *more = NULL;
    struct kv_shape shape = decoder_cache_shape(d, most);
    if (room < kv_rows(&shape)) shape.n_max = room;
    TRY(kv_new(&shape, &more));
    enum tacit_err err = s->kv ? kv_copy(more, s->kv, kv_n(s->kv)) : TACIT_OK;
    if (err) {
        kv_free(more);
        return err;
    }
    kv_free(s->kv);
    s->kv = more;
    return TACIT_OK;
}

/* ---- the prompt --------------------------------------------------------- */

/* Every DECODER_PIECE tokens and at the cuts, rising; the prompt's end last. */
static enum tacit_err find_edges(struct work *w)
{
    const struct decoder_job *job = w->job;
    size_t most = job->n_prompt / DECODER_PIECE + job->n_cuts + 2, at = 0;
    size_t cut = 0;
    w->edge = calloc(most, sizeof *w->edge);
    if (!w->edge) return fail(TACIT_NOMEM, "no memory for a prompt");
    while (at < job->n_prompt) {
        size_t next = (at / DECODER_PIECE + 1) * DECODER_PIECE;
        while (cut < job->n_cuts && job->cut[cut] <= at) cut++;
        if (cut < job->n_cuts && job->cut[cut] < next) next = job->cut[cut];
        if (next > job->n_prompt) next = job->n_prompt;
        w->edge[w->n_edges++] = (uint32_t)next;
        at = next;
    }
    return TACIT_OK;
}

static struct prompt_prefix prefix_to(const struct work *w, size_t cut)
{
    struct prompt_prefix p = {&w->d->hash, w->job->prompt, cut, w->edge, 0};
    while (p.n_edges < w->n_edges && w->edge[p.n_edges] <= cut) p.n_edges++;
    return p;
}

/* What a seat has of this prompt, up to an edge that both have. */
static size_t kept(const struct work *w, const struct decoder_seat *s)
{
    size_t n = 0, common = 0, most = w->job->n_prompt - 1;
    if (!s->kv) return 0;
    while (common < s->n_seen && common < most &&
           s->seen[common] == w->job->prompt[common])
        common++;
    for (size_t i = 0; i < s->n_edges && i < w->n_edges; i++) {
        if (s->edge[i] != w->edge[i] || w->edge[i] > common) break;
        if (kv_holds(s->kv, w->edge[i])) n = w->edge[i];
    }
    return n;
}

/* The free seat that has most of the prompt; of those, the one that was not
 * used for the longest time. There is one. */
static struct decoder_seat *find_seat(const struct work *w, size_t *n)
{
    struct decoder *d = w->d;
    struct decoder_seat *best = NULL;
    for (size_t i = 0; i < d->n_seats; i++) {
        struct decoder_seat *s = &d->seats[i];
        if (s->is_taken) continue;
        size_t has = kept(w, s);
        if (best && (has < *n || (has == *n && s->used >= best->used)))
            continue;
        best = s;
        *n = has;
    }
    assert(best);
    return best;
}

/* What another seat has and this one has not, is copied: worked out once. */
static enum tacit_err share_prefix(const struct work *w, size_t *n)
{
    const struct decoder_seat *from = NULL;
    for (size_t i = 0; i < w->d->n_seats; i++) {
        size_t has = kept(w, &w->d->seats[i]);
        if (has <= *n) continue;
        from = &w->d->seats[i];
        *n = has;
    }
    return from ? kv_copy(w->seat->kv, from->kv, *n) : TACIT_OK;
}

/* The longest cut that is on disk, if it is longer than what is kept. */
static enum tacit_err read_prefix(struct work *w, size_t *n)
{
    const struct decoder_job *job = w->job;
    for (size_t i = job->n_cuts; job->cache && i-- > 0 && job->cut[i] > *n;) {
        struct prompt_prefix p = prefix_to(w, job->cut[i]);
        int found = 0;
        if (p.n >= job->n_prompt) continue;
        TRY(prompt_cache_read(job->cache, &p, w->seat->kv, &found));
        if (!found) continue;
        w->report.n_read = p.n;
        *n = p.n;
        return TACIT_OK;
    }
    w->report.n_kept = *n;
    return TACIT_OK;
}

/* A full disk or a folder that may not be written loses no answer. */
static void keep_prefix(const struct work *w, size_t cut)
{
    const struct decoder_job *job = w->job;
    const struct prompt_prefix p = prefix_to(w, cut);
    if (job->cache && p.n && p.n < job->n_prompt &&
        prompt_cache_write(job->cache, &p, w->seat->kv))
        err_clear();
}

static void keep_prefixes(const struct work *w)
{
    for (size_t i = 0; i < w->job->n_cuts; i++) keep_prefix(w, w->job->cut[i]);
}

/* The ring of a window forgets: what ends here is kept while it is there. */
static void keep_in_time(const struct work *w, size_t end)
{
    const struct kv_shape *s = kv_shape(w->seat->kv);
    if (kv_rows(s) == s->n_max) return;
    for (size_t i = 0; i < w->job->n_cuts; i++)
        if (w->job->cut[i] == end) keep_prefix(w, end);
}

/* The pieces behind the first n tokens; logits of the last row. */
static enum tacit_err read_pieces(struct work *w, size_t n,
                                  const float **logits)
{
    const struct decoder_job *job = w->job;
    for (size_t i = 0; i < w->n_edges; i++) {
        size_t end = w->edge[i];
        if (end <= n) continue;
        const uint32_t start[] = {0, (uint32_t)(end - n)}, row = start[1] - 1;
        const struct net_batch batch = {.token = job->prompt + n,
                                        .n = end - n,
                                        .segments = {start, 1},
                                        .cache = &w->seat->kv};
        TRY(go_on(w));
        TRY(pass(w->d, &batch, &row, end == job->n_prompt, logits));
        keep_in_time(w, end);
        n = end;
    }
    return TACIT_OK;
}

static enum tacit_err read_prompt(struct work *w, size_t n,
                                  const float **logits)
{
    struct decoder_seat *s = w->seat;
    const struct decoder_job *job = w->job;
    int64_t from = tick_ns();
    TRY(make_room(w->d, s, job->n_prompt + job->n_max + NET_STEPS_MAX));
    s->n_seen = s->n_edges = 0; /* until all of it is there */
    size_t before = n;
    TRY(share_prefix(w, &n));
    TRY(read_prefix(w, &n));
    if (n == before) kv_truncate(s->kv, n);
    TRY(read_pieces(w, n, logits));
    memcpy(s->seen, job->prompt, job->n_prompt * sizeof *s->seen);
    memcpy(s->edge, w->edge, w->n_edges * sizeof *s->edge);
    s->n_seen = job->n_prompt;
    s->n_edges = w->n_edges;
    w->report.prefill_ns = tick_ns() - from;
    return TACIT_OK;
}

/* ---- the answer --------------------------------------------------------- */

static enum tacit_err draw(const struct crowd *c, struct work *w,
                           const float *logits, uint32_t *out)
{
    const struct decoder *d = c->d;
    assert(logits);
    memcpy(c->row, logits, d->n_vocab * sizeof *c->row);
    for (size_t i = 0; i < d->n_vocab; i++)
        if (d->silent[i]) c->row[i] = -INFINITY;
    if (w->job->forbid) w->job->forbid(w->job->ctx, c->row);
    return sampler_pick(w->sampler, c->row, w->token + w->job->n_prompt,
                        w->n - w->job->n_prompt, out);
}

/* The answer may end with, or before, this token. */
static enum tacit_err take(struct work *w, uint32_t token)
{
    int *done = &w->is_done;
    *done = vocab_ends(w->d->vocab, (int32_t)token);
    if (*done) {
        w->report.end = DECODER_MARK;
        return TACIT_OK;
    }
    w->token[w->n++] = token;
    w->report.n_tokens++;
    if (w->job->take) TRY(w->job->take(w->job->ctx, token, done));
    if (*done)
        w->report.end = DECODER_CONTENT;
    else if (w->report.n_tokens >= w->job->n_max)
        *done = 1, w->report.end = DECODER_LENGTH;
    return TACIT_OK;
}

/* What comes next, and what may come then: at most `most` guesses. */
static void prepare(struct work *w, size_t most)
{
    size_t left = w->job->n_max - w->report.n_tokens;
    w->step[0] = w->token[w->n - 1];
    w->n_guesses =
        most ? draft_guess(&w->draft, w->token, w->n, w->step + 1) : 0;
    if (w->n_guesses >= left) w->n_guesses = left - 1;
    if (w->n_guesses > most) w->n_guesses = most;
    w->known = kv_n(w->seat->kv);
}

/* Its rows of the pass. */
static enum tacit_err read_rows(const struct crowd *c, struct work *w,
                                const float *logits)
{
    size_t n_right = 0, n = w->n_guesses;
    uint32_t next;
    for (size_t i = 0; !w->is_done; i++) {
        TRY(draw(c, w, logits + (w->first_row + i) * c->d->n_vocab, &next));
        TRY(take(w, next));
        if (w->is_done || i == n || next != w->step[i + 1]) break;
        n_right++;
    }
    kv_truncate(w->seat->kv, w->known + 1 + n_right);
    draft_judge(&w->draft, n, n_right);
    w->report.n_guessed += n;
    w->report.n_right += n_right;
    return TACIT_OK;
}

/* ---- one sequence's life ------------------------------------------------ */

static enum tacit_err check_job(const struct decoder *d,
                                const struct decoder_job *job)
{
    if (!job->n_prompt || !job->n_max)
        return fail(TACIT_STATE, "a prompt and an answer have a token or more");
    if (job->n_prompt > d->context || job->n_max > d->context - job->n_prompt)
        return fail_as(E_PROMPT_ROOM,
                       "a prompt of %zu tokens and an answer of %zu; %s has "
                       "room for %zu",
                       job->n_prompt, job->n_max, d->name, d->context);
    for (size_t i = 0; i < job->n_prompt; i++)
        if (job->prompt[i] >= d->n_vocab)
            return fail(TACIT_LIMIT, "token %u of a vocabulary of %zu",
                        job->prompt[i], d->n_vocab);
    return TACIT_OK;
}

/* The prompt is read and the first token drawn. */
static enum tacit_err start(const struct crowd *c, struct work *w)
{
    const struct decoder_job *job = w->job;
    const float *logits = NULL;
    size_t n = 0;
    uint32_t first;
    assert(job);
    TRY(check_job(c->d, job));
    TRY(sampler_new(&job->sampling, c->d->n_vocab, &w->sampler));
    w->token = calloc(job->n_prompt + job->n_max + 1, sizeof *w->token);
    if (!w->token) return fail(TACIT_NOMEM, "no memory for an answer");
    memcpy(w->token, job->prompt, job->n_prompt * sizeof *w->token);
    w->n = job->n_prompt;
    TRY(find_edges(w));
    w->seat = find_seat(w, &n);
    w->seat->is_taken = 1;
    w->seat->used = ++c->d->uses;
    TRY(read_prompt(w, n, &logits));
    w->begun_ns = tick_ns();
    draft_begin(&w->draft, job->guesses);
    TRY(draw(c, w, logits, &first));
    return take(w, first);
}

static enum tacit_err finish(struct crowd *c, struct work *w,
                             enum tacit_err err)
{
    const struct decoder_job *job = w->job;
    if (w->begun_ns) w->report.decode_ns = tick_ns() - w->begun_ns;
    if (!err) keep_prefixes(w);
    sampler_free(w->sampler);
    free(w->token);
    free(w->edge);
    if (w->seat) w->seat->is_taken = 0;
    w->job = NULL;
    c->n_live--;
    return c->queue->end(c->queue->ctx, job, &w->report, err);
}

/* It is over, by itself or by an error of its own, and the others go on. */
static enum tacit_err settle(struct crowd *c, struct work *w,
                             enum tacit_err err)
{
    if (!err && !w->is_done) return TACIT_OK;
    TRY(finish(c, w, err));
    if (err) err_clear();
    return TACIT_OK;
}

/* ---- all of them -------------------------------------------------------- */

static enum tacit_err fill_seats(struct crowd *c)
{
    while (c->n_live < c->d->n_seats) {
        const struct decoder_job *job = NULL;
        struct work *w = c->works;
        TRY(c->queue->next(c->queue->ctx, &job));
        if (!job) break;
        while (w->job) w++;
        *w = (struct work){.d = c->d, .job = job};
        w->report.n_prompt = job->n_prompt;
        c->n_live++;
        TRY(settle(c, w, start(c, w)));
    }
    return TACIT_OK;
}

/* One that does not want to go on ends before the pass. */
static enum tacit_err ask_all(struct crowd *c)
{
    for (size_t i = 0; i < c->d->n_seats; i++) {
        struct work *w = &c->works[i];
        if (w->job) TRY(settle(c, w, go_on(w)));
    }
    return TACIT_OK;
}

static enum tacit_err step_all(struct crowd *c)
{
    uint32_t token[ROWS_MAX], start[DECODER_SEQUENCES_MAX + 1], row[ROWS_MAX];
    struct kv *cache[DECODER_SEQUENCES_MAX];
    const float *logits = NULL;
    size_t n = 0, n_sequences = 0, left = c->n_live;
    for (size_t i = 0; i < c->d->n_seats; i++) {
        struct work *w = &c->works[i];
        if (!w->job) continue;
        left--;
        size_t rows = n + 1 + left;
        prepare(w, rows < GUESSED_ROWS ? GUESSED_ROWS - rows : 0);
        start[n_sequences] = (uint32_t)n;
        cache[n_sequences++] = w->seat->kv;
        w->first_row = n;
        memcpy(token + n, w->step, (1 + w->n_guesses) * sizeof *token);
        n += 1 + w->n_guesses;
    }
    start[n_sequences] = (uint32_t)n;
    for (size_t i = 0; i < n; i++) row[i] = (uint32_t)i;
    const struct net_batch batch = {.token = token,
                                    .n = n,
                                    .segments = {start, n_sequences},
                                    .cache = cache};
    TRY(pass(c->d, &batch, row, n, &logits));
    for (size_t i = 0; i < c->d->n_seats; i++) {
        struct work *w = &c->works[i];
        if (w->job) TRY(settle(c, w, read_rows(c, w, logits)));
    }
    return TACIT_OK;
}

static enum tacit_err run_all(struct crowd *c)
{
    for (;;) {
        TRY(fill_seats(c));
        if (!c->n_live) return TACIT_OK;
        TRY(ask_all(c));
        if (c->n_live) TRY(step_all(c));
    }
}

enum tacit_err decoder_generate_all(struct decoder *d,
                                    const struct decoder_queue *q)
{
    struct crowd c = {.d = d, .queue = q};
    c.works = calloc(d->n_seats, sizeof *c.works);
    c.row = calloc(d->n_vocab, sizeof *c.row);
    enum tacit_err err = TACIT_OK;
    if (!c.works || !c.row) err = fail(TACIT_NOMEM, "no memory for an answer");
    if (!err) err = run_all(&c);
    for (size_t i = 0; c.n_live && i < d->n_seats; i++)
        if (c.works[i].job && finish(&c, &c.works[i], err) != err)
            continue; /* the first error is the one that is told */
    free(c.works);
    free(c.row);
    return err;
}

/* ---- one alone ---------------------------------------------------------- */

struct alone {
    const struct decoder_job *job; /* NULL: given */
    struct decoder_report *out;
};

static enum tacit_err give(void *ctx, const struct decoder_job **job)
{
    struct alone *a = ctx;
    *job = a->job;
    a->job = NULL;
    return TACIT_OK;
}

static enum tacit_err note(void *ctx, const struct decoder_job *job,
                           const struct decoder_report *report,
                           enum tacit_err err)
{
    const struct alone *a = ctx;
    (void)job;
    *a->out = *report;
    return err;
}

enum tacit_err decoder_generate(struct decoder *d,
                                const struct decoder_job *job,
                                struct decoder_report *out)
{
    struct alone a = {job, out};
    *out = (struct decoder_report){.n_prompt = job->n_prompt};
    return decoder_generate_all(d, &(struct decoder_queue){&a, give, note});
}

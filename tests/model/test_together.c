/* Several sequences in one pass say what each says alone, to the bit; and the
 * ring of a window what the whole past says. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/model/decoder.h"
#include "common/model/net.h"
#include "tests/model/drawn_model.h"
#include "tests/model/tiny_net.h"

enum {
    TINY_VOCAB = 64,
    AT_ONCE = 7, /* more rows than four: products go another way */
    STEPS = 6,
    PAST = 600, /* longer than a ring of the smallest window */
    PROMPTS = 12,
    PROMPT_MAX = 620,
    COMMON = 300, /* of all prompts */
    ANSWER = 40
};

static char dir[256], model_path[512], prompts_dir[512];

static int begin(void **state)
{
    (void)state;
    rng_setup();
    check_tmpdir(dir);
    snprintf(model_path, sizeof model_path, "%s/model.gguf", dir);
    snprintf(prompts_dir, sizeof prompts_dir, "%s/prompts", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

/* ---- rows of a network ---- */

static struct kv *cache_of(const struct net *n, enum quant_type type,
                           size_t window)
{
    const struct net_shape *s = net_shape(n);
    const struct kv_shape shape = {s->layers,        s->kv_heads, s->head_width,
                                   PAST + STEPS + 4, type,        window};
    struct kv *c = NULL;
    check_ok(kv_new(&shape, &c));
    return c;
}

/* A batch's logits, [n, vocab]. */
static const float *logits_of(const struct net *net, struct tape *t,
                              const uint32_t *token, const uint32_t *start,
                              size_t n, struct kv *const *cache)
{
    const struct net_run run = {.net = net, .tape = t};
    const struct net_batch b = {.token = token,
                                .n = start[n],
                                .segments = {start, n},
                                .cache = cache};
    tape_reset(t);
    struct var *z = net_logits(&run, net_hidden(&run, &b), NULL, 0);
    check_ok(t->err);
    return z->v;
}

/* Sequence q has q + 1 tokens of prompt and takes 1 to 4 tokens a pass; they
 * leave one after another. */
static void check_together(const struct net *net, enum quant_type type,
                           struct pool *pool)
{
    size_t vocab = net_shape(net)->vocab;
    struct kv *one[AT_ONCE], *all[AT_ONCE];
    struct tape t, u;
    tape_init(&t, 0);
    tape_init(&u, 0);
    t.pool = pool;
    for (uint32_t q = 0; q < AT_ONCE; q++) {
        uint32_t prompt[AT_ONCE + 1], start[] = {0, q + 1};
        for (uint32_t i = 0; i <= q; i++)
            prompt[i] = (5 * q + 11 * i + 1) % TINY_VOCAB;
        one[q] = cache_of(net, type, 0);
        all[q] = cache_of(net, type, net_shape(net)->window);
        logits_of(net, &u, prompt, start, 1, &one[q]);
        logits_of(net, &u, prompt, start, 1, &all[q]);
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t token[4 * AT_ONCE], start[AT_ONCE + 1] = {0};
        size_t n = AT_ONCE - (step > 2 ? step - 2 : 0);
        for (uint32_t q = 0, at = 0; q < n; q++) {
            for (uint32_t i = 0; i < 1 + (q + step) % 4; i++, at++)
                token[at] = (13 * at + 7 * step + q) % TINY_VOCAB;
            start[q + 1] = at;
        }
        const float *z = logits_of(net, &t, token, start, n, all);
        for (size_t q = 0; q < n; q++)
            for (uint32_t i = start[q]; i < start[q + 1]; i++) {
                static const uint32_t single[] = {0, 1};
                const float *want =
                    logits_of(net, &u, token + i, single, 1, &one[q]);
                assert_memory_equal(want, z + i * vocab, vocab * sizeof *z);
            }
    }
    for (size_t q = 0; q < AT_ONCE; q++) {
        kv_free(one[q]);
        kv_free(all[q]);
    }
    tape_release(&t);
    tape_release(&u);
}

/* As they lie in files and packed, for every decoder. */
static void tokens_of_many_have_the_bits_of_each_alone(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_F32,
                                     GGUF_PACKED + QUANT_F32,
                                     GGUF_PACKED + QUANT_F16,
                                     GGUF_PACKED + QUANT_BF16,
                                     GGUF_PACKED + QUANT_Q8_0,
                                     GGUF_PACKED + QUANT_Q4_0};
    struct pool *pool;
    size_t n_decoders = 0;
    check_ok(pool_new(&pool, 3));
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            struct tiny_net n;
            tiny_open(&n, &tiny_families[i], types[k], NULL);
            if (net_is_decoder(n.net)) {
                n_decoders++;
                check_together(n.net, QUANT_F32, pool);
                check_together(n.net, QUANT_F16, pool);
            }
            tiny_close(&n);
        }
    check(n_decoders == 3 * 6);
    pool_free(pool);
}

/* What it no longer has, and what is too much at once. */
static void check_limits_of(struct kv *ring, size_t window)
{
    static const float rows[(KV_PIECE + 1) * 64];
    size_t n = kv_n(ring), lost = n - kv_rows(kv_shape(ring));
    struct kv *copy = NULL;
    check_ok(kv_new(kv_shape(ring), &copy));
    check_err(kv_append(ring, 0, rows, rows, KV_PIECE + 1), TACIT_LIMIT);
    check_err(kv_copy(copy, ring, lost + window - 2), TACIT_LIMIT);
    check(!kv_holds(ring, n + 1) && kv_holds(ring, lost + window));
    check_ok(kv_copy(copy, ring, n));
    size_t bytes = kv_packed_bytes(ring, n);
    uint8_t *a = malloc(bytes), *b = malloc(bytes);
    check(a && b && bytes == kv_packed_bytes(ring, window - 1));
    kv_pack(ring, n, a);
    kv_pack(copy, n, b);
    assert_memory_equal(a, b, bytes);
    check_ok(kv_unpack(copy, a, bytes, n));
    memset(b, 0, bytes);
    kv_pack(copy, n, b);
    assert_memory_equal(a, b, bytes);
    check(!kv_holds(copy, n - 1));
    free(a);
    free(b);
    kv_free(copy);
}

/* In pieces of several lengths, steps among them, with what was said too much
 * taken back. */
static void a_ring_has_the_bits_of_the_whole_past(void **state)
{
    (void)state;
    static const size_t pieces[] = {KV_PIECE, 1, 3, 200, 4, 30, 2, 90};
    static const enum quant_type types[] = {QUANT_F32, QUANT_F16};
    for (size_t k = 0; k < 2; k++) {
        struct tiny_net n;
        struct tape t, u;
        tiny_open(&n, &tiny_families[1], GGUF_PACKED + QUANT_Q8_0, NULL);
        size_t window = net_shape(n.net)->window;
        size_t vocab = net_shape(n.net)->vocab, at = 0;
        check(window > 0 && window < 16);
        struct kv *whole = cache_of(n.net, types[k], 0);
        struct kv *ring = cache_of(n.net, types[k], window);
        check(kv_rows(kv_shape(ring)) == window - 1 + KV_PIECE);
        check(kv_bytes(kv_shape(ring)) < kv_bytes(kv_shape(whole)) / 2);
        tape_init(&t, 0);
        tape_init(&u, 0);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            uint32_t token[KV_PIECE], start[] = {0, (uint32_t)pieces[i]};
            for (uint32_t j = 0; j < pieces[i]; j++)
                token[j] = (uint32_t)((at + j) * (at + j + 3) % TINY_VOCAB);
            const float *want = logits_of(n.net, &t, token, start, 1, &whole);
            const float *got = logits_of(n.net, &u, token, start, 1, &ring);
            assert_memory_equal(want, got, pieces[i] * vocab * sizeof *want);
            at += pieces[i] - (pieces[i] == 4 ? 2 : 0);
            kv_truncate(whole, at);
            kv_truncate(ring, at);
        }
        check(at > 2 * KV_PIECE && kv_n(ring) == at);
        check(!kv_holds(ring, window + 4) && kv_holds(whole, window + 4));
        check_err(kv_copy(whole, ring, at), TACIT_SHAPE);
        check_limits_of(ring, window);
        tape_release(&t);
        tape_release(&u);
        kv_free(whole);
        kv_free(ring);
        tiny_close(&n);
    }
}

static void a_ring_is_of_its_networks_window(void **state)
{
    (void)state;
    static const uint32_t token[] = {3}, start[] = {0, 1};
    struct tiny_net n;
    struct tape t;
    tiny_open(&n, &tiny_families[1], QUANT_F32, NULL);
    struct kv *short_ring =
        cache_of(n.net, QUANT_F16, net_shape(n.net)->window - 1);
    const struct net_run run = {.net = n.net, .tape = &t};
    const struct net_batch b = {.token = token,
                                .n = 1,
                                .segments = {start, 1},
                                .cache = &short_ring};
    tape_init(&t, 0);
    check(net_hidden(&run, &b) == NULL);
    check_err(t.err, TACIT_SHAPE);
    tape_release(&t);
    kv_free(short_ring);
    tiny_close(&n);
}

/* ---- answers ---- */

struct asked {
    uint32_t prompt[PROMPT_MAX], said[ANSWER];
    size_t n_said;
    struct decoder_job job;
    struct decoder_report report;
    enum tacit_err err;
    unsigned id;     /* of its error */
    int n_ends;      /* how often it was said to be over */
    size_t last;     /* it has enough then; 0: never */
    size_t n_passes; /* that it was asked about; it goes on no more at .. */
    size_t stop_at;  /* 0: never */
};

static enum tacit_err hear(void *ctx, uint32_t token, int *enough)
{
    struct asked *a = ctx;
    check(a->n_said < ANSWER && !a->n_ends);
    a->said[a->n_said++] = token;
    *enough = a->last && a->n_said == a->last;
    return TACIT_OK;
}

static enum tacit_err go_on(void *ctx)
{
    struct asked *a = ctx;
    if (a->stop_at && ++a->n_passes == a->stop_at)
        return fail_as(E_INTERRUPTED, "no more of this one");
    return TACIT_OK;
}

/* Prompts of 1 to PROMPT_MAX tokens, the longer ones with a common beginning;
 * greedy and drawn, with guesses and without. */
static void write_questions(struct asked *all)
{
    memset(all, 0, PROMPTS * sizeof *all);
    for (uint32_t q = 0; q < PROMPTS; q++) {
        struct asked *a = &all[q];
        struct rng own, common;
        uint32_t phrase[12];
        size_t n = q == 0 ? 1 : 50 * q + 10;
        rng_init(&own, 50 + q, 0, 0);
        rng_init(&common, 3, 0, 0);
        for (size_t i = 0; i < 12; i++)
            phrase[i] = 3 + (uint32_t)rng_below(&common, DRAWN_VOCAB - 3);
        for (size_t i = 0; i < n; i++)
            a->prompt[i] =
                i % 3 ? phrase[i % 12]
                      : 3 + (uint32_t)rng_below(i < COMMON ? &common : &own,
                                                DRAWN_VOCAB - 3);
        a->job = (struct decoder_job){.prompt = a->prompt,
                                      .n_prompt = n,
                                      .cut = {COMMON - 20},
                                      .n_cuts = n > COMMON,
                                      .n_max = q % 4 == 3 ? 1 : ANSWER - 2 * q,
                                      .guesses = q % 3 ? 3 : 0,
                                      .ctx = a,
                                      .take = hear,
                                      .go_on = go_on};
        if (q % 2)
            a->job.sampling = (struct sampling){.temperature = 6,
                                                .top_p = 0.97,
                                                .repetition = 1.1,
                                                .seed = 9 + q};
        a->last = q % 5 == 4 ? 7 : 0;
    }
}

struct asking {
    struct asked *all;
    size_t given, n, under_way, most;
    size_t stop_after; /* ends, by an error; 0: never */
    size_t n_ended;
};

static enum tacit_err next(void *ctx, const struct decoder_job **job)
{
    struct asking *a = ctx;
    if (a->given == a->n) return TACIT_OK;
    *job = &a->all[a->given++].job;
    a->under_way++;
    if (a->under_way > a->most) a->most = a->under_way;
    return TACIT_OK;
}

static enum tacit_err over(void *ctx, const struct decoder_job *job,
                           const struct decoder_report *report,
                           enum tacit_err err)
{
    struct asking *a = ctx;
    struct asked *q = job->ctx;
    q->n_ends++;
    q->report = *report;
    q->err = err;
    q->id = err ? err_id() : 0;
    a->under_way--;
    if (++a->n_ended == a->stop_after)
        return fail_as(E_INTERRUPTED, "interrupted");
    return TACIT_OK;
}

static struct decoder *open_for(size_t sequences, enum quant_type cache)
{
    struct decoder *d = NULL;
    const struct decoder_model m = {.name = "drawn",
                                    .path = model_path,
                                    .hash = {.b = {7}},
                                    .memory = 1 << 30,
                                    .sequences = sequences,
                                    .cache = cache,
                                    .threads = 2};
    check_ok(decoder_open(&m, &d));
    return d;
}

static void same(const struct asked *a, const struct asked *b)
{
    assert_int_equal(a->n_said, b->n_said);
    assert_memory_equal(a->said, b->said, a->n_said * sizeof *a->said);
    assert_int_equal(a->report.end, b->report.end);
}

/* Each by a decoder of its own. */
static void ask_alone(struct asked *all, enum quant_type cache)
{
    write_questions(all);
    for (size_t i = 0; i < PROMPTS; i++) {
        struct decoder *d = open_for(1, cache);
        check_ok(decoder_generate(d, &all[i].job, &all[i].report));
        decoder_close(d);
    }
}

static void check_answers(const struct drawn_shape *shape,
                          enum quant_type cache)
{
    static const size_t sequences[] = {1, 2, 5, PROMPTS + 3};
    struct asked *alone = calloc(2 * PROMPTS, sizeof *alone);
    check(alone != NULL);
    struct asked *together = alone + PROMPTS;
    drawn_write(shape, dir, model_path);
    ask_alone(alone, cache);
    for (size_t k = 0; k < sizeof sequences / sizeof *sequences; k++) {
        struct decoder *d = open_for(sequences[k], cache);
        struct asking a = {.all = together, .n = PROMPTS};
        write_questions(together);
        check_ok(
            decoder_generate_all(d, &(struct decoder_queue){&a, next, over}));
        assert_int_equal(a.under_way, 0);
        check(a.most <= sequences[k] && (a.most > 1 || sequences[k] == 1));
        for (size_t i = 0; i < PROMPTS; i++) {
            assert_int_equal(together[i].n_ends, 1);
            check_ok(together[i].err);
            same(&alone[i], &together[i]);
        }
        decoder_close(d);
    }
    free(alone);
}

static void many_say_what_each_says_alone(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_Q8_0, QUANT_Q4_0, QUANT_F16,
                                            QUANT_F32};
    for (size_t i = 0; i < 4; i++)
        check_answers(&(struct drawn_shape){.type = types[i]}, QUANT_F16);
}

static void many_say_the_same_over_a_cache_of_bytes(void **state)
{
    (void)state;
    const struct drawn_shape shape = {.type = QUANT_Q8_0,
                                      .heads = 2,
                                      .kv_heads = 1};
    check_answers(&shape, QUANT_Q8_0);
}

static void many_say_the_same_through_a_window(void **state)
{
    (void)state;
    const struct drawn_shape shape = {.type = QUANT_Q8_0, .window = 40};
    check_answers(&shape, QUANT_F16);
}

/* What all prompts begin with is worked out by the first that has it. */
static void a_common_beginning_is_worked_out_once(void **state)
{
    (void)state;
    struct asked *all = calloc(PROMPTS, sizeof *all);
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0}, dir, model_path);
    struct decoder *d = open_for(4, QUANT_F16);
    struct asking a = {.all = all, .n = PROMPTS};
    size_t n_first = 0, n_long = 0;
    check(all != NULL);
    write_questions(all);
    check_ok(decoder_generate_all(d, &(struct decoder_queue){&a, next, over}));
    for (size_t i = 0; i < PROMPTS; i++) {
        if (!all[i].job.n_cuts) continue;
        n_long++;
        n_first += all[i].report.n_kept == 0 ||
                   (all[i].report.n_kept < COMMON - 20 && !n_first);
        check(all[i].report.n_kept == COMMON - 20 || n_first == 1);
    }
    check(n_long >= 5);
    assert_int_equal(n_first, 1);
    decoder_close(d);
    free(all);
}

static void one_that_is_cancelled_leaves_the_others_alone(void **state)
{
    (void)state;
    struct asked *alone = calloc(2 * PROMPTS, sizeof *alone);
    check(alone != NULL);
    struct asked *all = alone + PROMPTS;
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0}, dir, model_path);
    ask_alone(alone, QUANT_F16);
    write_questions(all);
    all[0].stop_at = 4;               /* after two tokens */
    all[6].stop_at = 1;               /* before its prompt is read */
    all[9].stop_at = 2;               /* within its prompt */
    all[2].job.n_max = DRAWN_CONTEXT; /* it has no room */
    struct decoder *d = open_for(4, QUANT_F16);
    struct asking a = {.all = all, .n = PROMPTS};
    check_ok(decoder_generate_all(d, &(struct decoder_queue){&a, next, over}));
    for (size_t i = 0; i < PROMPTS; i++) {
        assert_int_equal(all[i].n_ends, 1);
        if (all[i].stop_at) {
            assert_int_equal(all[i].id, E_INTERRUPTED);
            check(all[i].n_said < alone[i].n_said || i == 9 || i == 6);
        } else if (i == 2) {
            assert_int_equal(all[i].id, E_PROMPT_ROOM);
        } else {
            check_ok(all[i].err);
            same(&alone[i], &all[i]);
        }
    }
    assert_string_equal(err_message(), "");
    decoder_close(d);
    free(alone);
}

static void an_end_of_all_is_told_to_all_that_are_under_way(void **state)
{
    (void)state;
    struct asked *all = calloc(PROMPTS, sizeof *all);
    check(all != NULL);
    write_questions(all);
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0}, dir, model_path);
    struct decoder *d = open_for(4, QUANT_F16);
    struct asking a = {.all = all, .n = PROMPTS, .stop_after = 2};
    enum tacit_err err =
        decoder_generate_all(d, &(struct decoder_queue){&a, next, over});
    assert_int_equal(err_id(), E_INTERRUPTED);
    check_err(err, TACIT_STATE);
    assert_int_equal(a.under_way, 0);
    check(a.given < PROMPTS);
    for (size_t i = 0; i < PROMPTS; i++)
        assert_int_equal(all[i].n_ends, i < a.given);
    /* It is as good as new. */
    struct asked *alone = calloc(PROMPTS, sizeof *alone);
    check(alone != NULL);
    ask_alone(alone, QUANT_F16);
    write_questions(all);
    check_ok(decoder_generate(d, &all[5].job, &all[5].report));
    same(&alone[5], &all[5]);
    decoder_close(d);
    free(alone);
    free(all);
}

/* ---- memory ---- */

static void as_many_are_written_as_memory_has_room_for(void **state)
{
    (void)state;
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0}, dir, model_path);
    struct decoder *one = open_for(1, QUANT_F16), *many = NULL;
    const struct decoder_need *n = decoder_need(one);
    assert_int_equal(n->sequences, 1);
    uint64_t each = n->cache + (uint64_t)DRAWN_VOCAB * 64;
    struct decoder_model m = {.name = "drawn",
                              .path = model_path,
                              .memory = n->all + 3 * each,
                              .sequences = 16,
                              .cache = QUANT_F16,
                              .threads = 1};
    check_ok(decoder_open(&m, &many));
    assert_int_equal(decoder_need(many)->sequences, 4);
    assert_int_equal(decoder_need(many)->cache, 4 * n->cache);
    check(decoder_need(many)->all <= m.memory);
    decoder_close(many);
    m.memory = n->all;
    check_ok(decoder_open(&m, &many));
    assert_int_equal(decoder_need(many)->sequences, 1);
    decoder_close(many);
    m.memory = n->all - 1;
    check_err(decoder_open(&m, &many), TACIT_LIMIT);
    decoder_close(one);
}

static void a_window_bounds_what_is_counted_and_taken(void **state)
{
    (void)state;
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0}, dir, model_path);
    struct decoder *whole = open_for(1, QUANT_F16);
    drawn_write(&(struct drawn_shape){.type = QUANT_Q8_0, .window = 40}, dir,
                model_path);
    struct decoder *ring = open_for(1, QUANT_F16);
    uint64_t row = decoder_need(whole)->cache / (DRAWN_CONTEXT + 4);
    assert_int_equal(decoder_need(ring)->cache, (40 - 1 + KV_PIECE) * row);
    decoder_close(whole);
    decoder_close(ring);
}

/* A prefix is kept on disk before the ring leaves it behind, and goes on as if
 * it had been read; one in memory that was left behind is read again. */
static void a_prefix_that_a_ring_lost_comes_from_disk(void **state)
{
    (void)state;
    const struct drawn_shape shape = {.type = QUANT_Q8_0, .window = 40};
    const struct prompt_cache cache = {prompts_dir, NULL, 64 << 20};
    struct asked *all = calloc(3 * PROMPTS, sizeof *all);
    check(all != NULL);
    struct asked *again = all + PROMPTS, *alone = again + PROMPTS;
    drawn_write(&shape, dir, model_path);
    ask_alone(alone, QUANT_F16);
    write_questions(all);
    write_questions(again);
    struct decoder *d = open_for(1, QUANT_F16);
    check_ok(decoder_generate(d, &all[11].job, &all[11].report));
    check_ok(decoder_generate(d, &all[10].job, &all[10].report));
    /* Token 241, which the 281st sees, is behind a ring of 295 rows. */
    assert_int_equal(all[10].report.n_kept, 0);
    same(&alone[10], &all[10]);
    decoder_close(d);

    d = open_for(1, QUANT_F16);
    again[10].job.cache = again[11].job.cache = &cache;
    check_ok(decoder_generate(d, &again[11].job, &again[11].report));
    assert_int_equal(again[11].report.n_read, 0);
    same(&alone[11], &again[11]);
    check_ok(decoder_generate(d, &again[10].job, &again[10].report));
    assert_int_equal(again[10].report.n_read, COMMON - 20);
    same(&alone[10], &again[10]);
    decoder_close(d);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_many_have_the_bits_of_each_alone),
        cmocka_unit_test(a_ring_has_the_bits_of_the_whole_past),
        cmocka_unit_test(a_ring_is_of_its_networks_window),
        cmocka_unit_test(many_say_what_each_says_alone),
        cmocka_unit_test(many_say_the_same_over_a_cache_of_bytes),
        cmocka_unit_test(many_say_the_same_through_a_window),
        cmocka_unit_test(a_common_beginning_is_worked_out_once),
        cmocka_unit_test(one_that_is_cancelled_leaves_the_others_alone),
        cmocka_unit_test(an_end_of_all_is_told_to_all_that_are_under_way),
        cmocka_unit_test(as_many_are_written_as_memory_has_room_for),
        cmocka_unit_test(a_window_bounds_what_is_counted_and_taken),
        cmocka_unit_test(a_prefix_that_a_ring_lost_comes_from_disk),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

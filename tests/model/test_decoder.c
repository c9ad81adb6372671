/* A decoder goes on with a prompt: the same bits with guesses, with a prefix
 * that was kept, and with one from disk. The network is drawn here; stories260K
 * is a real one. */
#include "tests/check.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/crypto/seal.h"
#include "common/model/decoder.h"
#include "common/model/draft.h"
#include "common/model/gguf.h"
#include "common/model/model.h"
#include "common/model/net.h"
#include "tests/model/drawn_model.h"

enum {
    VOCAB = DRAWN_VOCAB,
    CONTEXT = DRAWN_CONTEXT,
    LONG = 700,
    ANSWER = 96,
    RANK = 4,
    /* Rows of q, k, v, output, gate, up, down. */
    N_LEARNT =
        DRAWN_LAYERS * RANK *
        (3 * DRAWN_WIDTH + 2 * (DRAWN_WIDTH / DRAWN_HEADS * DRAWN_KV_HEADS) +
         2 * DRAWN_FEED)
};

static char dir[256], model_path[512], prompts[512];

/* ---- a network of random numbers ---- */

static void make_model(enum quant_type type)
{
    drawn_write(&(struct drawn_shape){.type = type}, dir, model_path);
}

static struct decoder *open_model(enum quant_type cache)
{
    struct decoder *d = NULL;
    struct decoder_model m = {.name = "drawn",
                              .path = model_path,
                              .memory = 1 << 30,
                              .cache = cache,
                              .threads = 2};
    m.hash.b[0] = 7;
    check_ok(decoder_open(&m, &d));
    return d;
}

static int begin(void **state)
{
    (void)state;
    rng_setup();
    check_tmpdir(dir);
    snprintf(model_path, sizeof model_path, "%s/model.gguf", dir);
    snprintf(prompts, sizeof prompts, "%s/prompts", dir);
    make_model(QUANT_Q8_0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

/* ---- answers ---- */

struct said {
    uint32_t token[ANSWER];
    size_t n;
    struct decoder_report report;
};

static enum tacit_err hear(void *ctx, uint32_t token, int *enough)
{
    struct said *s = ctx;
    (void)enough;
    check(s->n < ANSWER);
    s->token[s->n++] = token;
    return TACIT_OK;
}

/* A prompt that says a few things again and again, so that guesses come. */
static void write_prompt(uint32_t *token, size_t n, unsigned seed)
{
    struct rng r;
    uint32_t phrase[12];
    rng_init(&r, seed, 0, 0);
    for (size_t i = 0; i < 12; i++)
        phrase[i] = 3 + (uint32_t)rng_below(&r, VOCAB - 3);
    for (size_t i = 0; i < n; i++)
        token[i] =
            i % 3 ? phrase[i % 12] : 3 + (uint32_t)rng_below(&r, VOCAB - 3);
}

static struct decoder_job job_of(const uint32_t *prompt, size_t n,
                                 struct said *s)
{
    *s = (struct said){.n = 0};
    return (struct decoder_job){.prompt = prompt,
                                .n_prompt = n,
                                .n_max = ANSWER,
                                .ctx = s,
                                .take = hear};
}

static void same(const struct said *a, const struct said *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
}

/* Of every type of matrix and cache, at several lengths. */
static void guesses_change_no_token(void **state)
{
    (void)state;
    static const enum quant_type matrices[] = {QUANT_Q8_0, QUANT_Q4_0,
                                               QUANT_F32, QUANT_F16};
    static const enum quant_type caches[] = {QUANT_F16, QUANT_F32};
    uint32_t prompt[LONG];
    size_t n_guessed = 0, n_right = 0;
    write_prompt(prompt, LONG, 1);
    for (size_t m = 0; m < 4; m++) {
        make_model(matrices[m]);
        for (size_t c = 0; c < 2; c++) {
            struct decoder *d = open_model(caches[c]);
            for (size_t n = 1; n <= LONG; n = 3 * n + 17) {
                struct said plain, guessed;
                struct decoder_job job = job_of(prompt, n, &plain);
                check_ok(decoder_generate(d, &job, &plain.report));
                job = job_of(prompt, n, &guessed);
                for (job.guesses = 1; job.guesses <= 3; job.guesses++) {
                    guessed.n = 0;
                    check_ok(decoder_generate(d, &job, &guessed.report));
                    same(&plain, &guessed);
                    n_guessed += guessed.report.n_guessed;
                    n_right += guessed.report.n_right;
                }
            }
            decoder_close(d);
        }
    }
    /* Both kinds of guesses were made. */
    check(n_right > 100 && n_guessed > n_right);
    make_model(QUANT_Q8_0);
}

/* Pairs beside every matrix of the blocks. */
static struct decoder *open_learnt(const float *w, size_t n)
{
    const struct model_base base = {.name = "drawn",
                                    .adapter = MODEL_FFA,
                                    .rank = RANK,
                                    .alpha = 8,
                                    .seed = 6};
    const struct decoder_model m = {.name = "drawn",
                                    .path = model_path,
                                    .hash = {.b = {7}},
                                    .memory = 1 << 30,
                                    .cache = QUANT_F16,
                                    .threads = 2,
                                    .base = &base,
                                    .learnt = w,
                                    .n_learnt = n};
    struct decoder *d = NULL;
    check_ok(decoder_open(&m, &d));
    return d;
}

static void what_was_learnt_is_written_with(void **state)
{
    (void)state;
    static float w[N_LEARNT];
    uint32_t prompt[200];
    struct said plain, learnt, guessed;
    struct rng r;
    rng_init(&r, 8, 0, 0);
    write_prompt(prompt, 200, 2);
    struct decoder *file = open_model(QUANT_F16);
    struct decoder_job job = job_of(prompt, 200, &plain);
    check_ok(decoder_generate(file, &job, &plain.report));

    /* Outer matrices of zeros change nothing but the name. */
    struct decoder *none = open_learnt(w, N_LEARNT);
    job = job_of(prompt, 200, &learnt);
    check_ok(decoder_generate(none, &job, &learnt.report));
    same(&plain, &learnt);
    check(!digest_equal(decoder_hash(file), decoder_hash(none)));

    for (size_t i = 0; i < N_LEARNT; i++) w[i] = 0.3f * rng_normal(&r);
    struct decoder *some = open_learnt(w, N_LEARNT);
    job = job_of(prompt, 200, &learnt);
    check_ok(decoder_generate(some, &job, &learnt.report));
    check(plain.n != learnt.n || memcmp(plain.token, learnt.token,
                                        plain.n * sizeof *plain.token) != 0);
    check(!digest_equal(decoder_hash(some), decoder_hash(none)));
    job = job_of(prompt, 200, &guessed);
    for (job.guesses = 1; job.guesses <= 3; job.guesses++) {
        guessed.n = 0;
        check_ok(decoder_generate(some, &job, &guessed.report));
        same(&learnt, &guessed);
    }
    decoder_close(file);
    decoder_close(none);
    decoder_close(some);
}

static void a_seed_draws_the_same_with_guesses(void **state)
{
    (void)state;
    uint32_t prompt[200];
    struct said plain, guessed, other;
    struct decoder *d = open_model(QUANT_F16);
    const struct sampling hot = {.temperature = 8,
                                 .top_k = 40,
                                 .top_p = 0.95,
                                 .repetition = 1.1,
                                 .seed = 5};
    write_prompt(prompt, 200, 2);
    struct decoder_job job = job_of(prompt, 200, &plain);
    job.sampling = hot;
    check_ok(decoder_generate(d, &job, &plain.report));
    job = job_of(prompt, 200, &guessed);
    job.sampling = hot;
    job.guesses = 3;
    check_ok(decoder_generate(d, &job, &guessed.report));
    same(&plain, &guessed);
    job = job_of(prompt, 200, &other);
    job.sampling = hot;
    job.sampling.seed = 6;
    check_ok(decoder_generate(d, &job, &other.report));
    check(other.n != plain.n ||
          memcmp(other.token, plain.token, plain.n * sizeof *plain.token));
    decoder_close(d);
}

/* Two prompts with a common beginning, one after the other and each alone. */
static void a_known_prefix_changes_no_bit(void **state)
{
    (void)state;
    uint32_t a[LONG], b[LONG];
    struct said alone, after;
    write_prompt(a, LONG, 3);
    memcpy(b, a, sizeof a);
    for (size_t i = 500; i < LONG; i++) b[i] = 3 + (b[i] + 1) % (VOCAB - 3);
    struct decoder *d = open_model(QUANT_F16);
    struct decoder_job job = job_of(b, LONG, &alone);
    job.cut[0] = 300;
    job.cut[1] = 498;
    job.n_cuts = 2;
    check_ok(decoder_generate(d, &job, &alone.report));
    assert_int_equal(alone.report.n_kept, 0);
    decoder_close(d);
    d = open_model(QUANT_F16);
    struct said first;
    struct decoder_job before = job_of(a, LONG, &first);
    memcpy(before.cut, job.cut, sizeof job.cut);
    before.n_cuts = 2;
    check_ok(decoder_generate(d, &before, &first.report));
    job.ctx = &after;
    after.n = 0;
    check_ok(decoder_generate(d, &job, &after.report));
    assert_int_equal(after.report.n_kept, 498);
    same(&alone, &after);
    /* With other cuts the pieces are others: what both have is kept. */
    after.n = 0;
    job.cut[0] = 280;
    check_ok(decoder_generate(d, &job, &after.report));
    assert_int_equal(after.report.n_kept, 256);
    decoder_close(d);
}

static void a_prefix_from_disk_changes_no_bit(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY] = {1, 2, 3};
    const uint8_t *const keys[] = {NULL, key};
    static const enum quant_type caches[] = {QUANT_F16, QUANT_F32};
    uint32_t prompt[LONG];
    write_prompt(prompt, LONG, 4);
    for (size_t i = 0; i < 4; i++) {
        struct said first, again;
        const struct prompt_cache cache = {prompts, keys[i % 2], 64 << 20};
        struct decoder *d = open_model(caches[i / 2]);
        struct decoder_job job = job_of(prompt, LONG, &first);
        job.cache = &cache;
        job.cut[0] = 100;
        job.cut[1] = 600;
        job.n_cuts = 2;
        prompt_cache_clear(prompts);
        check_ok(decoder_generate(d, &job, &first.report));
        assert_int_equal(first.report.n_read, 0);
        decoder_close(d);
        d = open_model(caches[i / 2]);
        job.ctx = &again;
        again.n = 0;
        check_ok(decoder_generate(d, &job, &again.report));
        assert_int_equal(again.report.n_read, 600);
        same(&first, &again);
        decoder_close(d);
    }
}

/* ---- what is refused ---- */

static void what_does_not_fit_is_refused_with_figures(void **state)
{
    (void)state;
    struct decoder *d = NULL;
    struct decoder_model m = {.name = "drawn",
                              .path = model_path,
                              .memory = 1 << 20,
                              .cache = QUANT_F16};
    enum tacit_err err = decoder_open(&m, &d);
    assert_int_equal(err_id(), E_MODEL_MEMORY);
    check(strstr(err_message(), "keys and values of 1024 tokens") != NULL);
    check(strstr(err_message(), "and 1 MiB may be taken") != NULL);
    check_err(err, TACIT_LIMIT);
    m.memory = 1 << 30;
    m.context = CONTEXT + 1;
    check_err(decoder_open(&m, &d), TACIT_LIMIT);
    m.context = 0;
    m.cache = QUANT_Q8_0; /* heads of 16 numbers are no block of 32 */
    err = decoder_open(&m, &d);
    check(strstr(err_message(), "f16 takes any") != NULL);
    check_err(err, TACIT_UNSUPPORTED);
}

static void a_prompt_without_room_is_refused(void **state)
{
    (void)state;
    uint32_t prompt[LONG] = {3};
    struct said s;
    struct decoder *d = open_model(QUANT_F16);
    struct decoder_job job = job_of(prompt, LONG, &s);
    job.n_max = CONTEXT - LONG + 1;
    enum tacit_err err = decoder_generate(d, &job, &s.report);
    assert_int_equal(err_id(), E_PROMPT_ROOM);
    check_err(err, TACIT_LIMIT);
    job.n_max = 0;
    check_err(decoder_generate(d, &job, &s.report), TACIT_STATE);
    job.n_max = 4;
    prompt[5] = VOCAB;
    check_err(decoder_generate(d, &job, &s.report), TACIT_LIMIT);
    decoder_close(d);
}

static enum tacit_err stop_at_third(void *ctx)
{
    int *n = ctx;
    return ++*n == 3 ? fail_as(E_INTERRUPTED, "interrupted") : TACIT_OK;
}

/* What was interrupted leaves nothing wrong behind. */
static void an_interrupted_prompt_is_read_again(void **state)
{
    (void)state;
    uint32_t prompt[LONG];
    struct said alone, after;
    int n = 0;
    write_prompt(prompt, LONG, 6);
    struct decoder *d = open_model(QUANT_F16);
    struct decoder_job job = job_of(prompt, LONG, &alone);
    check_ok(decoder_generate(d, &job, &alone.report));
    decoder_close(d);
    d = open_model(QUANT_F16);
    struct decoder_job cut = {.prompt = prompt,
                              .n_prompt = LONG,
                              .n_max = 4,
                              .ctx = &n,
                              .go_on = stop_at_third};
    enum tacit_err err = decoder_generate(d, &cut, &after.report);
    assert_int_equal(err_id(), E_INTERRUPTED);
    check_err(err, TACIT_STATE);
    job = job_of(prompt, LONG, &after);
    check_ok(decoder_generate(d, &job, &after.report));
    same(&alone, &after);
    decoder_close(d);
}

static void forbid_all_but_five(void *ctx, float *logits)
{
    (void)ctx;
    for (size_t i = 0; i < VOCAB; i++)
        if (i != 5) logits[i] = -INFINITY;
}

static enum tacit_err three_are_enough(void *ctx, uint32_t token, int *enough)
{
    size_t *n = ctx;
    assert_int_equal(token, 5);
    *enough = ++*n == 3;
    return TACIT_OK;
}

static void what_is_forbidden_is_not_drawn(void **state)
{
    (void)state;
    const uint32_t prompt[] = {9, 5, 5, 5, 5};
    size_t n = 0;
    struct decoder_report report;
    struct decoder *d = open_model(QUANT_F16);
    const struct decoder_job job = {.prompt = prompt,
                                    .n_prompt = 5,
                                    .n_max = 50,
                                    .guesses = 3,
                                    .ctx = &n,
                                    .forbid = forbid_all_but_five,
                                    .take = three_are_enough};
    check_ok(decoder_generate(d, &job, &report));
    assert_int_equal(report.end, DECODER_CONTENT);
    assert_int_equal(report.n_tokens, 3);
    decoder_close(d);
}

/* stories260K tells its story whichever way it is asked. */
static void a_real_network_tells_its_story(void **state)
{
    (void)state;
    const char *path = check_data("models/stories260K/stories260K-f32.gguf");
    if (!path) skip_missing("stories260K");
    const struct decoder_model m = {.name = "stories",
                                    .path = path,
                                    .memory = 1 << 30,
                                    .cache = QUANT_F16};
    struct decoder *d = NULL;
    struct buf text;
    struct said s;
    check_ok(decoder_open(&m, &d));
    const uint32_t start = 1;
    for (unsigned guesses = 0; guesses <= 3; guesses += 3) {
        struct decoder_job job = job_of(&start, 1, &s);
        job.n_max = 64;
        job.guesses = guesses;
        check_ok(decoder_generate(d, &job, &s.report));
        buf_init(&text, 0);
        for (size_t i = 0; i < s.n; i++)
            vocab_piece(decoder_vocab(d), (int32_t)s.token[i], &text);
        check(strstr(buf_cstr(&text), "Once upon a time, there was a little "
                                      "girl named Lily.") != NULL);
        buf_release(&text);
    }
    decoder_close(d);
}

/* ---- guesses ---- */

static void a_guess_is_what_came_after_the_longest_match(void **state)
{
    (void)state;
    struct draft d;
    uint32_t out[DRAFT_MAX];
    static const uint32_t text[] = {1, 2, 3, 4, 9, 7, 2, 3, 5, 8, 1, 2, 3};
    draft_begin(&d, 3);
    assert_int_equal(draft_guess(&d, text, 13, out), 3);
    assert_int_equal(out[0], 4); /* behind 1 2 3, not behind the later 2 3 */
    assert_int_equal(out[2], 7);
    assert_int_equal(draft_guess(&d, text, 12, out), 3);
    assert_int_equal(out[0], 3);
    assert_int_equal(draft_guess(&d, text, 5, out), 0);
    assert_int_equal(draft_guess(&d, text, 1, out), 0);
    draft_begin(&d, 0);
    assert_int_equal(draft_guess(&d, text, 13, out), 0);
}

static void wrong_guesses_are_left_out_for_a_while(void **state)
{
    (void)state;
    struct draft d;
    uint32_t out[DRAFT_MAX];
    static const uint32_t text[] = {1, 2, 3, 1, 2};
    int n_wrong = 0, n_paused = 0;
    draft_begin(&d, 3);
    for (int i = 0; i < 200; i++) {
        size_t n = draft_guess(&d, text, 5, out);
        n_wrong += n > 0;
        n_paused += n == 0;
        draft_judge(&d, n, 0);
    }
    check(n_wrong < 60 && n_paused > 140);
    draft_judge(&d, 3, 3);
    check(d.worth > 0);
}

/* ---- files ---- */

static const uint32_t tokens[] = {5, 6, 7, 8};
static const uint32_t edges[] = {4};
static const struct digest model_hash = {{9}};
static const struct prompt_prefix prefix = {&model_hash, tokens, 4, edges, 1};

static struct kv *new_kv(enum quant_type type)
{
    const struct kv_shape shape = {2, 2, 32, 16, type, 0};
    struct kv *kv = NULL;
    check_ok(kv_new(&shape, &kv));
    return kv;
}

static struct kv *filled_kv(enum quant_type type)
{
    struct kv *kv = new_kv(type);
    float k[4 * 64], v[4 * 64];
    for (size_t i = 0; i < 4 * 64; i++) k[i] = (float)i, v[i] = -(float)i;
    for (size_t l = 0; l < 2; l++) check_ok(kv_append(kv, l, k, v, 4));
    kv_advance(kv, 4);
    return kv;
}

static void cached_numbers_come_back(void **state)
{
    (void)state;
    static const enum quant_type types[] = {QUANT_F32, QUANT_F16, QUANT_Q8_0};
    for (size_t i = 0; i < 3; i++) {
        struct kv *from = filled_kv(types[i]), *to = new_kv(types[i]);
        uint8_t a[8192], b[8192];
        size_t n = kv_packed_bytes(from, 4);
        check(n <= sizeof a);
        kv_pack(from, 4, a);
        check_ok(kv_unpack(to, a, n, 4));
        assert_int_equal(kv_n(to), 4);
        kv_pack(to, 4, b);
        assert_memory_equal(a, b, n);
        check_err(kv_unpack(to, a, n - 1, 4), TACIT_SHAPE);
        check_err(kv_unpack(to, a, n, 17), TACIT_LIMIT);
        if (types[i] == QUANT_F16) {
            a[7] = 0x7c; /* an infinity */
            a[6] = 0;
            check_err(kv_unpack(to, a, n, 4), TACIT_FORMAT);
        }
        kv_free(from);
        kv_free(to);
    }
}

static const char *only_file(void)
{
    static char path[1024];
    struct dirent *e;
    DIR *all = opendir(prompts);
    check(all != NULL);
    path[0] = '\0';
    while ((e = readdir(all)))
        if (e->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", prompts, e->d_name);
    closedir(all);
    return path;
}

/* Each byte changed and each length: not there, and gone, or as it was. */
static void a_damaged_file_counts_as_none(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY] = {4};
    for (int sealed = 0; sealed < 2; sealed++) {
        const struct prompt_cache c = {prompts, sealed ? key : NULL, 1 << 20};
        struct kv *from = filled_kv(QUANT_F16), *to = new_kv(QUANT_F16);
        struct buf file;
        int found = 0;
        prompt_cache_clear(prompts);
        check_ok(prompt_cache_write(&c, &prefix, from));
        const char *path = only_file();
        buf_init(&file, 0);
        check_ok(file_read(path, 1 << 20, &file));
        check_ok(prompt_cache_read(&c, &prefix, to, &found));
        assert_int_equal(found, 1);
        uint8_t *copy = malloc(file.len);
        for (size_t i = 0; i < file.len; i += 1 + i / 64) {
            memcpy(copy, file.data, file.len);
            copy[i] ^= 0x10;
            enum tacit_err err =
                prompt_cache_decode(&c, &prefix, copy, file.len, to);
            check(err == TACIT_FORMAT || err == TACIT_AUTH ||
                  (!sealed && i >= 84 && i < 92 && !err));
            err_clear();
            memcpy(copy, file.data, file.len);
            check_err(prompt_cache_decode(&c, &prefix, copy, i, to),
                      TACIT_FORMAT);
        }
        check_ok(file_write(path, file.data, file.len - 1, 0600));
        check_ok(prompt_cache_read(&c, &prefix, to, &found));
        assert_int_equal(found, 0);
        assert_int_equal(file_exists(path), 0);
        free(copy);
        buf_release(&file);
        kv_free(from);
        kv_free(to);
    }
}

static void a_file_is_of_its_prompt_model_and_key_alone(void **state)
{
    (void)state;
    uint8_t key[SEAL_KEY] = {4}, other_key[SEAL_KEY] = {5};
    const struct prompt_cache c = {prompts, key, 1 << 20};
    const struct prompt_cache wrong = {prompts, other_key, 1 << 20};
    static const uint32_t other_tokens[] = {5, 6, 7, 9}, other_edges[] = {2, 4};
    static const struct digest other_model = {{8}};
    struct prompt_prefix p = prefix;
    struct kv *from = filled_kv(QUANT_F16), *to = new_kv(QUANT_F16);
    struct stat st;
    int found = 1;
    prompt_cache_clear(prompts);
    check_ok(prompt_cache_write(&c, &prefix, from));
    check(stat(only_file(), &st) == 0 && (st.st_mode & 0777) == 0600);
    p.token = other_tokens;
    check_ok(prompt_cache_read(&c, &p, to, &found));
    assert_int_equal(found, 0);
    p = prefix;
    p.model = &other_model;
    check_ok(prompt_cache_read(&c, &p, to, &found));
    assert_int_equal(found, 0);
    p = prefix;
    p.edge = other_edges;
    p.n_edges = 2;
    check_ok(prompt_cache_read(&c, &p, to, &found));
    assert_int_equal(found, 0);
    check_ok(prompt_cache_read(&c, &prefix, to, &found));
    assert_int_equal(found, 1);
    check_ok(prompt_cache_read(&wrong, &prefix, to, &found));
    assert_int_equal(found, 0);
    kv_free(from);
    kv_free(to);
}

static void the_folder_stays_within_its_bound(void **state)
{
    (void)state;
    struct kv *from = filled_kv(QUANT_F16), *to = new_kv(QUANT_F16);
    uint64_t one = 92 + 16 + kv_packed_bytes(from, 4);
    const struct prompt_cache c = {prompts, NULL, 3 * one + 10};
    struct digest names[8];
    int n_found = 0, found;
    prompt_cache_clear(prompts);
    for (uint8_t i = 0; i < 8; i++) {
        names[i] = (struct digest){{i}};
        struct prompt_prefix p = prefix;
        p.model = &names[i];
        check_ok(prompt_cache_write(&c, &p, from));
    }
    for (size_t i = 0; i < 8; i++) {
        struct prompt_prefix p = prefix;
        p.model = &names[i];
        check_ok(prompt_cache_read(&c, &p, to, &found));
        n_found += found;
    }
    assert_int_equal(n_found, 3);
    /* One that would take more than half is not kept. */
    const struct prompt_cache small = {prompts, NULL, one};
    prompt_cache_clear(prompts);
    check_ok(prompt_cache_write(&small, &prefix, from));
    assert_string_equal(only_file(), "");
    kv_free(from);
    kv_free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_change_no_token),
        cmocka_unit_test(what_was_learnt_is_written_with),
        cmocka_unit_test(a_seed_draws_the_same_with_guesses),
        cmocka_unit_test(a_known_prefix_changes_no_bit),
        cmocka_unit_test(a_prefix_from_disk_changes_no_bit),
        cmocka_unit_test(what_does_not_fit_is_refused_with_figures),
        cmocka_unit_test(a_prompt_without_room_is_refused),
        cmocka_unit_test(an_interrupted_prompt_is_read_again),
        cmocka_unit_test(what_is_forbidden_is_not_drawn),
        cmocka_unit_test(a_real_network_tells_its_story),
        cmocka_unit_test(a_guess_is_what_came_after_the_longest_match),
        cmocka_unit_test(wrong_guesses_are_left_out_for_a_while),
        cmocka_unit_test(cached_numbers_come_back),
        cmocka_unit_test(a_damaged_file_counts_as_none),
        cmocka_unit_test(a_file_is_of_its_prompt_model_and_key_alone),
        cmocka_unit_test(the_folder_stays_within_its_bound),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

/*
 * engine_spec: how fast an answer that is known beforehand is decoded, with
 * and without guesses from the prompt, for bench_spec.py.
 *
 *   engine_spec MODEL VOCABULARY CASES GUESSES THREADS
 *
 * MODEL: a decoder of real shape, whose weights may be random: each pass costs
 * what it costs, and which token "comes" is the answer's next. CASES: prompts
 * and answers, "prompt \x1f answer \x1e …". Prompts are read beforehand and not
 * counted. A greedy sampler looks at every row of logits, as in a real answer.
 *
 * Prints tokens per CPU second and per second, passes, guesses, and how many of
 * them were right.
 */
#include <string.h>
#include <sys/resource.h>

#include "common/base/file.h"
#include "common/base/pool.h"
#include "common/base/tick.h"
#include "common/model/draft.h"
#include "common/model/net.h"
#include "common/model/sampler.h"
#include "common/model/vocab.h"
#include "tests/bench/bench.h"

enum { CASES_BYTES = 16 << 20, CONTEXT = 2048, ANSWER_MAX = 96 };

struct run {
    struct gguf *file, *words;
    struct net *net;
    struct vocab *vocab;
    struct kv *kv;
    struct tape tape;
    struct sampler *sampler;
    unsigned guesses;
    double cpu_s, wall_s;
    size_t n_tokens, n_passes, n_guessed, n_right;
};

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void feed(struct run *r, const uint32_t *token, size_t n, size_t n_rows)
{
    const uint32_t start[] = {0, (uint32_t)n};
    uint32_t row[NET_STEPS_MAX], unused;
    const struct net_run run = {.net = r->net, .tape = &r->tape};
    const struct net_batch batch = {.token = token,
                                    .n = n,
                                    .segments = {start, 1},
                                    .cache = &r->kv};
    tape_reset(&r->tape);
    struct var *h = net_hidden(&run, &batch);
    for (size_t i = 0; i < n_rows; i++) row[i] = (uint32_t)(n - n_rows + i);
    struct var *z = net_logits(&run, h, row, n_rows);
    must(r->tape.err);
    for (size_t i = 0; i < n_rows; i++)
        must(sampler_pick(r->sampler, z->v + i * z->cols, NULL, 0, &unused));
}

static void decode(struct run *r, const uint32_t *token, size_t n_prompt,
                   size_t n)
{
    struct draft d;
    draft_begin(&d, r->guesses);
    double cpu = cpu_s();
    int64_t wall = tick_ns();
    for (size_t at = n_prompt; at < n;) {
        uint32_t batch[1 + DRAFT_MAX] = {token[at - 1]};
        size_t n_right = 0, k = draft_guess(&d, token, at, batch + 1);
        if (k > n - at - 1) k = n - at - 1;
        feed(r, batch, 1 + k, 1 + k);
        while (n_right < k && batch[1 + n_right] == token[at + n_right])
            n_right++;
        at += 1 + n_right;
        kv_truncate(r->kv, at - 1);
        draft_judge(&d, k, n_right);
        r->n_passes++;
        r->n_guessed += k;
        r->n_right += n_right;
    }
    r->cpu_s += cpu_s() - cpu;
    r->wall_s += (double)(tick_ns() - wall) * 1e-9;
    r->n_tokens += n - n_prompt;
}

static size_t tokens_of(const struct run *r, const char *text, size_t n,
                        uint32_t *out, size_t most)
{
    struct vocab_ids ids = {0};
    size_t vocab = net_shape(r->net)->vocab;
    must(vocab_encode(r->vocab, text, n, VOCAB_PLAIN, &ids));
    if (ids.n > most) ids.n = most;
    for (size_t i = 0; i < ids.n; i++)
        out[i] = (uint32_t)ids.id[i] % (uint32_t)vocab;
    n = ids.n;
    vocab_ids_release(&ids);
    return n;
}

/* One prompt and its answer. */
static void run_case(struct run *r, const char *text, size_t n)
{
    static uint32_t token[CONTEXT];
    const char *split = memchr(text, 0x1f, n);
    if (!split) return;
    size_t prompt = (size_t)(split - text);
    size_t k = tokens_of(r, text, prompt, token, CONTEXT - ANSWER_MAX - 4);
    size_t all =
        k + tokens_of(r, split + 1, n - prompt - 1, token + k, ANSWER_MAX);
    if (k < 8 || all < k + 4) return;
    kv_truncate(r->kv, 0);
    feed(r, token, k - 1, 1);
    decode(r, token, k, all);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL VOCABULARY CASES GUESSES THREADS\n",
                argv[0]);
        return 4;
    }
    struct run r = {.guesses = (unsigned)strtoul(argv[4], NULL, 10)};
    struct pool *pool = NULL;
    struct buf b;
    buf_init(&b, 0);
    must(pool_new(&pool, (unsigned)strtoul(argv[5], NULL, 10)));
    must(gguf_open(argv[1], &r.file));
    must(gguf_open(argv[2], &r.words));
    must(vocab_from_gguf(r.words, &r.vocab));
    must(net_open_gguf(r.file, NULL, &r.net));
    must(file_read(argv[3], CASES_BYTES, &b));
    const struct net_shape *s = net_shape(r.net);
    const struct kv_shape shape = {s->layers, s->kv_heads, s->head_width,
                                   CONTEXT,   QUANT_F16,   s->window};
    must(kv_new(&shape, &r.kv));
    must(sampler_new(&(struct sampling){0}, s->vocab, &r.sampler));
    tape_init(&r.tape, 0);
    r.tape.pool = pool;
    for (size_t at = 0; at < b.len;) {
        const char *from = (const char *)b.data + at;
        const char *end = memchr(from, 0x1e, b.len - at);
        size_t n = end ? (size_t)(end - from) : b.len - at;
        run_case(&r, from, n);
        at += n + 1;
    }
    printf("%.3f %.3f %zu %zu %zu %zu\n", (double)r.n_tokens / r.cpu_s,
           (double)r.n_tokens / r.wall_s, r.n_tokens, r.n_passes, r.n_guessed,
           r.n_right);
    sampler_free(r.sampler);
    tape_release(&r.tape);
    kv_free(r.kv);
    net_close(r.net);
    vocab_free(r.vocab);
    gguf_close(r.words);
    gguf_close(r.file);
    pool_free(pool);
    buf_release(&b);
    return 0;
}

/*
 * engine_net: whole networks of real shapes and random weights, for
 * bench_net.py.
 *
 *   engine_net make SHAPE TYPE rows|tiles FILE    write one as GGUF
 *   engine_net WORK FILE COUNT THREADS SECONDS
 *
 * SHAPE: 135m (SmolLM2), 1b (TinyLlama), qwen (Qwen 2 0.5B), minilm. WORK:
 *   prefill   COUNT tokens at once, tokens per second
 *   decode    COUNT tokens, each the likeliest, after 16; tokens per second
 *   decode_batch  32 tokens of each of COUNT sequences, a pass a token of each
 *   embed     COUNT sentences of 128 tokens; sentences per second
 *   embed_mixed  COUNT of 16 to 128 tokens
 *   first     a file's first token after 16, its opening included; COUNT is
 *             ignored, and the figure is the seconds of one
 *   lora, lora_f32
 *             COUNT sequences of 256 tokens, pairs of rank 8 beside every
 *             matrix, AdamW; tokens per second
 *   tune, tune_f32
 *             COUNT pairs of sentences of 128 tokens, all weights, in-batch
 *             negatives, AdamW; sentences per second
 *
 * Training keeps to a budget of memory. Prints the figure by CPU time and by
 * wall time, best of several turns, and the process's peak in MiB. Decoding
 * first checks that its logits are those of all tokens at once.
 */
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/model/encoder_net.h"
#include "common/model/lanes.h"
#include "common/model/net.h"
#include "common/model/net_train.h"
#include "common/tensor/maps.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"
#include "common/tensor/weights.h"
#include "tests/bench/bench.h"

enum {
    PROMPT = 16,
    CHECKED = 4,
    BATCH_STEPS = 32,
    BATCH_MAX = 64,
    SENTENCE = 128,
    SEQUENCE = 256,
    RANK = 8
};

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void *memory(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) exit(1);
    return p;
}

/* ---- files ---- */

static const struct shape {
    const char *name, *family;
    uint32_t layers, width, heads, kv_heads, feed, vocab, context;
    int tied;
} shapes[] = {
    {"135m", "llama", 30, 576, 9, 3, 1536, 49152, 2048, 1},
    {"1b", "llama", 22, 2048, 32, 4, 5632, 32000, 2048, 0},
    {"qwen", "qwen2", 24, 896, 14, 2, 4864, 151936, 2048, 1},
    {"minilm", "bert", 6, 384, 12, 12, 1536, 30522, 512, 1},
};

struct maker {
    struct gguf_writer w;
    const struct shape *shape;
    enum quant_type type;
    int tiles;
    int data; /* second turn: numbers, not shapes */
    struct rng rng;
};

/* What llama.cpp wants in f32 even in a file of few bits. */
static int stays(const char *name, uint32_t rows)
{
    return rows == 1 || strncmp(name, "position_embd", 13) == 0 ||
           strncmp(name, "token_types", 11) == 0;
}

static void put(struct maker *m, const char *name, uint32_t rows, uint32_t cols)
{
    enum quant_type type = stays(name, rows) ? QUANT_F32 : m->type;
    int tiles = !stays(name, rows) && m->tiles;
    size_t row = quant_bytes(type, cols);
    const uint64_t dims[] = {cols, rows};
    if (!m->data) {
        gguf_put_tensor(&m->w, name, (uint32_t)type + (tiles ? GGUF_PACKED : 0),
                        rows > 1 ? 2 : 1, dims);
        return;
    }
    float *x = memory(cols * sizeof *x), base = rows > 1 ? 0 : 1;
    float scale = rows > 1 ? 1 / sqrtf((float)cols) : 0.1f;
    uint8_t *all = memory(row * rows);
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < cols; k++)
            x[k] = base + scale * (2 * rng_f32(&m->rng) - 1);
        must(quant_encode(type, x, all + i * row, cols));
    }
    size_t n = tiles ? weight_bytes(type, rows, cols) : row * rows;
    uint8_t *out = tiles ? memory(n) : all;
    if (tiles) weight_pack(type, rows, cols, all, out);
    must(gguf_put_data(&m->w, out, n));
    must(gguf_end_tensor(&m->w));
    if (tiles) free(out);
    free(all);
    free(x);
}

static void put_layer(struct maker *m, uint32_t i, const char *part,
                      uint32_t rows, uint32_t cols)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", i, part);
    put(m, name, rows, cols);
}

static void put_layers(struct maker *m)
{
    const struct shape *s = m->shape;
    int bert = strcmp(s->family, "bert") == 0;
    int qwen = strcmp(s->family, "qwen2") == 0;
    uint32_t d = s->width, kv = d / s->heads * s->kv_heads;
    for (uint32_t i = 0; i < s->layers; i++) {
        put_layer(m, i, "attn_q.weight", d, d);
        put_layer(m, i, "attn_k.weight", kv, d);
        put_layer(m, i, "attn_v.weight", kv, d);
        put_layer(m, i, "attn_output.weight", d, d);
        put_layer(m, i, "ffn_up.weight", s->feed, d);
        put_layer(m, i, "ffn_down.weight", d, s->feed);
        if (!bert) put_layer(m, i, "ffn_gate.weight", s->feed, d);
        if (bert || qwen) {
            put_layer(m, i, "attn_q.bias", 1, d);
            put_layer(m, i, "attn_k.bias", 1, kv);
            put_layer(m, i, "attn_v.bias", 1, kv);
        }
        if (!bert) {
            put_layer(m, i, "attn_norm.weight", 1, d);
            put_layer(m, i, "ffn_norm.weight", 1, d);
            continue;
        }
        put_layer(m, i, "attn_output.bias", 1, d);
        put_layer(m, i, "ffn_up.bias", 1, s->feed);
        put_layer(m, i, "ffn_down.bias", 1, d);
        put_layer(m, i, "attn_output_norm.weight", 1, d);
        put_layer(m, i, "attn_output_norm.bias", 1, d);
        put_layer(m, i, "layer_output_norm.weight", 1, d);
        put_layer(m, i, "layer_output_norm.bias", 1, d);
    }
}

static void put_all(struct maker *m)
{
    const struct shape *s = m->shape;
    rng_init(&m->rng, 1, 0, 0);
    put(m, "token_embd.weight", s->vocab, s->width);
    if (strcmp(s->family, "bert") == 0) {
        put(m, "position_embd.weight", s->context, s->width);
        put(m, "token_types.weight", 2, s->width);
        put(m, "token_embd_norm.weight", 1, s->width);
        put(m, "token_embd_norm.bias", 1, s->width);
    } else {
        put(m, "output_norm.weight", 1, s->width);
        if (!s->tied) put(m, "output.weight", s->vocab, s->width);
    }
    put_layers(m);
}

static void put_key(struct maker *m, const char *key, uint32_t v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", m->shape->family, key);
    gguf_put_u32(&m->w, full, v);
}

static void put_keys(struct maker *m)
{
    const struct shape *s = m->shape;
    char key[96];
    int bert = strcmp(s->family, "bert") == 0;
    gguf_put_text(&m->w, "general.architecture", s->family, strlen(s->family));
    gguf_put_text(&m->w, "tokenizer.ggml.model", "no_vocab", 8);
    put_key(m, "vocab_size", s->vocab);
    put_key(m, "context_length", s->context);
    put_key(m, "embedding_length", s->width);
    put_key(m, "block_count", s->layers);
    put_key(m, "feed_forward_length", s->feed);
    put_key(m, "attention.head_count", s->heads);
    put_key(m, "attention.head_count_kv", s->kv_heads);
    snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", s->family,
             bert ? "" : "rms_");
    gguf_put_f32(&m->w, key, bert ? 1e-12f : 1e-5f);
    if (!bert) {
        put_key(m, "rope.dimension_count", s->width / s->heads);
        return;
    }
    put_key(m, "pooling_type", 1);
    gguf_put_u32(&m->w, "tokenizer.ggml.token_type_count", 2);
    snprintf(key, sizeof key, "%s.attention.causal", s->family);
    gguf_put_bool(&m->w, key, 0);
}

static int make(char **argv)
{
    struct maker m = {.tiles = strcmp(argv[4], "tiles") == 0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, argv[2]) == 0) m.shape = &shapes[i];
    if (!m.shape || !quant_find(argv[3])) return 4;
    m.type = quant_find(argv[3])->type;
    must(gguf_writer_init(&m.w, "build", 64));
    put_keys(&m);
    put_all(&m);
    m.data = 1;
    put_all(&m);
    must(gguf_writer_end(&m.w, NULL));
    must(gguf_writer_commit(&m.w, argv[5], 0644));
    gguf_writer_release(&m.w);
    return 0;
}

/* ---- work ---- */

struct bench {
    const char *path;
    size_t count;
    struct gguf *file;
    struct net *net;
    struct pool *pool;
    struct tape tape;
    struct lanes lanes;
    enum net_train_numbers numbers;
    uint32_t *token, *label, *row, *start;
    struct kv *kv;
    struct kv *batch[BATCH_MAX]; /* [count] of decode_batch */
    struct net_train *train;
    size_t budget;
};

static void open_net(struct bench *b, enum net_training train)
{
    const struct net_options o = {.train = train, .rank = RANK, .alpha = 16};
    must(gguf_open(b->path, &b->file));
    must(net_open_gguf(b->file, &o, &b->net));
    tape_init(&b->tape, 0);
    b->tape.pool = b->pool;
}

static void close_net(struct bench *b)
{
    kv_free(b->kv);
    b->kv = NULL;
    tape_release(&b->tape);
    net_close(b->net);
    gguf_close(b->file);
}

/* Sequences of drawn tokens; each token's label is the next. */
static void draw(struct bench *b, size_t n_sequences, size_t len)
{
    size_t n = n_sequences * len;
    struct rng r;
    rng_init(&r, 3, 0, 0);
    b->token = memory((n + 1) * sizeof *b->token);
    b->row = memory(n * sizeof *b->row);
    b->start = memory((n_sequences + 1) * sizeof *b->start);
    for (size_t i = 0; i <= n; i++)
        b->token[i] =
            (uint32_t)(rng_f32(&r) * (float)(net_shape(b->net)->vocab - 1));
    for (size_t i = 0; i < n; i++) b->row[i] = (uint32_t)i;
    for (size_t i = 0; i <= n_sequences; i++) b->start[i] = (uint32_t)(i * len);
    b->label = b->token + 1;
}

static void new_kv(struct bench *b, size_t n_max, struct kv **out)
{
    const struct net_shape *s = net_shape(b->net);
    const struct kv_shape k = {s->layers, s->kv_heads, s->head_width,
                               n_max,     QUANT_F16,   s->window};
    must(kv_new(&k, out));
}

/* Logits of the last of n tokens behind what is in the cache. */
static const float *feed(struct bench *b, const uint32_t *token, size_t n)
{
    const uint32_t start[] = {0, (uint32_t)n}, last = (uint32_t)(n - 1);
    const struct net_run run = {.net = b->net, .tape = &b->tape};
    const struct net_batch batch = {.token = token,
                                    .n = n,
                                    .segments = {start, 1},
                                    .cache = &b->kv};
    tape_reset(&b->tape);
    struct var *z = net_logits(&run, net_hidden(&run, &batch), &last, 1);
    must(b->tape.err);
    return z->v;
}

static uint32_t likeliest(const struct bench *b, const float *z)
{
    uint32_t best = 0;
    for (size_t i = 1; i < net_shape(b->net)->vocab; i++)
        if (z[i] > z[best]) best = (uint32_t)i;
    return best;
}

static void prefill(struct bench *b)
{
    kv_truncate(b->kv, 0);
    feed(b, b->token, b->count);
}

static void decode(struct bench *b)
{
    kv_truncate(b->kv, PROMPT);
    uint32_t next = b->token[PROMPT];
    for (size_t i = 0; i < b->count; i++)
        next = likeliest(b, feed(b, &next, 1));
}

/* The first turn has the prompts to read as well, and is not counted. */
static void decode_batch(struct bench *b)
{
    uint32_t token[BATCH_MAX], start[BATCH_MAX + 1];
    const struct net_run run = {.net = b->net, .tape = &b->tape};
    const struct net_batch batch = {.token = token,
                                    .n = b->count,
                                    .segments = {start, b->count},
                                    .cache = b->batch};
    size_t n_vocab = net_shape(b->net)->vocab;
    if (b->count > BATCH_MAX) exit(4);
    for (size_t i = 0; i < b->count; i++) {
        if (!b->batch[i]) {
            new_kv(b, PROMPT + BATCH_STEPS, &b->batch[i]);
            b->kv = b->batch[i];
            feed(b, b->token, PROMPT);
        }
        kv_truncate(b->batch[i], PROMPT);
        token[i] = b->token[i + 1];
        start[i] = (uint32_t)i;
    }
    b->kv = NULL;
    start[b->count] = (uint32_t)b->count;
    for (size_t k = 0; k < BATCH_STEPS; k++) {
        tape_reset(&b->tape);
        const struct var *z =
            net_logits(&run, net_hidden(&run, &batch), NULL, 0);
        must(b->tape.err);
        for (size_t i = 0; i < b->count; i++)
            token[i] = likeliest(b, z->v + i * n_vocab);
    }
}

static void check_decode(struct bench *b)
{
    size_t n = net_shape(b->net)->vocab;
    float *want = memory(n * sizeof *want);
    memcpy(want, feed(b, b->token, PROMPT + CHECKED), n * sizeof *want);
    kv_truncate(b->kv, 0);
    const float *z = feed(b, b->token, PROMPT);
    for (size_t i = 0; i < CHECKED; i++) z = feed(b, b->token + PROMPT + i, 1);
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += pow((double)z[i] - (double)want[i], 2);
        size += pow((double)want[i], 2);
    }
    free(want);
    if (!(off < 1e-3 * size)) {
        fprintf(stderr, "decoded logits are off by %g\n", sqrt(off / size));
        exit(1);
    }
}

/* Sentences from row[i] on, to row[i + 1]. */
static enum tacit_err embed_batch(void *ctx, size_t i, struct tape *t)
{
    const struct bench *b = ctx;
    const struct net_run run = {.net = b->net, .tape = t};
    const uint32_t *from = b->start + b->row[i];
    size_t n = b->row[i + 1] - b->row[i];
    tape_reset(t);
    uint32_t *start = tape_raw(t, n + 1, sizeof *start);
    must(t->err);
    for (size_t k = 0; k <= n; k++) start[k] = from[k] - from[0];
    const struct net_batch batch = {.token = b->token + from[0],
                                    .n = start[n],
                                    .segments = {start, n}};
    struct var *h = net_hidden(&run, &batch);
    net_embedding(&run, h, &batch.segments);
    return t->err;
}

/* In batches, a tape for each thread, as encoder_net.c has them. */
static void embed(struct bench *b)
{
    size_t share = b->start[b->count] / pool_threads(b->pool) + 1;
    size_t most = share < ENCODER_BATCH_TOKENS ? share : ENCODER_BATCH_TOKENS;
    size_t n = 0;
    for (uint32_t i = 0; i < b->count; n++) {
        uint32_t from = b->start[b->row[n] = i++];
        while (i < b->count && b->start[i + 1] - from <= most) i++;
    }
    b->row[n] = (uint32_t)b->count;
    must(lanes_add(&b->lanes, pool_threads(b->pool), 0));
    must(lanes_run(&b->lanes, b->pool, n, embed_batch, b));
}

/* Lengths from 16 to a whole sentence, as peer_torch_net.py has them. */
static void embed_mixed(struct bench *b)
{
    size_t last = b->count > 1 ? b->count - 1 : 1;
    for (size_t i = 0; i < b->count; i++)
        b->start[i + 1] =
            b->start[i] + (uint32_t)(PROMPT + (SENTENCE - PROMPT) * i / last);
    embed(b);
}

static void first(struct bench *b)
{
    open_net(b, NET_FROZEN);
    new_kv(b, SEQUENCE, &b->kv);
    draw(b, 1, SEQUENCE);
    likeliest(b, feed(b, b->token, PROMPT));
    close_net(b);
    free(b->token);
    free(b->row);
    free(b->start);
}

/* The first step plans: its batch is the largest. */
static const struct net_run *begin_step(struct bench *b,
                                        const struct net_batch *batch,
                                        size_t labels)
{
    const struct net_run *run;
    if (!b->train) {
        const struct net_train_options o = {.load = {batch->n,
                                                     batch->segments.n, labels},
                                            .optim = {.kind = "adamw",
                                                      .learning_rate = 1e-4},
                                            .numbers = b->numbers,
                                            .budget_bytes = b->budget,
                                            .pool = b->pool};
        must(net_train_new(b->net, &o, &b->train));
        must(net_train_begin(b->train, batch, &run));
        const struct net_memory *m = net_train_memory(b->train);
        fprintf(stderr, "# %.1f MiB planned, %zu blocks kept\n",
                (double)m->total / (1 << 20), m->n_kept);
    }
    must(net_train_begin(b->train, batch, &run));
    return run;
}

static void lora(struct bench *b)
{
    size_t n = b->count * SEQUENCE;
    const struct net_batch batch = {.token = b->token,
                                    .n = n,
                                    .segments = {b->start, b->count}};
    const struct op_labels labels = {b->row, b->label, n};
    const struct net_run *run = begin_step(b, &batch, n);
    struct var *loss = net_lm_loss(run, net_hidden(run, &batch), &labels);
    must(net_train_end(b->train, loss));
}

static void tune(struct bench *b)
{
    size_t n = 2 * b->count;
    const struct net_batch batch = {.token = b->token,
                                    .n = n * SENTENCE,
                                    .segments = {b->start, n}};
    const struct net_run *run = begin_step(b, &batch, 0);
    struct tape *t = run->tape;
    struct var *h = net_hidden(run, &batch);
    struct var *e = net_embedding(run, h, &batch.segments);
    uint32_t *half = memory(n * sizeof *half);
    for (size_t i = 0; i < n; i++) half[i] = (uint32_t)i;
    const struct op_matrix m = {.w = e};
    struct var *loss =
        op_contrastive(t, op_lookup(t, &m, half, b->count),
                       op_lookup(t, &m, half + b->count, b->count), 0.05f);
    must(net_train_end(b->train, loss));
    free(half);
}

static const struct work {
    const char *name;
    void (*run)(struct bench *b);
    enum net_training train;
    size_t sequences, len; /* of one of COUNT; 0: COUNT long, with a cache */
    size_t units;          /* of one of COUNT */
    enum net_train_numbers numbers;
    size_t budget_mib;
} works[] = {
    {"prefill", prefill, NET_FROZEN, 0, 0, 1, 0, 0},
    {"decode", decode, NET_FROZEN, 0, 0, 1, 0, 0},
    {"decode_batch", decode_batch, NET_FROZEN, 0, 0, BATCH_STEPS, 0, 0},
    {"embed", embed, NET_FROZEN, 1, SENTENCE, 1, 0, 0},
    {"embed_mixed", embed_mixed, NET_FROZEN, 1, SENTENCE, 1, 0, 0},
    {"first", first, NET_FROZEN, 0, 0, 0, 0, 0},
    {"lora", lora, NET_PAIRS, 1, SEQUENCE, SEQUENCE, NET_TRAIN_FAST, 300},
    {"lora_f32", lora, NET_PAIRS, 1, SEQUENCE, SEQUENCE, NET_TRAIN_F32, 300},
    {"tune", tune, NET_FULL, 2, SENTENCE, 2, NET_TRAIN_FAST, 500},
    {"tune_f32", tune, NET_FULL, 2, SENTENCE, 2, NET_TRAIN_F32, 500},
};

static void prepare(struct bench *b, const struct work *w)
{
    if (!w->units) return;
    b->numbers = w->numbers;
    b->budget = w->budget_mib << 20;
    open_net(b, w->train);
    if (w->len) {
        draw(b, w->sequences * b->count, w->len);
        return;
    }
    draw(b, 1, b->count + PROMPT + CHECKED);
    new_kv(b, b->count + PROMPT + CHECKED, &b->kv);
    check_decode(b);
}

int main(int argc, char **argv)
{
    const struct work *w = NULL;
    if (argc == 6 && strcmp(argv[1], "make") == 0) return make(argv);
    for (size_t i = 0; argc == 6 && i < sizeof works / sizeof *works; i++)
        if (strcmp(works[i].name, argv[1]) == 0) w = &works[i];
    if (!w) {
        fprintf(stderr, "usage: %s WORK FILE COUNT THREADS SECONDS\n", argv[0]);
        return 4;
    }
    struct bench b = {.path = argv[2], .count = strtoul(argv[3], NULL, 10)};
    double seconds = strtod(argv[5], NULL), best[] = {INFINITY, INFINITY};
    must(pool_new(&b.pool, (unsigned)strtoul(argv[4], NULL, 10)));
    prepare(&b, w);
    w->run(&b);
    double end = cpu_s() + seconds;
    for (int turn = 0; turn < 3 || cpu_s() < end; turn++) {
        double cpu = cpu_s(), wall = (double)tick_ns();
        w->run(&b);
        best[0] = fmin(best[0], cpu_s() - cpu);
        best[1] = fmin(best[1], ((double)tick_ns() - wall) * 1e-9);
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    double units = (double)(w->units * b.count);
    for (int i = 0; i < 2; i++)
        printf("%.4f ", w->units ? units / best[i] : best[i]);
    printf("%.1f\n", (double)u.ru_maxrss / 1024);
    return 0;
}

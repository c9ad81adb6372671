/* Training within a budget of memory: counted before it starts, kept to, and
 * the same bits whatever it is. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/model/net_train.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"
#include "tests/model/tiny_net.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURES = 0 };
#else
enum { MEASURES = 1 };
#endif

static void next_tokens(const uint32_t *token, size_t n, uint32_t *row,
                        uint32_t *label)
{
    for (uint32_t i = 0; i + 1 < n; i++) {
        row[i] = i;
        label[i] = token[i + 1];
    }
}

/* Of a decoder, next tokens; of an encoder, how far a number of each embedding
 * is from one that was drawn. */
static struct var *loss_of(const struct net_run *run, const struct net_batch *b,
                           const struct op_labels *labels)
{
    static const float far[] = {0.5f, 0, 0.25f, 0.125f};
    struct tape *t = run->tape;
    struct var *h = net_hidden(run, b);
    if (net_is_decoder(run->net)) return net_lm_loss(run, h, labels);
    struct var *e = net_embedding(run, h, &b->segments);
    struct var *w = tape_value(t, 1, net_shape(run->net)->width, 0);
    for (size_t i = 0; w && i < w->cols; i++) w->v[i] = (float)(i % 3) - 1;
    const struct op_matrix m = {.w = w};
    return op_mse(t, op_project(t, e, &m), far);
}

static struct var *tiny_loss(const struct net_run *run,
                             const struct tiny_batch *tiny)
{
    static uint32_t row[TINY_ROWS], label[TINY_ROWS];
    const struct op_labels labels = {row, label, TINY_ROWS - 1};
    const struct net_batch b = tiny_packed(tiny);
    next_tokens(tiny->token, TINY_ROWS, row, label);
    return loss_of(run, &b, &labels);
}

static struct net_train_options tiny_options(size_t budget)
{
    return (struct net_train_options){.load = {TINY_ROWS, 2, TINY_ROWS - 1},
                                      .optim = {.kind = "adamw",
                                                .learning_rate = 1e-3},
                                      .numbers = NET_TRAIN_F32,
                                      .budget_bytes = budget};
}

/* ---- budgets ---- */

/* One step with what the budget of n_kept blocks allows; *kept of them are. */
static void step_of(const struct tiny_family *f, const struct net_options *how,
                    size_t n_kept, float *grad, float *weights)
{
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_memory m;
    struct net_train *t;
    const struct net_run *run;
    tiny_tokens(&tiny);
    tiny_open(&n, f, QUANT_Q8_0, how);
    struct params *p = net_params(n.net);
    for (size_t k = 0; how->train == NET_PAIRS && k < p->n_flat; k++)
        p->flat[k] = 0.01f * (float)(k % 7);
    struct net_train_options o = tiny_options(0);
    net_train_estimate(n.net, &o, n_kept, &m);
    o.budget_bytes = m.total;
    check_ok(net_train_new(n.net, &o, &t));
    check(net_train_memory(t)->n_kept >= m.n_kept);
    check(net_train_memory(t)->total <= o.budget_bytes);
    const struct net_batch b = tiny_packed(&tiny);
    for (int i = 0; i < 2; i++) {
        check_ok(net_train_begin(t, &b, &run));
        check_ok(net_train_end(t, tiny_loss(run, &tiny)));
    }
    check(net_train_bytes(t) <= m.total - m.weights);
    memcpy(grad, net_train_gradient(t), p->n_flat * sizeof *grad);
    memcpy(weights, p->flat, p->n_flat * sizeof *grad);
    net_train_free(t);
    tiny_close(&n);
}

static void every_budget_gives_the_same_bits(void **state)
{
    (void)state;
    static float grad[2][1 << 16], weights[2][1 << 16];
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (int pairs = 0; pairs < 2; pairs++) {
            const struct net_options how = {.train =
                                                pairs ? NET_PAIRS : NET_FULL,
                                            .rank = 2};
            memset(grad, 0, sizeof grad);
            memset(weights, 0, sizeof weights);
            step_of(&tiny_families[i], &how, 512, grad[0], weights[0]);
            double size = 0;
            for (size_t k = 0; k < sizeof *grad / sizeof **grad; k++)
                size += fabs((double)grad[0][k]);
            check(size > 0);
            for (size_t kept = 0; kept < 2; kept++) {
                step_of(&tiny_families[i], &how, kept, grad[1], weights[1]);
                check(memcmp(grad[0], grad[1], sizeof *grad) == 0);
                check(memcmp(weights[0], weights[1], sizeof *weights) == 0);
            }
        }
}

static void fewer_kept_blocks_are_less_memory(void **state)
{
    (void)state;
    const struct net_options how = {.train = NET_FULL};
    const struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct net_memory m;
    tiny_open(&n, &tiny_families[0], QUANT_F32, &how);
    size_t layers = net_shape(n.net)->layers;
    net_train_estimate(n.net, &o, layers, &m);
    check(m.block == 0 && m.n_kept == layers);
    size_t all = m.kept;
    net_train_estimate(n.net, &o, 0, &m);
    check(m.block > 0 && m.n_kept == 0 && m.kept < all);
    check(m.total == m.weights + m.learned + m.kept + m.block + m.scratch);
    tiny_close(&n);
}

static void a_budget_that_is_too_small_is_refused_with_figures(void **state)
{
    (void)state;
    const struct net_options how = {.train = NET_FULL};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct net_memory m;
    struct net_train *t = NULL;
    tiny_open(&n, &tiny_families[0], QUANT_F32, &how);
    net_train_estimate(n.net, &o, 0, &m);
    o.budget_bytes = m.total - 1;
    enum tacit_err err = net_train_new(n.net, &o, &t);
    check(strstr(err_message(), "at most") != NULL);
    check_code(err, E_TRAIN_MEMORY);
    o.budget_bytes = m.learned / 2;
    err = net_train_new(n.net, &o, &t);
    check(strstr(err_message(), "low rank") && !t);
    check_code(err, E_TRAIN_MEMORY);
    o = tiny_options(0);
    o.load.rows = 0;
    check_err(net_train_new(n.net, &o, &t), TACIT_LIMIT);
    o = tiny_options(0);
    o.optim.kind = "magic";
    check_err(net_train_new(n.net, &o, &t), TACIT_UNSUPPORTED);
    tiny_close(&n);
    const struct net_options frozen = {.train = NET_FROZEN};
    tiny_open(&n, &tiny_families[0], QUANT_F32, &frozen);
    o = tiny_options(0);
    check_err(net_train_new(n.net, &o, &t), TACIT_STATE);
    tiny_close(&n);
}

static void what_was_not_planned_is_refused(void **state)
{
    (void)state;
    const struct net_options how = {.train = NET_FULL};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_memory m;
    struct net_train *t;
    const struct net_run *run;
    tiny_tokens(&tiny);
    const struct net_batch b = tiny_packed(&tiny);
    tiny_open(&n, &tiny_families[0], QUANT_F32, &how);
    o.load.rows = TINY_ROWS - 1;
    check_ok(net_train_new(n.net, &o, &t));
    check_err(net_train_begin(t, &b, &run), TACIT_LIMIT);
    net_train_free(t);
    /* Rows that were planned, but work that was not: the cap is kept. */
    o = tiny_options(0);
    o.load.labels = 0;
    net_train_estimate(n.net, &o, 0, &m);
    o.budget_bytes = m.total;
    check_ok(net_train_new(n.net, &o, &t));
    check_ok(net_train_begin(t, &b, &run));
    struct var *more = tape_value(run->tape, m.kept, 1, 0);
    check(!more);
    check_err(net_train_end(t, more), TACIT_LIMIT);
    check_ok(net_train_begin(t, &b, &run));
    check_err(net_train_end(t, NULL), TACIT_STATE);
    net_train_free(t);
    tiny_close(&n);
}

/* ---- what is counted and what is taken ---- */

struct size {
    const char *family;
    enum net_training train;
    enum quant_type type;
    uint32_t layers, width, heads, kv_heads, feed, vocab, rows;
};
static const struct size sizes[] = {
    {"bert", NET_FULL, QUANT_F32, 3, 256, 8, 8, 1024, 1000, 512},
    {"llama", NET_PAIRS, QUANT_Q8_0, 6, 384, 6, 2, 1024, 24000, 512},
    {"qwen2", NET_FULL, QUANT_F32, 3, 192, 6, 3, 512, 1000, 512},
};

struct writer {
    struct gguf_writer w;
    int data;
};

static void put(struct writer *f, const char *name, uint32_t rows,
                uint32_t cols, enum quant_type type)
{
    const uint64_t dims[] = {cols, rows};
    if (rows == 1) type = QUANT_F32;
    if (!f->data) {
        gguf_put_tensor(&f->w, name, type, rows > 1 ? 2 : 1, dims);
        return;
    }
    size_t n = quant_bytes(type, cols);
    float *x = malloc(cols * sizeof *x);
    uint8_t *bytes = malloc(n * rows);
    for (size_t i = 0; i < rows; i++) {
        tiny_draw(name, "", x, cols);
        for (size_t k = 0; k < cols; k++)
            x[k] = rows == 1 ? 1 : x[k] * 0.1f + 0.01f * (float)(i % 5);
        check_ok(quant_encode(type, x, bytes + i * n, cols));
    }
    check_ok(gguf_put_data(&f->w, bytes, n * rows));
    check_ok(gguf_end_tensor(&f->w));
    free(bytes);
    free(x);
}

static void put_blocks(struct writer *f, const struct size *s)
{
    static const char *const parts[] = {"attn_q",      "attn_k", "attn_v",
                                        "attn_output", "ffn_up", "ffn_down",
                                        "ffn_gate"};
    static const char *const norms[][2] = {{"attn_norm", "ffn_norm"},
                                           {"attn_output_norm",
                                            "layer_output_norm"}};
    int bert = strcmp(s->family, "bert") == 0;
    uint32_t d = s->width, kv = d / s->heads * s->kv_heads;
    const uint32_t out[] = {d, kv, kv, d, s->feed, d, s->feed};
    char name[64];
    for (uint32_t i = 0; i < s->layers; i++) {
        for (size_t k = 0; k < (bert ? 6u : 7u); k++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, parts[k]);
            put(f, name, out[k], k == 5 ? s->feed : d, s->type);
        }
        for (size_t k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "blk.%u.%s.weight", i, norms[bert][k]);
            put(f, name, 1, d, QUANT_F32);
            snprintf(name, sizeof name, "blk.%u.%s.bias", i, norms[bert][k]);
            if (bert) put(f, name, 1, d, QUANT_F32);
        }
    }
}

static void put_all(struct writer *f, const struct size *s)
{
    int bert = strcmp(s->family, "bert") == 0;
    put(f, "token_embd.weight", s->vocab, s->width, s->type);
    if (bert) put(f, "position_embd.weight", 512, s->width, QUANT_F32);
    if (bert) put(f, "token_types.weight", 2, s->width, QUANT_F32);
    if (bert) put(f, "token_embd_norm.bias", 1, s->width, QUANT_F32);
    put(f, bert ? "token_embd_norm.weight" : "output_norm.weight", 1, s->width,
        QUANT_F32);
    put_blocks(f, s);
}

static void write_net(const struct size *s, const char *path)
{
    static const char *const keys[] = {"block_count", "embedding_length",
                                       "feed_forward_length",
                                       "attention.head_count",
                                       "attention.head_count_kv"};
    const uint32_t values[] = {s->layers, s->width, s->feed, s->heads,
                               s->kv_heads};
    struct writer f = {.data = 0};
    char key[64];
    check_ok(gguf_writer_init(&f.w, "/tmp", GGUF_ALIGNMENT));
    gguf_put_text(&f.w, "general.architecture", s->family, strlen(s->family));
    for (size_t i = 0; i < 5; i++) {
        snprintf(key, sizeof key, "%s.%s", s->family, keys[i]);
        gguf_put_u32(&f.w, key, values[i]);
    }
    put_all(&f, s);
    f.data = 1;
    put_all(&f, s);
    check_ok(gguf_writer_end(&f.w, NULL));
    check_ok(gguf_writer_commit(&f.w, path, 0600));
    gguf_writer_release(&f.w);
}

/* VmRSS or VmHWM of this process, in bytes. */
static double process_bytes(const char *what)
{
    char line[128];
    double kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0)
            kib = strtod(line + strlen(what) + 1, NULL);
    if (f) fclose(f);
    return kib * 1024;
}

struct measured {
    double planned, grown, counted;
};

/* Two steps over s->rows tokens in four sequences, in a process of its own. */
static void train_for(const struct size *s, const char *path, size_t kept,
                      struct measured *out)
{
    static uint32_t token[512], row[512], label[512], start[5];
    const struct net_options how = {.train = s->train, .rank = 4};
    const struct op_labels labels = {row, label, s->rows - 1};
    struct net_train_options o = tiny_options(0);
    struct net_memory m;
    struct gguf *file;
    struct net *net;
    struct net_train *t;
    const struct net_run *run;
    for (uint32_t i = 0; i < 5; i++) start[i] = s->rows / 4 * i;
    const struct net_batch b = {.token = token,
                                .n = s->rows,
                                .segments = {start, 4}};
    double before = process_bytes("VmRSS:");
    check_ok(gguf_open(path, &file));
    check_ok(net_open_gguf(file, &how, &net));
    o.load = (struct net_load){s->rows, 4, labels.n};
    if (!net_is_decoder(net)) o.load.labels = 0;
    net_train_estimate(net, &o, kept, &m);
    o.budget_bytes = m.total;
    check_ok(net_train_new(net, &o, &t));
    /* Of a table that is trained every row: what none reached takes nothing. */
    uint32_t all = s->train == NET_FULL && MEASURES ? s->vocab : s->rows;
    for (uint32_t at = 0; at < all + s->rows; at += s->rows) {
        for (uint32_t i = 0; i < s->rows; i++) token[i] = (at + i) % s->vocab;
        next_tokens(token, s->rows, row, label);
        check_ok(net_train_begin(t, &b, &run));
        struct var *loss = loss_of(run, &b, &labels);
        check_ok(net_train_end(t, loss));
    }
    *out = (struct measured){(double)m.total, process_bytes("VmHWM:") - before,
                             (double)(net_train_bytes(t) + m.weights)};
    net_train_free(t);
    net_close(net);
    gguf_close(file);
}

/* One forward pass of the same, in a process of its own. */
static void look_for(const struct size *s, const char *path, size_t unused,
                     struct measured *out)
{
    static uint32_t token[512], row[512], label[512], start[5];
    const struct net_options how = {.train = s->train, .rank = 4};
    const struct op_labels labels = {row, label, s->rows - 1};
    struct net_train_options o = tiny_options(0);
    struct net_memory m;
    struct gguf *file;
    struct net *net;
    struct tape tape;
    (void)unused;
    for (uint32_t i = 0; i < 5; i++) start[i] = s->rows / 4 * i;
    for (uint32_t i = 0; i < s->rows; i++) token[i] = i % s->vocab;
    const struct net_batch b = {.token = token,
                                .n = s->rows,
                                .segments = {start, 4}};
    double before = process_bytes("VmRSS:");
    check_ok(gguf_open(path, &file));
    check_ok(net_open_gguf(file, &how, &net));
    o.load = (struct net_load){s->rows, 4, labels.n};
    if (!net_is_decoder(net)) o.load.labels = 0;
    net_forward_estimate(net, &o, &m);
    tape_init(&tape, m.kept + m.block);
    check_ok(tape_reserve(&tape, m.kept));
    check_ok(tape_reserve_pass(&tape, m.block));
    const struct net_run run = {.net = net, .tape = &tape};
    next_tokens(token, s->rows, row, label);
    check(loss_of(&run, &b, &labels) && !tape.err);
    *out = (struct measured){(double)m.total, process_bytes("VmHWM:") - before,
                             (double)(tape_bytes(&tape) + m.weights)};
    tape_release(&tape);
    net_close(net);
    gguf_close(file);
}

static struct measured measure(const struct size *s, const char *path,
                               size_t kept, int forward)
{
    struct measured got = {0};
    int ends[2], status = -1;
    check(pipe(ends) == 0);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        (forward ? look_for : train_for)(s, path, kept, &got);
        _exit(write(ends[1], &got, sizeof got) != sizeof got);
    }
    close(ends[1]);
    check(read(ends[0], &got, sizeof got) == sizeof got);
    close(ends[0]);
    check(waitpid(child, &status, 0) == child && status == 0);
    return got;
}

static void memory_is_known_before_it_is_taken(void **state)
{
    (void)state;
    char folder[] = "/tmp/tacit-net-XXXXXX", path[64];
    check(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/net.gguf", folder);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_net(&sizes[i], path);
        for (size_t kept = 0; kept <= sizes[i].layers; kept += 3) {
            struct measured m = measure(&sizes[i], path, kept, 0);
            print_message("%s, %zu kept: planned %.1f MiB, grown %.1f, "
                          "counted %.1f\n",
                          sizes[i].family, kept, m.planned / (1 << 20),
                          m.grown / (1 << 20), m.counted / (1 << 20));
            check(m.counted <= m.planned);
            if (!MEASURES) continue;
            check(m.planned >= m.grown);
            check(m.planned <= 1.25 * m.grown);
        }
        struct measured m = measure(&sizes[i], path, 0, 1);
        print_message("%s, forward: planned %.1f MiB, grown %.1f, counted "
                      "%.1f\n",
                      sizes[i].family, m.planned / (1 << 20),
                      m.grown / (1 << 20), m.counted / (1 << 20));
        check(m.counted <= m.planned);
        if (MEASURES) check(m.planned >= m.grown);
        check(unlink(path) == 0);
    }
    check(rmdir(folder) == 0);
}

/* ---- bf16 ---- */

static void ten_steps(const struct tiny_family *f, enum net_training train,
                      enum net_train_numbers numbers, double losses[10])
{
    const struct net_options how = {.train = train, .rank = 4};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_train *t;
    const struct net_run *run;
    tiny_tokens(&tiny);
    const struct net_batch b = tiny_packed(&tiny);
    tiny_open(&n, f, QUANT_Q8_0, &how);
    o.numbers = numbers;
    o.optim.learning_rate = 5e-3;
    check_ok(net_train_new(n.net, &o, &t));
    check(numbers == NET_TRAIN_FAST || net_train_in(t) == GEMM_F32);
    for (int i = 0; i < 10; i++) {
        check_ok(net_train_begin(t, &b, &run));
        struct var *loss = tiny_loss(run, &tiny);
        losses[i] = loss ? (double)loss->v[0] : -1;
        check_ok(net_train_end(t, loss));
    }
    net_train_free(t);
    tiny_close(&n);
}

static void losses_of_bf16_are_within_a_hundredth_of_f32(void **state)
{
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (int pairs = 0; pairs < 2; pairs++) {
            enum net_training train = pairs ? NET_PAIRS : NET_FULL;
            double exact[10], fast[10];
            ten_steps(&tiny_families[i], train, NET_TRAIN_F32, exact);
            ten_steps(&tiny_families[i], train, NET_TRAIN_FAST, fast);
            check(exact[9] < 0.98 * exact[0]);
            /* An encoder comes near its goal: of what it began with. */
            int nears = i == 3;
            for (int k = 0; k < 10; k++)
                check_near(fast[k], exact[k], 0.01 * exact[nears ? 0 : k]);
        }
}

/* ---- threads ---- */

/* Weights after three steps with so many threads. */
static void steps_with(const struct tiny_family *f, enum net_training train,
                       enum net_train_numbers numbers, unsigned threads,
                       float *out)
{
    const struct net_options how = {.train = train, .rank = 4};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_train *t;
    const struct net_run *run;
    tiny_tokens(&tiny);
    const struct net_batch b = tiny_packed(&tiny);
    tiny_open(&n, f, QUANT_Q8_0, &how);
    const struct params *p = net_params(n.net);
    o.numbers = numbers;
    check_ok(pool_new(&o.pool, threads));
    check_ok(net_train_new(n.net, &o, &t));
    for (int i = 0; i < 3; i++) {
        check_ok(net_train_begin(t, &b, &run));
        check_ok(net_train_end(t, tiny_loss(run, &tiny)));
    }
    memcpy(out, p->flat, p->n_flat * sizeof *out);
    net_train_free(t);
    pool_free(o.pool);
    tiny_close(&n);
}

static void threads_change_no_bit_of_a_training(void **state)
{
    static float one[1 << 16], many[1 << 16];
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (int way = 0; way < 4; way++) {
            enum net_training train = way & 1 ? NET_PAIRS : NET_FULL;
            enum net_train_numbers numbers =
                way & 2 ? NET_TRAIN_FAST : NET_TRAIN_F32;
            memset(one, 0, sizeof one);
            memset(many, 0, sizeof many);
            steps_with(&tiny_families[i], train, numbers, 1, one);
            for (unsigned threads = 2; threads < 5; threads++) {
                steps_with(&tiny_families[i], train, numbers, threads, many);
                assert_memory_equal(one, many, sizeof one);
            }
        }
}

/* ---- what no token reaches ---- */

/* Steps on some tokens, then on others, beside an optimiser that takes every
 * number: the same weights, whatever was not reached. */
static void compare_with_all(const struct tiny_family *f,
                             const struct optim_config *c)
{
    const struct net_options how = {.train = NET_FULL};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_train *t;
    struct optim *all;
    const struct net_run *run;
    tiny_tokens(&tiny);
    tiny_open(&n, f, QUANT_F32, &how);
    o.optim = *c;
    struct params *p = net_params(n.net);
    float *w = malloc(p->n_flat * sizeof *w);
    memcpy(w, p->flat, p->n_flat * sizeof *w);
    check_ok(net_train_new(n.net, &o, &t));
    check_ok(optim_new(c, p->n_flat, &all));
    for (uint32_t step = 0; step < 6; step++) {
        for (size_t i = 0; i < TINY_ROWS; i++)
            tiny.token[i] = (uint32_t)(i + 7 * step) % (step < 3 ? 5 : 60);
        const struct net_batch b = tiny_packed(&tiny);
        check_ok(net_train_begin(t, &b, &run));
        check_ok(net_train_end(t, tiny_loss(run, &tiny)));
        optim_step(all, w, net_train_gradient(t));
        assert_memory_equal(w, p->flat, p->n_flat * sizeof *w);
    }
    optim_free(all);
    net_train_free(t);
    free(w);
    tiny_close(&n);
}

static void rows_that_no_token_reached_cost_nothing_and_change_no_bit(
    void **state)
{
    static const struct optim_config configs[] = {
        {.kind = "adamw", .learning_rate = 1e-2},
        {.kind = "adamw", .learning_rate = 1e-2, .weight_decay = 0.1},
        {.kind = "adam", .learning_rate = 1e-2, .weight_decay = 0.1},
        {.kind = "sgd", .learning_rate = 1e-2, .momentum = 0.9},
        {.kind = "sgd", .learning_rate = 1e-2, .weight_decay = 0.1}};
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (size_t k = 0; k < sizeof configs / sizeof *configs; k++)
            compare_with_all(&tiny_families[i], &configs[k]);
}

/* The plan of a batch that reaches few rows has room for more blocks, and goes
 * back to fewer when others come: never over the budget. */
static void blocks_are_kept_while_rows_are_not_reached(void **state)
{
    const struct net_options how = {.train = NET_FULL};
    struct net_train_options o = tiny_options(0);
    struct tiny_net n;
    struct tiny_batch tiny;
    struct net_train *t;
    const struct net_run *run;
    struct net_memory all, none;
    (void)state;
    tiny_tokens(&tiny);
    tiny_open(&n, &tiny_families[3], QUANT_F32, &how);
    net_train_estimate(n.net, &o, 0, &none);
    net_train_estimate(n.net, &o, net_shape(n.net)->layers, &all);
    o.budget_bytes = none.total > all.total ? none.total : all.total;
    o.budget_bytes -= 64;
    if (o.budget_bytes < none.total) o.budget_bytes = none.total;
    check_ok(net_train_new(n.net, &o, &t));
    size_t before = SIZE_MAX;
    for (uint32_t step = 0; step < 4; step++) {
        for (size_t i = 0; i < TINY_ROWS; i++)
            tiny.token[i] = (uint32_t)i % (step < 2 ? 2 : 60);
        const struct net_batch b = tiny_packed(&tiny);
        check_ok(net_train_begin(t, &b, &run));
        const struct net_memory *m = net_train_memory(t);
        check(m->total <= o.budget_bytes && m->n_kept <= before);
        check(m->total ==
              m->weights + m->learned + m->kept + m->block + m->scratch);
        before = m->n_kept;
        check_ok(net_train_end(t, tiny_loss(run, &tiny)));
        check(net_train_bytes(t) <= o.budget_bytes - m->weights);
    }
    net_train_free(t);
    tiny_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_budget_gives_the_same_bits),
        cmocka_unit_test(fewer_kept_blocks_are_less_memory),
        cmocka_unit_test(a_budget_that_is_too_small_is_refused_with_figures),
        cmocka_unit_test(what_was_not_planned_is_refused),
        cmocka_unit_test(memory_is_known_before_it_is_taken),
        cmocka_unit_test(losses_of_bf16_are_within_a_hundredth_of_f32),
        cmocka_unit_test(threads_change_no_bit_of_a_training),
        cmocka_unit_test(
            rows_that_no_token_reached_cost_nothing_and_change_no_bit),
        cmocka_unit_test(blocks_are_kept_while_rows_are_not_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

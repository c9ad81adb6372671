/* Networks from model files against stories260K (its golden files are in the
 * shared test data: golden.py, PyTorch in f64). */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/model/vocab.h"
#include "common/tensor/ops_linear.h"

#define STORIES "models/stories260K/"

enum { TOKENS = 65, VOCAB = 512 };

/* NULL when the file is not here. */
static void *read_all(const char *name, size_t want)
{
    const char *path = check_data(name);
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (!f) return NULL;
    void *p = malloc(want);
    check(p != NULL && fread(p, 1, want, f) == want);
    fclose(f);
    return p;
}

static struct model_files *file; /* open as long as the network of a test */

static struct net *stories(const struct net_options *options)
{
    const char *path = check_data(STORIES "stories260K-f32.gguf");
    struct net *n = NULL;
    if (!path) return NULL;
    check_ok(model_files_open(path, &file));
    check_ok(net_open(file, options, &n));
    return n;
}

static void finish(struct net *n)
{
    net_close(n);
    model_files_close(file);
}

static const uint32_t whole[] = {0, TOKENS - 1};

static void logits_equal_the_golden_ones(void **state)
{
    (void)state;
    struct net *n = stories(NULL);
    if (!n) skip_missing("stories260K");
    uint32_t *token = read_all(STORIES "golden_tokens.i32", TOKENS * 4);
    float *want = read_all(STORIES "golden_logits.f32",
                           (TOKENS - 1) * VOCAB * sizeof *want);
    struct tape t;
    tape_init(&t, 0);
    const struct net_run run = {.net = n, .tape = &t};
    const struct net_batch b = {.token = token,
                                .n = TOKENS - 1,
                                .segments = {whole, 1}};
    struct var *z = net_logits(&run, net_hidden(&run, &b), NULL, 0);
    check_ok(t.err);
    check(z->rows == TOKENS - 1 && z->cols == VOCAB);
    float top = 0;
    for (size_t i = 0; i < (TOKENS - 1) * VOCAB; i++)
        top = fmaxf(top, fabsf(want[i]));
    check_tensor(z->v, want, (TOKENS - 1) * VOCAB, 1e-5 * (double)top);
    /* Of two rows alone: the same. */
    static const uint32_t rows[] = {63, 5};
    struct var *some = net_logits(&run, net_hidden(&run, &b), rows, 2);
    check_ok(t.err);
    check_tensor(some->v, z->v + 63 * VOCAB, VOCAB, 1e-5);
    check_tensor(some->v + VOCAB, z->v + 5 * VOCAB, VOCAB, 1e-5);
    tape_release(&t);
    finish(n);
    free(token);
    free(want);
}

/* Where golden_grads.f32, in llama2.c's order, has a tensor of ours. */
static size_t golden_at(const char *name)
{
    enum { D = 64, F = 172, K = 32, L = 5 };
    static const struct {
        const char *name;
        size_t one; /* layer's numbers */
    } order[] = {{"attn_norm.weight", D},       {"attn_q.weight", D * D},
                 {"attn_k.weight", K * D},      {"attn_v.weight", K * D},
                 {"attn_output.weight", D * D}, {"ffn_norm.weight", D},
                 {"ffn_gate.weight", F * D},    {"ffn_down.weight", D * F},
                 {"ffn_up.weight", F * D}};
    size_t at = VOCAB * D;
    unsigned layer;
    char part[64];
    if (strcmp(name, "token_embd.weight") == 0) return 0;
    int in_block = sscanf(name, "blk.%u.%63s", &layer, part) == 2;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (in_block && strcmp(order[i].name, part) == 0)
            return at + layer * order[i].one;
        at += L * order[i].one;
    }
    check(strcmp(name, "output_norm.weight") == 0);
    return at;
}

static void all_gradients_equal_the_golden_ones(void **state)
{
    (void)state;
    const struct net_options full = {.train = NET_FULL};
    struct net *n = stories(&full);
    if (!n) skip_missing("stories260K");
    uint32_t *token = read_all(STORIES "golden_tokens.i32", TOKENS * 4);
    float *want = read_all(STORIES "golden_grads.f32", 1040128);
    struct params *p = net_params(n);
    check(p->n_flat * sizeof(float) == 1040128);
    float *grad = calloc(p->n_flat, sizeof *grad);
    uint32_t row[TOKENS - 1], label[TOKENS - 1];
    for (uint32_t i = 0; i < TOKENS - 1; i++) {
        row[i] = i;
        label[(i + 7) % (TOKENS - 1)] = token[1 + i];
    }
    struct tape t;
    tape_init(&t, 0);
    const struct net_run run = {.net = n, .tape = &t, .grad = grad};
    const struct net_batch b = {.token = token,
                                .n = TOKENS - 1,
                                .segments = {whole, 1}};
    const struct op_labels labels = {row, label, TOKENS - 1};
    struct var *loss = net_lm_loss(&run, net_hidden(&run, &b), &labels);
    check_ok(tape_backward(&t, loss));
    check_near(loss->v[0], 13.685291237, 1e-5);
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *q = &p->list[i];
        const float *golden = want + golden_at(q->name);
        double off = 0, size = 0;
        for (size_t k = 0; k < q->len; k++) {
            double d = (double)grad[q->offset + k] - (double)golden[k];
            off += d * d;
            size += (double)golden[k] * (double)golden[k];
        }
        if (!(sqrt(off / size) < 1e-4))
            fail_msg("%s: off by %g", q->name, sqrt(off / size));
    }
    tape_release(&t);
    finish(n);
    free(token);
    free(want);
    free(grad);
}

static uint32_t best(const struct var *z)
{
    size_t at = 0;
    for (size_t i = 1; i < z->cols; i++)
        if (z->v[i] > z->v[at]) at = i;
    return (uint32_t)at;
}

/* Token by token with a cache of `type`, and the first `lead` at once. */
static void tell(const struct net *n, enum quant_type type, size_t lead,
                 const uint32_t *want)
{
    const struct net_shape *s = net_shape(n);
    const struct kv_shape shape = {s->layers, s->kv_heads, s->head_width,
                                   TOKENS,    type,        0};
    uint32_t token[TOKENS];
    struct kv *cache;
    struct tape t;
    check_ok(kv_new(&shape, &cache));
    tape_init(&t, 0);
    memcpy(token, want, lead * sizeof *token);
    for (size_t at = 0, next = lead; next < TOKENS; at = next++) {
        const uint32_t start[] = {0, (uint32_t)(next - at)};
        const uint32_t last = (uint32_t)(next - at) - 1;
        const struct net_run run = {.net = n, .tape = &t};
        const struct net_batch b = {.token = token + at,
                                    .n = next - at,
                                    .segments = {start, 1},
                                    .cache = &cache};
        tape_reset(&t);
        struct var *z = net_logits(&run, net_hidden(&run, &b), &last, 1);
        check_ok(t.err);
        check(kv_n(cache) == next);
        token[next] = best(z);
    }
    check(memcmp(token, want, sizeof token) == 0);
    tape_release(&t);
    kv_free(cache);
}

/* The text that stories260K is known by, as its tokenizer writes it. */
static void its_tokens_are_a_story(void **state)
{
    (void)state;
    struct net *n = stories(NULL);
    if (!n) skip_missing("stories260K");
    int32_t *token = read_all(STORIES "golden_tokens.i32", TOKENS * 4);
    static const char begin[] = "Once upon a time, there was a little girl "
                                "named Lily. She loved to play outside";
    struct vocab *v;
    struct buf text;
    buf_init(&text, 0);
    check_ok(model_files_vocab(file, &v));
    for (size_t i = 0; i < TOKENS; i++) vocab_piece(v, token[i], &text);
    check_ok(buf_end(&text));
    check(text.len > sizeof begin);
    const char *s = (const char *)text.data;
    if (s[0] == ' ') s++;
    check(strncmp(s, begin, sizeof begin - 1) == 0);
    buf_release(&text);
    vocab_free(v);
    finish(n);
    free(token);
}

static void the_greedy_text_is_the_golden_one(void **state)
{
    (void)state;
    struct net *n = stories(NULL);
    if (!n) skip_missing("stories260K");
    uint32_t *want = read_all(STORIES "golden_tokens.i32", TOKENS * 4);
    tell(n, QUANT_F32, 1, want);
    tell(n, QUANT_F32, 40, want);
    tell(n, QUANT_F16, 1, want);
    finish(n);
    free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_the_golden_ones),
        cmocka_unit_test(all_gradients_equal_the_golden_ones),
        cmocka_unit_test(its_tokens_are_a_story),
        cmocka_unit_test(the_greedy_text_is_the_golden_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

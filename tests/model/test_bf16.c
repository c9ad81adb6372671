/* Training by bf16 products: next to the gradients of f32, and the same bits
 * for any number of threads. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/model/net.h"
#include "common/tensor/ops_linear.h"
#include "tests/model/tiny_net.h"

static const struct tiny_family *llama = &tiny_families[0];

/* Gradient of the first loss; returns the loss. */
static float gradient(struct net *net, enum gemm_numbers numbers,
                      unsigned threads, float *grad)
{
    struct tiny_batch tiny;
    uint32_t row[TINY_ROWS - 1], label[TINY_ROWS - 1];
    struct tape t, again;
    struct pool *pool;
    tiny_tokens(&tiny);
    check_ok(pool_new(&pool, threads));
    tape_init(&t, 0);
    tape_init(&again, 0);
    t.pool = again.pool = pool;
    t.numbers = numbers;
    for (uint32_t i = 0; i + 1 < TINY_ROWS; i++) {
        row[i] = i;
        label[i] = tiny.token[i + 1];
    }
    const struct net_run run = {.net = net,
                                .tape = &t,
                                .grad = grad,
                                .again = &again};
    struct net_batch b = tiny_packed(&tiny);
    const struct op_labels labels = {row, label, TINY_ROWS - 1};
    struct var *loss = net_lm_loss(&run, net_hidden(&run, &b), &labels);
    memset(grad, 0, net_params(net)->n_flat * sizeof *grad);
    check_ok(tape_backward(&t, loss));
    float v = loss->v[0];
    tape_release(&t);
    tape_release(&again);
    pool_free(pool);
    return v;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static void check_training(enum net_training train)
{
    const struct net_options options = {.train = train, .rank = 2};
    struct tiny_net n;
    tiny_open(&n, llama, QUANT_Q8_0, &options);
    struct params *p = net_params(n.net);
    for (size_t k = 0; train == NET_PAIRS && k < p->n_flat; k++)
        p->flat[k] = 0.01f * (float)(k % 7);
    size_t bytes = p->n_flat * sizeof(float);
    float *exact = malloc(bytes), *brief = malloc(bytes), *many = malloc(bytes);
    float want = gradient(n.net, GEMM_F32, 1, exact);
    float got = gradient(n.net, GEMM_BF16, 1, brief);
    check_near(got, (double)want, 5e-3 * (double)want);
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *q = &p->list[i];
        double c = cosine(exact + q->offset, brief + q->offset, q->len);
        if (!(c > 0.999)) fail_msg("%s: cosine %g", q->name, c);
    }
    check(gradient(n.net, GEMM_BF16, 3, many) <= got);
    check(memcmp(many, brief, bytes) == 0);
    free(exact);
    free(brief);
    free(many);
    tiny_close(&n);
}

static void gradients_of_all_weights_are_close(void **state)
{
    (void)state;
    check_training(NET_FULL);
}

static void gradients_of_pairs_are_close(void **state)
{
    (void)state;
    check_training(NET_PAIRS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_all_weights_are_close),
        cmocka_unit_test(gradients_of_pairs_are_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

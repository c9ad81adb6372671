/* A decoder learns another one's next tokens. Both are random numbers: what is
 * learnt means nothing, but it is learnt. */
#include "tests/check.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/pool.h"
#include "common/model/distill_lm.h"
#include "tests/model/tiny_net.h"

enum { LLAMA, MISTRAL, QWEN2, BERT };
enum { N_TOKENS = 1600, N_FLAT_MAX = 1 << 16 };

static const struct distill_lm_config usual = {.row = 16,
                                               .batch = 8,
                                               .epochs = 30,
                                               .likeliest = 64,
                                               .rate = 0.01,
                                               .share = 1,
                                               .seed = 7};

static void text(uint32_t *token, size_t n)
{
    float v[N_TOKENS];
    tiny_draw("text", "", v, n);
    for (size_t i = 0; i < n; i++) token[i] = (uint32_t)(32 + 32 * v[i]);
}

static enum tacit_err keep_first(void *ctx, const struct distill_lm_report *r)
{
    struct distill_lm_report *first = ctx;
    if (first->total == 0) *first = *r;
    return TACIT_OK;
}

struct pair {
    struct tiny_net student, teacher;
};

static void open_pair(struct pair *p, int student, int teacher)
{
    const struct net_options full = {.train = NET_FULL}, frozen = {0};
    tiny_open(&p->student, &tiny_families[student], QUANT_F32, &full);
    tiny_open(&p->teacher, &tiny_families[teacher], QUANT_F32, &frozen);
}

static void close_pair(struct pair *p)
{
    tiny_close(&p->student);
    tiny_close(&p->teacher);
}

static enum tacit_err distil(const struct pair *p,
                             const struct distill_lm_config *c,
                             const uint32_t *token, size_t n, unsigned workers,
                             struct distill_lm_report *first,
                             struct distill_lm_report *last)
{
    struct pool *pool = NULL;
    if (workers > 1) check_ok(pool_new(&pool, workers));
    const struct distill_lm_job job = {.student = p->student.net,
                                       .teacher = p->teacher.net,
                                       .token = token,
                                       .n = n,
                                       .pool = pool,
                                       .step = keep_first,
                                       .ctx = first};
    enum tacit_err err = distill_lm_train(c, &job, last);
    pool_free(pool);
    return err;
}

/* ---- cases --------------------------------------------------------------- */

static void a_student_comes_to_agree_with_its_teacher(void **state)
{
    (void)state;
    uint32_t token[N_TOKENS];
    struct distill_lm_report first = {0}, last;
    struct pair p;
    text(token, N_TOKENS);
    open_pair(&p, QWEN2, LLAMA);
    check_ok(distil(&p, &usual, token, N_TOKENS, 1, &first, &last));
    check(first.epoch == 0 && last.epoch == usual.epochs);
    check(last.done == last.total && last.total == 98 * 16 * usual.epochs);
    if (!(last.agreement > first.agreement + 0.2))
        fail_msg("agreement %.3f, then %.3f", first.agreement, last.agreement);
    close_pair(&p);
}

static void a_student_without_a_teacher_s_share_learns_the_text(void **state)
{
    (void)state;
    uint32_t token[N_TOKENS];
    struct distill_lm_report first = {0}, last;
    struct distill_lm_config c = usual;
    struct pair p;
    c.share = 0;
    for (uint32_t i = 0; i < N_TOKENS; i++) token[i] = i * i % 11;
    open_pair(&p, MISTRAL, LLAMA);
    check_ok(distil(&p, &c, token, N_TOKENS, 1, &first, &last));
    if (!(last.nats < 0.5 * first.nats))
        fail_msg("nats %.3f, then %.3f", first.nats, last.nats);
    close_pair(&p);
}

static void the_same_seed_gives_the_same_bits_for_any_number_of_workers(
    void **state)
{
    (void)state;
    static float flat[2][N_FLAT_MAX];
    uint32_t token[N_TOKENS];
    struct distill_lm_config c = usual;
    c.epochs = 2;
    text(token, N_TOKENS);
    for (int k = 0; k < 2; k++) {
        struct distill_lm_report first = {0}, last;
        struct pair p;
        open_pair(&p, LLAMA, MISTRAL);
        check_ok(distil(&p, &c, token, N_TOKENS, k ? 3 : 1, &first, &last));
        const struct params *learnt = net_params(p.student.net);
        check(learnt->n_flat <= N_FLAT_MAX);
        memcpy(flat[k], learnt->flat, learnt->n_flat * sizeof **flat);
        close_pair(&p);
    }
    check(memcmp(flat[0], flat[1], sizeof *flat) == 0);
}

static enum tacit_err stop(void *ctx, const struct distill_lm_report *r)
{
    (void)ctx;
    return r->epoch ? fail_as(E_INTERRUPTED, "stop") : TACIT_OK;
}

static void an_error_of_the_caller_ends_the_work(void **state)
{
    (void)state;
    uint32_t token[N_TOKENS];
    struct distill_lm_report last;
    struct pair p;
    text(token, N_TOKENS);
    open_pair(&p, LLAMA, LLAMA);
    const struct distill_lm_job job = {.student = p.student.net,
                                       .teacher = p.teacher.net,
                                       .token = token,
                                       .n = N_TOKENS,
                                       .step = stop};
    check_code(distill_lm_train(&usual, &job, &last), E_INTERRUPTED);
    check(last.done == usual.batch * usual.row);
    close_pair(&p);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    uint32_t token[N_TOKENS];
    struct distill_lm_report first = {0}, last;
    struct distill_lm_config c = usual;
    struct pair p;
    text(token, N_TOKENS);
    open_pair(&p, LLAMA, MISTRAL);
    check_err(distil(&p, &c, token, 31, 1, &first, &last), TACIT_SHAPE);
    c.likeliest = 65;
    check_err(distil(&p, &c, token, N_TOKENS, 1, &first, &last), TACIT_SHAPE);
    c = usual;
    c.row = 1;
    check_err(distil(&p, &c, token, N_TOKENS, 1, &first, &last), TACIT_SHAPE);
    c = usual;
    c.budget_bytes = 1 << 10;
    check_code(distil(&p, &c, token, N_TOKENS, 1, &first, &last),
               E_TRAIN_MEMORY);
    close_pair(&p);
    open_pair(&p, LLAMA, BERT);
    check_err(distil(&p, &usual, token, N_TOKENS, 1, &first, &last),
              TACIT_SHAPE);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_student_comes_to_agree_with_its_teacher),
        cmocka_unit_test(a_student_without_a_teacher_s_share_learns_the_text),
        cmocka_unit_test(
            the_same_seed_gives_the_same_bits_for_any_number_of_workers),
        cmocka_unit_test(an_error_of_the_caller_ends_the_work),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

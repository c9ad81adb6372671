/* Cross-encoders: the head of a BertForSequenceClassification, pairs of texts,
 * scores of many passages (goldens by tests/golden/net_golden.py). */
#include "tests/check.h"

#include <math.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/cross.h"
#include "common/model/text_pair.h"
#include "common/tensor/ops.h"
#include "common/tensor/optim.h"
#include "tests/model/tiny_net.h"

/* ---- the head ---- */

static struct var *scores_of(const struct net_run *run)
{
    static struct tiny_batch tiny;
    tiny_tokens(&tiny);
    struct net_batch b = tiny_packed(&tiny);
    return net_classes(run, net_hidden(run, &b), &b.segments);
}

static void scores_equal_those_of_transformers(void **state)
{
    static const struct {
        uint32_t type;
        double within;
    } types[] = {{QUANT_F32, 1e-5},
                 {QUANT_F16, 2e-3},
                 {GGUF_PACKED + QUANT_Q8_0, 0.03}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tiny_net n;
        struct tape t;
        tiny_open(&n, &tiny_cross, types[i].type, NULL);
        tape_init(&t, 0);
        check(net_shape(n.net)->outputs == 1);
        const struct net_run run = {.net = n.net, .tape = &t};
        const struct var *z = scores_of(&run);
        check_ok(t.err);
        check(z->rows == 2 && z->cols == 1);
        check_tensor(z->v, cross_rows, 2, types[i].within);
        tape_release(&t);
        tiny_close(&n);
    }
}

static void a_file_without_a_head_has_no_scores(void **state)
{
    struct tiny_net n;
    struct tape t;
    (void)state;
    tiny_open(&n, &tiny_families[TINY_FAMILIES - 1], QUANT_F32, NULL);
    tape_init(&t, 0);
    check(net_shape(n.net)->outputs == 0);
    const struct net_run run = {.net = n.net, .tape = &t};
    check(!scores_of(&run));
    check_err(t.err, TACIT_STATE);
    tape_release(&t);
    tiny_close(&n);
}

/* Trained, the head goes on from the file's under another name. */
static const char *trained_name(const char *name)
{
    return strcmp(name, "cls.output.weight") == 0 ? "head.weight"
           : strcmp(name, "cls.output.bias") == 0 ? "head.bias"
                                                  : name;
}

static struct var *loss_of(const struct net_run *run)
{
    static const float label[] = {1, 0};
    static struct tiny_batch tiny;
    tiny_tokens(&tiny);
    struct net_batch b = tiny_packed(&tiny);
    struct var *h = net_pooled(run, net_hidden(run, &b), &b.segments);
    return op_bce(run->tape, net_outputs(run, h), label);
}

static void check_gradient(const struct golden_tensor *g,
                           const struct params *p, const float *grad)
{
    static float u[1 << 14];
    const struct param *q = params_find(p, trained_name(g->name));
    check(q != NULL && q->len == g->rows * g->cols);
    double length = 0, dot[2] = {0};
    for (size_t i = 0; i < q->len; i++)
        length += pow((double)grad[q->offset + i], 2);
    for (int k = 0; k < 2; k++) {
        tiny_draw(g->name, k ? "#2" : "#1", u, q->len);
        for (size_t i = 0; i < q->len; i++)
            dot[k] += (double)grad[q->offset + i] * (double)u[i];
    }
    double allowed = 1e-4 * g->length + 1e-7;
    if (!(fabs(sqrt(length) - g->length) <= allowed &&
          fabs(dot[0] - g->dot1) <= allowed &&
          fabs(dot[1] - g->dot2) <= allowed))
        fail_msg("%s: length %g for %g, products %g %g for %g %g", g->name,
                 sqrt(length), g->length, dot[0], dot[1], g->dot1, g->dot2);
}

static void its_gradients_and_ten_losses_equal_those_of_transformers(
    void **state)
{
    const struct net_options full = {.train = NET_FULL,
                                     .outputs = 1,
                                     .head = NET_HEAD_CLASSES};
    const struct optim_config adamw = {"adamw", 3e-3, 0, 0.01};
    struct tiny_net n;
    struct tape t;
    struct optim *o;
    (void)state;
    tiny_open(&n, &tiny_cross, QUANT_F32, &full);
    tape_init(&t, 0);
    struct params *p = net_params(n.net);
    float *grad = calloc(p->n_flat, sizeof *grad);
    check(p->n_params == TINY_COUNT(cross_tensors));
    check_ok(optim_new(&adamw, p->n_flat, &o));
    for (size_t step = 0; step < 10; step++) {
        const struct net_run run = {.net = n.net, .tape = &t, .grad = grad};
        tape_reset(&t);
        memset(grad, 0, p->n_flat * sizeof *grad);
        struct var *loss = loss_of(&run);
        check_ok(tape_backward(&t, loss));
        check_near(loss->v[0], cross_losses[step],
                   1e-3 * (double)cross_losses[step] + 1e-6);
        for (size_t k = 0; step == 0 && k < p->n_params; k++)
            check_gradient(&cross_tensors[k], p, grad);
        optim_step(o, p->flat, grad);
    }
    optim_free(o);
    free(grad);
    tape_release(&t);
    tiny_close(&n);
}

static void another_kind_of_head_begins_at_zero(void **state)
{
    const struct net_options spans = {.train = NET_FULL, .outputs = 1};
    struct tiny_net n;
    (void)state;
    tiny_open(&n, &tiny_cross, QUANT_F32, &spans);
    const struct params *p = net_params(n.net);
    const struct param *head = params_find(p, "head.weight");
    check(head && head->n_dims == 2 && head->len == 32);
    for (size_t i = 0; i < head->len; i++)
        check_near(p->flat[head->offset + i], 0, 0);
    tiny_close(&n);
}

/* ---- pairs ---- */

static struct text text_of(const char *s)
{
    return (struct text){s, strlen(s)};
}

static void pairs_equal_those_of_the_tokenizers_library(void **state)
{
    struct vocab *v = NULL;
    (void)state;
    check_ok(vocab_from_lines(cross_words, strlen(cross_words),
                              VOCAB_CASE_FOLDED, &v));
    for (size_t i = 0; i < TINY_COUNT(cross_texts); i++) {
        const struct golden_pair_text *g = &cross_texts[i];
        struct vocab_ids ids = {0};
        struct text_pair_parts parts;
        check_ok(vocab_ids_put(&ids, 42)); /* what is there stays */
        check_ok(text_pair_encode(v, text_of(g->question), text_of(g->passage),
                                  g->most, &ids, &parts));
        check(ids.n == g->n + 1 && ids.id[0] == 42);
        check(parts.second == g->second);
        check((parts.n_cut > 0) == (g->n == g->most));
        for (size_t k = 0; k < g->n; k++) check(ids.id[k + 1] == g->id[k]);
        vocab_ids_release(&ids);
    }
    vocab_free(v);
}

static void a_question_is_cut_only_where_no_room_would_be_left(void **state)
{
    static const char many[] = "how much warfarin at night how much warfarin "
                               "at night how much warfarin";
    struct vocab *v = NULL;
    struct vocab_ids ids = {0};
    struct text_pair_parts parts;
    (void)state;
    check_ok(vocab_from_lines(cross_words, strlen(cross_words),
                              VOCAB_CASE_FOLDED, &v));
    check_ok(text_pair_encode(v, text_of(many),
                              text_of("start with 5 mg at night"), 12, &ids,
                              &parts));
    check(ids.n == 12 && parts.second == 9 && parts.n_cut > 0);
    check(ids.id[8] == 3 && ids.id[11] == 3); /* both marks are there */
    /* Alone, it has all of the room. */
    ids.n = 0;
    check_ok(
        text_pair_encode(v, text_of(many), (struct text){0}, 12, &ids, &parts));
    check(ids.n == 12 && parts.second == 12 && ids.id[11] == 3);
    vocab_ids_release(&ids);
    vocab_free(v);
}

/* ---- many passages ---- */

struct world {
    char dir[256], path[300];
};

static void put_file(struct world *w, const struct tiny_family *f,
                     uint32_t type)
{
    struct gguf_writer file;
    check_tmpdir(w->dir);
    snprintf(w->path, sizeof w->path, "%s/cross.gguf", w->dir);
    tiny_file(f, type, &file);
    check_ok(file_write(w->path, file.out.data, file.out.len, 0600));
    gguf_writer_release(&file);
}

static const char *const passages[] = {
    "Start warfarin with 5 mg at night.", "night", "5 mg in the evening, 5 mg",
    "how much", "In the evening start warfarin with 5 mg, at night with 5 mg."};
enum { PASSAGES = TINY_COUNT(passages), MANY = 40 };

static void texts_of(struct text *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = text_of(passages[i % PASSAGES]);
}

static void a_score_does_not_depend_on_neighbours_or_threads(void **state)
{
    struct world w;
    struct text texts[MANY];
    float all[MANY], one, again[MANY];
    size_t n_cut;
    (void)state;
    put_file(&w, &tiny_cross, QUANT_F32);
    texts_of(texts, MANY);
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        const struct cross_model m = {.name = "tiny",
                                      .path = w.path,
                                      .threads = threads};
        struct cross *c;
        check_ok(cross_open(&m, &c));
        check_ok(cross_scores(c, text_of("how much warfarin"), texts, MANY,
                              threads == 1 ? all : again, &n_cut));
        check(n_cut == 0);
        for (size_t i = 0; i < PASSAGES; i++) {
            check_ok(cross_scores(c, text_of("how much warfarin"), &texts[i], 1,
                                  &one, &n_cut));
            for (size_t k = i; k < MANY; k += PASSAGES)
                check_near(all[k], one, 1e-5);
        }
        check_ok(cross_scores(c, text_of("how"), texts, 0, &one, &n_cut));
        check_err(cross_scores(c, text_of("how"), texts, 101, all, &n_cut),
                  TACIT_LIMIT);
        cross_close(c);
    }
    for (size_t i = 0; i < MANY; i++) check_near(again[i], all[i], 1e-5);
    check(fabsf(all[0] - all[1]) > 1e-3f);
    check_tmpdir_remove(w.dir);
}

/* The whole way is the head over the pair's tokens. */
static void a_score_is_the_heads_output_for_the_pair(void **state)
{
    struct world w;
    struct tiny_net n;
    struct tape t;
    struct text texts[PASSAGES];
    float got[PASSAGES];
    size_t n_cut;
    (void)state;
    put_file(&w, &tiny_cross, QUANT_F32);
    const struct cross_model m = {.name = "tiny", .path = w.path};
    struct cross *c;
    check_ok(cross_open(&m, &c));
    texts_of(texts, PASSAGES);
    check_ok(cross_scores(c, text_of("how much warfarin?"), texts, PASSAGES,
                          got, &n_cut));
    tiny_open(&n, &tiny_cross, QUANT_F32, NULL);
    tape_init(&t, 0);
    struct vocab *v = NULL;
    check_ok(vocab_from_gguf(n.gguf, &v));
    for (size_t i = 0; i < PASSAGES; i++) {
        struct vocab_ids ids = {0};
        struct text_pair_parts parts;
        uint32_t token[64], type[64], start[2] = {0};
        check_ok(text_pair_encode(v, text_of("how much warfarin?"), texts[i],
                                  40, &ids, &parts));
        start[1] = (uint32_t)ids.n;
        for (size_t k = 0; k < ids.n; k++) {
            token[k] = (uint32_t)ids.id[k];
            type[k] = k >= parts.second;
        }
        const struct net_run run = {.net = n.net, .tape = &t};
        const struct net_batch b = {.token = token,
                                    .type = type,
                                    .n = ids.n,
                                    .segments = {start, 1}};
        tape_reset(&t);
        const struct var *z =
            net_classes(&run, net_hidden(&run, &b), &b.segments);
        check_ok(t.err);
        check_near(got[i], z->v[0], 1e-5);
        vocab_ids_release(&ids);
    }
    vocab_free(v);
    tape_release(&t);
    tiny_close(&n);
    cross_close(c);
    check_tmpdir_remove(w.dir);
}

static void a_long_passage_is_cut_and_counted(void **state)
{
    struct world w;
    char text[600] = "";
    float score;
    size_t n_cut;
    (void)state;
    put_file(&w, &tiny_cross, QUANT_F32);
    const struct cross_model m = {.name = "tiny", .path = w.path};
    struct cross *c;
    check_ok(cross_open(&m, &c));
    for (size_t i = 0; i < 60; i++) memcpy(text + 6 * i, "night ", 7);
    const struct text one = text_of(text);
    check_ok(cross_scores(c, text_of("how much"), &one, 1, &score, &n_cut));
    check(n_cut == 1 && isfinite(score));
    cross_close(c);
    check_tmpdir_remove(w.dir);
}

static void what_scores_no_pairs_or_would_not_fit_is_refused(void **state)
{
    struct tiny_family plain = tiny_families[TINY_FAMILIES - 1];
    struct world w;
    struct cross *c;
    struct gguf *g;
    (void)state;
    plain.words = cross_words;
    put_file(&w, &plain, QUANT_F32);
    struct cross_model m = {.name = "tiny", .path = w.path};
    check_code(cross_open(&m, &c), E_NOT_A_RERANKER);
    check_ok(gguf_open(w.path, &g));
    check_code(cross_fits(g), E_NOT_A_RERANKER);
    gguf_close(g);
    check_tmpdir_remove(w.dir);
    put_file(&w, &tiny_cross, QUANT_F32);
    check_ok(gguf_open(w.path, &g));
    check_ok(cross_fits(g));
    gguf_close(g);
    m.memory = 100000;
    check(cross_open(&m, &c) == TACIT_LIMIT && err_id() == E_MODEL_MEMORY);
    check(strstr(err_message(), "MiB") != NULL);
    err_clear();
    m.memory = 1u << 30;
    check_ok(cross_open(&m, &c));
    cross_close(c);
    check_tmpdir_remove(w.dir);
}

/* One pair through whatever the bytes are. */
static void try_bytes(const struct world *w, const uint8_t *bytes, size_t n)
{
    const struct cross_model m = {.name = "t", .path = w->path, .threads = 1};
    const struct text passage = text_of(passages[0]);
    struct cross *c;
    float score = NAN;
    size_t n_cut;
    FILE *f = fopen(w->path, "wb"); /* no need to reach the disk */
    check(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
    if (cross_open(&m, &c) == TACIT_OK) {
        if (cross_scores(c, text_of("how much"), &passage, 1, &score, &n_cut) ==
            TACIT_OK)
            check(isfinite(score));
        cross_close(c);
    }
    err_clear();
}

static void any_byte_flipped_or_cut_is_an_error_or_a_score(void **state)
{
    struct world w;
    struct gguf_writer file;
    (void)state;
    put_file(&w, &tiny_cross, QUANT_Q8_0);
    tiny_file(&tiny_cross, QUANT_Q8_0, &file);
    uint8_t *bytes = file.out.data;
    size_t n = file.out.len;
    /* The header densely, the numbers here and there, every length. */
    for (size_t at = 0; at < n; at += at < 5000 ? 11 : n / 60) {
        uint8_t flip = (uint8_t)(at < 5000 ? 1 << at % 8 : 0x7f);
        bytes[at] ^= flip;
        try_bytes(&w, bytes, n);
        bytes[at] ^= flip;
        if (at >= 5000 || at % 3 == 0) try_bytes(&w, bytes, at);
    }
    gguf_writer_release(&file);
    check_tmpdir_remove(w.dir);
}

static void a_score_that_is_no_number_is_damage(void **state)
{
    struct world w;
    struct gguf_writer file;
    struct gguf *g;
    struct cross *c;
    const float nan = NAN;
    float score;
    size_t n_cut;
    (void)state;
    put_file(&w, &tiny_cross, QUANT_F32);
    tiny_file(&tiny_cross, QUANT_F32, &file);
    check_ok(gguf_open_bytes(file.out.data, file.out.len, &g));
    const struct gguf_tensor *bias = gguf_find(g, "cls.output.bias");
    size_t at = (size_t)(bias->data - file.out.data);
    gguf_close(g);
    memcpy(file.out.data + at, &nan, sizeof nan);
    check_ok(file_write(w.path, file.out.data, file.out.len, 0600));
    gguf_writer_release(&file);
    const struct cross_model m = {.name = "tiny", .path = w.path};
    const struct text passage = text_of(passages[0]);
    check_ok(cross_open(&m, &c));
    check_err(cross_scores(c, text_of("how"), &passage, 1, &score, &n_cut),
              TACIT_FORMAT);
    cross_close(c);
    check_tmpdir_remove(w.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_those_of_transformers),
        cmocka_unit_test(a_file_without_a_head_has_no_scores),
        cmocka_unit_test(
            its_gradients_and_ten_losses_equal_those_of_transformers),
        cmocka_unit_test(another_kind_of_head_begins_at_zero),
        cmocka_unit_test(pairs_equal_those_of_the_tokenizers_library),
        cmocka_unit_test(a_question_is_cut_only_where_no_room_would_be_left),
        cmocka_unit_test(a_score_does_not_depend_on_neighbours_or_threads),
        cmocka_unit_test(a_score_is_the_heads_output_for_the_pair),
        cmocka_unit_test(a_long_passage_is_cut_and_counted),
        cmocka_unit_test(what_scores_no_pairs_or_would_not_fit_is_refused),
        cmocka_unit_test(any_byte_flipped_or_cut_is_an_error_or_a_score),
        cmocka_unit_test(a_score_that_is_no_number_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

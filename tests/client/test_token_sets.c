/* token_sets: rows of a reader, a classifier and a language model as tokens.
 * The bases are files with a vocabulary and no network, which is all that
 * reading rows asks for. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/token_sets.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/gguf.h"
#include "common/model/vocab.h"

static const char words[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhow\nmuch\nwarfarin\nstart\nwith\n5\n"
    "mg\nat\nnight\nwho\npaints\nthe\nchapel\nnurse\nunder\n##taker\n";

struct desk {
    char folder[256], base[300], data[300];
    struct digest hash;
    struct vocab *vocab;
    struct plan *plan;
    struct dataset d;
};

static void put_base(struct desk *t)
{
    struct gguf_writer w;
    check_ok(
        vocab_from_lines(words, strlen(words), VOCAB_CASE_FOLDED, &t->vocab));
    check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
    gguf_put_text(&w, "general.architecture", "bert", 4);
    check_ok(vocab_to_gguf(t->vocab, &w));
    check_ok(gguf_writer_end(&w, NULL));
    digest_of(&t->hash, w.out.data, w.out.len);
    snprintf(t->base, sizeof t->base, "%s/base.gguf", t->folder);
    check_ok(file_write(t->base, w.out.data, w.out.len, 0600));
    gguf_writer_release(&w);
}

static void begin(struct desk *t, const char *task, int length)
{
    char text[512], hex[DIGEST_HEX];
    memset(t, 0, sizeof *t);
    check_tmpdir(t->folder);
    put_base(t);
    hex_encode(hex, t->hash.b, DIGEST_BYTES);
    int n = snprintf(text, sizeof text,
                     "name: x\ntask: %s\nbase: {name: tiny, hash: %s}\n"
                     "data: {source: s, holdout: 0, length: %d}\n",
                     task, hex, length);
    check_ok(plan_parse("p.yaml", text, (size_t)n, &t->plan));
    t->plan->base.where = t->base;
}

static enum tacit_err load(struct desk *t, const char *csv)
{
    snprintf(t->data, sizeof t->data, "%s/rows.csv", t->folder);
    check_ok(file_write(t->data, csv, strlen(csv), 0600));
    return token_sets_load(t->plan, t->data, &t->d);
}

static void end(struct desk *t)
{
    dataset_release(&t->d);
    vocab_free(t->vocab);
    plan_free(t->plan);
    check_tmpdir_remove(t->folder);
}

/* The text of tokens [from, to] of a row. */
static void check_text(const struct desk *t, const struct examples *ex,
                       size_t row, uint32_t from, uint32_t to, const char *want)
{
    const struct token_rows *r = ex->text;
    struct buf b;
    buf_init(&b, 0);
    for (uint32_t k = from; k <= to; k++) {
        size_t n;
        const char *s =
            vocab_token(t->vocab, (int32_t)r->token[r->start[row] + k], &n);
        check(s != NULL);
        if (b.len) buf_put(&b, " ", 1);
        buf_put(&b, s, n);
    }
    /* GGUF marks the begin of a word; that is no part of it here. */
    struct buf plain;
    buf_init(&plain, 0);
    for (size_t i = 0; i < b.len; i++)
        if (b.data[i] < 0x80) buf_put(&plain, b.data + i, 1);
    assert_string_equal(buf_cstr(&plain), want);
    buf_release(&b);
    buf_release(&plain);
}

static uint32_t length_of(const struct examples *ex, size_t row)
{
    return ex->text->start[row + 1] - ex->text->start[row];
}

#define HEAD "question,passage,answer\n"

static void an_answer_is_found_as_tokens_of_its_passage(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "reader", 64);
    check_ok(load(&t, HEAD "how much warfarin,Start warfarin with 5 mg at "
                           "night,5 mg\n"));
    const struct examples *ex = &t.d.train;
    check(ex->n_rows == 1 && t.d.n_dropped == 0);
    check_text(&t, ex, 0, 0, 4, "[CLS] how much warfarin [SEP]");
    check(ex->text->second[0] == 5);
    check_text(&t, ex, 0, 5, 12, "start warfarin with 5 mg at night [SEP]");
    check(length_of(ex, 0) == 13);
    check_text(&t, ex, 0, ex->text->span[0], ex->text->span[1], "5 mg");
    end(&t);
}

static void a_question_without_an_answer_is_about_the_first_token(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "reader", 64);
    check_ok(load(&t, HEAD "who paints the chapel,start warfarin at night,\n"));
    check(t.d.train.n_rows == 1);
    check(t.d.train.text->span[0] == 0 && t.d.train.text->span[1] == 0);
    end(&t);
}

static void what_cannot_be_used_is_left_out_and_counted(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "reader", 64);
    check_ok(load(&t, HEAD "how much,start with 5 mg,7 mg\n" /* not there */
                           ",start with 5 mg,5 mg\n"
                           "how much,?,5 mg\n"
                           "how much,start with 5 mg,5 mg\n"));
    check(t.d.train.n_rows == 1 && t.d.n_dropped == 3);
    end(&t);
}

static void a_long_passage_is_cut_so_that_the_answer_stays(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "reader", 12);
    check_ok(load(&t,
                  HEAD "how much,the nurse the nurse the nurse the nurse the "
                       "nurse start with 5 mg at night the nurse,5 mg\n"
                       "how much,5 mg the nurse the nurse the nurse the nurse "
                       "the nurse the nurse,5 mg\n"));
    const struct examples *ex = &t.d.train;
    check(ex->n_rows == 2);
    for (size_t i = 0; i < 2; i++) {
        check(length_of(ex, i) <= 12);
        check_text(&t, ex, i, ex->text->span[2 * i], ex->text->span[2 * i + 1],
                   "5 mg");
    }
    end(&t);
}

static void every_place_of_an_answer_survives_every_length(void **state)
{
    (void)state;
    for (int length = 9; length < 24; length++)
        for (int before = 0; before < 20; before++) {
            struct desk t;
            char csv[600] = HEAD "how much,";
            begin(&t, "reader", length);
            for (int i = 0; i < before; i++) strcat(csv, "the nurse ");
            strcat(csv, "5 mg the nurse at night,5 mg\n");
            check_ok(load(&t, csv));
            const uint32_t *span = t.d.train.text->span;
            check((int)length_of(&t.d.train, 0) <= length);
            check_text(&t, &t.d.train, 0, span[0], span[1], "5 mg");
            end(&t);
        }
}

static void a_text_is_learnt_whole_and_an_answer_after_its_prompt(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "lm", 8);
    check_ok(load(&t, "prompt,answer,split\nhow much,5 mg,train\n"
                      "who paints,the nurse the nurse the nurse the nurse,"
                      "test\n"));
    check(t.d.train.n_rows == 1 && t.d.test.n_rows == 1);
    uint32_t second = t.d.train.text->second[0];
    check_text(&t, &t.d.train, 0, second, second + 1, "5 mg");
    check(length_of(&t.d.test, 0) == 8);
    dataset_release(&t.d);
    check_ok(load(&t, "text\nstart with 5 mg\n"));
    check(t.d.train.n_rows == 1);
    end(&t);
}

static void a_labelled_text_is_one_part_and_a_pair_two(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "classify", 12);
    check_ok(load(&t, "text,label\nhow much warfarin,1\nthe nurse,0\n"
                      "the nurse,?\n"));
    const struct examples *ex = &t.d.train;
    check(ex->n_rows == 2 && t.d.n_dropped == 1);
    check_text(&t, ex, 0, 0, 4, "[CLS] how much warfarin [SEP]");
    check(ex->text->second[0] == 0 && ex->y[0] >= 1 && ex->y[1] <= 0);
    dataset_release(&t.d);
    check_ok(load(&t, "question,passage,label,split\n"
                      "how much,start with 5 mg at night,1,train\n"
                      "how much,the nurse the nurse the nurse the nurse the "
                      "nurse,0,test\n"));
    ex = &t.d.train;
    check(ex->n_rows == 1 && ex->text->second[0] == 4);
    check_text(&t, ex, 0, 0, 3, "[CLS] how much [SEP]");
    check_text(&t, ex, 0, 4, 10, "start with 5 mg at night [SEP]");
    /* The passage is cut, the question and both marks stay. */
    ex = &t.d.test;
    check(length_of(ex, 0) == 12 && ex->text->second[0] == 4);
    check_text(&t, ex, 0, 10, 11, "the [SEP]");
    end(&t);
}

static void a_label_that_is_no_class_is_named_by_its_line(void **state)
{
    static const char *const wrong[] = {"2", "-1", "0.5", "yes", "nan"};
    struct desk t;
    char csv[64];
    (void)state;
    begin(&t, "classify", 12);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(csv, sizeof csv, "text,label\nnurse,1\nnurse,%s\n", wrong[i]);
        enum tacit_err e = load(&t, csv);
        check(strstr(err_message(), "rows.csv:3: column \"label\"") != NULL);
        check_code(e, E_CSV_VALUE);
    }
    check_err(load(&t, "text\nnurse\n"), TACIT_FORMAT);
    end(&t);
}

static void wrong_files_are_named(void **state)
{
    struct desk t;
    (void)state;
    begin(&t, "reader", 64);
    check_err(load(&t, "question,passage\nx,y\n"), TACIT_FORMAT);
    check_code(load(&t, HEAD "how,the nurse,7\n"), E_NO_EXAMPLES);
    check_code(load(&t, "question,passage,answer,split\nhow,the,the,dev\n"),
               E_CSV_VALUE);
    t.plan->base.where = NULL;
    check_code(load(&t, HEAD "how,the nurse,the\n"), E_BASE_MISSING);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_found_as_tokens_of_its_passage),
        cmocka_unit_test(a_question_without_an_answer_is_about_the_first_token),
        cmocka_unit_test(what_cannot_be_used_is_left_out_and_counted),
        cmocka_unit_test(a_long_passage_is_cut_so_that_the_answer_stays),
        cmocka_unit_test(every_place_of_an_answer_survives_every_length),
        cmocka_unit_test(a_text_is_learnt_whole_and_an_answer_after_its_prompt),
        cmocka_unit_test(a_labelled_text_is_one_part_and_a_pair_two),
        cmocka_unit_test(a_label_that_is_no_class_is_named_by_its_line),
        cmocka_unit_test(wrong_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

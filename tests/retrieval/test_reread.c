/* reread: the order of a cross-encoder over hits, and what an answer makes of
 * it. The network is tests/golden/net_golden.py's. */
#include "tests/check.h"

#include "common/base/codes.h"
#include "common/base/file.h"
#include "retrieval/reread.h"
#include "tests/model/tiny_net.h"

static const char *const texts[] = {"start with 5 mg at night",
                                    "night night night", "in the evening",
                                    "how much?",
                                    "warfarin at night, 5 mg in the evening"};
enum { HITS = 5 };

struct bench {
    char dir[256];
    struct cross *cross;
    struct arena a;
    struct search_hit hits[HITS];
};

static void begin(struct bench *b)
{
    char path[300];
    struct gguf_writer file;
    memset(b, 0, sizeof *b);
    check_tmpdir(b->dir);
    arena_init(&b->a, 0);
    snprintf(path, sizeof path, "%s/cross.gguf", b->dir);
    tiny_file(&tiny_cross, QUANT_F32, &file);
    check_ok(file_write(path, file.out.data, file.out.len, 0600));
    gguf_writer_release(&file);
    const struct cross_model m = {.name = "tiny", .path = path};
    check_ok(cross_open(&m, &b->cross));
    for (int i = 0; i < HITS; i++)
        b->hits[i] = (struct search_hit){.chunk_id = i,
                                         .title = "",
                                         .heading = "",
                                         .text = texts[i],
                                         .text_len = strlen(texts[i])};
}

static void end(struct bench *b)
{
    cross_close(b->cross);
    arena_release(&b->a);
    check_tmpdir_remove(b->dir);
}

static void hits_are_in_the_order_of_their_scores(void **state)
{
    struct bench b;
    struct search_report report = {0};
    (void)state;
    begin(&b);
    const struct reread all = {b.cross, 20};
    check_ok(
        reread_hits(&all, "how much warfarin", &b.a, b.hits, HITS, &report));
    check(report.n_reread == HITS && report.n_reread_cut == 0);
    check(report.reread_ns > 0);
    int seen = 0;
    for (int i = 0; i < HITS; i++) {
        const struct search_hit *h = &b.hits[i];
        check(h->chunk_id == h->rank_before - 1);
        seen |= 1 << h->chunk_id;
        check(i == 0 || b.hits[i - 1].rerank >= h->rerank);
    }
    check(seen == (1 << HITS) - 1);
    check(b.hits[0].rerank > b.hits[HITS - 1].rerank);
    end(&b);
}

static void only_the_first_are_read_and_the_rest_stay_behind(void **state)
{
    struct bench b;
    struct search_report report = {0};
    (void)state;
    begin(&b);
    const struct reread two = {b.cross, 2};
    check_ok(
        reread_hits(&two, "how much warfarin", &b.a, b.hits, HITS, &report));
    check(report.n_reread == 2);
    for (int i = 2; i < HITS; i++)
        check(b.hits[i].chunk_id == i && b.hits[i].rank_before == 0);
    check_ok(reread_hits(&two, "how", &b.a, b.hits, 0, &report));
    check(report.n_reread == 0);
    end(&b);
}

static void title_and_heading_are_read_before_the_text(void **state)
{
    struct bench b;
    struct search_report report = {0};
    (void)state;
    begin(&b);
    const struct reread all = {b.cross, HITS};
    b.hits[0].title = "warfarin";
    b.hits[0].heading = "at night";
    b.hits[0].text = "5 mg";
    b.hits[0].text_len = 4;
    b.hits[1].text = "warfarin at night 5 mg";
    b.hits[1].text_len = strlen(b.hits[1].text);
    check_ok(reread_hits(&all, "how much", &b.a, b.hits, 2, &report));
    check_near(b.hits[0].rerank, b.hits[1].rerank, 1e-5);
    check(b.hits[0].chunk_id == 0); /* of equals the first stays first */
    end(&b);
}

static void a_passage_that_may_be_quoted_stays_before_one_that_may_not(
    void **state)
{
    static const double confidence[] = {0.9, 0.1, 0.5, 0.2, 0.8};
    static const double score[] = {-1, 9, 3, 4, 2};
    static const int want[] = {2, 4, 0, 1, 3};
    struct search_hit hits[HITS] = {0};
    struct passage list[HITS];
    (void)state;
    memset(list, 0, sizeof list);
    for (int i = 0; i < HITS; i++) {
        hits[i] = (struct search_hit){.chunk_id = i,
                                      .rerank = score[i],
                                      .rank_before = i + 1};
        list[i].hit = &hits[i];
        list[i].confidence = confidence[i];
    }
    reread_order(list, HITS, 0.27);
    for (int i = 0; i < HITS; i++) check(list[i].hit->chunk_id == want[i]);
    /* Who was not read comes after those that were. */
    hits[4].rank_before = 0;
    reread_order(list, HITS, 0.27);
    check(list[0].hit->chunk_id == 2 && list[1].hit->chunk_id == 0 &&
          list[2].hit->chunk_id == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_are_in_the_order_of_their_scores),
        cmocka_unit_test(only_the_first_are_read_and_the_rest_stay_behind),
        cmocka_unit_test(title_and_heading_are_read_before_the_text),
        cmocka_unit_test(
            a_passage_that_may_be_quoted_stays_before_one_that_may_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

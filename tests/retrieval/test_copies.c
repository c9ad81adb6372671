/*
 * Many passages that say the same, in one document and in many: all of them are
 * kept and found, each is shown once, and they hide nothing else.
 */
#include "tests/check.h"

#include "common/base/buf.h"
#include "tests/retrieval/shelf.h"

enum { BEST = 8 };

/* No two hits say the same. */
static void check_distinct(const struct search_hit *hits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (hits[i].text_len == hits[k].text_len)
                assert_memory_not_equal(hits[i].text, hits[k].text,
                                        hits[i].text_len);
}

static int is_among(const struct search_hit *hits, size_t n, const char *words)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(hits[i].text, words)) return 1;
    return 0;
}

static void add(struct shelf *s, const char *name, const char *text)
{
    enum corpus_outcome outcome;
    size_t n;
    check_ok(corpus_add(s->corpus, shelf_write(s, name, text), &outcome, &n));
}

/* A section, long enough to be a passage of its own. */
static void put_section(struct buf *b, const char *heading, const char *about)
{
    static const char told[] =
        " Ask the nurse in charge before you leave the room, and write the "
        "hour into the book that lies beside the door.";
    buf_put(b, heading, strlen(heading));
    for (int i = 0; i < 6; i++) {
        buf_put(b, about, strlen(about));
        buf_put(b, told, sizeof told - 1);
    }
    buf_put(b, "\n\n", 2);
}

static void equal_passages_of_a_document_are_shown_once(void **state)
{
    (void)state;
    enum { COPIES = 1200 };
    struct shelf s;
    struct buf b;
    size_t n, n_chunks;
    enum corpus_outcome outcome;
    shelf_new(&s);
    buf_init(&b, 8 << 20);
    for (int i = 0; i < COPIES; i++)
        put_section(&b, "# Visits\n\n", "Visitors wash their hands.");
    put_section(&b, "# Gifts\n\n", "Visitors bring no flowers.");
    buf_put(&b, "", 1);
    check_ok(buf_end(&b));
    check_ok(corpus_add(s.corpus,
                        shelf_write(&s, "rules.md", (const char *)b.data),
                        &outcome, &n_chunks));
    assert_true(n_chunks > COPIES);
    assert_int_equal(shelf_check(&s).n_chunks, n_chunks);
    struct search_hit *hits =
        shelf_search(&s, "visitors wash hands", NULL, BEST, &n);
    assert_true(n >= 2);
    check_distinct(hits, n);
    assert_true(is_among(hits, 1, "wash their hands"));
    assert_true(is_among(hits, n, "no flowers"));
    /* They all go with the document. */
    check_ok(corpus_remove(s.corpus, s.folder, &n));
    assert_int_equal(shelf_check(&s).n_chunks, 0);
    buf_release(&b);
    shelf_free(&s);
}

/* The same notice as every ward prints it: in its own case, with its own
 * blanks and marks. */
static void write_notice(char *out, size_t size, int i)
{
    static const char *const words[] = {"The",   "ward",   "is",   "closed",
                                        "to",    "guests", "from", "nine",
                                        "until", "seven",  "at",   "night"};
    size_t at = 0;
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        int is_loud = i >> w & 1;
        at += (size_t)snprintf(out + at, size - at, "%s%s",
                               is_loud ? "  " : " ", words[w]);
        if (is_loud) out[at - 1] = (char)(out[at - 1] & ~32);
    }
    snprintf(out + at, size - at, "%s\n", i % 3 ? "." : " !");
}

static void a_folder_of_near_copies_is_one_hit_beside_the_rest(void **state)
{
    (void)state;
    enum { COPIES = 1500, OTHERS = 5 };
    struct shelf s;
    char name[32], text[200];
    size_t n;
    shelf_new(&s);
    corpus_gather(s.corpus);
    for (int i = 0; i < COPIES; i++) {
        snprintf(name, sizeof name, "ward%04d.txt", i);
        write_notice(text, sizeof text, i);
        add(&s, name, text);
    }
    for (int i = 0; i < OTHERS; i++) {
        snprintf(name, sizeof name, "rest%d.txt", i);
        snprintf(text, sizeof text,
                 "Guests of the ward find room %d with chairs and tea.\n", i);
        add(&s, name, text);
    }
    check_ok(corpus_settle(s.corpus));
    assert_int_equal(shelf_check(&s).n_documents, COPIES + OTHERS);
    struct search_hit *hits =
        shelf_search(&s, "ward closed at night", NULL, BEST, &n);
    assert_int_equal(n, 1 + OTHERS);
    assert_int_equal(hits[0].n_also, COPIES - 1);
    check_distinct(hits, n);
    for (size_t i = 1; i < n; i++) assert_int_equal(hits[i].n_also, 0);
    shelf_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_passages_of_a_document_are_shown_once),
        cmocka_unit_test(a_folder_of_near_copies_is_one_hit_beside_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

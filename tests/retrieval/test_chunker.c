#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "retrieval/chunker.h"
#include "retrieval/places.h"
#include "retrieval/sentence.h"

/* The sentences of a text, marked with | where one ends. */
static const char *split_in(enum language language, const char *text)
{
    static char out[2048];
    size_t n = strlen(text), at = 0, k = 0;
    while (at < n) {
        size_t len = sentence_length(language, text + at, n - at);
        memcpy(out + k, text + at, len);
        k += len;
        out[k++] = '|';
        at += len;
    }
    out[k] = '\0';
    return out;
}

static const char *split(const char *text)
{
    return split_in(LANGUAGE_ENGLISH, text);
}

static void sentences_end_where_a_reader_would_end_them(void **state)
{
    (void)state;
    assert_string_equal(split("One. Two! Three? Four"),
                        "One. |Two! |Three? |Four|");
    assert_string_equal(split("Give 2.5 mg, e.g. at night. Stop."),
                        "Give 2.5 mg, e.g. at night. |Stop.|");
    assert_string_equal(split("See Fig. 2 and Dr. A. Smith. Then go."),
                        "See Fig. 2 and Dr. A. Smith. |Then go.|");
    assert_string_equal(split("3. Grant of Rights. You may. In 1991. Yes."),
                        "3. Grant of Rights. |You may. |In 1991. |Yes.|");
    assert_string_equal(split("He said \"no.\" She left. It is 5 p.m. now."),
                        "He said \"no.\" |She left. |It is 5 p.m. now.|");
    assert_string_equal(split("Wait... what? Ask ext. 5501. No. 5 is it."),
                        "Wait... what? |Ask ext. 5501. |No. 5 is it.|");
    assert_string_equal(split("\xe4\xb8\x80\xe3\x80\x82\xe4\xba\x8c"),
                        "\xe4\xb8\x80\xe3\x80\x82|\xe4\xba\x8c|");
    assert_string_equal(split("a = 1;\nb = 2;\n"), "a = 1;\n|b = 2;\n|");
}

static void an_endless_sentence_is_cut_between_words(void **state)
{
    (void)state;
    char text[4000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 7 == 6 ? ' ' : 'x';
    size_t n = sentence_length(LANGUAGE_ENGLISH, text, sizeof text);
    assert_true(n <= SENTENCE_BYTES_MAX && n > SENTENCE_BYTES_MAX / 2);
    assert_int_equal(text[n - 1], ' ');
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    n = sentence_length(LANGUAGE_ENGLISH, text, sizeof text);
    assert_true(n <= SENTENCE_BYTES_MAX);
    assert_int_equal(n % 2, 0);
}

static void each_language_has_its_own_abbreviations(void **state)
{
    (void)state;
    assert_string_equal(
        split_in(LANGUAGE_GERMAN,
                 "Am 3. Mai z. B. Aspirin bzw. Ibuprofen. Vgl. "
                 "Abb. 2 u. a. Quellen. Im Jahr 1991. Ende."),
        "Am 3. Mai z. B. Aspirin bzw. Ibuprofen. |Vgl. Abb. 2 u. a. Quellen. "
        "|Im Jahr 1991. |Ende.|");
    assert_string_equal(
        split_in(LANGUAGE_FRENCH,
                 "M. Dupont et Mme. Roy, p. ex. Paris. « Oui. » "
                 "Il sort. Et à midi. Écoute !"),
        "M. Dupont et Mme. Roy, p. ex. Paris. |« Oui. » |Il sort. |Et à midi. "
        "|Écoute !|");
    assert_string_equal(
        split_in(LANGUAGE_SPANISH,
                 "El Sr. Gil y la Dra. Paz, p. ej. Ana. ¿Vas? "
                 "¡Sí! Pág. Dos."),
        "El Sr. Gil y la Dra. Paz, p. ej. Ana. |¿Vas? |¡Sí! |Pág. Dos.|");
    assert_string_equal(split("Le mot. élan court."), "Le mot. élan court.|");
    assert_string_equal(
        split_in(LANGUAGE_SWEDISH, "Ta t.ex. en tablett kl. 8 m.m. och vila. "
                                   "Sov sedan."),
        "Ta t.ex. en tablett kl. 8 m.m. och vila. |Sov sedan.|");
    assert_string_equal(split_in(LANGUAGE_RUSSIAN,
                                 "См. рис. 2 и табл. Данные. Это всё."),
                        "См. рис. 2 и табл. Данные. |Это всё.|");
}

static void text_without_blanks_ends_at_its_marks(void **state)
{
    (void)state;
    assert_string_equal(split("今日は雨です!明日は?「はい。」そう。"),
                        "今日は雨です!|明日は?|「はい。」|そう。|");
    assert_string_equal(split("Is it 2!=3? Yes."), "Is it 2!=3? |Yes.|");
    assert_string_equal(split("क्या? हाँ। ठीक है।"), "क्या? |हाँ। |ठीक है।|");
}

static void a_language_is_guessed_by_its_small_words(void **state)
{
    (void)state;
    static const struct {
        const char *code, *text;
    } texts[] = {
        {"en", "The dose of the drug is to be given with food and that is it."},
        {"de", "Die Dosis wird mit dem Essen gegeben und ist nicht zu hoch."},
        {"fr", "La dose est donnée avec les repas et ne dépasse pas le jour."},
        {"es", "La dosis se da con las comidas y no es para los niños."},
        {"it",
         "La dose non è per i bambini che sono della famiglia, il medico"},
        {"pt", "A dose não é para os meninos do bairro em uma casa com o pai."},
        {"nl", "De dosis wordt met het eten gegeven en is niet voor een kind."},
        {"sv", "Det är viktigt att inte glömma dosen som ska tas på kvällen."},
        {"da", "Hvad er det som ikke blev sagt til jer af dette og hvordan?"},
        {"no", "Hva er det som ikke ble sagt til dere av dette og hvordan?"},
        {"fi", "Se on hyvä, mutta tämä ei ole niin kuin hän sanoi."},
        {"ru", "Это не так, КАК он сказал, и все было хорошо."},
        {"en", "Au/Zn/Au and Au/Zn/Au and Au/Zn/Au"},
        {"en", "12345"},
        {"en", "一二三。"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(
            language_code(language_guess(texts[i].text, strlen(texts[i].text))),
            texts[i].code);
    assert_int_equal(language_find("tlh"), -1);
}

static void parse(struct document *d, const char *name, const char *text)
{
    check_ok(document_open_bytes(d, name, text, strlen(text)));
    check_ok(document_parse(d));
}

/* n words that tell which sentence they are from. */
static void put_sentence(char *out, int number, int n_words)
{
    char word[32];
    snprintf(word, sizeof word, "S%d", number);
    strcat(out, word);
    for (int i = 1; i < n_words; i++) strcat(out, " word");
    strcat(out, ". ");
}

static void chunks_keep_headings_and_sizes(void **state)
{
    (void)state;
    static char text[60000];
    struct document d;
    struct chunker k;
    static struct chunk c;
    strcpy(text, "# Title\n\n## A\n\n");
    for (int i = 0; i < 40; i++) {
        put_sentence(text, i, 15);
        if (i % 4 == 3) strcat(text, "\n\n");
    }
    strcat(text, "## B\n\nShort.\n\n### B1\n\n");
    for (int i = 0; i < 12; i++) put_sentence(text, i, 10);
    parse(&d, "t.md", text);
    chunker_init(&k, &d, &chunk_sizes_default);
    size_t n_a = 0;
    while (chunker_next(&k, &c)) {
        assert_true(c.n_tokens <= chunk_sizes_default.hard);
        if (strcmp(c.heading, "A") != 0) break;
        assert_true(c.n_tokens >= chunk_sizes_default.target);
        n_a++;
    }
    assert_true(n_a >= 3 && n_a <= 5);
    /* "Short." stands alone: its subsection is not small. */
    assert_string_equal(c.heading, "B");
    assert_int_equal(c.n_tokens, 1);
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_string_equal(c.heading, "B\x1f"
                                   "B1");
    assert_int_equal(c.n_tokens, 120);
    assert_int_equal(chunker_next(&k, &c), 0);
    document_release(&d);
}

static void a_list_stays_with_its_intro(void **state)
{
    (void)state;
    static char text[8000];
    struct document d;
    struct chunker k;
    static struct chunk c;
    text[0] = '\0';
    for (int i = 0; i < 11; i++) put_sentence(text, i, 16);
    strcat(text, "\n\nGive in this order:\n\n- first of them all\n- second\n");
    parse(&d, "t.md", text);
    chunker_init(&k, &d, &chunk_sizes_default);
    assert_int_equal(chunker_next(&k, &c), 1);
    size_t n_chunks = 1;
    const char *last = (const char *)d.text.data + c.text_first;
    size_t n = c.text_end - c.text_first;
    while (chunker_next(&k, &c)) {
        last = (const char *)d.text.data + c.text_first;
        n = c.text_end - c.text_first;
        n_chunks++;
    }
    const char *intro = memmem(last, n, "Give in this order:", 19);
    assert_non_null(intro);
    assert_non_null(memmem(last, n, "first of them all", 17));
    assert_true(n_chunks <= 2);
    document_release(&d);
}

static void a_small_subsection_joins_and_a_bare_heading_is_text(void **state)
{
    (void)state;
    struct document d;
    struct chunker k;
    static struct chunk c;
    parse(&d, "t.md",
          "# T\n\n## A\n\nIntro.\n\n### A1\n\nTiny.\n\n## Call 5512\n\n"
          "## B\n\nEnd.\n");
    chunker_init(&k, &d, &chunk_sizes_default);
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_string_equal(c.heading, "A");
    assert_int_equal(c.text_end - c.text_first, strlen("Intro.\nA1\nTiny."));
    assert_int_equal(c.n_sentences, 2);
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_memory_equal(d.text.data + c.text_first, "Call 5512", 9);
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_string_equal(c.heading, "B");
    assert_int_equal(chunker_next(&k, &c), 0);
    document_release(&d);
}

/* ---- properties -----------------------------------------------------------
 */

static void check_sentences(const struct document *d, const struct chunk *c)
{
    const char *text = (const char *)d->text.data + c->text_first;
    uint32_t at = 0;
    for (size_t i = 0; i < c->n_sentences; i++) {
        const struct chunk_sentence *s = &c->sentence[i];
        assert_true(s->text_first >= at && s->text_end > s->text_first);
        assert_true(s->text_end <= c->text_end - c->text_first);
        assert_true(s->place.byte_first >= c->place.byte_first);
        assert_true(s->place.byte_end <= c->place.byte_end);
        assert_true(s->place.line_first >= c->place.line_first);
        /* The quoted word stands at the quoted place. */
        if (text[s->text_first] > 0x20 && text[s->text_first] < 0x7f)
            assert_int_equal(text[s->text_first],
                             d->source.data[s->place.byte_first]);
        at = s->text_end;
    }
}

/* Every byte of text that is no heading's is new in exactly one chunk, in
 * order. */
static void check_chunks(const struct document *d,
                         const struct chunk_sizes *sizes)
{
    struct chunker k;
    static struct chunk c;
    size_t done = 0;
    chunker_init(&k, d, sizes);
    for (size_t i = 0; chunker_next(&k, &c); i++) {
        assert_true(i < d->text.len);
        assert_true(c.own_first >= done && c.text_end > c.own_first);
        assert_true(c.text_first <= c.own_first);
        if (sizes->overlap == 0) assert_int_equal(c.text_first, c.own_first);
        assert_true(c.text_end - c.text_first <=
                    CHUNK_BYTES_MAX + 8 * SENTENCE_BYTES_MAX);
        assert_true(c.n_sentences >= 1);
        assert_true(strlen(c.heading) < CHUNK_HEADING_MAX);
        /* What lies between two chunks is headings and blanks. */
        for (size_t b = 0; b < d->n_blocks; b++) {
            const struct block *block = &d->blocks[b];
            if (block->kind == BLOCK_HEADING) continue;
            for (size_t at = block->text_first; at < block->text_end; at++)
                if (at >= done && at < c.own_first)
                    assert_int_equal(d->text.data[at], ' ');
        }
        check_sentences(d, &c);
        done = c.text_end;
    }
    const struct block *last = &d->blocks[d->n_blocks - 1];
    assert_int_equal(done, last->text_end);
}

static void random_documents_lose_no_text(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3, 0, 0);
    for (int round = 0; round < 150; round++) {
        static char text[64000];
        struct document d;
        text[0] = '\0';
        int n_parts = 1 + (int)rng_below(&rng, 30);
        for (int i = 0; i < n_parts; i++) {
            uint64_t what = rng_below(&rng, 6);
            if (what == 0) {
                for (uint64_t h = 0; h <= rng_below(&rng, 4); h++)
                    strcat(text, "#");
                strcat(text, " Heading of some kind\n\n");
            } else if (what == 1) {
                strcat(text, "Do this:\n\n- an item\n- another one\n\n");
            } else {
                for (uint64_t s = 0; s <= rng_below(&rng, 20); s++)
                    put_sentence(text, i, 1 + (int)rng_below(&rng, 60));
                strcat(text, "\n\n");
            }
        }
        parse(&d, "t.md", text);
        struct chunk_sizes sizes = chunk_sizes_default;
        check_chunks(&d, &sizes);
        sizes.overlap = 10 + rng_below(&rng, 60);
        check_chunks(&d, &sizes);
        sizes = (struct chunk_sizes){
            .target = 8, .max = 12, .hard = 15, .merge = 4, .overlap = 5};
        check_chunks(&d, &sizes);
        document_release(&d);
    }
}

static void an_overlap_is_whole_sentences_of_the_same_section(void **state)
{
    (void)state;
    static char text[20000];
    struct document d;
    struct chunker k;
    static struct chunk c;
    const struct chunk_sizes sizes = {
        .target = 40, .max = 60, .hard = 70, .merge = 10, .overlap = 25};
    strcpy(text, "# T\n\n## A\n\n");
    for (int i = 0; i < 10; i++) put_sentence(text, i, 12);
    strcat(text, "\n\n## B\n\n");
    for (int i = 10; i < 14; i++) put_sentence(text, i, 12);
    parse(&d, "t.md", text);
    chunker_init(&k, &d, &sizes);
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_int_equal(c.text_first, c.own_first);
    size_t before = c.text_end;
    assert_int_equal(chunker_next(&k, &c), 1);
    assert_true(c.text_first < before && c.own_first >= before);
    /* Two sentences of 12 fit 25, three do not. */
    assert_memory_equal(d.text.data + c.text_first, "S3 word", 7);
    assert_int_equal(c.sentence[2].text_first, c.own_first - c.text_first);
    assert_true(c.n_tokens <= sizes.max);
    while (chunker_next(&k, &c) && strcmp(c.heading, "B") != 0) continue;
    assert_string_equal(c.heading, "B");
    assert_int_equal(c.text_first, c.own_first);
    document_release(&d);
}

static size_t count_bytes(void *ctx, const char *text, size_t n)
{
    (void)text;
    ++*(size_t *)ctx;
    return n;
}

static void sizes_are_counted_as_the_caller_says(void **state)
{
    (void)state;
    static char text[4000];
    struct document d;
    struct chunker k;
    static struct chunk c;
    size_t n_calls = 0;
    const struct chunk_sizes sizes = {.target = 200,
                                      .max = 300,
                                      .hard = 330,
                                      .merge = 50,
                                      .count = count_bytes,
                                      .ctx = &n_calls};
    text[0] = '\0';
    for (int i = 0; i < 20; i++) put_sentence(text, i, 10);
    parse(&d, "t.txt", text);
    chunker_init(&k, &d, &sizes);
    while (chunker_next(&k, &c))
        assert_true(c.text_end - c.text_first <= 330 + 10);
    assert_true(n_calls > 20);
    document_release(&d);
}

static void a_row_is_not_torn(void **state)
{
    (void)state;
    struct document d;
    struct chunker k;
    static struct chunk c;
    struct buf text;
    buf_init(&text, 0);
    buf_printf(&text, "drug,how\n");
    for (int i = 0; i < 60; i++)
        buf_printf(&text, "Drug %d,Take it. Then wait. Then stop at once.\n",
                   i);
    parse(&d, "t.csv", buf_cstr(&text));
    chunker_init(&k, &d, &chunk_sizes_default);
    while (chunker_next(&k, &c)) {
        const char *s = (const char *)d.text.data + c.text_first;
        size_t n = c.text_end - c.text_first;
        assert_memory_equal(s, "drug: Drug", 10);
        assert_memory_equal(s + n - 8, "at once.", 8);
    }
    document_release(&d);
    buf_release(&text);
}

static void places_survive_the_store(void **state)
{
    (void)state;
    static struct chunk c;
    static struct chunk_sentence got[CHUNK_SENTENCES_MAX];
    struct buf bytes;
    size_t n;
    c.n_sentences = 2;
    c.sentence[0] = (struct chunk_sentence){0, 9, {100, 120, 3, 4, 0, 0}};
    c.sentence[1] = (struct chunk_sentence){10, 20, {121, 140, 4, 5, 0, 0}};
    buf_init(&bytes, 0);
    places_encode(&bytes, &c);
    check_ok(places_decode(bytes.data, bytes.len, 20, got, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[1].place.byte_end, 140);
    assert_int_equal(got[1].place.line_last, 5);
    check_err(places_decode(bytes.data, bytes.len, 19, got, &n), TACIT_FORMAT);
    check_err(places_decode(bytes.data, bytes.len - 1, 20, got, &n),
              TACIT_FORMAT);
    bytes.data[0] = 99;
    check_err(places_decode(bytes.data, bytes.len, 200, got, &n), TACIT_FORMAT);
    buf_clear(&bytes);
    c.sentence[0].place.page_first = c.sentence[0].place.page_last = 9999;
    c.sentence[1].place.page_first = 9999;
    c.sentence[1].place.page_last = 10000;
    places_encode(&bytes, &c);
    check_ok(places_decode(bytes.data, bytes.len, 20, got, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[0].place.page_last, 9999);
    assert_int_equal(got[1].place.page_last, 10000);
    assert_int_equal(got[1].place.line_last, 5);
    check_err(places_decode(bytes.data, bytes.len - 4, 20, got, &n),
              TACIT_FORMAT);
    buf_release(&bytes);
}

static void a_run_of_marks_is_cut_like_any_text(void **state)
{
    enum { RUN = 200000 };
    static const char *const ends[] = {" evening.", " Evening.", "x", ""};
    static char text[RUN + 64];
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        memset(text, '.', RUN);
        memcpy(text, "every ", 6);
        memcpy(text + RUN, ends[i], strlen(ends[i]) + 1);
        size_t n = strlen(text);
        for (size_t at = 0, k; at < n; at += k) {
            k = sentence_length(LANGUAGE_ENGLISH, text + at, n - at);
            assert_in_range(k, 1, SENTENCE_BYTES_MAX + 16);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_end_where_a_reader_would_end_them),
        cmocka_unit_test(an_endless_sentence_is_cut_between_words),
        cmocka_unit_test(each_language_has_its_own_abbreviations),
        cmocka_unit_test(text_without_blanks_ends_at_its_marks),
        cmocka_unit_test(a_language_is_guessed_by_its_small_words),
        cmocka_unit_test(chunks_keep_headings_and_sizes),
        cmocka_unit_test(a_list_stays_with_its_intro),
        cmocka_unit_test(a_small_subsection_joins_and_a_bare_heading_is_text),
        cmocka_unit_test(an_overlap_is_whole_sentences_of_the_same_section),
        cmocka_unit_test(sizes_are_counted_as_the_caller_says),
        cmocka_unit_test(a_row_is_not_torn),
        cmocka_unit_test(random_documents_lose_no_text),
        cmocka_unit_test(places_survive_the_store),
        cmocka_unit_test(a_run_of_marks_is_cut_like_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

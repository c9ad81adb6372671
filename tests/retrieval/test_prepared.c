/* What is kept of a document's passages is what the chunker cut. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "retrieval/places.h"
#include "retrieval/prepared.h"

static char path[] = "/tmp/tacit-prepared-XXXXXX.md";

/* Sections of the same and of other headings, longer than a passage. */
static void write_sections(void)
{
    int fd = mkstemps(path, 3);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    check(f != NULL);
    for (int section = 0; section < 12; section++) {
        fprintf(f, "# Part %d\n\n## Dose\n\n", section / 3);
        for (int i = 0; i < 60; i++)
            fprintf(f, "Sentence %d of section %d is about warfarin.\n", i,
                    section);
    }
    check(fclose(f) == 0);
}

static void check_passage(const struct prepared *p, size_t i,
                          const struct chunk *c)
{
    const struct passage *one = prepared_passage(p, i);
    struct chunk_sentence s[CHUNK_SENTENCES_MAX];
    size_t n;
    check(strcmp(prepared_heading(p, one), c->heading) == 0);
    check(one->text_first == c->text_first && one->text_end == c->text_end);
    check(one->own_first == c->own_first);
    check(memcmp(&one->place, &c->place, sizeof c->place) == 0);
    check_ok(places_decode(p->places.data + one->places, one->n_places,
                           c->text_end - c->text_first, s, &n));
    check(n == c->n_sentences && n > 0);
    for (size_t k = 0; k < n; k++) {
        check(s[k].text_first == c->sentence[k].text_first);
        check(s[k].place.line_last == c->sentence[k].place.line_last);
    }
}

static void its_passages_are_the_chunks(void **state)
{
    (void)state;
    struct prepared *p;
    struct chunker k;
    struct chunk c;
    size_t n = 0;
    write_sections();
    check_ok(prepared_new(path, 4, &p));
    check_ok(document_parse(&p->d));
    check_ok(prepared_cut(p, &chunk_sizes_default));
    chunker_init(&k, &p->d, &chunk_sizes_default);
    for (; chunker_next(&k, &c); n++) {
        check(n < p->n);
        check_passage(p, n, &c);
    }
    check(n == p->n && n > 12);
    prepared_free(p);
    unlink(path);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct prepared *p;
    check(prepared_new("/nowhere/at/all.txt", 4, &p) != TACIT_OK);
    check(strstr(err_message(), "/nowhere/at/all.txt") != NULL);
    err_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_passages_are_the_chunks),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("prepared", tests, NULL, NULL);
}

/* embedder: what a passage stands under, in its vector. The built-in table as a
 * file that was imported stands beside the one in the program. */
#include "tests/check.h"

#include <stdio.h>
#include <unistd.h>

#include "common/model/built_in.h"
#include "retrieval/embedder.h"

static char dir[256], path[512];
static struct arena arena;

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/table.gguf", dir);
    FILE *f = fopen(path, "wb");
    check(f != NULL);
    check(fwrite(built_in_encoder(), built_in_encoder_bytes(), 1, f) == 1);
    check(fclose(f) == 0);
    arena_init(&arena, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    check_tmpdir_remove(dir);
    return 0;
}

static struct encoder *imported(const char *passage)
{
    struct encoder *e;
    const struct encoder_model m = {.kind = ENCODER_TABLE,
                                    .name = "table",
                                    .path = path,
                                    .dim = ENCODER_DIM,
                                    .question = "",
                                    .passage = passage};
    check_ok(encoder_open(&m, &e));
    return e;
}

static const struct text text = {"Give 5 mg at night.", 19};

static void an_imported_table_has_the_built_in_ones_vectors(void **state)
{
    (void)state;
    struct encoder *e = imported(""), *built_in;
    static const struct embedder_text list[] = {
        {"Anticoagulants", "Warfarin", {"Give 5 mg at night.", 19}},
        {"", "Warfarin", {"Give 5 mg at night.", 19}},
        {"", "", {"Give 5 mg at night.", 19}},
        {"", "", {"", 0}}};
    enum { N = sizeof list / sizeof *list };
    float u[N * ENCODER_DIM], v[N * ENCODER_DIM];
    check_ok(encoder_new(&built_in));
    check_ok(embedder_passages(e, &arena, list, N, u));
    check_ok(embedder_passages(built_in, &arena, list, N, v));
    check_tensor(u, v, N * ENCODER_DIM, 0);
    check(u[0] != u[ENCODER_DIM] && u[ENCODER_DIM] != u[2 * ENCODER_DIM]);
    struct chunk_sizes of_table, of_built_in;
    check_ok(embedder_sizes(e, &of_table));
    check_ok(embedder_sizes(built_in, &of_built_in));
    assert_int_equal(of_table.hard, of_built_in.hard);
    check(of_table.count == of_built_in.count);
    encoder_free(built_in);
    encoder_free(e);
}

static void a_prefix_is_before_a_passage_and_nothing_else(void **state)
{
    (void)state;
    struct encoder *e = imported("passage "), *plain = imported("");
    const struct text with = {"passage Give 5 mg at night.", 27};
    float u[ENCODER_DIM], v[ENCODER_DIM];
    check_ok(embedder_passage(e, &arena, "", "", text, u));
    check_ok(embedder_passage(plain, &arena, "", "", with, v));
    check_tensor(u, v, ENCODER_DIM, 0);
    encoder_free(plain);
    encoder_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_imported_table_has_the_built_in_ones_vectors),
        cmocka_unit_test(a_prefix_is_before_a_passage_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

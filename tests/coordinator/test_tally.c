/* tally: chunks in any order, once each, exact sums. */
#include "tests/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/privacy/ring.h"
#include "coordinator/tally.h"

enum { N = 200001, BIG = 3 }; /* three chunks and a bit at 32 bits */

static char dir[256];
static const uint8_t session[32] = {1, 2, 3};

static int setup(void **state)
{
    (void)state;
    check_tmpdir(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

static unsigned n_files(void)
{
    DIR *d = opendir(dir);
    unsigned n = 0;
    struct dirent *e;
    while ((e = readdir(d))) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

struct input {
    uint8_t *bytes;
    size_t n;
    struct msg_input m;
};

static void input_make(struct input *in, uint32_t n_coords, uint32_t bits,
                       uint32_t seed)
{
    uint32_t *y = malloc(n_coords * sizeof *y);
    uint32_t mask = bits == 32 ? UINT32_MAX : (1U << bits) - 1;
    for (uint32_t i = 0; i < n_coords; i++)
        y[i] = (i * 2654435761U + seed * 40503U) & mask;
    in->n = (size_t)n_coords * bits / 8;
    in->bytes = malloc(in->n);
    ring_pack(in->bytes, y, n_coords, bits);
    memset(&in->m, 0, sizeof in->m);
    in->m.n_chunks = (uint32_t)((in->n + WIRE_CHUNK_MAX - 1) / WIRE_CHUNK_MAX);
    digest_of(&in->m.hash, in->bytes, in->n);
    free(y);
}

static struct msg_chunk_put chunk(const struct input *in, uint32_t i)
{
    struct msg_chunk_put c = {.index = i, .n_chunks = in->m.n_chunks};
    size_t at = (size_t)i * WIRE_CHUNK_MAX;
    c.len =
        (uint32_t)(in->n - at < WIRE_CHUNK_MAX ? in->n - at : WIRE_CHUNK_MAX);
    c.bytes = in->bytes + at;
    digest_of(&c.hash, c.bytes, c.len);
    return c;
}

static enum tacit_err put(struct tally *t, unsigned seat,
                          const struct input *in, uint32_t i)
{
    struct msg_chunk_put c = chunk(in, i);
    return tally_put(t, seat, &c);
}

static struct tally *begin(uint32_t n, uint32_t bits, const char *spool)
{
    struct tally *t = NULL;
    struct tally_config c = {.n_coords = n,
                             .ring_bits = bits,
                             .spool_dir = spool,
                             .session = session};
    check_ok(tally_new(&c, &t));
    return t;
}

/* Sum of seats 0..n_seats-1 in 32 or 24 bits, chunks in a shuffled order. */
static void try_sum(uint32_t n_coords, uint32_t bits, const char *spool)
{
    struct tally *t = begin(n_coords, bits, spool);
    uint32_t *want = calloc(n_coords, sizeof *want);
    uint32_t *y = malloc(n_coords * sizeof *y);
    struct rng rng;
    rng_init(&rng, 5, n_coords, bits);
    for (unsigned seat = 0; seat < 3; seat++) {
        struct input in;
        uint32_t order[64];
        input_make(&in, n_coords, bits, seat);
        check(in.m.n_chunks == tally_n_chunks(t) && in.m.n_chunks <= 64);
        for (uint32_t i = 0; i < in.m.n_chunks; i++) order[i] = i;
        rng_shuffle(&rng, order, in.m.n_chunks);
        for (uint32_t i = 0; i < in.m.n_chunks; i++)
            check_ok(put(t, seat, &in, order[i]));
        check_ok(tally_add(t, seat, &in.m));
        ring_unpack(y, in.bytes, n_coords, bits);
        ring_add(want, y, n_coords, bits);
        free(in.bytes);
    }
    check(tally_n_added(t) == 3);
    check(memcmp(want, tally_sum(t), n_coords * sizeof *want) == 0);
    free(want);
    free(y);
    tally_free(t);
    check(n_files() == 0);
}

static void the_sum_is_exact_for_any_order_of_chunks(void **unused)
{
    (void)unused;
    try_sum(100, 32, dir);
    try_sum(N, 32, dir);
    try_sum(N, 24, dir); /* chunk borders cut coordinates */
    try_sum(N, 24, NULL);
    try_sum(WIRE_CHUNK_MAX / 4, 32, dir); /* exactly one chunk */
    try_sum(WIRE_CHUNK_MAX / 4 + 1, 32, dir);
}

static void an_input_counts_once(void **unused)
{
    (void)unused;
    struct input in;
    struct tally *t = begin(N, 32, dir);
    input_make(&in, N, 32, 9);
    for (uint32_t i = 0; i < in.m.n_chunks; i++) {
        check_ok(put(t, 7, &in, i));
        check_ok(put(t, 7, &in, i));
    }
    check(n_files() == 1);
    check_ok(tally_add(t, 7, &in.m));
    check(n_files() == 0);
    check_ok(tally_add(t, 7, &in.m));
    check_ok(put(t, 7, &in, 0));
    check_ok(tally_add(t, 7, &in.m));
    check(n_files() == 0);
    check(tally_n_added(t) == 1);
    uint32_t *y = malloc(N * sizeof *y);
    ring_unpack(y, in.bytes, N, 32);
    check(memcmp(y, tally_sum(t), N * sizeof *y) == 0);
    free(y);
    free(in.bytes);
    tally_free(t);
}

static void missing_chunks_are_named_and_can_be_sent_later(void **unused)
{
    (void)unused;
    struct input in;
    struct buf bits;
    struct tally *t = begin(N, 32, dir);
    input_make(&in, N, 32, 1);
    check(in.m.n_chunks == BIG + 1);
    buf_init(&bits, 0);
    tally_held(t, 0, &bits);
    check(bits.len == 1 && bits.data[0] == 0);
    check_ok(put(t, 0, &in, 1));
    check_ok(put(t, 0, &in, 3));
    check_err(tally_add(t, 0, &in.m), TACIT_STATE);
    buf_clear(&bits);
    tally_held(t, 0, &bits);
    check(bits.len == 1 && bits.data[0] == 0x0a);
    check_ok(put(t, 0, &in, 0));
    check_ok(put(t, 0, &in, 2));
    check_ok(tally_add(t, 0, &in.m));
    buf_clear(&bits);
    tally_held(t, 0, &bits);
    check(bits.data[0] == 0x0f);
    buf_release(&bits);
    free(in.bytes);
    tally_free(t);
}

static void damage_is_refused_and_the_upload_starts_again(void **unused)
{
    (void)unused;
    struct input in, other;
    struct tally *t = begin(N, 32, dir);
    input_make(&in, N, 32, 1);
    input_make(&other, N, 32, 2);
    struct msg_chunk_put c = chunk(&in, 0);
    c.hash.b[5] ^= 1;
    check_code(tally_put(t, 0, &c), E_INPUT_DAMAGED);
    for (uint32_t i = 0; i < in.m.n_chunks; i++) check_ok(put(t, 0, &in, i));
    check_code(put(t, 0, &other, 2), E_INPUT_DAMAGED); /* another content */
    check_code(tally_add(t, 0, &other.m), E_INPUT_DAMAGED);
    check(tally_n_added(t) == 0);
    for (uint32_t i = 0; i < N; i++) check(tally_sum(t)[i] == 0);
    check(n_files() == 0);
    for (uint32_t i = 0; i < in.m.n_chunks; i++) check_ok(put(t, 0, &other, i));
    check_ok(tally_add(t, 0, &other.m));
    free(in.bytes);
    free(other.bytes);
    tally_free(t);
}

static void wrong_shapes_are_refused(void **unused)
{
    (void)unused;
    struct input in;
    struct tally *t = begin(N, 32, dir);
    input_make(&in, N, 32, 1);
    struct msg_chunk_put c = chunk(&in, 0);
    c.n_chunks++;
    check_err(tally_put(t, 0, &c), TACIT_SHAPE);
    c = chunk(&in, 0);
    c.index = c.n_chunks;
    check_err(tally_put(t, 0, &c), TACIT_SHAPE);
    c = chunk(&in, 3);
    c.len--;
    check_err(tally_put(t, 0, &c), TACIT_SHAPE);
    c = chunk(&in, 3);
    c.index = 0; /* the short last one in another's place */
    check_err(tally_put(t, 0, &c), TACIT_SHAPE);
    check_err(put(t, SECAGG_CLIENTS_MAX, &in, 0), TACIT_LIMIT);
    in.m.n_chunks--;
    check_err(tally_add(t, 0, &in.m), TACIT_SHAPE);
    tally_free(t);
    struct tally_config bad = {.n_coords = 0, .ring_bits = 32};
    check_err(tally_new(&bad, &t), TACIT_LIMIT);
    bad = (struct tally_config){.n_coords = 5, .ring_bits = 16};
    check_err(tally_new(&bad, &t), TACIT_LIMIT);
    free(in.bytes);
}

static void what_a_crash_left_is_cleaned(void **unused)
{
    (void)unused;
    struct input in;
    struct tally *t = begin(N, 32, dir);
    input_make(&in, N, 32, 1);
    check_ok(put(t, 0, &in, 0));
    check_ok(put(t, 1, &in, 1));
    check(n_files() == 2);
    check_ok(tally_clean(dir)); /* as the next process does */
    check(n_files() == 0);
    check_ok(tally_clean("/nonexistent/spool"));
    tally_free(t);
    free(in.bytes);
}

static void a_full_or_missing_spool_is_an_error_that_loses_nothing(
    void **unused)
{
    (void)unused;
    struct input in;
    char gone[300];
    snprintf(gone, sizeof gone, "%s/gone", dir);
    struct tally *t = begin(N, 32, gone);
    input_make(&in, N, 32, 1);
    check_err(put(t, 0, &in, 0), TACIT_IO);
    check(mkdir(gone, 0700) == 0);
    for (uint32_t i = 0; i < in.m.n_chunks; i++) check_ok(put(t, 0, &in, i));
    check_ok(tally_add(t, 0, &in.m));
    tally_free(t);
    free(in.bytes);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(the_sum_is_exact_for_any_order_of_chunks),
        T(an_input_counts_once),
        T(missing_chunks_are_named_and_can_be_sent_later),
        T(damage_is_refused_and_the_upload_starts_again),
        T(wrong_shapes_are_refused),
        T(what_a_crash_left_is_cleaned),
        T(a_full_or_missing_spool_is_an_error_that_loses_nothing),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/wire/blob.h"

enum { BIG = 3 * WIRE_CHUNK_MAX + 1234 };

static uint8_t big[BIG];
static struct digest big_hash;

static const uint8_t *chunk_of(uint32_t i)
{
    return big + (size_t)i * WIRE_CHUNK_MAX;
}

static void write_chunk(struct blob_part *p, uint32_t i)
{
    check_ok(blob_part_write(p, i, chunk_of(i), blob_chunk_len(BIG, i)));
}

static void path_of(const char *dir, const char *suffix, char out[600])
{
    char path[512];
    check_ok(blob_path(dir, &big_hash, path, sizeof path));
    snprintf(out, 600, "%s%s", path, suffix);
}

static void overwrite(const char *path, long at, uint8_t byte)
{
    FILE *f = fopen(path, "r+b");
    check(f != NULL);
    fseek(f, at, SEEK_SET);
    fputc(byte, f);
    fclose(f);
}

static void chunks_cover_a_blob_exactly(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1,
                                     2,
                                     WIRE_CHUNK_MAX - 1,
                                     WIRE_CHUNK_MAX,
                                     WIRE_CHUNK_MAX + 1,
                                     BIG,
                                     WIRE_BLOB_MAX};
    check(blob_n_chunks(0) == 0);
    check(blob_chunk_len(0, 0) == 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t sum = 0;
        uint32_t n = blob_n_chunks(sizes[i]);
        for (uint32_t k = 0; k < n; k++) sum += blob_chunk_len(sizes[i], k);
        check(sum == sizes[i]);
        check(blob_chunk_len(sizes[i], n) == 0);
    }
}

static void what_is_put_is_got_whole_and_in_chunks(void **state)
{
    (void)state;
    char dir[256], sub[300];
    struct digest hash;
    struct buf out;
    uint64_t total;
    check_tmpdir(dir);
    snprintf(sub, sizeof sub, "%s/deep/blobs", dir);
    buf_init(&out, 0);
    check(!blob_has(sub, &big_hash));
    check_ok(blob_put(sub, big, BIG, &hash));
    check(digest_equal(&hash, &big_hash));
    check(blob_has(sub, &hash));
    check_ok(blob_put(sub, big, BIG, &hash)); /* again: nothing changes */
    check_ok(blob_verify(sub, &hash));
    check_ok(blob_get(sub, &hash, BIG, &out));
    check(out.len == BIG && memcmp(out.data, big, BIG) == 0);
    buf_clear(&out);
    for (uint32_t i = 0; i < blob_n_chunks(BIG); i++)
        check_ok(blob_chunk(sub, &hash, i, &total, &out));
    check(total == BIG);
    check(out.len == BIG && memcmp(out.data, big, BIG) == 0);
    check_err(blob_chunk(sub, &hash, blob_n_chunks(BIG), &total, &out),
              TACIT_NOTFOUND);
    check_err(blob_get(sub, &hash, BIG - 1, &out), TACIT_LIMIT);
    buf_release(&out);
    check_tmpdir_remove(dir);
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    char dir[256];
    struct buf out;
    uint64_t total;
    check_tmpdir(dir);
    buf_init(&out, 0);
    check_err(blob_get(dir, &big_hash, BIG, &out), TACIT_NOTFOUND);
    check_err(blob_verify(dir, &big_hash), TACIT_NOTFOUND);
    check_err(blob_chunk(dir, &big_hash, 0, &total, &out), TACIT_NOTFOUND);
    buf_release(&out);
    check_tmpdir_remove(dir);
}

static void a_damaged_blob_is_refused_and_mended_by_a_put(void **state)
{
    (void)state;
    char dir[256], path[600];
    struct digest hash;
    struct buf out;
    struct blob_part *p;
    check_tmpdir(dir);
    buf_init(&out, 0);
    check_ok(blob_put(dir, big, BIG, &hash));
    path_of(dir, "", path);
    overwrite(path, 77, (uint8_t)~big[77]);
    check_err(blob_get(dir, &hash, BIG, &out), TACIT_FORMAT);
    check(out.len == 0);
    check_err(blob_verify(dir, &hash), TACIT_FORMAT);
    /* One that is received does not rely on the damaged one either. */
    check_ok(blob_part_open(dir, &hash, BIG, &p));
    check(blob_part_next(p) == 0);
    blob_part_close(p);
    check_ok(blob_put(dir, big, BIG, &hash));
    check_ok(blob_verify(dir, &hash));
    buf_release(&out);
    check_tmpdir_remove(dir);
}

static void a_part_goes_on_after_a_restart(void **state)
{
    (void)state;
    char dir[256];
    struct blob_part *p;
    check_tmpdir(dir);
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    check(blob_part_next(p) == 0);
    write_chunk(p, 0);
    write_chunk(p, 2);
    check(blob_part_next(p) == 1);
    check_err(blob_part_finish(p), TACIT_STATE);
    blob_part_close(p);
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    check(blob_part_next(p) == 1);
    write_chunk(p, 1);
    check(blob_part_next(p) == 3);
    write_chunk(p, 1); /* a repeat changes nothing */
    write_chunk(p, 3);
    check(blob_part_next(p) == 4);
    check(!blob_has(dir, &big_hash));
    check_ok(blob_part_finish(p));
    check_ok(blob_part_finish(p));
    blob_part_close(p);
    check_ok(blob_verify(dir, &big_hash));
    /* Only the blob is left, and a part of it is complete at once. */
    char path[600];
    path_of(dir, ".part", path);
    check(!file_exists(path));
    path_of(dir, ".map", path);
    check(!file_exists(path));
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    check(blob_part_next(p) == 4);
    check_ok(blob_part_finish(p));
    blob_part_close(p);
    check_tmpdir_remove(dir);
}

static void the_map_is_on_disk_every_sixteen_chunks(void **state)
{
    (void)state;
    enum { N = BLOB_SYNC_CHUNKS + 2 };
    char dir[256], path[600];
    struct blob_part *p;
    struct buf map;
    uint8_t *chunk = calloc(1, WIRE_CHUNK_MAX);
    check(chunk != NULL);
    check_tmpdir(dir);
    buf_init(&map, 0);
    check_ok(blob_part_open(dir, &big_hash, (uint64_t)N * WIRE_CHUNK_MAX, &p));
    for (uint32_t i = 0; i < N; i++)
        check_ok(blob_part_write(p, i, chunk, WIRE_CHUNK_MAX));
    /* What a process that dies now would leave: the first sixteen. */
    path_of(dir, ".map", path);
    check_ok(file_read(path, 4096, &map));
    check(map.len == 12 + 3);
    check(map.data[12] == 0xff && map.data[13] == 0xff && map.data[14] == 0);
    blob_part_close(p);
    buf_clear(&map);
    check_ok(file_read(path, 4096, &map));
    check(map.data[14] == 3);
    buf_release(&map);
    free(chunk);
    check_tmpdir_remove(dir);
}

static void wrong_chunks_are_refused(void **state)
{
    (void)state;
    char dir[256];
    struct blob_part *p;
    check_tmpdir(dir);
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    check_err(blob_part_write(p, 4, big, 1), TACIT_FORMAT);
    check_err(blob_part_write(p, 0, big, WIRE_CHUNK_MAX - 1), TACIT_FORMAT);
    check_err(blob_part_write(p, 3, big, WIRE_CHUNK_MAX), TACIT_FORMAT);
    check_err(blob_part_write(p, UINT32_MAX, big, 0), TACIT_FORMAT);
    check(blob_part_next(p) == 0);
    blob_part_close(p);
    check_err(blob_part_open(dir, &big_hash, 0, &p), TACIT_FORMAT);
    check_err(blob_part_open(dir, &big_hash, WIRE_BLOB_MAX + 1ull, &p),
              TACIT_LIMIT);
    check_tmpdir_remove(dir);
}

static void content_that_does_not_match_its_name_starts_again(void **state)
{
    (void)state;
    char dir[256];
    struct blob_part *p;
    check_tmpdir(dir);
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    for (uint32_t i = 0; i < 4; i++)
        check_ok(blob_part_write(p, i, chunk_of(i == 1 ? 0 : i),
                                 blob_chunk_len(BIG, i)));
    check_err(blob_part_finish(p), TACIT_FORMAT);
    check(!blob_has(dir, &big_hash));
    check(blob_part_next(p) == 0);
    for (uint32_t i = 0; i < 4; i++) write_chunk(p, i);
    check_ok(blob_part_finish(p));
    blob_part_close(p);
    check_ok(blob_verify(dir, &big_hash));
    check_tmpdir_remove(dir);
}

static void a_damaged_map_or_a_short_part_starts_again(void **state)
{
    (void)state;
    char dir[256], map[600], part[600];
    struct blob_part *p;
    check_tmpdir(dir);
    path_of(dir, ".map", map);
    path_of(dir, ".part", part);
    for (int damage = 0; damage < 5; damage++) {
        uint64_t total = BIG;
        check_ok(blob_part_open(dir, &big_hash, BIG, &p));
        write_chunk(p, 0);
        write_chunk(p, 1);
        blob_part_close(p);
        if (damage == 0) overwrite(map, 0, 'X');
        if (damage == 1) overwrite(map, 12, 0xff); /* bits past the end */
        if (damage == 2) check(truncate(map, 5) == 0);
        if (damage == 3) check(truncate(part, WIRE_CHUNK_MAX + 5) == 0);
        if (damage == 4) total = BIG - 1;
        check_ok(blob_part_open(dir, &big_hash, total, &p));
        check(blob_part_next(p) == 0);
        blob_part_close(p);
    }
    check_tmpdir_remove(dir);
}

static void a_part_belongs_to_one_process(void **state)
{
    (void)state;
    char dir[256];
    struct blob_part *p, *q;
    check_tmpdir(dir);
    check_ok(blob_part_open(dir, &big_hash, BIG, &p));
    check_code(blob_part_open(dir, &big_hash, BIG, &q), E_STORE_BUSY);
    blob_part_close(p);
    check_ok(blob_part_open(dir, &big_hash, BIG, &q));
    blob_part_close(q);
    check_tmpdir_remove(dir);
}

static void folders_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    char dir[256], file[300], far_away[5000];
    struct blob_part *p;
    struct digest hash;
    struct buf out;
    uint64_t total;
    check_tmpdir(dir);
    buf_init(&out, 0);
    snprintf(file, sizeof file, "%s/file", dir);
    check_ok(file_write(file, "x", 1, 0600));
    check(blob_put(file, big, 10, &hash) != TACIT_OK);
    check(strstr(err_message(), file) != NULL);
    err_clear();
    check(blob_part_open(file, &big_hash, BIG, &p) != TACIT_OK);
    err_clear();
    memset(far_away, 'a', sizeof far_away - 1);
    far_away[sizeof far_away - 1] = '\0';
    check(!blob_has(far_away, &big_hash));
    check_err(blob_put(far_away, big, 10, &hash), TACIT_LIMIT);
    check_err(blob_part_open(far_away, &big_hash, BIG, &p), TACIT_LIMIT);
    check_err(blob_chunk(far_away, &big_hash, 0, &total, &out), TACIT_LIMIT);
    check_err(blob_put(dir, big, (size_t)WIRE_BLOB_MAX + 1, &hash),
              TACIT_LIMIT);
    buf_release(&out);
    check_tmpdir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_cover_a_blob_exactly),
        cmocka_unit_test(what_is_put_is_got_whole_and_in_chunks),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(a_damaged_blob_is_refused_and_mended_by_a_put),
        cmocka_unit_test(a_part_goes_on_after_a_restart),
        cmocka_unit_test(the_map_is_on_disk_every_sixteen_chunks),
        cmocka_unit_test(wrong_chunks_are_refused),
        cmocka_unit_test(content_that_does_not_match_its_name_starts_again),
        cmocka_unit_test(a_damaged_map_or_a_short_part_starts_again),
        cmocka_unit_test(a_part_belongs_to_one_process),
        cmocka_unit_test(folders_that_cannot_be_used_are_named),
    };
    struct rng r;
    rng_setup();
    rng_init(&r, 5, 6, 7);
    for (size_t i = 0; i < BIG; i++) big[i] = (uint8_t)rng_u64(&r);
    digest_of(&big_hash, big, BIG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

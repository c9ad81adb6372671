/* tally: see tally.h. A chunk is written once, read twice (hash, then add). */
#include "coordinator/tally.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/privacy/ring.h"
#include "common/wire/blob.h"
#include "common/wire/limits.h"

/* One device's upload. */
struct upload {
    int added;
    int fd;         /* spool file, -1 = none */
    uint8_t *bytes; /* without a spool file: the input, owned */
    uint32_t n_held;
    struct digest *hashes; /* [n_chunks], owned; valid where held */
    uint8_t *held;         /* [(n_chunks + 7) / 8], owned */
};

struct tally {
    uint32_t n_coords, ring_bits, n_chunks;
    uint64_t total_bytes;
    unsigned n_added;
    char spool[512];  /* path prefix "dir/<hex>-", "" = memory */
    uint32_t *sum;    /* [n_coords] */
    uint8_t *chunk;   /* [WIRE_CHUNK_MAX] */
    uint32_t *coords; /* [chunk / bytes per coordinate] */
    struct upload uploads[SECAGG_CLIENTS_MAX];
};

static size_t coord_bytes(const struct tally *t)
{
    return t->ring_bits / 8;
}

static uint32_t chunk_len(const struct tally *t, uint32_t index)
{
    uint64_t at = (uint64_t)index * WIRE_CHUNK_MAX;
    uint64_t left = t->total_bytes - at;
    return left < WIRE_CHUNK_MAX ? (uint32_t)left : (uint32_t)WIRE_CHUNK_MAX;
}

enum tacit_err tally_new(const struct tally_config *c, struct tally **out)
{
    if (c->n_coords == 0 || c->n_coords > WIRE_PARAMS_MAX ||
        (c->ring_bits != 24 && c->ring_bits != 32))
        return fail(TACIT_LIMIT, "a sum of %u coordinates of %u bits",
                    c->n_coords, c->ring_bits);
    struct tally *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "a tally");
    t->n_coords = c->n_coords;
    t->ring_bits = c->ring_bits;
    t->total_bytes = (uint64_t)c->n_coords * coord_bytes(t);
    t->n_chunks = blob_n_chunks(t->total_bytes);
    for (size_t i = 0; i < SECAGG_CLIENTS_MAX; i++) t->uploads[i].fd = -1;
    t->sum = calloc(c->n_coords, sizeof *t->sum);
    t->chunk = malloc(WIRE_CHUNK_MAX);
    /* A chunk boundary may cut a 24-bit coordinate: room for the rest. */
    t->coords =
        malloc((WIRE_CHUNK_MAX / coord_bytes(t) + 2) * sizeof(uint32_t));
    if (!t->sum || !t->chunk || !t->coords) {
        tally_free(t);
        return fail(TACIT_NOMEM, "a sum of %u coordinates", c->n_coords);
    }
    if (c->spool_dir && t->n_chunks > 1) {
        char hex[17];
        hex_encode(hex, c->session, 8);
        int n =
            snprintf(t->spool, sizeof t->spool, "%s/%s-", c->spool_dir, hex);
        if (n < 0 || (size_t)n >= sizeof t->spool - 8) {
            tally_free(t);
            return fail(TACIT_LIMIT, "%s: the path is too long", c->spool_dir);
        }
    }
    *out = t;
    return TACIT_OK;
}

static void upload_path(const struct tally *t, unsigned seat, char *out,
                        size_t cap)
{
    snprintf(out, cap, "%s%u", t->spool, seat);
}

/* Forget what was uploaded; `added` stays. */
static void upload_drop(struct tally *t, unsigned seat)
{
    struct upload *u = &t->uploads[seat];
    if (u->fd >= 0) {
        char path[sizeof t->spool + 16];
        upload_path(t, seat, path, sizeof path);
        close(u->fd);
        unlink(path);
    }
    free(u->bytes);
    free(u->hashes);
    free(u->held);
    *u = (struct upload){.fd = -1, .added = u->added};
}

void tally_free(struct tally *t)
{
    if (!t) return;
    for (unsigned i = 0; i < SECAGG_CLIENTS_MAX; i++) upload_drop(t, i);
    free(t->sum);
    free(t->chunk);
    free(t->coords);
    free(t);
}

uint32_t tally_n_chunks(const struct tally *t)
{
    return t->n_chunks;
}

unsigned tally_n_added(const struct tally *t)
{
    return t->n_added;
}

uint32_t *tally_sum(struct tally *t)
{
    return t->sum;
}

static int is_held(const struct upload *u, uint32_t index)
{
    return u->held && (u->held[index / 8] >> (index % 8) & 1);
}

static enum tacit_err io_error(const char *what)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return fail_as(E_DISK_FULL, "spool: %s: %s", what, strerror(errno));
    return fail(TACIT_IO, "spool: %s: %s", what, strerror(errno));
}

static enum tacit_err upload_begin(struct tally *t, unsigned seat)
{
    struct upload *u = &t->uploads[seat];
    if (u->held) return TACIT_OK;
    u->held = calloc((t->n_chunks + 7) / 8, 1);
    u->hashes = calloc(t->n_chunks, sizeof *u->hashes);
    if (!t->spool[0]) u->bytes = malloc(t->total_bytes);
    if (!u->held || !u->hashes || (!t->spool[0] && !u->bytes)) {
        upload_drop(t, seat);
        return fail(TACIT_NOMEM, "an upload of %llu bytes",
                    (unsigned long long)t->total_bytes);
    }
    if (!t->spool[0]) return TACIT_OK;
    char path[sizeof t->spool + 16];
    upload_path(t, seat, path, sizeof path);
    u->fd =
        open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (u->fd >= 0) return TACIT_OK;
    enum tacit_err err = io_error("open");
    upload_drop(t, seat);
    return err;
}

static enum tacit_err chunk_write(struct upload *u, uint32_t index,
                                  const uint8_t *bytes, uint32_t len)
{
    uint64_t at = (uint64_t)index * WIRE_CHUNK_MAX;
    if (u->bytes) {
        memcpy(u->bytes + at, bytes, len);
        return TACIT_OK;
    }
    while (len > 0) {
        ssize_t n = pwrite(u->fd, bytes, len, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return io_error("write");
        bytes += n;
        at += (uint64_t)n;
        len -= (uint32_t)n;
    }
    return TACIT_OK;
}

/* Chunk index into t->chunk. */
static enum tacit_err chunk_read(struct tally *t, const struct upload *u,
                                 uint32_t index)
{
    uint64_t at = (uint64_t)index * WIRE_CHUNK_MAX;
    size_t len = chunk_len(t, index), got = 0;
    if (u->bytes) {
        memcpy(t->chunk, u->bytes + at, len);
        return TACIT_OK;
    }
    while (got < len) {
        ssize_t n = pread(u->fd, t->chunk + got, len - got, (off_t)(at + got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error("read");
        if (n == 0) return fail(TACIT_IO, "spool: the file is too short");
        got += (size_t)n;
    }
    return TACIT_OK;
}

enum tacit_err tally_put(struct tally *t, unsigned seat,
                         const struct msg_chunk_put *c)
{
    if (seat >= SECAGG_CLIENTS_MAX) return fail(TACIT_LIMIT, "seat %u", seat);
    if (c->n_chunks != t->n_chunks || c->index >= t->n_chunks ||
        c->len != chunk_len(t, c->index))
        return fail(TACIT_SHAPE,
                    "chunk %u of %u with %u bytes: an input here has %u chunks "
                    "and %llu bytes",
                    c->index, c->n_chunks, c->len, t->n_chunks,
                    (unsigned long long)t->total_bytes);
    struct upload *u = &t->uploads[seat];
    if (u->added) return TACIT_OK;
    struct digest hash;
    digest_of(&hash, c->bytes, c->len);
    if (!digest_equal(&hash, &c->hash))
        return fail_as(E_INPUT_DAMAGED, "chunk %u does not match its hash",
                       c->index);
    TRY(upload_begin(t, seat));
    if (is_held(u, c->index)) {
        if (digest_equal(&u->hashes[c->index], &hash)) return TACIT_OK;
        return fail_as(E_INPUT_DAMAGED,
                       "chunk %u came twice with different "
                       "content",
                       c->index);
    }
    TRY(chunk_write(u, c->index, c->bytes, c->len));
    u->hashes[c->index] = hash;
    u->held[c->index / 8] |= (uint8_t)(1U << (c->index % 8));
    u->n_held++;
    return TACIT_OK;
}

void tally_held(const struct tally *t, unsigned seat, struct buf *bitmap)
{
    const struct upload *u = &t->uploads[seat];
    size_t n = (t->n_chunks + 7) / 8;
    if (u->held) {
        buf_put(bitmap, u->held, n);
        return;
    }
    uint8_t *bits = buf_extend(bitmap, n);
    if (!bits) return;
    memset(bits, u->added ? 0xff : 0, n);
    if (u->added && t->n_chunks % 8)
        bits[n - 1] = (uint8_t)((1U << (t->n_chunks % 8)) - 1);
}

/* The whole content, once more from where it lies. */
static enum tacit_err upload_check(struct tally *t, const struct upload *u,
                                   const struct digest *want)
{
    struct digest_state state;
    struct digest got;
    digest_begin(&state);
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        TRY(chunk_read(t, u, i));
        digest_add(&state, t->chunk, chunk_len(t, i));
    }
    digest_end(&state, &got);
    if (!digest_equal(&got, want))
        return fail_as(E_INPUT_DAMAGED, "the input does not match its hash");
    return TACIT_OK;
}

static void add_coords(struct tally *t, uint32_t *at, const uint8_t *bytes,
                       size_t n)
{
    ring_unpack(t->coords, bytes, n, t->ring_bits);
    ring_add(t->sum + *at, t->coords, n, t->ring_bits);
    *at += (uint32_t)n;
}

/* Every chunk was read a moment ago by upload_check(); if reading fails now the
 * sum is damaged and the caller must give the round up. */
static enum tacit_err upload_sum(struct tally *t, const struct upload *u)
{
    size_t size = coord_bytes(t);
    uint8_t cut[4]; /* a coordinate that a chunk boundary cut */
    size_t n_cut = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < t->n_chunks; i++) {
        TRY(chunk_read(t, u, i));
        size_t len = chunk_len(t, i), skip = 0;
        if (n_cut) {
            skip = size - n_cut;
            memcpy(cut + n_cut, t->chunk, skip);
            add_coords(t, &at, cut, 1);
        }
        size_t n = (len - skip) / size;
        add_coords(t, &at, t->chunk + skip, n);
        n_cut = len - skip - n * size;
        memcpy(cut, t->chunk + len - n_cut, n_cut);
    }
    return TACIT_OK;
}

enum tacit_err tally_add(struct tally *t, unsigned seat,
                         const struct msg_input *input)
{
    if (seat >= SECAGG_CLIENTS_MAX) return fail(TACIT_LIMIT, "seat %u", seat);
    struct upload *u = &t->uploads[seat];
    if (u->added) return TACIT_OK;
    if (input->n_chunks != t->n_chunks)
        return fail(TACIT_SHAPE, "an input of %u chunks, not %u",
                    input->n_chunks, t->n_chunks);
    if (u->n_held != t->n_chunks)
        return fail(TACIT_STATE, "%u of %u chunks are here", u->n_held,
                    t->n_chunks);
    enum tacit_err err = upload_check(t, u, &input->hash);
    if (err == TACIT_FORMAT) upload_drop(t, seat);
    if (err != TACIT_OK) return err;
    err = upload_sum(t, u);
    if (err != TACIT_OK)
        return fail(TACIT_INTERNAL, "the sum was left half added");
    u->added = 1;
    t->n_added++;
    upload_drop(t, seat);
    return TACIT_OK;
}

enum tacit_err tally_clean(const char *spool_dir)
{
    DIR *d = opendir(spool_dir);
    if (!d) return errno == ENOENT ? TACIT_OK : io_error("open the folder");
    struct dirent *e;
    while ((e = readdir(d))) {
        char path[1024];
        int n = snprintf(path, sizeof path, "%s/%s", spool_dir, e->d_name);
        if (e->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof path) continue;
        unlink(path);
    }
    closedir(d);
    return TACIT_OK;
}

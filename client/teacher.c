#include "client/teacher.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tensor/quant.h"

enum {
    ROUND = 1024,          /* texts between two writes, */
    ROUND_BYTES = 1 << 14, /* or so many bytes: Ctrl-C waits for no more */
    HEAD = 64,
    MAGIC = 16,
    TEXTS_MAX = 1 << 24,
    SCRATCH_MAX = 256 << 20
};
static const char magic[MAGIC + 1] = "tacit-teacher-1\n";

/* Numbers of records by the first bytes of their digests: open addressing. */
struct teacher {
    const struct encoder *e; /* borrowed */
    char *path;              /* owned */
    int fd;
    size_t dim, record; /* bytes of a record */
    uint8_t *digest;    /* [n, DIGEST_BYTES], owned */
    size_t n, cap;
    uint32_t *slot; /* [n_slots], record + 1; 0 is free; owned */
    size_t n_slots;
};

/* ---- the index ---------------------------------------------------------- */

static uint32_t *slot_of(struct teacher *t, const uint8_t *digest)
{
    uint64_t h;
    memcpy(&h, digest, sizeof h);
    for (size_t i = h & (t->n_slots - 1);; i = (i + 1) & (t->n_slots - 1)) {
        uint32_t r = t->slot[i];
        if (!r || memcmp(t->digest + (size_t)(r - 1) * DIGEST_BYTES, digest,
                         DIGEST_BYTES) == 0)
            return &t->slot[i];
    }
}

static enum tacit_err grow(struct teacher *t)
{
    size_t cap = t->cap ? 2 * t->cap : 4096;
    if (cap > TEXTS_MAX)
        return fail(TACIT_LIMIT, "%s has more than %d texts", t->path,
                    TEXTS_MAX / 2);
    uint8_t *digest = realloc(t->digest, cap * DIGEST_BYTES);
    if (digest) t->digest = digest;
    uint32_t *slot = calloc(2 * cap, sizeof *slot);
    if (!digest || !slot) {
        free(slot);
        return fail(TACIT_NOMEM, "no memory for %zu texts", cap);
    }
    free(t->slot);
    t->slot = slot;
    t->n_slots = 2 * cap;
    t->cap = cap;
    for (size_t i = 0; i < t->n; i++)
        *slot_of(t, digest + i * DIGEST_BYTES) = (uint32_t)i + 1;
    return TACIT_OK;
}

static enum tacit_err note(struct teacher *t, const uint8_t *digest)
{
    if (t->n == t->cap) TRY(grow(t));
    memcpy(t->digest + t->n * DIGEST_BYTES, digest, DIGEST_BYTES);
    t->n++;
    *slot_of(t, digest) = (uint32_t)t->n;
    return TACIT_OK;
}

/* ---- the file ----------------------------------------------------------- */

static enum tacit_err failed(const struct teacher *t)
{
    return fail(TACIT_IO, "%s: %s", t->path, strerror(errno));
}

static enum tacit_err read_at(const struct teacher *t, void *out, size_t n,
                              uint64_t at)
{
    ssize_t k = pread(t->fd, out, n, (off_t)at);
    if (k < 0) return failed(t);
    return (size_t)k == n
               ? TACIT_OK
               : fail(TACIT_FORMAT, "%s ends in the middle", t->path);
}

static enum tacit_err write_at(const struct teacher *t, const void *bytes,
                               size_t n, uint64_t at)
{
    const uint8_t *from = bytes;
    while (n > 0) {
        ssize_t k = pwrite(t->fd, from, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return failed(t);
        from += k;
        at += (uint64_t)k;
        n -= (size_t)k;
    }
    return TACIT_OK;
}

static uint64_t place(const struct teacher *t, size_t record)
{
    return HEAD + (uint64_t)record * t->record;
}

static enum tacit_err check_head(struct teacher *t, uint64_t bytes)
{
    uint8_t want[HEAD] = {0}, got[HEAD];
    uint32_t dim = (uint32_t)t->dim;
    char version[ENCODER_VERSION_MAX] = {0};
    memcpy(want, magic, MAGIC);
    encoder_version(t->e, version);
    memcpy(want + MAGIC, version, sizeof version);
    memcpy(want + MAGIC + sizeof version, &dim, sizeof dim);
    if (bytes == 0) return write_at(t, want, HEAD, 0);
    if (bytes < HEAD)
        return fail(TACIT_FORMAT, "%s is no file of vectors", t->path);
    TRY(read_at(t, got, HEAD, 0));
    if (memcmp(got, magic, MAGIC) != 0)
        return fail(TACIT_FORMAT, "%s is no file of vectors", t->path);
    return memcmp(got, want, HEAD) == 0
               ? TACIT_OK
               : fail(TACIT_FORMAT,
                      "%s holds vectors of another teacher; name another file",
                      t->path);
}

static enum tacit_err read_index(struct teacher *t, uint64_t bytes)
{
    size_t n = bytes < HEAD ? 0 : (size_t)((bytes - HEAD) / t->record);
    uint8_t digest[DIGEST_BYTES];
    TRY(grow(t));
    for (size_t i = 0; i < n; i++) {
        TRY(read_at(t, digest, sizeof digest, place(t, i)));
        TRY(note(t, digest));
    }
    return TACIT_OK;
}

static enum tacit_err open_file(struct teacher *t)
{
    struct stat s;
    t->fd = open(t->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->fd < 0 || fstat(t->fd, &s) != 0) return failed(t);
    if (flock(t->fd, LOCK_EX | LOCK_NB) != 0)
        return fail(TACIT_STATE, "%s is in use by another process", t->path);
    TRY(check_head(t, (uint64_t)s.st_size));
    return read_index(t, (uint64_t)s.st_size);
}

enum tacit_err teacher_open(const char *path, const struct encoder *e,
                            struct teacher **out)
{
    struct teacher *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "no memory for the teacher");
    t->fd = -1;
    t->e = e;
    t->dim = encoder_dim(e);
    t->record = DIGEST_BYTES + 2 * t->dim;
    t->path = strdup(path);
    enum tacit_err err =
        t->path ? open_file(t) : fail(TACIT_NOMEM, "no memory for the teacher");
    if (err)
        teacher_close(t);
    else
        *out = t;
    return err;
}

void teacher_close(struct teacher *t)
{
    if (!t) return;
    if (t->fd >= 0) close(t->fd);
    free(t->path);
    free(t->digest);
    free(t->slot);
    free(t);
}

size_t teacher_dim(const struct teacher *t)
{
    return t->dim;
}

/* ---- embedding ---------------------------------------------------------- */

struct round {
    struct text texts[ROUND];
    uint8_t digest[ROUND][DIGEST_BYTES];
    size_t n, bytes; /* of texts */
    float *vector;   /* [ROUND, dim] */
    uint8_t *record; /* [ROUND, record bytes] */
    struct arena scratch;
};

/* Records first, then their index: a kill leaves whole records or a cut one,
 * which the next open drops and the next write covers. */
static enum tacit_err embed_round(struct teacher *t, struct round *r)
{
    if (r->n == 0) return TACIT_OK;
    arena_reset(&r->scratch);
    TRY(encoder_embed_all(t->e, &r->scratch, r->texts, r->n, r->vector));
    for (size_t i = 0; i < r->n; i++) {
        uint8_t *to = r->record + i * t->record;
        memcpy(to, r->digest[i], DIGEST_BYTES);
        TRY(quant_encode(QUANT_F16, r->vector + i * t->dim, to + DIGEST_BYTES,
                         t->dim));
    }
    TRY(write_at(t, r->record, r->n * t->record, place(t, t->n)));
    for (size_t i = 0; i < r->n; i++) TRY(note(t, r->digest[i]));
    r->n = r->bytes = 0;
    return TACIT_OK;
}

static int is_waiting(const struct round *r, const uint8_t *digest)
{
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(r->digest[i], digest, DIGEST_BYTES) == 0) return 1;
    return 0;
}

static enum tacit_err embed_missing(struct teacher *t, struct round *r,
                                    const struct teacher_job *job)
{
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < job->n; i++) {
        struct digest d;
        digest_of(&d, job->texts[i].s, job->texts[i].n);
        if (!*slot_of(t, d.b) && !is_waiting(r, d.b)) {
            memcpy(r->digest[r->n], d.b, DIGEST_BYTES);
            r->texts[r->n++] = job->texts[i];
            r->bytes += job->texts[i].n;
        }
        if (r->n < ROUND && r->bytes < ROUND_BYTES && i + 1 < job->n) continue;
        err = embed_round(t, r);
        if (!err && job->step) err = job->step(job->ctx, i + 1, job->n);
    }
    return err;
}

static enum tacit_err take(struct teacher *t, uint8_t *record,
                           const struct text *text, float *out)
{
    struct digest d;
    digest_of(&d, text->s, text->n);
    size_t at = *slot_of(t, d.b) - 1;
    TRY(read_at(t, record, t->record, place(t, at)));
    quant_decode(QUANT_F16, record + DIGEST_BYTES, out, t->dim);
    double length = 0;
    for (size_t i = 0; i < t->dim; i++) length += (double)out[i] * out[i];
    if (memcmp(record, d.b, DIGEST_BYTES) == 0 &&
        (length == 0 || fabs(length - 1) < 0.01))
        return TACIT_OK;
    return fail(TACIT_FORMAT, "%s is damaged; remove it", t->path);
}

enum tacit_err teacher_embed(struct teacher *t, const struct teacher_job *job)
{
    struct round *r = calloc(1, sizeof *r);
    if (!r) return fail(TACIT_NOMEM, "no memory for the teacher");
    arena_init(&r->scratch, SCRATCH_MAX);
    r->vector = malloc(ROUND * t->dim * sizeof *r->vector);
    r->record = malloc(ROUND * t->record);
    enum tacit_err err = TACIT_OK;
    if (!r->vector || !r->record)
        err = fail(TACIT_NOMEM, "no memory for the teacher");
    if (!err) err = embed_missing(t, r, job);
    for (size_t i = 0; !err && i < job->n; i++)
        err = take(t, r->record, &job->texts[i], job->out + i * t->dim);
    arena_release(&r->scratch);
    free(r->vector);
    free(r->record);
    free(r);
    return err;
}

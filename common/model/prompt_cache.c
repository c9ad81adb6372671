#include "common/model/prompt_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/crypto/seal.h"

enum {
    MAGIC = 8,
    AT_NAME = MAGIC,
    AT_TOKENS = AT_NAME + DIGEST_BYTES,
    AT_BYTES = AT_TOKENS + 4,
    AT_EXTRA = AT_BYTES + 8,
    HEAD = AT_EXTRA + SEAL_EXTRA,
    NAME_BYTES = DIGEST_HEX + 2, /* "<hash>.kv" */
    HALF_BYTES = NAME_BYTES + 7, /* what a killed process left */
    PATH_CAP = 1024
};

static const char magic[MAGIC + 1] = "TACITKV1";

/* ---- names -------------------------------------------------------------- */

static void add_u32(struct digest_state *s, uint32_t v)
{
    uint8_t b[4];
    le32_store(b, v);
    digest_add(s, b, sizeof b);
}

void prompt_cache_name(const struct prompt_prefix *p, const struct kv_shape *s,
                       struct digest *out)
{
    struct digest_state st;
    digest_begin(&st);
    digest_add(&st, magic, MAGIC);
    digest_add(&st, p->model->b, DIGEST_BYTES);
    add_u32(&st, (uint32_t)s->type);
    add_u32(&st, (uint32_t)p->n_edges);
    for (size_t i = 0; i < p->n_edges; i++) add_u32(&st, p->edge[i]);
    for (size_t i = 0; i < p->n; i++) add_u32(&st, p->token[i]);
    digest_end(&st, out);
}

static enum tacit_err path_of(const struct prompt_cache *c,
                              const struct digest *name, char out[PATH_CAP])
{
    char hex[DIGEST_HEX], file[DIGEST_HEX + 4];
    hex_encode(hex, name->b, DIGEST_BYTES);
    snprintf(file, sizeof file, "%s.kv", hex);
    return file_join(out, PATH_CAP, c->folder, file);
}

/* ---- sealing ------------------------------------------------------------ */

static struct seal_place place_of(const struct digest *name)
{
    return (struct seal_place){SEAL_PROMPT, le64_load(name->b),
                               le64_load(name->b + 8)};
}

static void close_body(const struct prompt_cache *c, const struct digest *name,
                       uint8_t *body, size_t n, uint8_t extra[SEAL_EXTRA])
{
    const struct seal_place place = place_of(name);
    struct digest d;
    if (c->key) {
        seal_close(c->key, &place, body, n, body, extra);
        return;
    }
    digest_of(&d, body, n);
    memset(extra, 0, SEAL_EXTRA);
    memcpy(extra, d.b, DIGEST_BYTES);
}

static enum tacit_err open_body(const struct prompt_cache *c,
                                const struct digest *name, uint8_t *body,
                                size_t n, const uint8_t extra[SEAL_EXTRA])
{
    const struct seal_place place = place_of(name);
    struct digest d;
    if (c->key && seal_open(c->key, &place, body, n, extra))
        return fail(TACIT_AUTH, "a prompt's cache does not open");
    if (c->key) return TACIT_OK;
    digest_of(&d, body, n);
    if (memcmp(d.b, extra, DIGEST_BYTES) != 0)
        return fail(TACIT_FORMAT, "a prompt's cache is damaged");
    return TACIT_OK;
}

/* ---- reading ------------------------------------------------------------ */

enum tacit_err prompt_cache_decode(const struct prompt_cache *c,
                                   const struct prompt_prefix *p,
                                   uint8_t *bytes, size_t n, struct kv *kv)
{
    struct digest name;
    size_t values = kv_packed_bytes(kv, p->n), tokens = 4 * p->n;
    prompt_cache_name(p, kv_shape(kv), &name);
    if (n < HEAD || memcmp(bytes, magic, MAGIC) != 0 ||
        memcmp(bytes + AT_NAME, name.b, DIGEST_BYTES) != 0 ||
        le32_load(bytes + AT_TOKENS) != p->n ||
        le64_load(bytes + AT_BYTES) != values || n != HEAD + tokens + values)
        return fail(TACIT_FORMAT, "a prompt's cache is not of this prompt");
    TRY(open_body(c, &name, bytes + HEAD, n - HEAD, bytes + AT_EXTRA));
    for (size_t i = 0; i < p->n; i++)
        if (le32_load(bytes + HEAD + 4 * i) != p->token[i])
            return fail(TACIT_FORMAT, "a prompt's cache has other tokens");
    return kv_unpack(kv, bytes + HEAD + tokens, values, p->n);
}

enum tacit_err prompt_cache_read(const struct prompt_cache *c,
                                 const struct prompt_prefix *p, struct kv *kv,
                                 int *found)
{
    struct digest name;
    struct buf b;
    char path[PATH_CAP];
    *found = 0;
    if (p->n > kv_shape(kv)->n_max) return TACIT_OK;
    prompt_cache_name(p, kv_shape(kv), &name);
    enum tacit_err err = path_of(c, &name, path);
    buf_init(&b, 0);
    if (!err)
        err = file_read(path, HEAD + 4 * p->n + kv_packed_bytes(kv, p->n), &b);
    int is_there = err != TACIT_NOTFOUND;
    if (!err) err = prompt_cache_decode(c, p, b.data, b.len, kv);
    if (!err) {
        *found = 1;
        utimensat(AT_FDCWD, path, NULL, 0); /* used now */
    } else if (is_there && err != TACIT_NOMEM) {
        unlink(path);
    }
    if (err != TACIT_NOMEM) {
        if (err) err_clear();
        err = TACIT_OK;
    }
    buf_wipe(&b);
    return err;
}

/* ---- writing ------------------------------------------------------------ */

struct entry {
    char name[HALF_BYTES + 1];
    uint64_t bytes;
    struct timespec used;
};

static int older(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec)
        return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int is_entry(const char *name)
{
    size_t n = strlen(name);
    return (n == NAME_BYTES || n == HALF_BYTES) &&
           memcmp(name + NAME_BYTES - 3, ".kv", 3) == 0;
}

static size_t list(DIR *dir, struct entry *out, uint64_t *bytes)
{
    struct stat st;
    size_t n = 0;
    for (struct dirent *e; n < PROMPT_CACHE_FILES_MAX && (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (!is_entry(e->d_name) || len >= sizeof out->name ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        out[n].bytes = st.st_size > 0 ? (uint64_t)st.st_size : 0;
        out[n].used = st.st_mtim;
        memcpy(out[n].name, e->d_name, len + 1);
        *bytes += out[n++].bytes;
    }
    return n;
}

/* The oldest go until `wanted` bytes fit beside the rest. */
static void make_room(const struct prompt_cache *c, uint64_t wanted)
{
    struct entry *all = calloc(PROMPT_CACHE_FILES_MAX, sizeof *all);
    DIR *dir = all ? opendir(c->folder) : NULL;
    uint64_t bytes = 0;
    size_t n = dir ? list(dir, all, &bytes) : 0, left = n;
    if (n) qsort(all, n, sizeof *all, older);
    for (size_t i = 0; i < n; i++) {
        if (bytes + wanted <= c->bytes_max && left < PROMPT_CACHE_FILES_MAX)
            break;
        if (unlinkat(dirfd(dir), all[i].name, 0) == 0) left--;
        bytes -= all[i].bytes;
    }
    if (dir) closedir(dir);
    free(all);
}

static enum tacit_err encode(const struct prompt_cache *c,
                             const struct prompt_prefix *p, const struct kv *kv,
                             const struct digest *name, struct buf *b)
{
    size_t values = kv_packed_bytes(kv, p->n), n = HEAD + 4 * p->n + values;
    uint8_t *at = buf_extend(b, n);
    if (!at) return buf_end(b);
    memcpy(at, magic, MAGIC);
    memcpy(at + AT_NAME, name->b, DIGEST_BYTES);
    le32_store(at + AT_TOKENS, (uint32_t)p->n);
    le64_store(at + AT_BYTES, values);
    for (size_t i = 0; i < p->n; i++)
        le32_store(at + HEAD + 4 * i, p->token[i]);
    kv_pack(kv, p->n, at + HEAD + 4 * p->n);
    close_body(c, name, at + HEAD, n - HEAD, at + AT_EXTRA);
    return TACIT_OK;
}

enum tacit_err prompt_cache_write(const struct prompt_cache *c,
                                  const struct prompt_prefix *p,
                                  const struct kv *kv)
{
    struct digest name;
    struct buf b;
    char path[PATH_CAP];
    uint64_t bytes = HEAD + 4 * p->n + kv_packed_bytes(kv, p->n);
    if (bytes > c->bytes_max / 2 || !kv_holds(kv, p->n)) return TACIT_OK;
    prompt_cache_name(p, kv_shape(kv), &name);
    TRY(path_of(c, &name, path));
    if (file_exists(path)) return TACIT_OK;
    TRY(file_mkdirs(c->folder, 0700));
    make_room(c, bytes);
    buf_init(&b, 0);
    enum tacit_err err = encode(c, p, kv, &name, &b);
    if (!err) err = file_write(path, b.data, b.len, 0600);
    buf_wipe(&b);
    return err;
}

void prompt_cache_clear(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));)
        if (is_entry(e->d_name)) unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

#include "sims/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"

static const char magic[16] = "tacit-checkpoint";

enum {
    PATH_BYTES = 4096,
    HASH_SHOWN = 6, /* bytes of a plan's hash in a message */
    HEAD_BYTES = sizeof magic + 4 + DIGEST_BYTES + 4 + DIGEST_BYTES + 8
};

static enum tacit_err path_in(const char *folder, char path[PATH_BYTES])
{
    return file_join(path, PATH_BYTES, folder, CHECKPOINT_NAME);
}

/* ---- writing ------------------------------------------------------------ */

static void put_head(struct fleet *f, struct buf *b)
{
    const struct fleet_config *c = fleet_config(f);
    struct digest data;
    fleet_data_hash(f, &data);
    buf_put(b, magic, sizeof magic);
    buf_put_u32(b, CHECKPOINT_VERSION);
    buf_put(b, c->plan->hash.b, DIGEST_BYTES);
    buf_put_u32(b, (uint32_t)c->n_clients);
    buf_put(b, data.b, DIGEST_BYTES);
    buf_put_u64(b, 0); /* the length, once it is known */
}

enum tacit_err checkpoint_write(const char *folder, struct fleet *f)
{
    char path[PATH_BYTES];
    struct buf b;
    struct digest d;
    TRY(path_in(folder, path));
    TRY(file_mkdirs(folder, 0755));
    buf_init(&b, 0);
    put_head(f, &b);
    enum tacit_err err = fleet_save(f, &b);
    if (!err) {
        le64_store(b.data + HEAD_BYTES - 8, b.len - HEAD_BYTES);
        digest_of(&d, b.data, b.len);
        buf_put(&b, d.b, DIGEST_BYTES);
        err = buf_end(&b);
    }
    if (!err) err = file_write(path, b.data, b.len, 0644);
    buf_release(&b);
    return err;
}

enum tacit_err checkpoint_round(const char *folder, struct fleet *f)
{
    size_t n;
    const struct plan *p = fleet_config(f)->plan;
    (void)fleet_told(f, &n);
    if (n == 0 || n == p->rounds || n % p->sim.checkpoint_every != 0)
        return TACIT_OK;
    return err_context(checkpoint_write(folder, f), "the checkpoint");
}

enum tacit_err checkpoint_keep(const char *folder, struct fleet *f,
                               enum tacit_err err)
{
    char path[PATH_BYTES], why[512];
    size_t n;
    const struct fleet_peers *peers = fleet_config(f)->peers;
    unsigned id = err_id();
    (void)fleet_told(f, &n);
    /* What the plan and its data lead to, they lead to again. */
    if (!err || err == TACIT_LIMIT || n == 0) return err;
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    /* What went wrong matters more than whether this did, too. */
    if (!peers || peers->rank == 0)
        if (checkpoint_write(folder, f)) err_clear();
    /* Another process may have said it. */
    if (strstr(why, "--resume") || path_in(folder, path) ||
        !file_exists(path)) {
        err_clear();
        return err_record(err, id, "%s", why);
    }
    return err_record(err, id, "%s; --resume goes on from %s", why, path);
}

enum tacit_err checkpoint_remove(const char *folder)
{
    char path[PATH_BYTES];
    TRY(path_in(folder, path));
    if (unlink(path) != 0 && errno != ENOENT)
        return fail(TACIT_IO, "%s: cannot remove: %s", path, strerror(errno));
    return TACIT_OK;
}

/* ---- reading ------------------------------------------------------------ */

static enum tacit_err damaged(const char *path, const char *how)
{
    return fail_as(E_CHECKPOINT_DAMAGED, "%s: %s", path, how);
}

/* The bytes are whole, and of a version that is known. */
static enum tacit_err check_whole(const char *path, const struct buf *b)
{
    struct digest d, want;
    if (b->len < sizeof magic + 4 || memcmp(b->data, magic, sizeof magic) != 0)
        return damaged(path, "not a checkpoint");
    uint32_t version = le32_load(b->data + sizeof magic);
    if (version > CHECKPOINT_VERSION)
        return fail_as(E_STORE_NEWER,
                       "%s: written by a newer version (format %u, this one "
                       "reads %d)",
                       path, version, CHECKPOINT_VERSION);
    if (b->len < HEAD_BYTES + DIGEST_BYTES ||
        le64_load(b->data + HEAD_BYTES - 8) !=
            b->len - HEAD_BYTES - DIGEST_BYTES)
        return damaged(path, "it ends early, or goes on past its end");
    memcpy(want.b, b->data + b->len - DIGEST_BYTES, DIGEST_BYTES);
    digest_of(&d, b->data, b->len - DIGEST_BYTES);
    if (version != CHECKPOINT_VERSION || !digest_equal(&d, &want))
        return damaged(path, "its bytes were changed");
    return TACIT_OK;
}

/* It belongs to this plan and these rows. */
static enum tacit_err check_same(const char *path, struct fleet *f,
                                 struct reader *r)
{
    const struct fleet_config *c = fleet_config(f);
    char theirs[2 * HASH_SHOWN + 1], ours[2 * HASH_SHOWN + 1];
    struct digest plan, data, own;
    (void)reader_take(r, sizeof magic + 4);
    reader_copy(r, plan.b, DIGEST_BYTES);
    uint32_t n_clients = reader_u32(r);
    reader_copy(r, data.b, DIGEST_BYTES);
    (void)reader_u64(r);
    fleet_data_hash(f, &own);
    hex_encode(theirs, plan.b, HASH_SHOWN);
    hex_encode(ours, c->plan->hash.b, HASH_SHOWN);
    if (!digest_equal(&plan, &c->plan->hash))
        return fail_as(E_CHECKPOINT_OTHER,
                       "%s: of another plan than %s as it is now (hash %s, not "
                       "%s); give the plan and the --set options of that run, "
                       "or leave --resume away to begin anew",
                       path, c->plan->name, theirs, ours);
    if (n_clients != c->n_clients)
        return fail_as(E_CHECKPOINT_OTHER, "%s: of %u clients, not %zu", path,
                       n_clients, c->n_clients);
    if (!digest_equal(&data, &own))
        return fail_as(E_CHECKPOINT_OTHER,
                       "%s: of other rows than the data has now", path);
    return TACIT_OK;
}

static enum tacit_err take(const char *path, struct fleet *f,
                           const struct buf *b)
{
    struct reader r;
    TRY(check_whole(path, b));
    reader_init(&r, b->data, b->len - DIGEST_BYTES);
    TRY(check_same(path, f, &r));
    enum tacit_err err = fleet_load(f, r.p, r.left);
    if (err != TACIT_FORMAT) return err;
    char why[256];
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    return damaged(path, why);
}

enum tacit_err checkpoint_read(const char *folder, struct fleet *f)
{
    char path[PATH_BYTES];
    struct buf b;
    uint64_t most = fleet_save_max(f) + HEAD_BYTES + DIGEST_BYTES;
    TRY(path_in(folder, path));
    if (!file_exists(path))
        return fail(TACIT_NOTFOUND,
                    "%s: there is none: the run is finished, or was stopped "
                    "before its first; leave --resume away to begin anew",
                    path);
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, most, &b);
    if (err == TACIT_LIMIT) {
        err_clear();
        err = damaged(path, "larger than this plan can make it");
    }
    if (!err) err = buf_end(&b);
    if (!err) err = take(path, f, &b);
    buf_release(&b);
    return err;
}

#include "client/roster.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/crypto/keys.h"

enum { ROW = KEYS_ID + KEYS_PUBLIC };

void roster_init(struct roster *r)
{
    memset(&r->hash, 0, sizeof r->hash);
    buf_init(&r->rows, ROSTER_BYTES_MAX);
}

void roster_release(struct roster *r)
{
    buf_release(&r->rows);
}

void roster_drop(struct roster *r)
{
    buf_clear(&r->rows);
}

int roster_is(const struct roster *r, const struct digest *hash)
{
    return r->rows.len && digest_equal(&r->hash, hash);
}

static enum tacit_err check(const struct roster *r, const struct msg_task *t,
                            const uint8_t *sign_public)
{
    const uint8_t *rows = r->rows.data;
    size_t n = r->rows.len / ROW;
    if (n == 0 || r->rows.len % ROW)
        return fail_as(E_TASK_REFUSED, "a roster of %zu bytes", r->rows.len);
    TRY(keys_verify(sign_public, "tacit roster v1", t->roster_hash.b,
                    DIGEST_BYTES, t->roster_signature));
    for (size_t i = 1; i < n; i++)
        if (memcmp(rows + (i - 1) * ROW, rows + i * ROW, KEYS_ID) >= 0)
            return fail_as(E_SECAGG_ROSTER, "the roster is not in order");
    return TACIT_OK;
}

enum tacit_err roster_take(struct roster *r, const uint8_t *bytes, size_t n,
                           const struct msg_task *t, const uint8_t *sign_public)
{
    buf_clear(&r->rows);
    buf_put(&r->rows, bytes, n);
    enum tacit_err err = buf_end(&r->rows);
    if (!err) err = check(r, t, sign_public);
    if (err)
        roster_drop(r);
    else
        r->hash = t->roster_hash;
    return err;
}

const uint8_t *roster_find(const struct roster *r, const uint8_t id[KEYS_ID])
{
    size_t low = 0, high = r->rows.len / ROW;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const uint8_t *row = r->rows.data + mid * ROW;
        int order = memcmp(id, row, KEYS_ID);
        if (order == 0) return row + KEYS_ID;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

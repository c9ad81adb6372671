#include "client/update.h"

#include <stdlib.h>

#include "common/crypto/secret.h"

enum tacit_err update_seal(const struct ring_layout *l,
                           struct secagg_client *session,
                           const struct trained *t, struct buf *out,
                           double *norm)
{
    struct digest transcript;
    struct ring_update u = {.delta = t->up,
                            .whole = t->whole,
                            .weight = t->weight,
                            .metrics = t->metrics,
                            .unclipped = t->unclipped};
    size_t n = ring_coords(l);
    uint32_t *y = calloc(n, sizeof *y);
    if (!y) return fail(TACIT_NOMEM, "no memory for an update of %zu", n);
    secagg_client_transcript(session, &transcript);
    enum tacit_err err = ring_encode(l, &u, &transcript, y);
    if (!err) err = secagg_client_mask(session, y);
    if (!err) {
        uint8_t *packed = buf_extend(out, n * l->ring_bits / 8);
        if (packed) ring_pack(packed, y, n, l->ring_bits);
        err = buf_end(out);
    }
    secret_wipe(y, n * sizeof *y);
    free(y);
    if (!err) *norm = u.norm;
    return err;
}

/*
 * roster: the members of a federation, as its coordinator has signed them: with
 * nobody else does this device share keys.
 *
 *   [n] id [KEYS_ID] | identity [KEYS_PUBLIC]      in ascending order of ids
 *
 * Thread rule: one owner thread.
 */
#ifndef TACIT_CLIENT_ROSTER_H
#define TACIT_CLIENT_ROSTER_H

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/wire/messages.h"

enum { ROSTER_BYTES_MAX = 1 << 20 };

struct roster {
    struct digest hash; /* of rows */
    struct buf rows;    /* owned; len 0: there is none */
};

void roster_init(struct roster *r);
void roster_release(struct roster *r);
/* There is none any more. */
void roster_drop(struct roster *r);
/* 1 when it is the one of this hash. */
int roster_is(const struct roster *r, const struct digest *hash);
/* Take the list that task t names, n bytes whose hash was checked.
 * E_TASK_REFUSED: it is none; AUTH: it is not signed by sign_public
 * [KEYS_PUBLIC]; E_SECAGG_ROSTER: it is not in order. There is none then. */
TACIT_CHECKED enum tacit_err roster_take(struct roster *r, const uint8_t *bytes,
                                         size_t n, const struct msg_task *t,
                                         const uint8_t *sign_public);
/* The identity [KEYS_PUBLIC] of this id, borrowed until another is taken; NULL:
 * it is no member. */
const uint8_t *roster_find(const struct roster *r, const uint8_t id[KEYS_ID]);

#endif

/*
 * session: the device's way to the coordinator: a transport and a link in one
 * object that heals itself.
 *
 *   session_call ── link ready? ──no──> HELLO, FINISH ──┐
 *        │                                              │
 *        └── seal ── transport_call ── open ── decode ──┴─> reply
 *              ^            │             │
 *              └─ backoff ──┴─ lost, late ┴─ RESET: handshake again, repeat
 *
 * Every request may be repeated (messages.h), so a call that got no answer is
 * simply made again, after a pause that doubles from WIRE_BACKOFF_MIN_MS to
 * WIRE_BACKOFF_MAX_MS with jitter, until the caller's deadline. What repeating
 * cannot heal ends the call at once: a wrong coordinator, a refused invite, an
 * unknown device, another version, an ERROR message.
 *
 * Thread rule: one thread calls; session_interrupt may come from any.
 */
#ifndef TACIT_WIRE_SESSION_H
#define TACIT_WIRE_SESSION_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/wire/link.h"
#include "common/wire/messages.h"

struct wire_session; /* owned */

/* Prepare to talk to "tcp://host:port"; nothing is sent yet. The keys in link
 * are borrowed for the session's life, the rest is copied. */
TACIT_CHECKED enum tacit_err session_open(const char *address,
                                          const struct link_client_config *link,
                                          struct wire_session **out);
/* Wipes the session's keys; NULL is fine. */
void session_close(struct wire_session *s);

/* Ask, and wait for the answer at most timeout_ms in all, handshakes, repeats
 * and pauses included. *reply points into *storage, which the call clears
 * first and the caller owns.
 *
 * An ENROL is signed here with the config's keys, over the hash of the
 * handshake that carries it: the caller leaves identity and signature empty.
 *
 * A TASK, IDLE … reply returns OK. An ERROR reply is recorded as a failure
 * under its own catalogue code where this version knows it, else as PROTO.
 * Fails at once: AUTH (E_WRONG_COORDINATOR, E_INVITE_REFUSED, E_INVITE_USED,
 * E_INVITE_EXPIRED, E_NOT_A_MEMBER), UNSUPPORTED (E_WIRE_VERSION), PROTO (an
 * answer that makes no sense), NOMEM, STATE (interrupted). After timeout_ms:
 * the last attempt's error, IO (E_UNREACHABLE), STATE (E_NO_SESSION) or
 * TIMEOUT. */
TACIT_CHECKED enum tacit_err session_call(struct wire_session *s,
                                          const struct message *req,
                                          struct message *reply,
                                          struct buf *storage, int timeout_ms);

/* Make the running call return STATE soon; calls after it, too. For shutting
 * down: the session is of no more use. */
void session_interrupt(struct wire_session *s);
int session_interrupted(struct wire_session *s);

/* [64] hash of the present handshake, or NULL without one. */
const uint8_t *session_hash(const struct wire_session *s);

#endif

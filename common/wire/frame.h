/*
 * frame: the bytes of nng's REQ/REP protocol on a TCP connection, and the
 * addresses it is found at. Pure functions, used by both transports.
 *
 *   greeting, each side once:  00 'S' 'P' 00 | u16 protocol | 00 00
 *   then packets:              u64 length | u32 words … | body
 *
 * Everything is big-endian. The words are the return path: those of proxies
 * first, and at last the request id, the only one with its high bit set. A
 * reply carries the words of its request.
 */
#ifndef TACIT_WIRE_FRAME_H
#define TACIT_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/wire/limits.h"

enum {
    FRAME_GREETING = 8,
    FRAME_LENGTH = 8,
    FRAME_REQ = 0x30, /* protocol of a device */
    FRAME_REP = 0x31, /* protocol of a coordinator */
    FRAME_WORDS_MAX = 4,
    FRAME_HEAD_MAX = FRAME_LENGTH + 4 * FRAME_WORDS_MAX,
    FRAME_MAX = 4 * FRAME_WORDS_MAX + WIRE_PACKET_MAX /* after the length */
};

enum frame_end { FRAME_DIAL, FRAME_LISTEN };

/* "tcp://HOST:PORT" with a host name, an IPv4 address or [IPv6]; PORT is 1 to
 * 65535, or 0 to listen. E_ADDRESS. */
TACIT_CHECKED enum tacit_err frame_check_address(const char *address,
                                                 enum frame_end end);

void frame_put_greeting(uint8_t out[FRAME_GREETING], uint16_t protocol);
/* 1 when it is the greeting of that protocol. */
int frame_is_greeting(const uint8_t in[FRAME_GREETING], uint16_t protocol);
/* Length and words; returns how many bytes were written to out. */
size_t frame_put_head(uint8_t out[FRAME_HEAD_MAX], const uint32_t *words,
                      uint32_t n_words, size_t body_len);
/* PROTO when shorter than a word or longer than FRAME_MAX. */
TACIT_CHECKED enum tacit_err frame_length(const uint8_t in[FRAME_LENGTH],
                                          size_t *out);
/* Take the words off; *body_at is where the body starts. PROTO when the path
 * has no end within n bytes or FRAME_WORDS_MAX words. */
TACIT_CHECKED enum tacit_err frame_words(const uint8_t *bytes, size_t n,
                                         uint32_t words[FRAME_WORDS_MAX],
                                         uint32_t *n_words, size_t *body_at);

#endif

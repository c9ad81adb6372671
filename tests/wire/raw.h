/*
 * raw: plain TCP sockets on loopback, for peers that do not keep to the
 * protocol. Everything waits five seconds at most.
 */
#ifndef TACIT_TESTS_WIRE_RAW_H
#define TACIT_TESTS_WIRE_RAW_H

#include "tests/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/wire/frame.h"

static inline int raw_socket(void)
{
    struct timeval five_s = {.tv_sec = 5};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0);
    check(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &five_s, sizeof five_s));
    check(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &five_s, sizeof five_s));
    return fd;
}

static inline struct sockaddr_in raw_loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int raw_dial(int port)
{
    struct sockaddr_in to = raw_loopback(port);
    int fd = raw_socket();
    check(!connect(fd, (struct sockaddr *)&to, sizeof to));
    return fd;
}

/* Listens on a port that the system chooses. */
static inline int raw_listen(int *port)
{
    struct sockaddr_in at = raw_loopback(0);
    socklen_t n = sizeof at;
    int fd = raw_socket();
    check(!bind(fd, (struct sockaddr *)&at, sizeof at));
    check(!listen(fd, 8));
    check(!getsockname(fd, (struct sockaddr *)&at, &n));
    *port = ntohs(at.sin_port);
    return fd;
}

static inline void raw_send(int fd, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        check(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

/* 1 when n bytes came, 0 when the peer closed the connection. */
static inline int raw_receive(int fd, void *out, size_t n)
{
    uint8_t *p = out;
    while (n) {
        ssize_t got = recv(fd, p, n, 0);
        if (got <= 0) return 0;
        p += got;
        n -= (size_t)got;
    }
    return 1;
}

/* Close with a reset, not with a farewell. */
static inline void raw_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1};
    check(!setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    close(fd);
}

static inline void raw_greet(int fd, uint16_t protocol)
{
    uint8_t greeting[FRAME_GREETING];
    frame_put_greeting(greeting, protocol);
    raw_send(fd, greeting, sizeof greeting);
}

static inline void raw_take_greeting(int fd, uint16_t protocol)
{
    uint8_t greeting[FRAME_GREETING];
    check(raw_receive(fd, greeting, sizeof greeting));
    check(frame_is_greeting(greeting, protocol));
}

/* A whole frame with these words. */
static inline void raw_send_frame(int fd, const uint32_t *words, uint32_t n,
                                  const void *body, size_t len)
{
    uint8_t head[FRAME_HEAD_MAX];
    raw_send(fd, head, frame_put_head(head, words, n, len));
    raw_send(fd, body, len);
}

/* The next frame's bytes after its length; their number, or 0 when closed. */
static inline size_t raw_receive_frame(int fd, uint8_t *out, size_t cap)
{
    uint8_t length[FRAME_LENGTH];
    size_t n;
    if (!raw_receive(fd, length, sizeof length)) return 0;
    check_ok(frame_length(length, &n));
    check(n <= cap);
    return raw_receive(fd, out, n) ? n : 0;
}

#endif

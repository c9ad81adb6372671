#include "common/wire/frame.h"

#include <assert.h>
#include <string.h>

#include "common/base/codes.h"

static void be32_put(uint8_t out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t be32_get(const uint8_t in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 |
           (uint32_t)in[2] << 8 | in[3];
}

static int is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static int is_ip6_char(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ||
           (c >= '0' && c <= '9') || c == ':' || c == '.';
}

/* Bytes of the host at s, its brackets included; 0 when there is none. */
static size_t host_len(const char *s)
{
    size_t n = 0;
    if (*s != '[') {
        while (is_host_char(s[n])) n++;
        return n;
    }
    do {
        n++;
    } while (is_ip6_char(s[n]));
    return n >= 3 && s[n] == ']' ? n + 1 : 0;
}

enum tacit_err frame_check_address(const char *address, enum frame_end end)
{
    static const char scheme[] = "tcp://";
    const char *host = address + strlen(scheme);
    size_t n = strncmp(address, scheme, strlen(scheme)) ? 0 : host_len(host);
    unsigned port = 0;
    if (n == 0 || n > 200 || host[n] != ':')
        return fail_as(E_ADDRESS, "not an address: tcp://HOST:PORT is wanted");
    const char *digits = host + n + 1;
    size_t n_digits = strspn(digits, "0123456789");
    for (size_t i = 0; i < n_digits && i < 6; i++)
        port = 10 * port + (unsigned)(digits[i] - '0');
    if (n_digits == 0 || n_digits > 5 || digits[n_digits] || port > 65535 ||
        (port == 0 && end == FRAME_DIAL))
        return fail_as(E_ADDRESS, "%.*s: the port after it must be 1 to 65535",
                       (int)(host + n - address), address);
    return TACIT_OK;
}

void frame_put_greeting(uint8_t out[FRAME_GREETING], uint16_t protocol)
{
    memcpy(out, (uint8_t[]){0, 'S', 'P', 0}, 4);
    out[4] = (uint8_t)(protocol >> 8);
    out[5] = (uint8_t)protocol;
    out[6] = out[7] = 0;
}

int frame_is_greeting(const uint8_t in[FRAME_GREETING], uint16_t protocol)
{
    uint8_t want[FRAME_GREETING];
    frame_put_greeting(want, protocol);
    return memcmp(in, want, sizeof want) == 0;
}

size_t frame_put_head(uint8_t out[FRAME_HEAD_MAX], const uint32_t *words,
                      uint32_t n_words, size_t body_len)
{
    assert(n_words >= 1 && n_words <= FRAME_WORDS_MAX);
    be32_put(out, 0);
    be32_put(out + 4, (uint32_t)(4 * n_words + body_len));
    for (uint32_t i = 0; i < n_words; i++)
        be32_put(out + FRAME_LENGTH + 4 * i, words[i]);
    return FRAME_LENGTH + 4 * n_words;
}

enum tacit_err frame_length(const uint8_t in[FRAME_LENGTH], size_t *out)
{
    uint32_t high = be32_get(in), low = be32_get(in + 4);
    if (high != 0 || low < 4 || low > FRAME_MAX)
        return fail(TACIT_PROTO, "a packet of an impossible length");
    *out = low;
    return TACIT_OK;
}

enum tacit_err frame_words(const uint8_t *bytes, size_t n,
                           uint32_t words[FRAME_WORDS_MAX], uint32_t *n_words,
                           size_t *body_at)
{
    for (uint32_t i = 0; i < FRAME_WORDS_MAX && 4 * (i + 1) <= n; i++) {
        words[i] = be32_get(bytes + 4 * i);
        if (!(words[i] >> 31)) continue;
        *n_words = i + 1;
        *body_at = 4 * (i + 1);
        return TACIT_OK;
    }
    return fail(TACIT_PROTO, "a packet without a request id");
}

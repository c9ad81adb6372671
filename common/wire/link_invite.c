#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/crypto/secret.h"
#include "common/wire/frame.h"
#include "common/wire/link.h"

enum {
    SECRET_PART = KEYS_PUBLIC + 8 + LINK_TOKEN,
    CHECK = 4,
    CODE_BYTES = SECRET_PART + CHECK,
    CODE_TEXT = CODE_BYTES / 3 * 4
};
_Static_assert(CODE_BYTES % 3 == 0, "every character of the code counts");

static const char scheme[] = "tacit:", transport_scheme[] = "tcp://";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstu"
                               "vwxyz0123456789-_";

void link_token_psk(uint8_t out[32], const uint8_t token[LINK_TOKEN])
{
    static const char domain[] = "tacit enrol psk v1";
    struct digest_state s;
    struct digest d;
    digest_begin(&s);
    digest_add(&s, domain, sizeof domain - 1);
    digest_add(&s, token, LINK_TOKEN);
    digest_end(&s, &d);
    memcpy(out, d.b, sizeof d.b);
    secret_wipe(&s, sizeof s);
    secret_wipe(&d, sizeof d);
}

/* host_port without the scheme, and the 56 bytes before the check. */
static void put_check(uint8_t out[CHECK], const char *host_port,
                      const uint8_t *secret_part)
{
    struct digest_state s;
    struct digest d;
    digest_begin(&s);
    digest_add(&s, secret_part, SECRET_PART);
    digest_add(&s, host_port, strlen(host_port));
    digest_end(&s, &d);
    memcpy(out, d.b, CHECK);
    secret_wipe(&s, sizeof s);
}

enum tacit_err link_invite_format(const struct link_invite *in, char *out,
                                  size_t cap)
{
    uint8_t code[CODE_BYTES];
    char text[CODE_TEXT + 3];
    TRY(frame_check_address(in->address, FRAME_DIAL));
    const char *host_port = in->address + strlen(transport_scheme);
    memcpy(code, in->coordinator, KEYS_PUBLIC);
    le64_store(code + KEYS_PUBLIC, in->token_id);
    memcpy(code + KEYS_PUBLIC + 8, in->token, LINK_TOKEN);
    put_check(code + SECRET_PART, host_port, code);
    base64url_encode(text, sizeof text, code, sizeof code);
    int n = snprintf(out, cap, "%s%s#%s", scheme, host_port, text);
    secret_wipe(code, sizeof code);
    secret_wipe(text, sizeof text);
    if (n < 0 || (size_t)n >= cap)
        return fail(TACIT_LIMIT, "an invite needs %d bytes", n + 1);
    return TACIT_OK;
}

/* Without the spaces around it: [*n] of *text. */
static void trim(const char **text, size_t *n)
{
    while (isspace((unsigned char)**text)) (*text)++;
    *n = strlen(*text);
    while (*n && isspace((unsigned char)(*text)[*n - 1])) (*n)--;
}

static enum tacit_err parse_address(const char *text, size_t n,
                                    struct link_invite *v)
{
    int len = snprintf(v->address, sizeof v->address, "%s%.*s",
                       transport_scheme, (int)n, text);
    if (len < 0 || (size_t)len >= sizeof v->address ||
        frame_check_address(v->address, FRAME_DIAL) != TACIT_OK) {
        err_clear();
        return fail_as(E_INVITE_FORMAT,
                       "the invite names no HOST:PORT before its #");
    }
    return TACIT_OK;
}

static enum tacit_err parse_code(const char *text, size_t n,
                                 struct link_invite *v)
{
    char copy[CODE_TEXT + 1];
    uint8_t code[CODE_BYTES], check[CHECK] = {0};
    size_t got = 0;
    if (n != CODE_TEXT)
        return fail_as(E_INVITE_FORMAT,
                       "the invite has %zu characters after its #, not %d: "
                       "copy all of it",
                       n, CODE_TEXT);
    memcpy(copy, text, n);
    copy[n] = '\0';
    enum tacit_err err = base64url_decode(code, sizeof code, &got, copy);
    /* libsodium 1.0.18 reads bytes from 0x80 up as '_'. */
    if (strspn(copy, alphabet) != n) err = TACIT_FORMAT;
    if (err == TACIT_OK)
        put_check(check, v->address + strlen(transport_scheme), code);
    if (err != TACIT_OK || got != sizeof code ||
        memcmp(check, code + SECRET_PART, CHECK) != 0) {
        err_clear();
        err = fail_as(E_INVITE_FORMAT, "the invite was changed on the way: "
                                       "copy it again, do not type it");
    } else {
        memcpy(v->coordinator, code, KEYS_PUBLIC);
        v->token_id = le64_load(code + KEYS_PUBLIC);
        memcpy(v->token, code + KEYS_PUBLIC + 8, LINK_TOKEN);
    }
    secret_wipe(copy, sizeof copy);
    secret_wipe(code, sizeof code);
    return err;
}

enum tacit_err link_invite_parse(const char *text, struct link_invite *out)
{
    struct link_invite v = {0};
    size_t n, skip = strlen(scheme);
    trim(&text, &n);
    const char *hash = memchr(text, '#', n);
    if (n < skip || memcmp(text, scheme, skip) != 0 || !hash)
        return fail_as(E_INVITE_FORMAT,
                       "an invite looks like tacit:HOST:PORT#CODE");
    TRY(parse_address(text + skip, (size_t)(hash - text) - skip, &v));
    TRY(parse_code(hash + 1, n - (size_t)(hash + 1 - text), &v));
    *out = v;
    secret_wipe(&v, sizeof v);
    return TACIT_OK;
}

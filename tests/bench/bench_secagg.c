/*
 * bench_secagg: CPU of secure aggregation for 128 devices and 2^20 coordinates.
 *
 *   secagg_client_128_ms   one device: masking, and its whole session
 *   secagg_server_128_s    the coordinator, 13 of 128 lost after sharing keys
 *
 * A whole session runs here, with both ring widths: 128 devices share keys, 115
 * mask, sign and reveal, and the sum is compared with the plain one, so that
 * only a result that is right has a figure. Its physical limit is the key
 * stream: ChaCha20 as libsodium makes it, into a buffer that stays in cache.
 */
#include <sodium.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/crypto/keys.h"
#include "common/crypto/secagg.h"
#include "common/privacy/ring.h"
#include "tests/bench/bench.h"

enum {
    DEVICES = 128,
    LOST = 13, /* 10 % */
    ALIVE = DEVICES - LOST,
    COORDS = 1 << 20,
    STREAM_BYTES = 16 << 10,
    STREAM_REPEATS = 5
};

struct device {
    struct keys keys;
    struct secagg_client *secagg;
    unsigned member;
    int lost;
    double mask_ms, all_ms; /* CPU */
};

struct session {
    struct secagg_terms terms;
    struct device devices[DEVICES];
    struct secagg_server *server;
    uint32_t *y, *sum, *plain; /* [COORDS] */
    uint8_t sealed[DEVICES * SECAGG_SEALED];
    double server_ms;
};

/* Charge the CPU time of an expression to an account. */
#define timed(account, expr)                                                   \
 do {                                                                          \
  double from = bench_cpu_ms();                                                \
  expr;                                                                        \
  (account) += bench_cpu_ms() - from;                                          \
 } while (0)

static void begin(struct session *s, uint32_t ring_bits)
{
    s->terms = (struct secagg_terms){.round = 1,
                                     .ring_bits = ring_bits,
                                     .n_coords = COORDS,
                                     .u_min = 2};
    rng_secure(s->terms.session, sizeof s->terms.session);
    must(secagg_server_new(&s->terms, &s->server));
    s->server_ms = 0;
    memset(s->sum, 0, COORDS * sizeof *s->sum);
    memset(s->plain, 0, COORDS * sizeof *s->plain);
    for (int i = 0; i < DEVICES; i++) {
        struct device *d = &s->devices[i];
        d->all_ms = d->mask_ms = 0;
        timed(d->all_ms,
              must(secagg_client_new(&s->terms, d->keys.id, d->keys.sign_secret,
                                     &d->secagg)));
    }
}

static void end(struct session *s)
{
    for (int i = 0; i < DEVICES; i++) secagg_client_free(s->devices[i].secagg);
    secagg_server_free(s->server);
}

static void share_keys(struct session *s)
{
    struct secagg_advert advert;
    for (int i = 0; i < DEVICES; i++) {
        struct device *d = &s->devices[i];
        timed(d->all_ms, secagg_client_advert(d->secagg, &advert));
        timed(s->server_ms, must(secagg_server_advert(s->server, &advert)));
    }
    timed(s->server_ms, must(secagg_server_close_adverts(s->server)));
    for (int i = 0; i < DEVICES; i++) {
        struct device *d = &s->devices[i];
        d->member = (unsigned)secagg_server_member(s->server, d->keys.id);
        d->lost = d->member % 10 == 3;
        timed(d->all_ms,
              must(secagg_client_share(d->secagg,
                                       secagg_server_roster(s->server), DEVICES,
                                       s->sealed)));
        timed(s->server_ms,
              must(secagg_server_shares(s->server, d->member, s->sealed)));
    }
    timed(s->server_ms, must(secagg_server_close_shares(s->server)));
}

static void give_input(struct session *s, struct device *d)
{
    uint16_t senders[DEVICES];
    unsigned n;
    secagg_server_shares_for(s->server, d->member, senders, s->sealed, &n);
    timed(d->all_ms,
          must(secagg_client_receive(d->secagg, senders, s->sealed, n)));
    rng_secure(s->y, COORDS * sizeof *s->y);
    if (s->terms.ring_bits == 24)
        for (int k = 0; k < COORDS; k++) s->y[k] &= 0xffffff;
    ring_add(s->plain, s->y, COORDS, s->terms.ring_bits);
    timed(d->mask_ms, must(secagg_client_mask(d->secagg, s->y)));
    d->all_ms += d->mask_ms;
    timed(s->server_ms, ring_add(s->sum, s->y, COORDS, s->terms.ring_bits));
    timed(s->server_ms, must(secagg_server_input(s->server, d->member)));
}

static void mask(struct session *s)
{
    for (int i = 0; i < DEVICES; i++) {
        if (s->devices[i].lost) continue;
        give_input(s, &s->devices[i]);
        fprintf(stderr, "\r%u bits: %d of %d devices", s->terms.ring_bits,
                i + 1, DEVICES);
    }
    fprintf(stderr, "\n");
    timed(s->server_ms, must(secagg_server_close_inputs(s->server)));
}

static void sign_and_reveal(struct session *s)
{
    static uint8_t sigs[DEVICES * SECAGG_SIGNATURE];
    static struct secagg_share shares[DEVICES];
    uint16_t signers[DEVICES];
    uint8_t sig[SECAGG_SIGNATURE];
    unsigned n, n_shares;
    for (int i = 0; i < DEVICES; i++) {
        struct device *d = &s->devices[i];
        if (d->lost) continue;
        timed(d->all_ms,
              must(secagg_client_sign(d->secagg, secagg_server_u3(s->server),
                                      sig)));
        timed(s->server_ms,
              must(secagg_server_signature(s->server, d->member, sig)));
    }
    secagg_server_signatures(s->server, signers, sigs, &n);
    for (int i = 0; i < DEVICES; i++) {
        struct device *d = &s->devices[i];
        if (d->lost) continue;
        timed(d->all_ms, must(secagg_client_reveal(d->secagg, signers, sigs, n,
                                                   shares, &n_shares)));
        timed(s->server_ms, must(secagg_server_reveal(s->server, d->member,
                                                      shares, n_shares)));
    }
    timed(s->server_ms, must(secagg_server_unmask(s->server, s->sum)));
    if (memcmp(s->sum, s->plain, COORDS * sizeof *s->sum) != 0) {
        fprintf(stderr, "the unmasked sum is wrong\n");
        exit(1);
    }
}

/* CPU ms of n_bytes of key stream, as fast as libsodium makes it. */
static double stream_ms(double n_bytes)
{
    static uint8_t out[STREAM_BYTES], key[32];
    static const uint8_t nonce[crypto_stream_chacha20_ietf_NONCEBYTES];
    double took[STREAM_REPEATS];
    enum { CALLS = 8192 };
    for (int r = 0; r < STREAM_REPEATS; r++) {
        took[r] = 0;
        timed(took[r],
              for (int i = 0; i < CALLS; i++)
                  crypto_stream_chacha20_ietf(out, sizeof out, nonce, key));
    }
    return bench_median(took, STREAM_REPEATS) * n_bytes /
           ((double)CALLS * STREAM_BYTES);
}

static void print(struct session *s)
{
    uint32_t bits = s->terms.ring_bits;
    double input = (double)COORDS * bits / 8, mask_ms[ALIVE], all_ms[ALIVE];
    int n = 0;
    char name[96], peer[64];
    for (int i = 0; i < DEVICES; i++) {
        if (s->devices[i].lost) continue;
        mask_ms[n] = s->devices[i].mask_ms;
        all_ms[n++] = s->devices[i].all_ms;
    }
    snprintf(peer, sizeof peer, "raw ChaCha20, libsodium %s",
             sodium_version_string());
    struct bench_figure f = {.bench = "secagg_client_128_ms",
                             .name = name,
                             .unit = "ms",
                             .peer = peer,
                             .value = bench_median(mask_ms, ALIVE),
                             .peer_value = stream_ms(DEVICES * input),
                             .limit = 300};
    snprintf(name, sizeof name, "masking 2^20 coordinates of %u bits", bits);
    bench_print(&f);
    f.value = bench_median(all_ms, ALIVE);
    snprintf(name, sizeof name, "all five messages, 2^20 of %u bits", bits);
    bench_print(&f);
    /* A self mask per survivor, and a pair mask per survivor and lost. */
    f = (struct bench_figure){.bench = "secagg_server_128_s",
                              .name = name,
                              .unit = "s",
                              .peer = peer,
                              .value = s->server_ms / 1e3,
                              .peer_value =
                                  stream_ms((1 + LOST) * ALIVE * input) / 1e3,
                              .limit = 4};
    snprintf(name, sizeof name, "13 of 128 lost, 2^20 of %u bits", bits);
    bench_print(&f);
}

int main(void)
{
    static struct session s;
    rng_setup();
    s.y = malloc(COORDS * sizeof *s.y);
    s.sum = malloc(COORDS * sizeof *s.sum);
    s.plain = malloc(COORDS * sizeof *s.plain);
    if (!s.y || !s.sum || !s.plain) return 1;
    for (int i = 0; i < DEVICES; i++) must(keys_new(&s.devices[i].keys));
    for (uint32_t bits = 24; bits <= 32; bits += 8) {
        begin(&s, bits);
        share_keys(&s);
        mask(&s);
        sign_and_reveal(&s);
        print(&s);
        end(&s);
    }
    for (int i = 0; i < DEVICES; i++) keys_release(&s.devices[i].keys);
    free(s.y);
    free(s.sum);
    free(s.plain);
    return 0;
}

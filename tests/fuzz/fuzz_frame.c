/*
 * What stands between a socket and the link: frames, packets, addresses and
 * invites. Any bytes give an error, or what is written back is what was read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/frame.h"
#include "common/wire/link.h"
#include "common/wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_frame(const uint8_t *data, size_t size)
{
    uint32_t words[FRAME_WORDS_MAX], n_words;
    uint8_t head[FRAME_HEAD_MAX], greeting[FRAME_GREETING];
    size_t n, body_at;
    if (size < FRAME_LENGTH) return;
    if (frame_is_greeting(data, FRAME_REQ)) {
        frame_put_greeting(greeting, FRAME_REQ);
        if (memcmp(greeting, data, sizeof greeting) != 0) abort();
    }
    if (frame_length(data, &n) != TACIT_OK) return;
    if (n < 4 || n > FRAME_MAX) abort();
    if (n > size - FRAME_LENGTH) n = size - FRAME_LENGTH;
    if (frame_words(data + FRAME_LENGTH, n, words, &n_words, &body_at) !=
        TACIT_OK)
        return;
    if (body_at > n || body_at != 4 * (size_t)n_words) abort();
    size_t at = frame_put_head(head, words, n_words, n - body_at);
    if (at != FRAME_LENGTH + body_at ||
        memcmp(head + FRAME_LENGTH, data + FRAME_LENGTH, body_at) != 0)
        abort();
}

static void try_packet(const uint8_t *data, size_t size)
{
    struct packet p;
    if (packet_parse(data, size, &p) != TACIT_OK) return;
    if (p.body < data || p.len > size || p.body + p.len != data + size) abort();
    if (p.kind == PACKET_DATA &&
        (p.n_records < 1 || p.n_records > RECORDS_MAX || p.nonce == 0))
        abort();
}

static void try_text(const uint8_t *data, size_t size)
{
    struct link_invite invite, again;
    char text[512];
    char *copy = malloc(size + 1);
    if (!copy) return;
    memcpy(copy, data, size);
    copy[size] = '\0';
    for (int end = FRAME_DIAL; end <= FRAME_LISTEN; end++)
        if (frame_check_address(copy, (enum frame_end)end) == TACIT_OK &&
            strlen(copy) >= sizeof invite.address)
            abort();
    if (link_invite_parse(copy, &invite) == TACIT_OK) {
        if (link_invite_format(&invite, text, sizeof text) != TACIT_OK) abort();
        if (link_invite_parse(text, &again) != TACIT_OK) abort();
        if (memcmp(&invite, &again, sizeof invite) != 0) abort();
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_frame(data, size);
    err_clear();
    try_packet(data, size);
    err_clear();
    try_text(data, size);
    err_clear();
    return 0;
}

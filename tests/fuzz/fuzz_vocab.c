/* A vocabulary from any bytes, of any of its four forms, gives an error or one
 * that encodes and decodes any text. The first byte says which form; the second
 * how many bytes at the end are the text. */
#include <stdint.h>
#include <stdlib.h>

#include "common/model/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct vocab *v, const char *text, size_t n)
{
    struct vocab_ids ids = {0};
    struct buf out;
    struct gguf_writer w;
    struct gguf *g = NULL;
    struct vocab *again = NULL;
    buf_init(&out, 1 << 24);
    for (unsigned flags = 0; flags < 4; flags++) {
        ids.n = 0;
        if (vocab_encode(v, text, n, flags, &ids) != TACIT_OK) continue;
        for (size_t i = 0; i < ids.n; i++)
            if (ids.id[i] < 0 || (size_t)ids.id[i] >= vocab_size(v)) abort();
        for (size_t i = 0; i < ids.n; i++) vocab_piece(v, ids.id[i], &out);
    }
    if (gguf_writer_init(&w, NULL, GGUF_ALIGNMENT)) abort();
    if (vocab_to_gguf(v, &w) == TACIT_OK &&
        gguf_writer_end(&w, NULL) == TACIT_OK) {
        if (gguf_open_bytes(w.out.data, w.out.len, &g)) abort();
        if (vocab_from_gguf(g, &again) == TACIT_OK) vocab_free(again);
        gguf_close(g);
    }
    err_clear();
    gguf_writer_release(&w);
    vocab_ids_release(&ids);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    enum tacit_err err = TACIT_INTERNAL;
    if (size < 2) return 0;
    size_t n = data[1] < size - 2 ? data[1] : size - 2;
    const uint8_t *bytes = data + 2;
    size -= 2 + n;
    switch (data[0] & 3) {
    case 0:
        err = gguf_open_bytes(bytes, size, &g);
        if (!err) err = vocab_from_gguf(g, &v);
        break;
    case 1: err = vocab_from_json((const char *)bytes, size, &v); break;
    case 2: err = vocab_from_spm(bytes, size, &v); break;
    default:
        err =
            vocab_from_lines((const char *)bytes, size,
                             data[0] & 4 ? VOCAB_CASE_FOLDED : VOCAB_CASE_KEPT,
                             &v);
    }
    if (err == TACIT_OK) use(v, (const char *)bytes + size, n);
    err_clear();
    vocab_free(v);
    gguf_close(g);
    return 0;
}

/* gguf_open_bytes: any bytes give an error, or a file whose every value lies
 * inside it; copied, it is the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_array(struct gguf_array *a)
{
    volatile uint64_t sum = 0;
    while (a->n > 0)
        if (a->kind == GGUF_TEXT) {
            size_t n;
            const char *s = gguf_next_text(a, &n);
            for (size_t i = 0; i < n; i++) sum += (unsigned char)s[i];
        } else if (gguf_kind_is_int(a->kind)) {
            sum += (uint64_t)gguf_next_int(a);
        } else {
            sum += gguf_next_real(a) > 0;
        }
}

static void read_all(const struct gguf *g)
{
    volatile uint64_t sum = 0;
    for (size_t i = 0; i < gguf_n_pairs(g); i++) {
        struct gguf_array a;
        int64_t v;
        double d;
        const char *s, *key = gguf_key_at(g, i);
        size_t n;
        if (gguf_array(g, key, &a) == TACIT_OK) read_array(&a);
        if (gguf_int(g, key, INT64_MIN, INT64_MAX, &v) == TACIT_OK)
            sum += (uint64_t)v;
        if (gguf_real(g, key, &d) == TACIT_OK) sum += d > 0;
        if (gguf_text(g, key, &s, &n) == TACIT_OK && n)
            sum += (uint8_t)s[n - 1];
        err_clear();
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (gguf_find(g, t->name) != t) abort();
        sum += (uint64_t)t->data[0] + t->data[t->bytes - 1];
    }
}

static void copy(const struct gguf *g)
{
    struct gguf_writer w;
    struct gguf *again = NULL;
    size_t skipped = 0;
    if (gguf_writer_init(&w, NULL, GGUF_ALIGNMENT)) abort();
    for (size_t i = 0; i < gguf_n_pairs(g); i++)
        if (strcmp(gguf_key_at(g, i), "general.alignment") == 0)
            skipped = 1;
        else
            gguf_put_pair(&w, g, i);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_put_tensor(&w, t->name, t->type, t->n_dims, t->dims);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if (gguf_put_data(&w, t->data, (size_t)t->bytes)) abort();
        if (gguf_end_tensor(&w)) abort();
    }
    if (gguf_writer_end(&w, NULL)) abort();
    if (gguf_open_bytes(w.out.data, w.out.len, &again)) abort();
    if (gguf_n_tensors(again) != gguf_n_tensors(g)) abort();
    if (gguf_n_pairs(again) + skipped != gguf_n_pairs(g)) abort();
    gguf_close(again);
    gguf_writer_release(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    if (gguf_open_bytes(data, size, &g) == TACIT_OK) {
        read_all(g);
        copy(g);
        gguf_close(g);
    }
    err_clear();
    return 0;
}

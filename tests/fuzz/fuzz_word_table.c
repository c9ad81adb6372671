/* word_table_open: any bytes give an error, or a table whose vectors are
 * numbers. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/model/word_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void embed(const struct word_table *t, struct arena *a)
{
    static const char text[] = "Change the wound's dressing every 2nd day";
    float v[WORD_TABLE_DIM_MAX];
    if (word_table_embed(t, a, text, sizeof text - 1, v)) return;
    for (size_t i = 0; i < word_table_dim(t); i++)
        if (!isfinite(v[i])) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g = NULL;
    struct word_table *t = NULL;
    struct arena a;
    arena_init(&a, 1 << 20);
    if (gguf_open_bytes(data, size, &g) == TACIT_OK &&
        word_table_open(g, &t) == TACIT_OK)
        embed(t, &a);
    err_clear();
    word_table_free(t);
    gguf_close(g);
    arena_release(&a);
    return 0;
}

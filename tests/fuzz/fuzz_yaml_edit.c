/* Any bytes as "path NUL value NUL text": an edit is refused with a message, or
 * the text holds just that value at that path, and its other values as before:
 * their number grows by at most the keys that were missing. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/yaml_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    const char *path, *value;
    size_t n, n_same;
};

static void look(void *ctx, const char *path, const char *value)
{
    struct seen *s = ctx;
    s->n++;
    if (strcmp(path, s->path) == 0 && s->value && strcmp(value, s->value) == 0)
        s->n_same++;
}

/* A value that YAML reads as the very text that it is. */
static int is_plain(const char *s)
{
    return *s &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.") == strlen(s);
}

static void check(const struct buf *out, const char *path, const char *value,
                  size_t n_before)
{
    struct seen s = {path, value, 0, 0};
    assert(yaml_leaves("f", (const char *)out->data, out->len, look, &s) ==
           TACIT_OK);
    if (!is_plain(value)) return;
    assert(s.n_same >= 1);
    assert(s.n <= n_before + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in, out;
    if (size > 4096) return 0;
    buf_init(&in, 0);
    buf_init(&out, 0);
    buf_put(&in, data, size);
    const char *path = buf_cstr(&in), *end = path ? path + size : NULL;
    const char *value = path ? path + strlen(path) + 1 : NULL;
    if (path && value < end) {
        const char *text = value + strlen(value) + 1;
        size_t n = text < end ? (size_t)(end - text) : 0;
        struct seen before = {path, NULL, 0, 0};
        if (text > end) text = end;
        if (yaml_leaves("f", text, n, look, &before) != TACIT_OK) err_clear();
        if (yaml_set("f", text, n, path, value, &out) == TACIT_OK)
            check(&out, path, value, before.n);
        else
            assert(err_message()[0] != '\0' && out.len == 0);
        err_clear();
    }
    buf_release(&in);
    buf_release(&out);
    return 0;
}

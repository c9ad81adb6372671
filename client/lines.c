#include "client/lines.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"

enum { BYTES_MAX = 1 << 30 }; /* of all files together */

static enum tacit_err read_file(const char *path, void *ctx)
{
    struct lines *l = ctx;
    size_t n = strlen(path);
    if (n < 4 || strcmp(path + n - 4, ".txt") != 0) return TACIT_OK;
    TRY(file_read(path, BYTES_MAX - l->bytes.len, &l->bytes));
    buf_put(&l->bytes, "\n", 1);
    return buf_end(&l->bytes);
}

/* Each line that has anything on it; out NULL: they are counted. */
static void find_lines(struct lines *l, struct text *out)
{
    const char *p = (const char *)l->bytes.data, *end = p + l->bytes.len;
    for (l->n = 0; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const char *last = stop;
        while (last > p && (unsigned char)last[-1] <= ' ') last--;
        while (p < last && (unsigned char)*p <= ' ') p++;
        if (p < last && out) out[l->n] = (struct text){p, (size_t)(last - p)};
        l->n += p < last;
        p = stop + 1;
    }
}

enum tacit_err lines_read(const char *path, struct lines *out)
{
    *out = (struct lines){0};
    buf_init(&out->bytes, 0);
    TRY(file_walk(path, read_file, out));
    find_lines(out, NULL);
    if (out->n == 0)
        return fail_as(E_USAGE,
                       "%s: there is no text; --texts wants .txt files with a "
                       "text on each line",
                       path);
    out->line = calloc(out->n, sizeof *out->line);
    if (!out->line) return fail(TACIT_NOMEM, "no memory for %zu texts", out->n);
    find_lines(out, out->line);
    digest_of(&out->hash, out->bytes.data, out->bytes.len);
    return TACIT_OK;
}

void lines_release(struct lines *l)
{
    buf_release(&l->bytes);
    free(l->line);
    *l = (struct lines){0};
}

#include "common/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ALIGN = 64,
    FIRST_BLOCK = 4096,
    LARGE_PAGE = 2 << 20,
    LARGE_BLOCK = 8 * LARGE_PAGE
};

static const uint64_t guard = 0x7461636974617265u;

struct arena_block {
    uint64_t mark; /* == guard while intact */
    struct arena_block *next;
    size_t size; /* of the bytes behind this header */
    size_t used;
    unsigned char pad[32]; /* the bytes start at a multiple of ALIGN */
};
_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "aligned payload");

static unsigned char *payload(struct arena_block *b)
{
    return (unsigned char *)(b + 1);
}

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_release(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
    a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
    if (!a->head) return;
    struct arena_block *keep = a->head;
    a->head = keep->next;
    arena_release(a);
    keep->next = NULL;
    keep->used = 0;
    a->head = keep;
}

/* A network reads all its matrices for every token, which takes a sixth less
 * time in large pages. A wish: where there are none, nothing changes. */
static void wish_large_pages(void *block, size_t n)
{
#ifdef MADV_HUGEPAGE
    uintptr_t from = (uintptr_t)block, end = from + n;
    from = (from + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1);
    end &= ~(uintptr_t)(LARGE_PAGE - 1);
    if (n >= LARGE_BLOCK)
        (void)madvise((char *)block + (from - (uintptr_t)block), end - from,
                      MADV_HUGEPAGE);
#else
    (void)block;
    (void)n;
#endif
}

static enum tacit_err add_block(struct arena *a, size_t need)
{
    size_t size = a->head ? 2 * a->head->size : FIRST_BLOCK;
    if (size < need) size = need;
    if (size > SIZE_MAX - sizeof(struct arena_block) - ALIGN)
        return fail(TACIT_NOMEM, "out of memory: %zu bytes", need);
    struct arena_block *b =
        aligned_alloc(ALIGN, (sizeof *b + size + ALIGN - 1) / ALIGN * ALIGN);
    if (!b) return fail(TACIT_NOMEM, "out of memory: %zu bytes", need);
    wish_large_pages(b, size);
    *b = (struct arena_block){.mark = guard, .next = a->head, .size = size};
    a->head = b;
    return TACIT_OK;
}

enum tacit_err arena_reserve(struct arena *a, size_t n)
{
    if (a->head && a->head->size - a->head->used >= n) return TACIT_OK;
    return add_block(a, n);
}

enum tacit_err arena_alloc_raw(struct arena *a, size_t n, size_t size,
                               void *out_ptr)
{
    if (size && n > (SIZE_MAX - ALIGN) / size / 2)
        return fail(TACIT_NOMEM, "out of memory: %zu items of %zu bytes", n,
                    size);
    size_t bytes = (n * size + ALIGN - 1) / ALIGN * ALIGN;
    if (a->limit_bytes &&
        (bytes > a->limit_bytes || a->used_bytes > a->limit_bytes - bytes))
        return fail(TACIT_LIMIT, "over this task's limit of %zu bytes",
                    a->limit_bytes);
    if (!a->head || a->head->size - a->head->used < bytes)
        TRY(add_block(a, bytes));
    unsigned char *p = payload(a->head) + a->head->used;
    a->head->used += bytes;
    a->used_bytes += bytes;
    memcpy(out_ptr, &p, sizeof p);
    return TACIT_OK;
}

enum tacit_err arena_alloc(struct arena *a, size_t n, size_t size,
                           void *out_ptr)
{
    unsigned char *p;
    TRY(arena_alloc_raw(a, n, size, &p));
    memset(p, 0, n * size);
    memcpy(out_ptr, &p, sizeof p);
    return TACIT_OK;
}

enum tacit_err arena_strdup(struct arena *a, const char *s, size_t n,
                            char **out)
{
    char *copy;
    if (n == SIZE_MAX) return fail(TACIT_NOMEM, "out of memory");
    TRY(arena_alloc(a, n + 1, 1, &copy));
    if (n) memcpy(copy, s, n);
    *out = copy;
    return TACIT_OK;
}

enum tacit_err arena_check(const struct arena *a)
{
    for (const struct arena_block *b = a->head; b; b = b->next)
        if (b->mark != guard || b->used > b->size)
            return fail(TACIT_INTERNAL, "an arena block was overwritten");
    return TACIT_OK;
}

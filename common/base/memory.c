#include "common/base/memory.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, SMALL_FILE = 1 << 16 };

static int read_small(const char *root, const char *path, char *out, size_t cap)
{
    char whole[PATH_BYTES];
    int n = snprintf(whole, sizeof whole, "%s%s", root, path);
    FILE *f = n > 0 && (size_t)n < sizeof whole ? fopen(whole, "re") : NULL;
    if (!f) return 0;
    size_t got = fread(out, 1, cap - 1, f);
    fclose(f);
    out[got] = '\0';
    return got > 0;
}

/* UINT64_MAX where it is "max" or not a number. */
static uint64_t number_in(const char *root, const char *folder,
                          const char *name)
{
    char path[PATH_BYTES], text[64];
    unsigned long long v = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!read_small(root, path, text, sizeof text)) return UINT64_MAX;
    return sscanf(text, "%llu", &v) == 1 ? v : UINT64_MAX;
}

static uint64_t left_in(const char *root, const char *folder, const char *limit,
                        const char *used)
{
    uint64_t most = number_in(root, folder, limit);
    uint64_t now = number_in(root, folder, used);
    if (most == UINT64_MAX || now == UINT64_MAX) return most;
    return most > now ? most - now : 0;
}

/* Every control group from this process's own up to the root. */
static uint64_t left_in_groups(const char *root)
{
    char text[SMALL_FILE / 16], folder[PATH_BYTES];
    uint64_t least = left_in(root, "/sys/fs/cgroup/memory",
                             "memory.limit_in_bytes", "memory.usage_in_bytes");
    if (!read_small(root, "/proc/self/cgroup", text, sizeof text)) return least;
    const char *own = strstr(text, "0::/");
    if (!own) return least;
    own += 3;
    int n = snprintf(folder, sizeof folder, "/sys/fs/cgroup%.*s",
                     (int)strcspn(own, "\n"), own);
    if (n < 0 || (size_t)n >= sizeof folder) return least;
    for (;;) {
        uint64_t left = left_in(root, folder, "memory.max", "memory.current");
        if (left < least) least = left;
        char *slash = strrchr(folder, '/');
        if (!slash || strcmp(folder, "/sys/fs/cgroup") == 0) return least;
        *slash = '\0';
    }
}

uint64_t memory_free_below(const char *root)
{
    char text[SMALL_FILE / 8];
    unsigned long long kib = 0;
    uint64_t least = left_in_groups(root);
    const char *line = read_small(root, "/proc/meminfo", text, sizeof text)
                           ? strstr(text, "MemAvailable:")
                           : NULL;
    if (line && sscanf(line, "MemAvailable: %llu", &kib) == 1 &&
        kib * 1024 < least)
        least = kib * 1024;
    return least;
}

uint64_t memory_free(void)
{
    return memory_free_below("");
}

/*
 * Pages that a search is about to read, asked of the disk many at once: SQLite
 * reads one and waits, some thousand times for the first search of a million
 * rows.
 *
 *   keys ──inner pages of a shadow table's b-tree──> numbers of its leaves
 *        ──a map of the file that nobody looks into──> posix_madvise(WILLNEED)
 *
 * The kernel is told through SQLite's own descriptor and map (xFetch of the
 * file, SQLITE_FCNTL_MMAP_SIZE), since closing one of ours would drop the locks
 * of the whole process. The map is gone before SQLite reads again, which would
 * copy from it and have its pages counted as the program's.
 *
 * All this is a hint: what is read here may be older than what the log has, or
 * damaged, and then other pages are asked for, at most PAGES_MAX at a time.
 * Where memory has the nearest lists, nothing more is asked for. Where there is
 * no map (no such file or system, a sealed store, a program that
 * maps its database anyway), nothing is.
 *
 * "Database File Format", 1.6: an inner page of a table is
 *
 *   0   u8   5                        12  u16  where cell i is [cells]
 *   3   u16  cells                    cell: u32 left child, varint the highest
 *   8   u32  the child behind all           key under it
 */
#include "retrieval/vecindex_table.h"

#include <stdlib.h>

#if defined(__unix__) || defined(__APPLE__)
# include <sys/mman.h>
# include <unistd.h>
#endif

#ifdef POSIX_MADV_WILLNEED

enum {
    INNER = 5,
    INNER_HEADER = 12,
    LEVELS_MAX = 6, /* of inner pages: more than 2^32 leaves have */
    PAGES_MAX = 4096,
    KEY_BYTES_MAX = 9,
    PAGE_MAX = 65536, /* of SQLite */
    SYSTEM_PAGE_MIN = 4096,
    WARM = 16 /* so many of the nearest lists' pages tell of all */
};

/* A shadow table's b-tree. */
struct tree {
    uint32_t root;
    int levels; /* of inner pages */
    bool is_known;
};

struct vecindex_ahead {
    sqlite3_file *file;        /* borrowed from SQLite */
    size_t size;               /* of a page */
    uint8_t *pages;            /* [LEVELS_MAX, size] one of each level */
    uint32_t held[LEVELS_MAX]; /* which it is; 0 = none */
    struct tree trees[VECINDEX_AHEAD_N];
    uint32_t wanted[PAGES_MAX];
    size_t n_wanted, n_missing; /* of these not in memory */
    bool is_warm;               /* many were, and none missing */
};

static uint32_t be16(const uint8_t *b)
{
    return (uint32_t)b[0] << 8 | b[1];
}

static uint32_t be32(const uint8_t *b)
{
    return be16(b) << 16 | be16(b + 2);
}

/* ---- inner pages ---------------------------------------------------------
 */

/* Bytes [0, n) of a page into out. */
static bool page_read(const struct vecindex_ahead *a, uint32_t page, size_t n,
                      uint8_t *out)
{
    sqlite3_int64 from = ((sqlite3_int64)page - 1) * (sqlite3_int64)a->size;
    return page > 1 &&
           a->file->pMethods->xRead(a->file, out, (int)n, from) == SQLITE_OK;
}

/* An inner page; NULL when it is none. Borrowed until the next of its level. */
static const uint8_t *inner_get(struct vecindex_ahead *a, int level,
                                uint32_t page)
{
    uint8_t *b = a->pages + (size_t)level * a->size;
    if (a->held[level] == page) return b;
    a->held[level] = 0;
    if (!page_read(a, page, a->size, b) || b[0] != INNER ||
        INNER_HEADER + 2 * (size_t)be16(b + 3) > a->size)
        return NULL;
    a->held[level] = page;
    return b;
}

/* Cell i: the highest key under its child. */
static bool cell_read(const struct vecindex_ahead *a, const uint8_t *b,
                      uint32_t i, uint32_t *child, int64_t *key)
{
    size_t at = be16(b + INNER_HEADER + 2 * i);
    uint64_t v = 0;
    if (at + 4 > a->size) return false;
    *child = be32(b + at);
    at += 4;
    for (int k = 1; at < a->size; k++, at++) {
        bool is_last = k == KEY_BYTES_MAX;
        v = is_last ? v << 8 | b[at] : v << 7 | (b[at] & 0x7f);
        if (!is_last && b[at] & 0x80) continue;
        *key = (int64_t)v;
        return true;
    }
    return false;
}

/* The first cell whose key is at least `low`; the number of cells when there is
 * none. */
static bool cell_find(const struct vecindex_ahead *a, const uint8_t *b,
                      int64_t low, uint32_t *found)
{
    uint32_t from = 0, to = be16(b + 3), child;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int64_t key;
        if (!cell_read(a, b, middle, &child, &key)) return false;
        if (key < low)
            from = middle + 1;
        else
            to = middle;
    }
    *found = from;
    return true;
}

/* Child i of an inner page, and the highest key under it, when that is below
 * *high. */
static bool child_read(const struct vecindex_ahead *a, const uint8_t *b,
                       uint32_t i, uint32_t *child, int64_t *high)
{
    int64_t key;
    if (i >= be16(b + 3)) {
        *child = be32(b + 8);
        return true;
    }
    if (!cell_read(a, b, i, child, &key)) return false;
    if (key < *high) *high = key;
    return true;
}

/* Add the pages of a level that hold keys low … high to those that are wanted;
 * the leaves are level tree->levels. */
static void range_want(struct vecindex_ahead *a, const struct tree *tree,
                       int level, int64_t low, int64_t high)
{
    while (level > 0 && a->n_wanted < PAGES_MAX) {
        uint32_t page = tree->root, i = 0, child = 0;
        int64_t most = INT64_MAX;
        const uint8_t *b = NULL;
        for (int l = 0; l < level; l++, page = child) {
            b = inner_get(a, l, page);
            if (!b || !cell_find(a, b, low, &i)) return;
            if (l + 1 < level && !child_read(a, b, i, &child, &most)) return;
        }
        for (int64_t key = most; i <= be16(b + 3); i++, key = most) {
            if (!child_read(a, b, i, &child, &key)) return;
            if (a->n_wanted == PAGES_MAX) return;
            a->wanted[a->n_wanted++] = child;
            if (key >= high) return;
        }
        /* the next inner page; damaged ones do not go round in circles */
        if (most < low || most == INT64_MAX) return;
        low = most + 1;
    }
}

/* ---- asking ---------------------------------------------------------------
 */

/* Whether all of [n] mapped bytes are in memory, where a system tells. */
static bool is_resident(void *at, size_t n)
{
# ifdef __linux__
    unsigned char pages[PAGE_MAX / SYSTEM_PAGE_MIN + 1] = {0};
    size_t of = (size_t)sysconf(_SC_PAGESIZE);
    if (mincore(at, n, pages)) return false;
    for (size_t i = 0; i < (n + of - 1) / of; i++)
        if (!(pages[i] & 1)) return false;
    return true;
# else
    (void)at;
    (void)n;
    return false;
# endif
}

/* Ask for one page, unless memory has it. */
static void page_ask(struct vecindex_ahead *a, uint32_t page)
{
    const sqlite3_io_methods *m = a->file->pMethods;
    sqlite3_int64 from = ((sqlite3_int64)page - 1) * (sqlite3_int64)a->size;
    void *at = NULL;
    if (page <= 1 || m->xFetch(a->file, from, (int)a->size, &at) || !at) return;
    size_t past = (uintptr_t)at % (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *first = (uint8_t *)at - past;
    if (!is_resident(first, a->size + past)) {
        (void)posix_madvise(first, a->size + past, POSIX_MADV_WILLNEED);
        a->n_missing++;
    }
    m->xUnfetch(a->file, from, at);
}

/* Ask for what is wanted. Nothing is read while the map is there. */
static void wanted_ask(struct vecindex_table *t)
{
    struct vecindex_ahead *a = t->ahead;
    sqlite3_int64 limit = -1, size = 0, none = 0;
    size_t n = a->n_wanted;
    a->n_wanted = a->n_missing = 0;
    if (n == 0 ||
        sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_MMAP_SIZE,
                             &limit) ||
        limit != 0 || a->file->pMethods->xFileSize(a->file, &size) ||
        size <= 0 ||
        sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_MMAP_SIZE, &size))
        return;
    for (size_t i = 0; i < n; i++) page_ask(a, a->wanted[i]);
    sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_MMAP_SIZE, &none);
}

/* ---- finding the tables --------------------------------------------------
 */

/* The root page of a shadow table; 0 when it is not to be had. */
static uint32_t root_of(struct vecindex_table *t, const char *suffix)
{
    sqlite3_stmt *st = NULL;
    char *text = sqlite3_mprintf(
        "SELECT rootpage FROM \"%w\".sqlite_schema WHERE type = 'table'"
        " AND name = '%q_%q'",
        t->schema, t->name, suffix);
    uint32_t root = 0;
    if (text && !sqlite3_prepare_v2(t->db, text, -1, &st, NULL) &&
        sqlite3_step(st) == SQLITE_ROW)
        root = (uint32_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_free(text);
    return root;
}

/* How deep a tree is, by its first branch. */
static int levels_of(struct vecindex_ahead *a, uint32_t page)
{
    for (int l = 0; l < LEVELS_MAX; l++) {
        uint8_t kind;
        int64_t key = INT64_MAX;
        if (!page_read(a, page, 1, &kind)) return 0;
        if (kind != INNER) return l;
        const uint8_t *b = inner_get(a, l, page);
        if (!b || !child_read(a, b, 0, &page, &key)) return 0;
    }
    return 0;
}

static const struct tree *tree_get(struct vecindex_table *t,
                                   enum vecindex_ahead_table which)
{
    static const char *const suffixes[] = {"list", "seg"};
    struct tree *tree = &t->ahead->trees[which];
    if (tree->is_known) return tree;
    tree->is_known = true;
    tree->root = root_of(t, suffixes[which]);
    tree->levels = levels_of(t->ahead, tree->root);
    /* lists that are near each other lie anywhere */
    if (tree->levels > 1) range_want(t->ahead, tree, 1, INT64_MIN, INT64_MAX);
    wanted_ask(t);
    return tree;
}

/* The file and its page size, where it can be mapped. */
static void file_find(struct vecindex_table *t, struct vecindex_ahead *a)
{
    enum { SIZE_AT = 16 };
    sqlite3_file *file = NULL;
    uint8_t b[2];
    if (sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_FILE_POINTER,
                             &file) ||
        !file || !file->pMethods || file->pMethods->iVersion < 3 ||
        file->pMethods->xRead(file, b, sizeof b, SIZE_AT))
        return;
    a->size = be16(b) == 1 ? PAGE_MAX : be16(b);
    if (a->size < 512) return;
    a->pages = malloc(LEVELS_MAX * a->size);
    if (a->pages) a->file = file;
}

/* t->ahead as it is for one operation; false when nothing can be asked for. */
static bool ahead_ready(struct vecindex_table *t)
{
    if (!t->ahead) {
        t->ahead = calloc(1, sizeof *t->ahead);
        if (t->ahead) file_find(t, t->ahead);
    }
    return t->ahead && t->ahead->file;
}

void vecindex_ahead_want(struct vecindex_table *t,
                         enum vecindex_ahead_table which,
                         const struct vecindex_keys *keys, size_t n)
{
    if (!ahead_ready(t) || t->ahead->is_warm) return;
    const struct tree *tree = tree_get(t, which);
    for (size_t i = 0; i < n; i++)
        range_want(t->ahead, tree, tree->levels, keys[i].low, keys[i].high);
    size_t wanted = t->ahead->n_wanted;
    wanted_ask(t);
    t->ahead->is_warm = which == VECINDEX_AHEAD_SEG && wanted >= WARM &&
                        t->ahead->n_missing == 0;
}

void vecindex_ahead_end(struct vecindex_table *t)
{
    if (!t->ahead) return;
    free(t->ahead->pages);
    free(t->ahead);
    t->ahead = NULL;
}

#else

void vecindex_ahead_want(struct vecindex_table *t,
                         enum vecindex_ahead_table which,
                         const struct vecindex_keys *keys, size_t n)
{
    (void)t;
    (void)which;
    (void)keys;
    (void)n;
}

void vecindex_ahead_end(struct vecindex_table *t)
{
    (void)t;
}

#endif

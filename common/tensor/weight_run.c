/* Products: who does which tiles, and where the scratch is. */
#include "common/tensor/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/tensor/kernel_choice.h"
#include "common/tensor/kernel_set.h"
#include "common/tensor/maps.h"
#include "common/tensor/weight_room.h"
#include "common/tensor/weight_set.h"

enum {
    PANELS_BYTES = 576 << 10, /* of x at a time: they stay in the cache */
    HALVES_BYTES = 2 << 20,   /* the same as tiles: in the second cache */
    PASS_ROWS_MIN = 64,
    PASS_ROWS_MAX = 512,
    ITEM_WORK = 400000, /* products: a piece for a thread, some microseconds */
    ROW_WORK = 8,       /* what reading W takes, in rows of x */
    FEW_ROWS = 4,       /* of x, by plain types: W as it lies */
    PIECE_DEPTH = 256,  /* inputs decoded at a time, as deep as gemm_run goes */
    PIECE_TILES = 4,    /* side by side */
    MANY_PANELS = 16,   /* of x, that meet a chunk of W */
    ALIGN = 64
};

_Static_assert((int)PIECE_TILES == (int)CHUNK_TILES,
               "an item has whole groups");

/* ---- the sets of this processor ------------------------------------------ */

static const struct {
    enum kernel_kind needs;
    const struct weight_set *set;
} sets[] = {
#if WEIGHT_SETS_X86
    {KERNEL_AVX512VNNI, &weight_set_avx512},
    {KERNEL_AVXVNNI, &weight_set_avxvnni},
    {KERNEL_AVX2, &weight_set_avx2},
#endif
#if WEIGHT_SETS_ARM
    {KERNEL_DOTPROD, &weight_set_dotprod},
    {KERNEL_NEON, &weight_set_neon},
#endif
    {KERNEL_BASE, &weight_set_base},
};
enum { N_SETS = sizeof sets / sizeof sets[0] };

/* The one for this processor and TACIT_KERNELS (kernel_choice.h). */
static const struct weight_set *set_best(void)
{
    size_t i = 0;
    while (i + 1 < N_SETS && !kernel_may(sets[i].needs)) i++;
    return sets[i].set;
}

const struct weight_set *weight_set_at(size_t i)
{
    for (size_t k = 0; k < N_SETS; k++)
        if (kernel_has(sets[k].needs) && i-- == 0) return sets[k].set;
    return NULL;
}

const struct weight_many *weight_many_best(void)
{
#if WEIGHT_SETS_X86
    if (kernel_may(KERNEL_AMXINT8)) return &weight_many_amx;
#endif
    return NULL;
}

/* ---- the room ------------------------------------------------------------ */

enum tacit_err weight_room_new(struct weight_room **out, struct pool *pool)
{
    struct weight_room *room = calloc(1, sizeof *room);
    if (!room) return fail(TACIT_NOMEM, "out of memory");
    room->pool = pool;
    room->set = set_best();
    room->many = weight_many_best();
    *out = room;
    return TACIT_OK;
}

void weight_room_free(struct weight_room *room)
{
    if (!room) return;
    free(room->panels);
    free(room->pieces);
    free(room);
}

void weight_room_back_in(struct weight_room *room, enum gemm_numbers numbers)
{
    room->back = numbers;
}

void weight_room_rows(struct weight_room *room, enum weight_rows rows)
{
    room->rows = rows;
}

size_t weight_room_bytes(const struct weight_room *room)
{
    return room->panels_bytes +
           room->piece * pool_threads(room->pool) * sizeof(float);
}

/* `want` bytes of scratch in place of old, whose content is lost; or NULL. */
static void *scratch(void *old, size_t want)
{
    free(old);
    void *new = aligned_alloc(ALIGN, want);
    if (!new)
        (void)fail(TACIT_NOMEM, "out of memory: %zu bytes of scratch", want);
    return new;
}

enum tacit_err weight_room_pieces(struct weight_room *room, size_t piece)
{
    piece = up_to(piece, ALIGN / sizeof(float));
    if (room->piece >= piece) return TACIT_OK;
    size_t n = pool_threads(room->pool) * piece;
    room->pieces = scratch(room->pieces, n * sizeof(float));
    room->piece = room->pieces ? piece : 0;
    return room->pieces ? TACIT_OK : TACIT_NOMEM;
}

static enum tacit_err need_panels(struct weight_room *room, size_t bytes)
{
    bytes = up_to(bytes, ALIGN);
    if (room->panels_bytes >= bytes) return TACIT_OK;
    room->panels = scratch(room->panels, bytes);
    room->panels_bytes = room->panels ? bytes : 0;
    return room->panels ? TACIT_OK : TACIT_NOMEM;
}

/* ---- products ------------------------------------------------------------ */

/* One pass: rows of x that are in the cache meet all tiles of all matrices. */
struct pass {
    struct weight_room *room;
    const struct weight_job *jobs;
    size_t n_jobs;
    size_t first_item[WEIGHT_JOBS_MAX + 1];
    size_t tiles[WEIGHT_JOBS_MAX]; /* per item */
    const float *x;                /* NULL: the panels have it */
    size_t n_in, row0, n_rows;
    uint8_t *halves, *panels; /* x in tiles of bf16, as bytes; or NULL */
    uint8_t *hidden; /* panels: y through GELU, in place of y; or NULL */
};

/* F16 and BF16 by tiles of bf16: for rows enough, where they may. */
static bool as_tiles(const struct weight_room *room, const struct weight *w,
                     size_t n_rows)
{
    return KERNEL_SETS_X86 && room->rows == WEIGHT_ROWS_SPLIT &&
           n_rows > FEW_ROWS &&
           (w->type == QUANT_F16 || w->type == QUANT_BF16) &&
           kernel_may(KERNEL_AMXBF16);
}

static size_t tiles_of(const struct weight *w)
{
    return up_to(w->n_out, WEIGHT_TILE) / WEIGHT_TILE;
}

static void fill_item(void *ctx, size_t i, unsigned worker)
{
    const struct pass *p = ctx;
    (void)worker;
    panel_fill(p->room->set, p->x + p->row0 * p->n_in, p->n_rows, p->n_in,
               p->panels, i);
}

static void split_item(void *ctx, size_t i, unsigned worker)
{
    const struct pass *p = ctx;
    (void)worker;
    split_fill(p->x + p->row0 * p->n_in, p->n_rows, p->n_in, p->halves, i);
}

/* A whole tile's outputs of one row, and what they are added to: of a width the
 * compiler knows. */
static inline void add_row(float *y, const float *out, const float *to)
{
    float sum[WEIGHT_TILE];
    memcpy(sum, to, sizeof sum);
    for (size_t i = 0; i < WEIGHT_TILE; i++) sum[i] += out[i];
    memcpy(y, sum, sizeof sum);
}

/* y of a tile from out [rows][16]. */
static void put(const struct weight_job *job, size_t tile, size_t row,
                size_t rows, const float *out)
{
    size_t n_out = job->w->n_out, at = tile * WEIGHT_TILE;
    size_t n = n_out - at < WEIGHT_TILE ? n_out - at : WEIGHT_TILE;
    if (n == WEIGHT_TILE) {
        for (size_t r = 0; r < rows; r++) {
            float *y = job->y + (row + r) * n_out + at;
            const float *from = out + r * WEIGHT_TILE;
            if (job->bias || job->mode == GEMM_ADD)
                add_row(y, from, job->bias ? job->bias + at : y);
            else
                memcpy(y, from, WEIGHT_TILE * sizeof *y);
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        float *y = job->y + (row + r) * n_out + at;
        const float *from = out + r * WEIGHT_TILE;
        if (job->bias)
            for (size_t i = 0; i < n; i++) y[i] = job->bias[at + i] + from[i];
        else if (job->mode == GEMM_SET)
            memcpy(y, from, n * sizeof *y);
        else
            for (size_t i = 0; i < n; i++) y[i] += from[i];
    }
}

/* y of a panel from out [16][CHUNK_WIDTH], the outputs of a chunk's tiles. */
static void put_chunk(const struct weight_many *many,
                      const struct weight_job *job, size_t tile, size_t row,
                      const float *out)
{
    size_t n_out = job->w->n_out, at = tile * WEIGHT_TILE;
    size_t n = n_out - at < CHUNK_WIDTH ? n_out - at : CHUNK_WIDTH;
    float *y = job->y + row * n_out + at;
    if (job->bias)
        many->put(y, n_out, n, out, job->bias + at, 0);
    else
        many->put(y, n_out, n, out, job->mode == GEMM_ADD ? y : NULL, n_out);
}

/* y of panel i from out [rows][width], outputs from those of `tile` on: the
 * bytes of the next product's panel. */
static void hide(const struct pass *p, const struct weight_job *job,
                 size_t tile, size_t i, float *out, size_t width)
{
    size_t n_out = job->w->n_out, at = tile * WEIGHT_TILE;
    size_t n = n_out - at < width ? n_out - at : width;
    struct weight_panel x = panel_at(p->hidden, p->n_rows, n_out, i);
    uint8_t *to =
        p->hidden + panel_bytes(x.first, n_out) + panel_bytes(x.rows, at);
    size_t rows = n == width ? x.rows : 1; /* that lie together */
    for (size_t r = 0; job->bias && r < x.rows; r++)
        map_add(out + r * width, out + r * width, job->bias + at, n);
    for (size_t r = 0; r < x.rows; r += rows)
        map_gelu(out + r * width, out + r * width, rows * n);
    p->room->set->fill(out, width, n / WEIGHT_BLOCK, to, x.rows);
}

/* Asks for the lines of y that put_chunk() will write: stores that miss would
 * hold up those of the tiles behind them. */
static void ask_for(const struct weight_job *job, size_t tile, size_t row)
{
    size_t n_out = job->w->n_out, at = tile * WEIGHT_TILE;
    size_t n = n_out - at < CHUNK_WIDTH ? n_out - at : CHUNK_WIDTH;
    for (size_t r = row; r < row + PANEL_ROWS; r++)
        for (size_t i = 0; i < n; i += WEIGHT_TILE)
            __builtin_prefetch(job->y + r * n_out + at + i, 1);
}

/* The most blocks of a chunk, when all have nearly as many. */
static size_t chunk_blocks(size_t n_blocks)
{
    size_t n = (n_blocks + CHUNK_BLOCKS - 1) / CHUNK_BLOCKS;
    return (n_blocks + n - 1) / n;
}

/* The whole panels by what takes many, for up to CHUNK_TILES tiles. */
static void whole_panels(const struct pass *p, const struct weight_job *job,
                         size_t tile, size_t n_tiles)
{
    const struct weight_many *many = p->room->many;
    size_t n_whole = p->n_rows / PANEL_ROWS, n_blocks = p->n_in / WEIGHT_BLOCK;
    size_t most = chunk_blocks(n_blocks);
    float out[MANY_PANELS][PANEL_ROWS * CHUNK_WIDTH]
        __attribute__((aligned(ALIGN)));
    struct weight_chunk c;
    for (size_t i0 = 0; i0 < n_whole; i0 += MANY_PANELS)
        for (size_t b = 0; b < n_blocks; b += most) {
            size_t n = n_blocks - b < most ? n_blocks - b : most;
            c.n_tiles = 0;
            for (size_t k = 0; k < n_tiles; k++) {
                const struct weight_tile t = weight_tile(job->w, tile + k);
                (job->w->type == QUANT_Q8_0 ? many->fill_bytes
                                            : many->fill_nibbles)(&t, b, n, &c);
            }
            for (size_t i = i0; i < n_whole && i < i0 + MANY_PANELS; i++) {
                const uint8_t *x =
                    panel_at(p->panels, p->n_rows, p->n_in, i).data;
                float *to = out[most < n_blocks ? i - i0 : i % 2];
                if (b + n == n_blocks && !p->hidden)
                    ask_for(job, tile, p->row0 + i * PANEL_ROWS);
                many->run(&c, x + b * PANEL_ROWS * PANEL_ROW_BYTES,
                          b ? to : NULL, to);
                if (b + n == n_blocks && p->hidden)
                    hide(p, job, tile, i, to, CHUNK_WIDTH);
                else if (b + n == n_blocks)
                    put_chunk(many, job, tile, p->row0 + i * PANEL_ROWS, to);
            }
        }
}

/* Panels from the first one on. */
static void tile_of_blocks(const struct pass *p, const struct weight_job *job,
                           size_t tile, size_t first)
{
    const struct weight_set *set = p->room->set;
    const struct weight_tile t = weight_tile(job->w, tile);
    float out[PANEL_ROWS * WEIGHT_TILE] __attribute__((aligned(ALIGN)));
    for (size_t i = first; i < panel_count(p->n_rows); i++) {
        struct weight_panel x = panel_at(p->panels, p->n_rows, p->n_in, i);
        (job->w->type == QUANT_Q8_0 ? set->q8_0 : set->q4_0)(&t, x.data, x.rows,
                                                             out);
        put(job, tile, p->row0 + x.first, x.rows, out);
    }
}

/* The same of two tiles, a block of the next product's panels. */
static void pair_of_blocks(const struct pass *p, const struct weight_job *job,
                           size_t tile, size_t first)
{
    const struct weight_set *set = p->room->set;
    const weight_kernel run =
        job->w->type == QUANT_Q8_0 ? set->q8_0 : set->q4_0;
    float out[PANEL_ROWS * WEIGHT_TILE] __attribute__((aligned(ALIGN)));
    float both[PANEL_ROWS * WEIGHT_BLOCK];
    for (size_t i = first; i < panel_count(p->n_rows); i++) {
        struct weight_panel x = panel_at(p->panels, p->n_rows, p->n_in, i);
        for (size_t k = 0; k < 2; k++) {
            const struct weight_tile t = weight_tile(job->w, tile + k);
            run(&t, x.data, x.rows, out);
            for (size_t r = 0; r < x.rows; r++)
                memcpy(both + r * WEIGHT_BLOCK + k * WEIGHT_TILE,
                       out + r * WEIGHT_TILE, WEIGHT_TILE * sizeof *both);
        }
        hide(p, job, tile, i, both, WEIGHT_BLOCK);
    }
}

static void tiles_of_blocks(const struct pass *p, const struct weight_job *job,
                            size_t tile, size_t end)
{
    const struct weight_many *many = p->room->many;
    size_t n_whole = many ? p->n_rows / PANEL_ROWS : 0;
    if (n_whole) many->begin();
    for (size_t t = tile; n_whole && t < end; t += CHUNK_TILES)
        whole_panels(p, job, t, end - t < CHUNK_TILES ? end - t : CHUNK_TILES);
    if (n_whole) many->end();
    for (; p->hidden && tile < end; tile += 2)
        pair_of_blocks(p, job, tile, n_whole);
    for (; tile < end; tile++) tile_of_blocks(p, job, tile, n_whole);
}

static void tile_by_rows(const struct pass *p, const struct weight_job *job,
                         size_t tile)
{
    float out[WEIGHT_TILE];
    for (size_t r = 0; r < p->n_rows; r++) {
        weight_row(job->w, tile, p->x + (p->row0 + r) * p->n_in, out);
        put(job, tile, p->row0 + r, 1, out);
    }
}

static void tiles_of_halves(const struct pass *p, const struct weight_job *job,
                            size_t tile, size_t end)
{
    const struct split_job s = {job, p->halves, p->row0, p->n_rows};
    split_run(&s, tile, end);
}

/* Up to four tiles of a plain type side by side: gemm_run likes them wide. */
static void tiles_of_numbers(const struct pass *p, const struct weight_job *job,
                             size_t tile, size_t n_tiles, float *piece)
{
    const struct weight *w = job->w;
    size_t at = tile * WEIGHT_TILE, n = n_tiles * WEIGHT_TILE;
    n = n < w->n_out - at ? n : w->n_out - at;
    for (size_t l = 0; l < w->n_in; l += PIECE_DEPTH) {
        size_t k = w->n_in - l < PIECE_DEPTH ? w->n_in - l : PIECE_DEPTH;
        for (size_t i = 0; i < n_tiles; i++)
            weight_columns(w, tile + i, l, k, piece + i * WEIGHT_TILE,
                           PIECE_TILES * WEIGHT_TILE);
        const struct gemm g = {.m = p->n_rows,
                               .n = n,
                               .k = k,
                               .a = p->x + p->row0 * w->n_in + l,
                               .a_row = w->n_in,
                               .a_col = 1,
                               .b = piece,
                               .b_row = PIECE_TILES * WEIGHT_TILE,
                               .b_col = 1,
                               .c = job->y + p->row0 * w->n_out + at,
                               .c_row = w->n_out,
                               .mode = l ? GEMM_ADD : job->mode};
        if (job->bias && l == 0)
            gemm_run_from(&g, job->bias + at);
        else
            gemm_run(&g);
    }
}

static void product_item(void *ctx, size_t i, unsigned worker)
{
    const struct pass *p = ctx;
    size_t j = 0;
    while (i >= p->first_item[j + 1]) j++;
    const struct weight_job *job = &p->jobs[j];
    size_t tile = (i - p->first_item[j]) * p->tiles[j];
    size_t end = tile + p->tiles[j], n_tiles = tiles_of(job->w);
    float *piece = p->room->pieces + worker * p->room->piece;
    end = end < n_tiles ? end : n_tiles;
    if (as_bytes(job->w))
        tiles_of_blocks(p, job, tile, end);
    else if (p->halves && job->w->type != QUANT_F32)
        tiles_of_halves(p, job, tile, end);
    else if (p->n_rows <= FEW_ROWS || p->room->rows == WEIGHT_ROWS_ALIKE)
        for (; tile < end; tile++) tile_by_rows(p, job, tile);
    else
        for (; tile < end; tile += PIECE_TILES)
            tiles_of_numbers(p, job, tile,
                             end - tile < PIECE_TILES ? end - tile
                                                      : PIECE_TILES,
                             piece);
}

static void run_pass(struct pass *p)
{
    size_t work = WEIGHT_TILE * p->n_in * (p->n_rows + ROW_WORK);
    size_t each = (ITEM_WORK + work - 1) / work;
    p->first_item[0] = 0;
    for (size_t j = 0; j < p->n_jobs; j++) {
        size_t n = tiles_of(p->jobs[j].w);
        p->tiles[j] = as_bytes(p->jobs[j].w) && !p->room->many && !p->hidden
                          ? each
                          : up_to(each, PIECE_TILES);
        p->first_item[j + 1] =
            p->first_item[j] + (n + p->tiles[j] - 1) / p->tiles[j];
    }
    if (p->panels && p->x)
        pool_run(p->room->pool, panel_count(p->n_rows), fill_item, p);
    if (p->halves)
        pool_run(p->room->pool, split_groups(p->n_rows), split_item, p);
    pool_run(p->room->pool, p->first_item[p->n_jobs], product_item, p);
}

/* How many rows of x are in memory together. */
static size_t rows_in(size_t bytes, size_t row_bytes, size_t n_rows)
{
    size_t rows = bytes / row_bytes / PANEL_ROWS * PANEL_ROWS;
    rows = rows < PASS_ROWS_MIN ? PASS_ROWS_MIN : rows;
    rows = rows > PASS_ROWS_MAX ? PASS_ROWS_MAX : rows;
    return rows > n_rows ? n_rows : rows;
}

/* What the matrices want x as, and decoded pieces of themselves. */
enum wants { WANTS_BYTES = 1, WANTS_HALVES = 2, WANTS_PIECES = 4 };

static int wants_of(const struct weight_room *room,
                    const struct weight_job *jobs, size_t n_jobs, size_t n_rows)
{
    int wants = 0;
    for (size_t j = 0; j < n_jobs; j++) {
        assert(jobs[j].w->n_in == jobs[0].w->n_in);
        wants |= as_bytes(jobs[j].w)                 ? WANTS_BYTES
                 : as_tiles(room, jobs[j].w, n_rows) ? WANTS_HALVES
                                                     : WANTS_PIECES;
    }
    return wants;
}

enum tacit_err weight_products(struct weight_room *room,
                               const struct weight_job *jobs, size_t n_jobs,
                               const float *x, size_t n_rows)
{
    if (n_jobs == 0 || n_rows == 0) return TACIT_OK;
    assert(n_jobs <= WEIGHT_JOBS_MAX);
    size_t n_in = jobs[0].w->n_in, halves = 0, panels = 0;
    int wants = wants_of(room, jobs, n_jobs, n_rows);
    size_t rows = wants & WANTS_HALVES
                      ? rows_in(HALVES_BYTES, 4 * n_in, n_rows)
                      : rows_in(PANELS_BYTES, n_in + n_in / 2, n_rows);
    if (wants & WANTS_BYTES) panels = panel_bytes(rows, n_in);
    if (wants & WANTS_HALVES) halves = split_bytes(rows, n_in);
    if (halves + panels) TRY(need_panels(room, halves + panels));
    if (wants & WANTS_PIECES)
        TRY(weight_room_pieces(room, (size_t)PIECE_DEPTH * PIECE_TILES *
                                         WEIGHT_TILE));
    for (size_t i = 0; i < n_rows; i += rows) {
        struct pass p = {.room = room,
                         .jobs = jobs,
                         .n_jobs = n_jobs,
                         .x = x,
                         .n_in = n_in,
                         .row0 = i,
                         .halves = halves ? room->panels : NULL,
                         .panels = panels ? room->panels + halves : NULL,
                         .n_rows = n_rows - i < rows ? n_rows - i : rows};
        run_pass(&p);
    }
    return TACIT_OK;
}

enum tacit_err weight_product(struct weight_room *room, const struct weight *w,
                              const float *x, float *y, size_t n_rows,
                              enum gemm_mode mode)
{
    return weight_products(room, &(struct weight_job){w, y, mode, NULL}, 1, x,
                           n_rows);
}

bool weight_feeds(const struct weight *widen, const struct weight *narrow)
{
    return as_bytes(widen) && as_bytes(narrow) && widen->n_out == narrow->n_in;
}

enum tacit_err weight_feed(struct weight_room *room,
                           const struct weight_job *widen,
                           const struct weight_job *narrow, const float *x,
                           size_t n_rows)
{
    size_t n_in = widen->w->n_in, n_hidden = narrow->w->n_in;
    assert(weight_feeds(widen->w, narrow->w));
    if (n_rows == 0) return TACIT_OK;
    size_t rows = rows_in(PANELS_BYTES, n_hidden + n_hidden / 2, n_rows);
    size_t panels = up_to(panel_bytes(rows, n_in), ALIGN);
    TRY(need_panels(room, panels + panel_bytes(rows, n_hidden)));
    for (size_t i = 0; i < n_rows; i += rows) {
        struct pass p = {.room = room,
                         .jobs = widen,
                         .n_jobs = 1,
                         .x = x,
                         .n_in = n_in,
                         .row0 = i,
                         .panels = room->panels,
                         .hidden = room->panels + panels,
                         .n_rows = n_rows - i < rows ? n_rows - i : rows};
        run_pass(&p);
        p.jobs = narrow;
        p.x = NULL;
        p.n_in = n_hidden;
        p.panels = p.hidden;
        p.hidden = NULL;
        run_pass(&p);
    }
    return TACIT_OK;
}

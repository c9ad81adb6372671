/* Products the way back: W is decoded a piece at a time. */
#include "common/tensor/kernel_choice.h"
#include "common/tensor/kernel_set.h"
#include "common/tensor/weight_room.h"
#include "common/tensor/weight_set.h"

enum {
    BACK_ROWS = 512,         /* of dx, for one piece */
    BACK_COLUMNS_LEAST = 64, /* inputs for one piece: each reads dy anew, so */
    BACK_COLUMNS_MOST = 576, /* as many as leave a piece for every thread */
    BACK_COLUMNS_STEP = 32,
    BACK_DEPTH = 256, /* outputs decoded at a time */
};

struct back {
    struct weight_room *room;
    const struct weight *w;
    const float *dy;
    float *dx;
    size_t n_rows, columns, n_columns; /* of a piece; pieces side by side */
    enum gemm_mode mode;
};

/* Blocks become what the processor multiplies by pairs or tiles, where it does,
 * and never f32. */
static bool back_by_pairs(const struct weight_room *room,
                          const struct weight *w)
{
    return KERNEL_SETS_X86 && room->back == GEMM_BF16 && as_bytes(w) &&
           kernel_may(KERNEL_AVX512BF16);
}

static void back_of_pairs(const struct weight *w, size_t j0, struct gemm g)
{
#if KERNEL_SETS_X86
    struct weight_columns_at at = {w, j0};
    g.k = w->n_out;
    if (kernel_may(KERNEL_AMXBF16))
        kernel_gemm_amx_filled(&g, weight_back_tiles, &at);
    else
        kernel_gemm_bf16_filled(&g, weight_back_pairs, &at);
#else
    (void)w;
    (void)j0;
    (void)g;
#endif
}

/* dx of some rows and columns: W's columns pass by, decoded. */
static void back_item(void *ctx, size_t i, unsigned worker)
{
    const struct back *b = ctx;
    const struct weight *w = b->w;
    size_t j0 = i % b->n_columns * b->columns;
    size_t row = i / b->n_columns * BACK_ROWS;
    size_t n = w->n_in - j0 < b->columns ? w->n_in - j0 : b->columns;
    size_t m = b->n_rows - row < BACK_ROWS ? b->n_rows - row : BACK_ROWS;
    if (back_by_pairs(b->room, w)) {
        back_of_pairs(w, j0,
                      (struct gemm){.m = m,
                                    .n = n,
                                    .a = b->dy + row * w->n_out,
                                    .a_row = w->n_out,
                                    .a_col = 1,
                                    .c = b->dx + row * w->n_in + j0,
                                    .c_row = w->n_in,
                                    .mode = b->mode});
        return;
    }
    float *piece = b->room->pieces + worker * b->room->piece;
    for (size_t i0 = 0; i0 < w->n_out; i0 += BACK_DEPTH) {
        size_t k = w->n_out - i0 < BACK_DEPTH ? w->n_out - i0 : BACK_DEPTH;
        for (size_t r = 0; r < k; r += WEIGHT_TILE)
            weight_tile_decode(w, (i0 + r) / WEIGHT_TILE, 0,
                               k - r < WEIGHT_TILE ? k - r : WEIGHT_TILE, j0,
                               j0 + n, piece + r * b->columns, b->columns);
        gemm_run_in(b->room->back,
                    &(struct gemm){.m = m,
                                   .n = n,
                                   .k = k,
                                   .a = b->dy + row * w->n_out + i0,
                                   .a_row = w->n_out,
                                   .a_col = 1,
                                   .b = piece,
                                   .b_row = b->columns,
                                   .b_col = 1,
                                   .c = b->dx + row * w->n_in + j0,
                                   .c_row = w->n_in,
                                   .mode = i0 ? GEMM_ADD : b->mode});
    }
}

static size_t back_columns(const struct weight_room *room, size_t n_in)
{
    size_t threads = pool_threads(room->pool);
    size_t n = n_in / (threads > 1 ? 2 * threads : 1);
    n = up_to(n, BACK_COLUMNS_STEP);
    n = n < BACK_COLUMNS_LEAST ? BACK_COLUMNS_LEAST : n;
    return n < BACK_COLUMNS_MOST ? n : BACK_COLUMNS_MOST;
}

enum tacit_err weight_product_back(struct weight_room *room,
                                   const struct weight *w, const float *dy,
                                   float *dx, size_t n_rows,
                                   enum gemm_mode mode)
{
    struct back b = {room, w, dy, dx, n_rows, 0, 0, mode};
    b.columns = back_columns(room, w->n_in);
    b.n_columns = (w->n_in + b.columns - 1) / b.columns;
    if (!back_by_pairs(room, w))
        TRY(weight_room_pieces(room, (size_t)BACK_DEPTH * BACK_COLUMNS_MOST));
    pool_run(room->pool, b.n_columns * ((n_rows + BACK_ROWS - 1) / BACK_ROWS),
             back_item, &b);
    return TACIT_OK;
}

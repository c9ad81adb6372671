#include "tests/gradcheck.h"

#include <math.h>

enum tacit_err gradcheck_run(enum tacit_err (*f)(void *ctx, double *loss),
                             void *ctx, float *w, const float *g, size_t n,
                             double h, double *worst)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        float was = w[i];
        double up = 0, down = 0;
        w[i] = (float)((double)was + h);
        double h_up = (double)w[i] - (double)was;
        enum tacit_err err = f(ctx, &up);
        w[i] = (float)((double)was - h);
        double h_down = (double)was - (double)w[i];
        if (!err) err = f(ctx, &down);
        w[i] = was;
        if (err) return err;
        double slope = (up - down) / (h_up + h_down);
        double off = fabs((double)g[i] - slope) / (1 + fabs(slope));
        /* Not a number is worse than any, and stays. */
        if (off > largest || isnan(off)) largest = isnan(off) ? INFINITY : off;
    }
    *worst = largest;
    return TACIT_OK;
}

/* Written by tests/bench/calibrate_doubts.py. */
#ifndef TACIT_RETRIEVAL_DOUBT_WEIGHTS_H
#define TACIT_RETRIEVAL_DOUBT_WEIGHTS_H

/* The last stands alone. */
static const double doubt_weights[13] = {
    3.438, -3.002, -2.379, -0.654, -2.003, -2.197, 0.006,
    0.071, -2.005, -0.576, -0.984, -0.940, 0.308,
};

#endif

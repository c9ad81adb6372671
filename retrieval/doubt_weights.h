/* Written by tests/bench/calibrate_doubts.py. */
#ifndef TACIT_RETRIEVAL_DOUBT_WEIGHTS_H
#define TACIT_RETRIEVAL_DOUBT_WEIGHTS_H

/* The last stands alone. */
static const double doubt_weights[9] = {
    2.244, -2.293, -2.529, -0.578, -1.815, -3.031, -0.018, 0.061, 0.317,
};

#endif

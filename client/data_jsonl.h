/*
 * data_jsonl: text, one JSON object per line, cut into windows for models that
 * predict the next character.
 *
 *   {"text": "To be, or …", "client": "HAMLET"}
 *
 *   characters   t0 t1 t2 t3 t4 t5 t6 …         (length 3)
 *   row 0        x = t0 t1 t2   y = t1 t2 t3
 *   row 1        x = t3 t4 t5   y = t4 t5 t6
 *
 * The texts of a client stand one after the other in the order of the file, a
 * newline between them; what is left behind the last whole window is not used.
 * "client" is optional, but all lines have it or none; the plan's sim.column
 * can take its place. Other keys are ignored.
 *
 * Vocabulary (PLAN_VOCABULARY): ' ' to '~' are 0 to 94; newline and every other
 * character is 95.
 */
#ifndef TACIT_CLIENT_DATA_JSONL_H
#define TACIT_CLIENT_DATA_JSONL_H

#include "client/pooled.h"
#include "common/base/buf.h"

enum { JSONL_LINE_MAX = 16 << 20, JSONL_OTHER = PLAN_VOCABULARY - 1 };

/* The token of a character. */
static inline uint32_t jsonl_token(uint32_t character)
{
    return character >= ' ' && character <= '~' ? character - ' '
                                                : (uint32_t)JSONL_OTHER;
}
/* E_DATA_… name file and line. */
TACIT_CHECKED enum tacit_err jsonl_parse(const struct plan *plan,
                                         const char *name,
                                         const struct buf *bytes,
                                         struct pooled *out);

#endif

/*
 * filter: which passages a search may find: by path, kind, language, date, and
 * whatever else is known of a document.
 *
 *   --in '*.md' --since 2026-01-31 --where title='War*'
 *        └─> SELECT chunk.id … WHERE path GLOB ? AND … ─> ids, rising
 *
 * Both searches take the ids, so a narrow filter still finds as many passages
 * as were asked for. A further key is a row of the table in filter.c; any other
 * is a field that documents have of their own (field.h).
 */
#ifndef TACIT_RETRIEVAL_FILTER_H
#define TACIT_RETRIEVAL_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/db.h"
#include "retrieval/field.h"

enum { FILTER_RULES_MAX = FIELD_WANTS_MAX, FILTER_BYTES_MAX = 1024 };

enum filter_test {
    FILTER_LIKE,  /* equal, or by * ? [] where the value has them */
    FILTER_SINCE, /* at or after the day */
    FILTER_UNTIL  /* before the end of the day */
};

struct filter_rule {
    char key[FIELD_KEY_MAX + 1]; /* "path", "kind", "lang", "date", … */
    const char *value;           /* borrowed; a date is 2026-01-31 */
    enum filter_test test;
};

/* Every rule must hold; no rule: everything. */
struct filter {
    struct filter_rule rules[FILTER_RULES_MAX];
    size_t n;
};

/* Add a rule; another key than those of the table is a field (field.h).
 * E_FILTER: no key, no date, too long, too many. */
TACIT_CHECKED enum tacit_err filter_add(struct filter *f, const char *key,
                                        const char *value,
                                        enum filter_test test);
/* "key=value" from a command line. E_FILTER. */
TACIT_CHECKED enum tacit_err filter_add_pair(struct filter *f,
                                             const char *pair);
/* Ids of the passages that pass, rising, into *ids (arena). E_FILTER for a
 * field that no passage has (the keys that there are are named). */
TACIT_CHECKED enum tacit_err filter_ids(struct db *db, const struct filter *f,
                                        struct arena *a, int64_t **ids,
                                        size_t *n);
/* Of a passage's text [n], of a document of this kind, the rows that have what
 * is asked of fields, into out [max]. 0: it is not of rows, or all of it
 * passes; such a passage passes whole. */
struct filter_row {
    uint32_t first, end; /* bytes of the text */
};
size_t filter_rows(const struct filter *f, const char *kind, const char *text,
                   size_t n, struct filter_row *out, size_t max);

#endif

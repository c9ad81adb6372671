/*
 * words_scan: a search by words over the index's own leaves (postings.h), where
 * their form is known and each term is one word; words.c has FTS5 do the
 * others. Rows, numbers and order are the same. Not for callers.
 */
#ifndef TACIT_RETRIEVAL_WORDS_SCAN_H
#define TACIT_RETRIEVAL_WORDS_SCAN_H

#include "retrieval/words.h"

/* *is_done 0: it is for FTS5, and q is as it was. E_STORE_DAMAGED, NOMEM. */
TACIT_CHECKED enum tacit_err words_scan(struct db *db, struct words_query *q,
                                        int *is_done);

#endif

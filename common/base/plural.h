/* plural: counts as people say them: "1 document", "2 documents". A macro, so
 * that it takes a count of any type. */
#ifndef TACIT_BASE_PLURAL_H
#define TACIT_BASE_PLURAL_H

/* What stands behind "document" for n of them. */
#define plural_s(n) ((n) == 1 ? "" : "s")

#endif

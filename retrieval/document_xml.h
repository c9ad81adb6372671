/*
 * document_xml: the door to expat: one XML part as a row of calls, within
 * bounds.
 *
 * No entity is ever expanded but XML's own five and characters by number; a
 * part that declares any is refused. An undeclared one (&nbsp; in XHTML, whose
 * declarations are not fetched) is handed over as text when HTML knows it. A
 * part goes to the parser in one piece: in many, one endless token would be
 * read again for each. Depth, memory and processor time are bounded.
 *
 * Thread rule: one thread per reading.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_XML_H
#define TACIT_RETRIEVAL_DOCUMENT_XML_H

#include <stddef.h>

#include "common/base/err.h"

enum {
    XML_MEMORY_MAX = 256 << 20, /* of the parser */
    XML_CPU_MS_MAX = 20000      /* of one part */
};

/* An element or attribute: the last part of its namespace ("main" of
 * "http://…/2006/main", "" for none), and its name in it. */
struct xml_name {
    const char *space; /* the whole namespace, NUL-terminated or "" */
    const char *local;
};

/* Callbacks; a result other than OK ends the reading and is its result. */
struct xml_events {
    /* atts: name, value, …, NULL; each name is "space|local" or "local". */
    enum tacit_err (*start)(void *ctx, struct xml_name name, const char **atts);
    enum tacit_err (*end)(void *ctx, struct xml_name name);
    /* May be NULL. */
    enum tacit_err (*text)(void *ctx, const char *text, size_t n);
};

/* Read a part. E_DOCUMENT_DAMAGED names the line; E_DOCUMENT_NESTING,
 * E_DOCUMENT_MARKUP. */
TACIT_CHECKED enum tacit_err xml_read(const char *part, const void *bytes,
                                      size_t n, const struct xml_events *events,
                                      void *ctx);
/* The value of the attribute with that local name, or NULL. */
const char *xml_attribute(const char **atts, const char *local);
/* Whether the element is `local` in a namespace whose name has `space` in it.
 */
int xml_is(struct xml_name name, const char *space, const char *local);

#endif

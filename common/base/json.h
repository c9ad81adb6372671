/*
 * json: the door to jansson. Values are built and read with jansson's own
 * types; this adds the command-line envelope and bounded loading.
 *
 *   {"schema_version":1,"status":"ok","data":{…}}
 *   {"schema_version":1,"status":"error","error":{"code":"TACIT-E0203",
 *    "message":…,"help":…}}
 */
#ifndef TACIT_BASE_JSON_H
#define TACIT_BASE_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "common/base/err.h"

enum { JSON_BYTES_MAX = 64 << 20 };

/* Parse n bytes; *out is owned. LIMIT over JSON_BYTES_MAX; FORMAT names the
 * line and column, also of a key that stands twice or of nesting deeper than
 * jansson's 2048. */
TACIT_CHECKED enum tacit_err json_parse(const char *text, size_t n,
                                        json_t **out);
/* The same, whole numbers as reals: of any length. */
TACIT_CHECKED enum tacit_err json_parse_reals(const char *text, size_t n,
                                              json_t **out);
/* Print the ok envelope around data (stolen) and a newline. */
TACIT_CHECKED enum tacit_err json_print_ok(FILE *f, json_t *data);
/* Print the error envelope for the recorded failure. */
void json_print_error(FILE *f, enum tacit_err err);

#endif

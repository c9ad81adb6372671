/*
 * yaml: the door to libcyaml. A schema says what may stand in a file; loading
 * turns the file into a C struct or a clear error with the line, and names the
 * nearest known key when one is unknown. Numbers are decimal.
 *
 *   risk.yaml:9: unknown key "learing_rate"; did you mean "learning_rate"?
 */
#ifndef TACIT_BASE_YAML_H
#define TACIT_BASE_YAML_H

#include <cyaml/cyaml.h>
#include <stddef.h>

#include "common/base/err.h"
#include "common/base/faults.h"

enum { YAML_BYTES_MAX = 1 << 20 };

/* Load text[n] (name is for messages) by schema into *out (owned; free with
 * yaml_unload and the same schema). One document of UTF-8 text; FORMAT with
 * E_YAML_SYNTAX, E_YAML_KEY or E_YAML_VALUE, or LIMIT. */
TACIT_CHECKED enum tacit_err yaml_load(const char *name, const char *text,
                                       size_t n,
                                       const cyaml_schema_value_t *schema,
                                       void **out);
/* The same, for a caller that has checks of its own to add to the message: what
 * a person can mend line by line goes to f, and *out is what could be read. */
TACIT_CHECKED enum tacit_err yaml_load_all(const char *name, const char *text,
                                           size_t n,
                                           const cyaml_schema_value_t *schema,
                                           struct faults *f, void **out);
/* (Not called yaml_free: libyaml has a global function of that name.) */
void yaml_unload(const cyaml_schema_value_t *schema, void *value);
/* The line where the value of "cohort.size" stands in text[n], 0 when it is not
 * there: for messages about values that a schema cannot judge. */
unsigned yaml_line(const char *text, size_t n, const char *path);
/* Letters to change, add, leave out, or exchange with the next (Damerau's
 * distance, no letter twice), for "did you mean" in any module; at most 64
 * bytes of each string count. */
size_t yaml_distance(const char *a, const char *b);
/* The candidate nearest to word within distance 3 and half its length, else one
 * that it goes on from or that goes on from it, or NULL. */
const char *yaml_nearest(const char *word, const char *const *candidates,
                         size_t n);

#endif

/*
 * yaml_strict: a first look at a file, before libcyaml's. libcyaml ends at the
 * first fault; this collects them all: keys that are unknown, repeated or
 * missing, and values that are not what they look like. libcyaml reads "1.5"
 * and "12 beds" as the whole numbers 1 and 12, "010" as 8 and "maybe" as true;
 * a person who wrote that meant something else.
 */
#ifndef TACIT_BASE_YAML_STRICT_H
#define TACIT_BASE_YAML_STRICT_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/faults.h"
#include "common/base/yaml.h"

/* Every key of text[n] is the schema's and stands once, none that is required
 * is missing (E_YAML_KEY); every number is decimal and ends where its value
 * ends, every switch is true or false (or yes, no, on, off; E_YAML_VALUE). What
 * is not goes to f. E_YAML_VALUE where the nesting is too deep to go on. OK,
 * and nothing in f, where it is not YAML: libcyaml will say so. */
TACIT_CHECKED enum tacit_err yaml_check_strict(
    const char *name, const char *text, size_t n,
    const cyaml_schema_value_t *schema, struct faults *f);

#endif

/*
 * yaml_strict: a second look at the values of a file that libcyaml took. It
 * reads "1.5" and "12 beds" as the whole numbers 1 and 12, "010" as 8 and
 * "maybe" as true; a person who wrote that meant something else.
 */
#ifndef TACIT_BASE_YAML_STRICT_H
#define TACIT_BASE_YAML_STRICT_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/yaml.h"

/* Every number that schema names in text[n] is decimal and ends where its value
 * ends, every switch is true or false (or yes, no, on, off); E_YAML_VALUE
 * otherwise. The file fits the schema. */
TACIT_CHECKED enum tacit_err yaml_check_strict(
    const char *name, const char *text, size_t n,
    const cyaml_schema_value_t *schema);

#endif

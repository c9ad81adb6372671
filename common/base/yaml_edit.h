/*
 * yaml_edit: change one value of a YAML text and leave all else of it as it
 * is: comments, order and layout. For programs that run one file in variants.
 *
 *   cohort: {size: 4}      set cohort.size 8      cohort: {size: 8}
 *   seed: 42   # ours      set seed 7             seed: 7   # ours
 *                          set sim.alpha 0.1      sim: {alpha: 0.1}
 *
 * A path names keys and, from 1, list entries: data.columns[2].name. What is
 * not there yet is put behind its neighbours: no line before it moves.
 */
#ifndef TACIT_BASE_YAML_EDIT_H
#define TACIT_BASE_YAML_EDIT_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/yaml.h"

enum { YAML_PATH_MAX = 256, YAML_VALUE_MAX = 1024 };

/* Append text[n] to out with `value` at path. The value is YAML for one node:
 * 0.1, sgd, [16, 32] or {kind: krum, byzantine: 2}. E_YAML_SYNTAX; E_YAML_VALUE
 * when the value would be more or less than that node, or when the path leads
 * through something that holds no keys. */
TACIT_CHECKED enum tacit_err yaml_set(const char *name, const char *text,
                                      size_t n, const char *path,
                                      const char *value, struct buf *out);

/* Call visit for every scalar of text[n], in order. E_YAML_SYNTAX. */
TACIT_CHECKED enum tacit_err yaml_leaves(
    const char *name, const char *text, size_t n,
    void (*visit)(void *ctx, const char *path, const char *value), void *ctx);

/* OK when a file of this schema may hold something at path; else E_YAML_KEY,
 * with the nearest path there is. */
TACIT_CHECKED enum tacit_err yaml_known(const cyaml_schema_value_t *schema,
                                        const char *path);

#endif

/*
 * networks_parts: what networks.c (rows and names) lends networks_files.c (the
 * files behind them). Private to them.
 */
#ifndef TACIT_CLIENT_NETWORKS_PARTS_H
#define TACIT_CLIENT_NETWORKS_PARTS_H

#include "client/networks.h"

/* The name that the job gives or its path suggests. E_USAGE. */
TACIT_CHECKED enum tacit_err networks_choose_name(
    const struct networks_job *job, char out[NETWORK_NAME_MAX]);
/* Before the work. STATE: other weights have m's name. */
TACIT_CHECKED enum tacit_err networks_check_name(struct device *d,
                                                 const struct network_row *m);
/* Within a write: m's row, new, or the one of the same file with what the job
 * says of it, which m becomes. STATE: another model has taken the name. */
TACIT_CHECKED enum tacit_err networks_put(struct device *d,
                                          const struct networks_job *job,
                                          struct network_row *m);
/* A blob (m's, at path) that no row names goes, in a write: so that no other
 * process names it between the look and the end of it. */
enum tacit_err networks_remove_unused(struct device *d,
                                      const struct network_row *m,
                                      const char *path);

#endif

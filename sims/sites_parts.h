/*
 * sites_parts: what the files of sites share: room for clients, tables
 * (sites_table.c) and folders (sites_folder.c). Nobody else includes it.
 */
#ifndef TACIT_SIMS_SITES_PARTS_H
#define TACIT_SIMS_SITES_PARTS_H

#include "sims/sites.h"

/* Room for n clients; s->n stays 0. LIMIT, NOMEM. */
TACIT_CHECKED enum tacit_err sites_room(struct sites *s, size_t n);
/* The name of client i, cut where it does not fit. */
void sites_name(struct sites *s, size_t i, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* sim.partition shift: add client i's own offset to its rows. */
TACIT_CHECKED enum tacit_err sites_shift(const struct plan *plan, size_t i,
                                         struct dataset *d);
/* Each fills s with clients; after an error the caller releases it. */
TACIT_CHECKED enum tacit_err sites_invent_tables(const struct plan *plan,
                                                 struct sites *s);
TACIT_CHECKED enum tacit_err sites_load_table(const struct plan *plan,
                                              const char *path,
                                              struct sites *s);
TACIT_CHECKED enum tacit_err sites_load_folder(const struct plan *plan,
                                               const char *path,
                                               struct sites *s);

#endif

/*
 * keeper: keeps the documents in step with the folders that `tacit add` was
 * given, while the daemon runs.
 *
 *   folders_list ─every 5 s─> watch ─paths─> intake ─> documents
 *
 * It has a thread and a connection of its own. A folder is looked through once
 * when the daemon starts or when it is added, then when something in it
 * changes. What cannot be read is logged and tried again when it changes. The
 * encoder is in memory only while there is something to index.
 *
 * Thread rule: keeper_start() and keeper_stop() by one thread; the device that
 * was given must stay open in between.
 */
#ifndef TACIT_CLIENT_KEEPER_H
#define TACIT_CLIENT_KEEPER_H

#include "client/device.h"
#include "common/base/err.h"

struct keeper; /* owned */

TACIT_CHECKED enum tacit_err keeper_start(const struct device *d,
                                          struct keeper **out);
/* Ends after the file that is being read, and frees it; NULL is fine. */
void keeper_stop(struct keeper *k);

#endif

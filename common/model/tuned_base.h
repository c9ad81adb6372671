/*
 * tuned_base: the network that others have trained and a plan goes on from: its
 * file, found by its hash, and which of its numbers are trained.
 *
 *   model_base { where, hash } ──> file or folder/HASH ──> model_files
 *              { adapter, … }  ──> net_options
 */
#ifndef TACIT_MODEL_TUNED_BASE_H
#define TACIT_MODEL_TUNED_BASE_H

#include "common/model/model.h"
#include "common/model/model_files.h"
#include "common/model/net.h"

/* The base's files; the caller closes them. E_BASE_MISSING, FORMAT. */
TACIT_CHECKED enum tacit_err tuned_base(const struct model_base *b,
                                        struct model_files **out);
/* How its network is opened: which of its numbers are trained. */
struct net_options tuned_options(const struct model_base *b);

#endif

/*
 * local: a plan's examples on this device, found by the policy and kept while
 * rounds of the plan run: the table of patients, or the pairs with the corpus
 * and encoder that they need.
 */
#ifndef TACIT_CLIENT_LOCAL_H
#define TACIT_CLIENT_LOCAL_H

#include "client/device.h"
#include "client/examples.h"

struct local; /* owned */

TACIT_CHECKED enum tacit_err local_new(struct device *d, struct local **out);
void local_free(struct local *l);
/* The examples of a plan, borrowed until the next call. They are read again
 * when the file, one that is read with it (labels beside images) or the store
 * has changed. POLICY_REFUSED when the policy names no file for them. */
TACIT_CHECKED enum tacit_err local_dataset(struct local *l,
                                           const struct plan *plan,
                                           const struct policy *policy,
                                           const struct dataset **out);

#endif

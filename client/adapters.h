/*
 * adapters: what was adopted of plans that train an adapter of a network
 * (common/model/tuned.h), found again, and taken elsewhere.
 *
 *   newest adopted model of a plan with a base
 *      ├─ embedding.c: questions are read with it
 *      ├─ generator.c: answers are written with it
 *      ├─ adapters_merge    W + scale B A, a GGUF file of its own; with the
 *      │                    head that was learnt: of classes, so that it can
 *      │                    read hits again, or a reader's
 *      └─ adapters_export   a folder as PEFT writes it
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_ADAPTERS_H
#define TACIT_CLIENT_ADAPTERS_H

#include "client/device.h"
#include "common/model/model.h"
#include "common/model/net_write.h"
#include "common/plan/plan.h"

struct adapter_found {
    struct plan *plan; /* owned */
    struct model_spec spec;
    struct model *model; /* owned: holds the adopted weights */
    uint32_t version;
};

/* The newest adopted model of the plan called `name`; NULL: of any retriever
 * plan with a base. NOTFOUND; E_BASE_MISSING when its base is gone. */
TACIT_CHECKED enum tacit_err adapters_find(struct device *d, const char *name,
                                           struct adapter_found *out);
/* The newest adopted model of any plan of this task with a base, where its base
 * is this one: *has 0, 1. Released by the caller when *has. */
TACIT_CHECKED enum tacit_err adapters_of(struct device *d, enum plan_task task,
                                         const struct digest *base,
                                         struct adapter_found *out, int *has);
void adapters_release(struct adapter_found *a);
/* Whether a retriever's adapter was adopted, and for which base: *has 0, 1. */
TACIT_CHECKED enum tacit_err adapters_base(struct device *d, int *has,
                                           struct digest *base);
/* The whole network with the adapter in it, as a plain GGUF file at path, which
 * must not be there; how->other is not read. */
TACIT_CHECKED enum tacit_err adapters_merge(const struct adapter_found *a,
                                            const char *path,
                                            const struct net_write *how);
/* 1: what was learnt has a head behind its pairs. */
int adapters_has_head(const struct adapter_found *a);
/* adapter_model.safetensors and adapter_config.json in the folder; a head has
 * no place there. */
TACIT_CHECKED enum tacit_err adapters_export(const struct adapter_found *a,
                                             const char *folder);

#endif

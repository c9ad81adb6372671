/*
 * FedAvg with local fine-tuning: the global model is trained as in FedAvg; what
 * a device uses, and what its held-out rows measure, is that model after K more
 * steps on its own train rows (Yu, Bagdasaryan, Shmatikov, Salvaging Federated
 * Learning by Local Adaptation, 2020, arXiv 2002.04758, section 4.1).
 *
 * Differs in: the fine-tuned weights are kept on the device, and are those of
 * the last round that it took part in: what it trained from that round's model,
 * not from the one that the round made. They never leave, and no later round
 * reads them. Under privacy these K steps are beside the noisy sum, which alone
 * goes into the model.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

const struct strategy strategy_finetune = {
    .name = "finetune",
    .paper = "Yu et al. 2020",
    .flags = STRATEGY_SUM | STRATEGY_PERSONAL,
    .n_up = 1,
    .n_client = 1,
};

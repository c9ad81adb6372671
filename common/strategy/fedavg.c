/*
 * FedAvg: McMahan et al., Communication-Efficient Learning of Deep Networks
 * from Decentralized Data, AISTATS 2017 (arXiv 1602.05629), algorithm 1.
 *
 *   x <- x + eta_g sum_i p_i delta_i
 *
 * Differs in: a server learning rate (1 is the paper), each delta_i is clipped
 * to the plan's bound, p_i come from example counts capped by the plan.
 * Secure aggregation: yes.
 */
#include "common/strategy/rows.h"

const struct strategy strategy_fedavg = {
    .name = "fedavg",
    .paper = "McMahan et al. 2017",
    .flags = STRATEGY_SUM,
    .n_up = 1,
};

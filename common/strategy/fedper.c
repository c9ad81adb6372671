/*
 * FedPer: Arivazhagan et al., Federated Learning with Personalization Layers,
 * 2019 (arXiv 1912.00818), algorithm 1.
 *
 *   w = [ base | personal ]: the base is averaged as in FedAvg, the personal
 *   end of the vector stays on the device and is trained together with it
 *
 * The uplink is zero where the weights are personal, so nothing of them leaves.
 * A device without any yet starts from the global model's.
 * Differs in: base and personal layers share one optimiser and learning rate.
 * Secure aggregation: yes.
 */
#include <string.h>

#include "common/strategy/rows.h"

static void begin(const struct strategy_local *l, float *w)
{
    size_t first = l->c->personal;
    if (l->fresh || first >= l->n) return;
    memcpy(w + first, l->state + first, (l->n - first) * sizeof *w);
}

static void finish(const struct strategy_local *l, const float *w, float *up,
                   double *scalars)
{
    (void)scalars;
    for (size_t i = 0; i < l->n; i++) {
        int is_personal = i >= l->c->personal;
        up[i] = is_personal ? 0 : w[i] - l->global[i];
        l->next_state[i] = is_personal ? w[i] : 0;
    }
}

const struct strategy strategy_fedper = {
    .name = "fedper",
    .paper = "Arivazhagan et al. 2019",
    .flags = STRATEGY_SUM | STRATEGY_PERSONAL,
    .n_up = 1,
    .n_client = 1,
    .begin = begin,
    .finish = finish,
};

/* net: the names of its tensors: the matrices of a layer, what of a file is
 * read, and the pairs by the matrix that each changes. See net.h, net_parts.h.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/net_parts.h"

#define AT(member) offsetof(struct net_layer, member)
const struct net_part net_parts[NET_N_PARTS] = {
    {"attn_q", AT(q), OF_QUERY, OF_WIDTH, 0},
    {"attn_k", AT(k), OF_KEY, OF_WIDTH, 0},
    {"attn_v", AT(v), OF_KEY, OF_WIDTH, 0},
    {"attn_output", AT(mix), OF_WIDTH, OF_QUERY, 0},
    {"ffn_gate", AT(gate), OF_FEED, OF_WIDTH, 1},
    {"ffn_up", AT(widen), OF_FEED, OF_WIDTH, 0},
    {"ffn_down", AT(narrow), OF_WIDTH, OF_FEED, 0},
};

struct net_matrix *net_part_of(struct net_layer *layer,
                               const struct net_part *part)
{
    return (struct net_matrix *)(void *)((char *)layer + part->at);
}

int net_has_part(const struct net *n, const struct net_part *part)
{
    return !part->gated || n->family->gate == GATE_SWIGLU;
}

/* ---- what is read ---- */

const char *net_family_name(const struct net *n)
{
    return n->family->name;
}

/* "STEM.weight" or "STEM.bias". */
static int is_of(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    return strncmp(name, stem, n) == 0 &&
           (strcmp(name + n, ".weight") == 0 || strcmp(name + n, ".bias") == 0);
}

static int reads_in_block(const struct net *n, const char *name)
{
    int before = n->family->place == NORM_BEFORE;
    for (size_t i = 0; i < NET_N_PARTS; i++)
        if (is_of(name, net_parts[i].name))
            return net_has_part(n, &net_parts[i]);
    return is_of(name, before ? "attn_norm" : "attn_output_norm") ||
           is_of(name, before ? "ffn_norm" : "layer_output_norm");
}

int net_reads(const struct net *n, const char *tensor)
{
    static const char *const ends[][5] = {{"token_embd", "output_norm",
                                           "output", "rope_freqs", NULL},
                                          {"token_embd", "position_embd",
                                           "token_types", "token_embd_norm",
                                           "cls"}};
    int encoder = n->family->mask != ATTEND_CAUSAL;
    char *rest;
    if (strncmp(tensor, "blk.", 4) == 0) {
        unsigned long i = strtoul(tensor + 4, &rest, 10);
        return i < n->shape.layers && *rest == '.' &&
               reads_in_block(n, rest + 1);
    }
    for (size_t i = 0; i < sizeof *ends / sizeof **ends; i++)
        if (ends[encoder][i] && is_of(tensor, ends[encoder][i])) return 1;
    return is_of(tensor, "head") || (encoder && is_of(tensor, "cls.output"));
}

/* ---- the pairs, for whoever merges or exports them ---- */

static const float *numbers(const struct net *n, const struct net_tensor *t)
{
    return t->trained ? n->params.flat + t->offset : t->v;
}

/* Pair number i, or how many there are in all when i is past them. */
static size_t walk_pairs(const struct net *n, size_t i, struct net_pair *out)
{
    size_t count = 0;
    for (size_t l = 0; l < n->shape.layers; l++)
        for (size_t k = 0; k < NET_N_PARTS; k++) {
            const struct net_matrix *m =
                net_part_of(&n->layers[l], &net_parts[k]);
            if (!m->up.rows || count++ != i || !out) continue;
            *out = (struct net_pair){.rows = m->w.rows,
                                     .cols = m->w.cols,
                                     .rank = m->down.rows,
                                     .down = numbers(n, &m->down),
                                     .up = numbers(n, &m->up),
                                     .scale = n->pair_scale};
            snprintf(out->name, sizeof out->name, "blk.%zu.%s.weight", l,
                     net_parts[k].name);
        }
    return count;
}

size_t net_n_pairs(const struct net *n)
{
    return walk_pairs(n, SIZE_MAX, NULL);
}

void net_pair_at(const struct net *n, size_t i, struct net_pair *out)
{
    (void)walk_pairs(n, i, out);
}

/*
 * net_parts: what net_shape.c and net_load.c read, net_names.c names, and net.c
 * computes with. Private to them.
 */
#ifndef TACIT_MODEL_NET_PARTS_H
#define TACIT_MODEL_NET_PARTS_H

#include "common/base/arena.h"
#include "common/model/net.h"
#include "common/tensor/weights.h"

/* Numbers of a network; rows 0: the file has none. */
struct net_tensor {
    size_t rows, cols;
    float *v;             /* frozen, in the arena, or NULL */
    struct weight packed; /* frozen; data NULL: it is not packed */
    size_t offset;        /* trained: in the parameters */
    int trained;
};

struct net_matrix {
    struct net_tensor w, bias, down, up;
};

struct net_norm {
    struct net_tensor gain, bias;
};

struct net_layer {
    struct net_matrix q, k, v, mix, gate, widen, narrow;
    struct net_norm first, second; /* of attend and of feed */
};

enum net_norm_kind { NORM_LAYER, NORM_RMS };
enum net_norm_place { NORM_BEFORE, NORM_AFTER };
enum net_gate { GATE_GELU, GATE_SWIGLU };
enum net_places { PLACES_LEARNED, PLACES_PAIRS, PLACES_HALVES };

struct net_family {
    const char *name;
    enum net_norm_kind norm;
    enum net_norm_place place;
    enum net_gate gate;
    enum net_places places;
    enum attend_mask mask;
};

struct net {
    const struct net_family *family;
    struct net_shape shape;
    struct params params;
    struct arena arena;       /* layers and frozen numbers */
    struct net_layer *layers; /* [shape.layers] */
    struct net_matrix tokens, places, types, output, head;
    struct net_matrix pooler, classes; /* of an encoder; rows 0: none */
    struct net_norm before, last; /* of the embedding; of the hidden rows */
    float pair_scale;
    int trains_blocks;   /* not only a head */
    size_t frozen_bytes; /* of numbers that are not trained */
};

/* net_shape.c: family and shape of n, from the file's metadata. FORMAT, LIMIT,
 * SHAPE, UNSUPPORTED. */
TACIT_CHECKED enum tacit_err net_shape_read(struct net *n,
                                            const struct gguf *file);

/* net_names.c: the matrices of a layer, in the order of enum net_target. */
enum net_part_size { OF_WIDTH, OF_QUERY, OF_KEY, OF_FEED };
struct net_part {
    const char *name;
    size_t at; /* of the net_matrix in a net_layer */
    enum net_part_size rows, cols;
    int gated; /* only where the gate is a product */
};
enum { NET_N_PARTS = 7 };
extern const struct net_part net_parts[NET_N_PARTS];
struct net_matrix *net_part_of(struct net_layer *layer,
                               const struct net_part *part);
/* 1 where networks of n's family have it. */
int net_has_part(const struct net *n, const struct net_part *part);

/* Both matrices of a layer's feed are trained, with biases and a GELU between:
 * op_feed() has them as one. */
int net_feeds_whole(const struct net *n, const struct net_layer *l);

#endif

/*
 * net_golden_cross: what tests/golden/net_golden.py worked out; made by it,
 * not by hand.
 */
#ifndef TACIT_TESTS_GOLDEN_NET_GOLDEN_CROSS_H
#define TACIT_TESTS_GOLDEN_NET_GOLDEN_CROSS_H

#include "tests/golden/net_golden.h"

/* clang-format off */
static const char cross_words[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhow\nmuch\nwarfarin\n"
    "start\nwith\n5\nmg\nat\nnight\nin\nthe\n"
    "even\n##ing\n.\n?\n";
static const struct golden_pair_text cross_texts[] = {
    {"How much warfarin?",
     "Start with 5 mg in the evening. Start warfarin at night, with 5 "
     "mg at night.",
     64, 27, 6,
     {
      2, 5, 6, 7, 19, 3, 8, 9, 10, 11, 14, 15, 16, 17, 18, 8,
      7, 12, 13, 1, 9, 10, 11, 12, 13, 18, 3,
     }},
    {"How much warfarin?",
     "Start with 5 mg in the evening. Start warfarin at night, with 5 "
     "mg at night.",
     16, 16, 6,
     {
      2, 5, 6, 7, 19, 3, 8, 9, 10, 11, 14, 15, 16, 17, 18, 3,
     }},
    {"warfarin",
     "night",
     8, 5, 3,
     {
      2, 7, 3, 13, 3,
     }},
    {"warfarin at night",
     "Start with 5 mg in the evening. Start warfarin at night, with 5 "
     "mg at night.",
     12, 12, 5,
     {
      2, 7, 12, 13, 3, 8, 9, 10, 11, 14, 15, 3,
     }},
};
static const struct golden_tensor cross_tensors[] = {
    {"token_embd.weight", 64, 32, 0, 1,
     0.46802971, -0.41970392, -0.35740207},
    {"position_embd.weight", 40, 32, 0, 0.265165031,
     0.36069159, 0.011503869, -0.50383678},
    {"token_types.weight", 2, 32, 0, 0.265165031,
     0.40747116, -0.023601634, 0.34168619},
    {"token_embd_norm.weight", 1, 32, 1, 0.300000012,
     0.31649374, -0.14528426, 0.028739799},
    {"token_embd_norm.bias", 1, 32, 0, 0.300000012,
     0.25512985, 0.1037449, 0.10599817},
    {"blk.0.attn_q.weight", 32, 32, 0, 0.265165031,
     0.30773386, 0.28968875, 0.046635691},
    {"blk.0.attn_q.bias", 1, 32, 0, 0.300000012,
     0.065363281, -0.0078381943, -0.070904333},
    {"blk.0.attn_k.weight", 32, 32, 0, 0.265165031,
     0.34322597, 0.23995733, -0.23232443},
    {"blk.0.attn_k.bias", 1, 32, 0, 0.300000012,
     9.0220345e-18, 1.3843314e-18, -1.5121394e-18},
    {"blk.0.attn_v.weight", 32, 32, 0, 0.265165031,
     0.52248098, 0.3550976, -0.28232106},
    {"blk.0.attn_v.bias", 1, 32, 0, 0.300000012,
     0.17848974, -0.11012331, 0.022490425},
    {"blk.0.attn_output.weight", 32, 32, 0, 0.265165031,
     0.47170745, -0.15621067, -0.11831514},
    {"blk.0.attn_output.bias", 1, 32, 0, 0.300000012,
     0.1923578, -0.0033463001, 0.19677591},
    {"blk.0.attn_output_norm.weight", 1, 32, 1, 0.300000012,
     0.27440933, -0.024298615, 0.35009111},
    {"blk.0.attn_output_norm.bias", 1, 32, 0, 0.300000012,
     0.20139081, -0.16870811, 0.014977324},
    {"blk.0.ffn_up.weight", 64, 32, 0, 0.265165031,
     0.66106756, 0.78610298, 0.48177222},
    {"blk.0.ffn_up.bias", 1, 64, 0, 0.300000012,
     0.09715568, -0.0074000694, 0.046882588},
    {"blk.0.ffn_down.weight", 32, 64, 0, 0.1875,
     0.74769733, -0.56694483, -0.60180829},
    {"blk.0.ffn_down.bias", 1, 32, 0, 0.300000012,
     0.14702883, 0.1721135, 0.097735178},
    {"blk.0.layer_output_norm.weight", 1, 32, 1, 0.300000012,
     0.25044126, -0.11210536, 0.13427102},
    {"blk.0.layer_output_norm.bias", 1, 32, 0, 0.300000012,
     0.17766802, -0.099809514, -0.13682739},
    {"blk.1.attn_q.weight", 32, 32, 0, 0.265165031,
     0.19404278, 0.14766335, -0.024758127},
    {"blk.1.attn_q.bias", 1, 32, 0, 0.300000012,
     0.033653197, -0.02588774, -0.022970938},
    {"blk.1.attn_k.weight", 32, 32, 0, 0.265165031,
     0.17175493, -0.077655441, -0.12883923},
    {"blk.1.attn_k.bias", 1, 32, 0, 0.300000012,
     1.0336978e-17, -5.1345354e-18, -4.8300604e-19},
    {"blk.1.attn_v.weight", 32, 32, 0, 0.265165031,
     0.38609231, -0.32864765, 0.2547011},
    {"blk.1.attn_v.bias", 1, 32, 0, 0.300000012,
     0.1062943, 0.066010672, -0.10265675},
    {"blk.1.attn_output.weight", 32, 32, 0, 0.265165031,
     0.5030579, -0.45974447, 0.25818143},
    {"blk.1.attn_output.bias", 1, 32, 0, 0.300000012,
     0.13819594, -0.0099131518, 0.00012605273},
    {"blk.1.attn_output_norm.weight", 1, 32, 1, 0.300000012,
     0.23420122, 0.068336431, 0.19933914},
    {"blk.1.attn_output_norm.bias", 1, 32, 0, 0.300000012,
     0.15386945, -0.083781928, 0.054253422},
    {"blk.1.ffn_up.weight", 64, 32, 0, 0.265165031,
     0.75676774, -0.64179343, 0.19138669},
    {"blk.1.ffn_up.bias", 1, 64, 0, 0.300000012,
     0.099108741, -0.0085804832, -0.08349189},
    {"blk.1.ffn_down.weight", 32, 64, 0, 0.1875,
     0.85387131, 0.19318181, -0.16486447},
    {"blk.1.ffn_down.bias", 1, 32, 0, 0.300000012,
     0.14167082, 0.065097726, -0.065090179},
    {"blk.1.layer_output_norm.weight", 1, 32, 1, 0.300000012,
     0.24941921, -0.047167589, -0.16155132},
    {"blk.1.layer_output_norm.bias", 1, 32, 0, 0.300000012,
     0.15628859, 0.012075769, 0.16782386},
    {"cls.weight", 32, 32, 0, 0.265165031,
     1.6120798, 2.5805342, 1.6864258},
    {"cls.bias", 1, 32, 0, 0.300000012,
     0.19947963, 0.00093236867, 0.023413233},
    {"cls.output.weight", 1, 32, 0, 0.300000012,
     1.0062581, 0.21467114, -0.029242772},
    {"cls.output.bias", 1, 1, 0, 0.300000012,
     0.1590479, -0.043303928, -0.0039682115},
};
static const struct golden_pair cross_pairs[] = {
    {"bert.block_count", 2, 0},
    {"bert.embedding_length", 32, 0},
    {"bert.feed_forward_length", 64, 0},
    {"bert.attention.head_count", 4, 0},
    {"bert.attention.layer_norm_epsilon", 1e-12, 1},
    {"bert.pooling_type", 4, 0},
};
static const float cross_rows[2] = {
    -1.216051f, -0.1874586f,
};
static const float cross_losses[10] = {
    1.039723f, 0.5797637f, 0.3852627f, 0.2720097f, 0.1861223f, 0.1271414f,
    0.08889823f, 0.0646069f, 0.04901514f, 0.0386606f,
};
/* clang-format on */

#endif

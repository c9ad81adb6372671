/* gguf: the types of tensors, by ggml's numbers, and how many bytes each takes.
 * See gguf.h. */
#include "common/model/gguf.h"
#include "common/tensor/weights.h"

static const struct type {
    uint32_t type;
    const char *name, *packed; /* packed: NULL when weight.h has no tile */
    unsigned block, bytes;
} types[] = {
    {0, "F32", "packed F32", 1, 4},
    {1, "F16", "packed F16", 1, 2},
    {2, "Q4_0", "packed Q4_0", 32, 18},
    {3, "Q4_1", NULL, 32, 20},
    {6, "Q5_0", NULL, 32, 22},
    {7, "Q5_1", NULL, 32, 24},
    {8, "Q8_0", "packed Q8_0", 32, 34},
    {9, "Q8_1", NULL, 32, 36},
    {10, "Q2_K", NULL, 256, 84},
    {11, "Q3_K", NULL, 256, 110},
    {12, "Q4_K", NULL, 256, 144},
    {13, "Q5_K", NULL, 256, 176},
    {14, "Q6_K", NULL, 256, 210},
    {15, "Q8_K", NULL, 256, 292},
    {16, "IQ2_XXS", NULL, 256, 66},
    {17, "IQ2_XS", NULL, 256, 74},
    {18, "IQ3_XXS", NULL, 256, 98},
    {19, "IQ1_S", NULL, 256, 50},
    {20, "IQ4_NL", NULL, 32, 18},
    {21, "IQ3_S", NULL, 256, 110},
    {22, "IQ2_S", NULL, 256, 82},
    {23, "IQ4_XS", NULL, 256, 136},
    {24, "I8", NULL, 1, 1},
    {25, "I16", NULL, 1, 2},
    {26, "I32", NULL, 1, 4},
    {27, "I64", NULL, 1, 8},
    {28, "F64", NULL, 1, 8},
    {29, "IQ1_M", NULL, 256, 56},
    {30, "BF16", "packed BF16", 1, 2},
    {34, "TQ1_0", NULL, 256, 54},
    {35, "TQ2_0", NULL, 256, 66},
    {39, "MXFP4", NULL, 32, 17},
};

static const struct type *find_type(uint32_t type)
{
    uint32_t plain = type >= GGUF_PACKED ? type - GGUF_PACKED : type;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == plain)
            return type >= GGUF_PACKED && !types[i].packed ? NULL : &types[i];
    return NULL;
}

const char *gguf_type_name(uint32_t type)
{
    const struct type *t = find_type(type);
    if (!t) return NULL;
    return type >= GGUF_PACKED ? t->packed : t->name;
}

uint64_t gguf_type_bytes(uint32_t type, const uint64_t dims[GGUF_DIMS_MAX])
{
    const uint64_t most = (uint64_t)1 << 48;
    const struct type *t = find_type(type);
    uint64_t rows = 1;
    if (!t || dims[0] == 0 || dims[0] > most || dims[0] % t->block) return 0;
    uint64_t row = dims[0] / t->block * t->bytes;
    for (int i = 1; i < GGUF_DIMS_MAX; i++) {
        if (dims[i] == 0 || rows > most / dims[i]) return 0;
        rows *= dims[i];
    }
    if (type >= GGUF_PACKED)
        return weight_bytes((enum quant_type)t->type, (size_t)rows,
                            (size_t)dims[0]);
    return row > most / rows ? 0 : row * rows;
}

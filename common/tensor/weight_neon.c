/* Products of bytes for any 64-bit ARM processor. */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_ARM
# pragma GCC optimize("O3")
# include <arm_neon.h>

/* Products in 16 bits, then two additions of neighbours: a product of bytes
 * fits, two of them may not, hence the widening one. */
static inline __attribute__((always_inline)) int32x4_t dot_step(int32x4_t sum,
                                                                int8x16_t w,
                                                                int8x16_t x)
{
    int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    int16x8_t high = vmull_high_s8(w, x);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
}

# define WEIGHT_SET  weight_set_neon
# define WEIGHT_NAME "neon"
# include "common/tensor/weight_neon.h"
#endif

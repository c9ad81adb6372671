/* Products of bytes for 64-bit ARM processors with dotprod. */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_ARM
# pragma GCC target("arch=armv8.2-a+dotprod")
# pragma GCC optimize("O3")
# include <arm_neon.h>

# define dot_step    vdotq_s32
# define WEIGHT_SET  weight_set_dotprod
# define WEIGHT_NAME "dotprod"
# include "common/tensor/weight_neon.h"
#endif

/* Products of bytes for processors with VNNI but not AVX-512. */
#include "common/tensor/weight_set.h"

#if WEIGHT_SETS_X86
# pragma GCC target("avx2,fma,f16c,avxvnni")
# pragma GCC optimize("O3")
# include <immintrin.h>

# define dot_step    _mm256_dpbusd_avx_epi32
# define WEIGHT_SET  weight_set_avxvnni
# define WEIGHT_NAME "avxvnni"
# include "common/tensor/weight_vnni256.h"
#endif

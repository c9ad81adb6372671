#include "common/tensor/kernel_choice.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined __x86_64__ && defined __GNUC__
# include <cpuid.h>
#endif
#if defined __x86_64__ && defined __linux__
# include <sys/syscall.h>
# include <unistd.h>
#endif
#if defined __aarch64__ && defined __linux__
# include <asm/hwcap.h>
# include <sys/auxv.h>
#endif

#if defined __x86_64__ && defined __GNUC__
/* Leaf 7.1, EAX bit 4; gcc 12 knows no name for it. */
static bool has_avxvnni(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__builtin_cpu_supports("avx2")) return false;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    return a >> 4 & 1;
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

#if defined __x86_64__ && defined __GNUC__ && defined __linux__
enum {
    ARCH_REQ_XCOMP_PERM = 0x1023, /* asm/prctl.h of Linux 5.16 */
    XFEATURE_XTILEDATA = 18,
    TILES_INT8 = 1,
    TILES_BF16 = 2
};

/* Leaf 7, EDX bits 24, 25 and 22. Linux lends the 8 KiB of tiles to a process
 * that asks; it refuses one with a stack for signals that they do not fit, and
 * where the machine's state does not have them. */
static int ask_tiles(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!has_avx512() || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vnni"))
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1)) return 0;
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
        return 0;
    return (d >> 25 & 1 ? TILES_INT8 : 0) | (d >> 22 & 1 ? TILES_BF16 : 0);
}

/* Asked once in a process: cpuid takes a microsecond in a virtual machine. */
static bool has_tiles(int want)
{
    static atomic_int had = -1;
    int has = atomic_load_explicit(&had, memory_order_relaxed);
    if (has < 0) {
        has = ask_tiles();
        atomic_store_explicit(&had, has, memory_order_relaxed);
    }
    return has & want;
}
#elif defined __x86_64__ && defined __GNUC__
enum { TILES_INT8, TILES_BF16 };
static bool has_tiles(int want)
{
    (void)want;
    return false;
}
#endif

bool kernel_has(enum kernel_kind kind)
{
    switch (kind) {
    case KERNEL_BASE: return true;
#if defined __x86_64__ && defined __GNUC__
    case KERNEL_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case KERNEL_AVXVNNI: return kernel_has(KERNEL_AVX2) && has_avxvnni();
    case KERNEL_AVX512: return has_avx512();
    case KERNEL_AVX512BF16:
        return has_avx512() && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512bf16");
    case KERNEL_AVX512VNNI:
        return has_avx512() && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vnni");
    case KERNEL_AMXINT8: return has_tiles(TILES_INT8);
    case KERNEL_AMXBF16:
        return kernel_has(KERNEL_AVX512BF16) && has_tiles(TILES_BF16);
#endif
#if defined __aarch64__
    case KERNEL_NEON: return true;
#endif
#if defined __aarch64__ && defined __linux__
    case KERNEL_DOTPROD: return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#endif
    default: return false;
    }
}

/* The highest kind that TACIT_KERNELS allows. */
static enum kernel_kind allowed(void)
{
    static const struct {
        const char *name;
        enum kernel_kind most;
    } names[] = {{"base", KERNEL_BASE},       {"avx2", KERNEL_AVX2},
                 {"avxvnni", KERNEL_AVXVNNI}, {"avx512", KERNEL_AVX512BF16},
                 {"amx", KERNEL_AMXBF16},     {"neon", KERNEL_NEON},
                 {"dotprod", KERNEL_DOTPROD}};
    const char *name = getenv("TACIT_KERNELS");
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i].name) == 0) return names[i].most;
    return KERNEL_DOTPROD;
}

bool kernel_may(enum kernel_kind kind)
{
    static atomic_int most = -1;
    int limit = atomic_load_explicit(&most, memory_order_relaxed);
    if (limit < 0) {
        limit = (int)allowed();
        atomic_store_explicit(&most, limit, memory_order_relaxed);
    }
    return (int)kind <= limit && kernel_has(kind);
}

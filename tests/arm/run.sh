#!/usr/bin/env bash
# The tests of kernels that stand alone, built for 64-bit ARM and run by qemu:
# once as a processor with dotprod, once as one without (cortex-a53). No
# figures: speed on ARM is not measured here.
set -eu
out=${TACIT_BUILD:-build}/arm
mkdir -p "$out"
sources="common/base/err.c common/base/utf8.c common/base/pool.c
    common/base/tick.c tests/check.c tests/arm/drawn.c
    $(ls common/tensor/kernel*.c common/tensor/maps*.c \
        common/tensor/weight*.c common/tensor/quant.c retrieval/rabitq*.c)"
for t in tensor/test_quant tensor/test_weights tensor/test_kernels \
    base/test_pool retrieval/test_rabitq; do
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc -std=c11 -D_GNU_SOURCE -Itests/arm -I. -O2 -static \
        -ffp-contract=off -o "$out/${t#*/}" "tests/$t.c" $sources -lm -lpthread
    for cpu in max cortex-a53; do
        echo "$t ($cpu)"
        timeout 1800 qemu-aarch64 -cpu $cpu "$out/${t#*/}"
    done
done

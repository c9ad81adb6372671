#!/usr/bin/env bash
# Format, clang-tidy, cppcheck and gcc -fanalyzer over every C file.
#
# clang-tidy's checks that are off, and why: easily-swappable-parameters and
# narrowing-conversions repeat what -Wconversion and the types say;
# reserved-identifier dislikes feature macros; DeprecatedOrUnsafe wants Annex K.
set -u
mapfile -t sources < <(git ls-files '*.c')
mapfile -t files < <(git ls-files '*.c' '*.h')
flags=(-std=c11 -D_GNU_SOURCE -I. -DTACIT_HAVE_BLAS=1)
read -r -a blas < <(pkg-config --cflags openblas 2>/dev/null || true)
flags+=("${blas[@]}")
failed=0
say() { printf '%-14s %s\n' "$1" "$2"; }

if out=$(clang-format --dry-run -Werror "${files[@]}" 2>&1); then
    say clang-format ok
else
    say clang-format FAILED
    grep -m 10 error <<<"$out"
    failed=1
fi

checks='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters'
checks+=',-bugprone-narrowing-conversions,-bugprone-reserved-identifier'
checks+=',-bugprone-implicit-widening-of-multiplication-result'
checks+=',-bugprone-assignment-in-if-condition,-bugprone-branch-clone'
checks+=',-bugprone-macro-parentheses'
checks+=',-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling'
printf '%s\n' "${sources[@]}" | grep -v '^tests/' |
    xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet --checks="'"$checks"'" \
        --warnings-as-errors="*" "$@" -- '"${flags[*]}"' 2>/dev/null' _ \
        >build/clang-tidy.log
if grep -qE '(warning|error):' build/clang-tidy.log; then
    say clang-tidy FAILED
    grep -E '(warning|error):' build/clang-tidy.log | sort -u | head -30
    failed=1
else
    say clang-tidy ok
fi

if cppcheck --quiet --std=c11 --enable=warning,performance,portability \
    --inline-suppr --suppress=missingInclude --suppress=unknownMacro \
    --suppress=normalCheckLevelMaxBranches --error-exitcode=1 -j "$(nproc)" \
    -I. -D_GNU_SOURCE -DTACIT_HAVE_BLAS=1 -D__x86_64__ \
    common retrieval client coordinator sims >build/cppcheck.log 2>&1; then
    say cppcheck ok
else
    say cppcheck FAILED
    head -30 build/cppcheck.log
    failed=1
fi

printf '%s\n' "${sources[@]}" | grep -v '^tests/' |
    xargs -P "$(nproc)" -n 1 sh -c 'gcc -fanalyzer -O1 -w -Wanalyzer-double-free \
        -Wanalyzer-use-after-free -Wanalyzer-null-dereference \
        -Wanalyzer-file-leak -Wanalyzer-double-fclose \
        -Wanalyzer-free-of-non-heap -Wanalyzer-tainted-array-index '"${flags[*]}"' \
        -c "$1" -o /dev/null' _ 2>build/fanalyzer.log
if grep -qE '(warning|error):' build/fanalyzer.log; then
    say fanalyzer FAILED
    grep -E '(warning|error):' build/fanalyzer.log | head -30
    failed=1
else
    say fanalyzer ok
fi
exit $failed

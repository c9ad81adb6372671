#!/usr/bin/env bash
# Run every fuzz target for FUZZ_SECONDS each, from the inputs in
# tests/fuzz/seeds/TARGET where there are any; inputs found are kept in
# build/fuzz/corpus, a crash is kept in build/fuzz/crashes and fails the run.
set -u
seconds=${FUZZ_SECONDS:-60}
build=build/fuzz
failed=0
mkdir -p $build/crashes
for target in "$build"/fuzz/fuzz_*; do
    [ -x "$target" ] || continue
    name=$(basename "$target")
    corpus=$build/corpus/$name
    mkdir -p "$corpus"
    log=$build/$name.log
    seeds=()
    [ -d tests/fuzz/seeds/"$name" ] && seeds=(tests/fuzz/seeds/"$name")
    if timeout -k 10 $((seconds + 60)) "$target" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=2048 -verbosity=1 -print_final_stats=1 \
        -artifact_prefix=$build/crashes/"$name"- "$corpus" \
        "${seeds[@]}" >"$log" 2>&1; then
        printf 'ok      %-20s %s\n' "$name" \
            "$(grep -m1 'number_of_executed_units' "$log" | tr -s ' ')"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n' "$name"
        tail -n 40 "$log" | sed 's/^/    | /'
    fi
done
exit $((failed > 0))

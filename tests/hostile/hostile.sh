#!/bin/sh
# Runs every part of the hostile bytes and ends with their sum:
#   hostile: mutations=N operations=N executions=N failures=N
# $1: the folder of hostile_* and fuzz_*; $2: the folder of the corpora; $3: why there are no fuzz_*, or nothing.
# Exit: 0; 1 a part failed, or the full counts were not reached; 77 all else is well, but libFuzzer is not there.
set -u
bin=$1 corpora=$2 missing=${3-}
percent=${WEIR_TEST_PERCENT:-100}
seed=${WEIR_TEST_SEED:-$(($(date +%s) * 1000003 + $$))}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mutations=0 operations=0 executions=0 failures=0 fuzzers=0

# add LINE: the numbers of a "part NAME: mutations=N operations=N executions=N" line.
add() {
    for number in $1; do
        case $number in
        mutations=*) mutations=$((mutations + ${number#*=})) ;;
        operations=*) operations=$((operations + ${number#*=})) ;;
        executions=*) executions=$((executions + ${number#*=})) ;;
        esac
    done
}

fail() {
    echo "hostile: FAILED: $*"
    failures=$((failures + 1))
}

for program in "$bin"/hostile_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    log=$scratch/log
    WEIR_TEST_SEED=$seed "$program" >"$log" 2>&1
    status=$?
    cat "$log"
    line=$(grep '^part ' "$log")
    [ "$status" -eq 0 ] && [ -n "$line" ] || fail "${program##*/}, status $status"
    add "$line"
done

runs=$((1000000 * percent / 100))
[ "$runs" -gt 0 ] || runs=1
if [ -z "$missing" ]; then
    for program in "$bin"/fuzz_*; do
        [ -x "$program" ] && [ -f "$program" ] || continue
        name=${program##*/}
        log=$scratch/log
        mkdir -p "$scratch/$name"
        fuzzers=$((fuzzers + 1))
        # libFuzzer's seed has 32 bits.  New inputs go to the scratch folder, not to the repository's corpus.
        "$program" -runs="$runs" -seed=$((seed % 2147483647 + 1)) -max_len=512 -timeout=20 -print_final_stats=1 \
            -verbosity=0 -artifact_prefix="$scratch/" "$scratch/$name" "$corpora/$name" >"$log" 2>&1
        status=$?
        done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        if [ "$status" -ne 0 ] || [ "${done:-0}" -lt "$runs" ]; then
            cat "$log"
            for input in "$scratch"/crash-* "$scratch"/timeout-* "$scratch"/oom-* "$scratch"/leak-*; do
                [ -f "$input" ] || continue
                echo "$name's input, for: base64 -d >FILE && $name FILE"
                base64 "$input"
                rm "$input"
            done
            fail "$name, status $status, ${done:-0} of $runs executions; again: -seed=$((seed % 2147483647 + 1))"
        fi
        echo "part $name: mutations=0 operations=0 executions=${done:-0} seed=$((seed % 2147483647 + 1))"
        add "executions=${done:-0}"
    done
    [ "$fuzzers" -gt 0 ] || fail "no fuzz_* in $bin"
fi

# The full counts, or their share elsewhere.
[ "$mutations" -ge $((1000000 * percent)) ] || fail "$mutations mutations are too few"
[ "$executions" -ge $((runs * fuzzers)) ] || fail "$executions executions are too few"

echo "hostile: mutations=$mutations operations=$operations executions=$executions failures=$failures"
[ "$failures" -eq 0 ] || exit 1
if [ -n "$missing" ]; then
    echo "SKIPPED: the libFuzzer targets: $missing"
    exit 77
fi
exit 0

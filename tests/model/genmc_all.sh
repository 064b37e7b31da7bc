#!/bin/sh
# tests/model/genmc_all.sh - every model under GenMC, as a table of verdicts; by hand, README.md keeps one.
#
#   GENMC=path/to/genmc WEIR_SOURCE_DIR=... WEIR_INCLUDE_DIRS=... genmc_all.sh [HARNESS[:MODEL]]...
#
# For each model and memory model: the complete executions, those that were blocked, the seconds of processor time with
# the compiling, how many of the marks that the model must reach GenMC finds reached (under --rc11), and "ok".  A model
# that must fail (must_fail) must be rejected.  GENMC_SECONDS (1200): a run that takes longer is cut off and says "no
# end".  GENMC_MODELS (--rc11 --imm).  GENMC_JOBS (2): runs at a time.
#
# genmc_all.sh --list prints "HARNESS MODEL MARKS MUST-FAIL" for each model that GenMC can be asked of.
#
# Exit 1 where a verdict is not as it must be.  The last line is "genmc: models=N ok=N no_end=N failures=N".
set -eu

source=${WEIR_SOURCE_DIR:?the source tree}
model=$source/tests/model
seconds=${GENMC_SECONDS:-1200}
memory=${GENMC_MODELS:---rc11 --imm}

# What GenMC cannot be asked, and what only one of its memory models can.
skipped() { # skipped HARNESS MODEL
    case $1:$2 in
    model_wake*:*_light | model_litmus:sb_others | model_litmus:sb_not_light | model_litmus:sb_not_heavy)
        echo "membarrier, which GenMC does not have" ;;
    model_wake_any:*) echo "futex_waitv, of which its backend here has no model" ;;
    esac
}
rejects() { # rejects HARNESS MODEL MEMORY-MODEL: must it be rejected, against what our explorer says of it?
    case $1:$2:$3 in
    model_litmus:lb:--imm) echo yes ;; # load buffering: the model says that there is none
    esac
}
accepts() {
    case $1:$2:$3 in
    model_litmus:race*:--imm) echo yes ;; # under --imm, GenMC looks for no races on plain bytes
    esac
}
# No second look for those that would not end with one; MODEL_BOUND in the harnesses has the other bounds.
defines() {
    case $1:$2 in
    model_mpsc:lap | model_mpsc:producer_dies | model_broadcast:laps | model_broadcast_gated:reader_dies | \
        model_mpmc:race | model_mpmc:batch | model_mpmc:lap_* | model_mpmc:claimer_* | model_mpmc:adopt* | \
        model_mpmc:producer_dies)
        echo -DMODEL_GENMC_WAITS=0 ;;
    model_wake_shared:shared_*) echo -DMODEL_GENMC_RETURNS=1 ;;
    model_wake_shared:drain_*) echo -DMODEL_GENMC_RETURNS=0 ;;
    esac
}

if [ "${1:-}" = --defines ]; then # --defines HARNESS MODEL: for genmc_weaken.sh
    defines "$2" "$3"
    exit
fi

# ---- one model under one memory model ----

# genmc HARNESS MODEL DEFINES OPTION...: to $own/said.
genmc() {
    by=$1 id=$2 GENMC_DEFINES="$3"
    export GENMC_DEFINES
    shift 3
    status=0
    # shellcheck disable=SC3045
    (
        ulimit -t "$seconds"
        ended=0
        sh "$model/genmc.sh" "$by" "$id" --check-liveness "$@" >"$own/said" 2>&1 || ended=$?
        times >"$own/times"
        exit $ended
    ) || status=$?
}

# What --rc11 allows, --imm does too; only for the litmus tests both are asked.
asked_marks() {
    case $harness:$as in
    model_litmus:* | *:--rc11) echo "$1" ;;
    *) echo 0 ;;
    esac
}

# one PLAIN NUMBER HARNESS MODEL MARKS MUST-FAIL MEMORY-MODEL
if [ "${1:-}" = --one ]; then
    plain=$2 own=$2/$3 harness=$4 id=$5 marks=$6 must_fail=$7 as=$8
    mkdir "$own"
    line=$(printf '%-24s %-20s %-6s' "${harness#model_}" "$id" "${as#--}")
    why=$(skipped "$harness" "$id")
    if [ -n "$why" ]; then
        printf '%s skipped: %s\n' "$line" "$why" >"$own/result"
        exit 0
    fi
    bounds=$(defines "$harness" "$id")
    genmc "$harness" "$id" "$bounds" "$as"
    [ "$(rejects "$harness" "$id" "$as")" != yes ] || must_fail=1
    [ "$(accepts "$harness" "$id" "$as")" != yes ] || must_fail=0
    executions=$(sed -n 's/^Number of complete executions explored: //p' "$own/said")
    blocked=$(sed -n 's/^Number of blocked executions seen: //p' "$own/said")
    took=$(sed -n '2s/^\([0-9]*\)m\([0-9.]*\)s.*/\1 \2/p' "$own/times" | awk '{ printf "%.1f", $1 * 60 + $2 }')
    numbers=$(printf '%9s %9s %8s' "${executions:-?}" "${blocked:-0}" "${took:-?}")
    case $status in
    0) verdict=ok ;;
    42) verdict="error: $(sed -n 's/^Error: //p' "$own/said" | head -n 1)" ;;
    137 | 152) verdict="no end in $seconds s" ;;
    *) verdict="could not be run: $(grep -m 1 -iE 'error' "$own/said" || tail -n 1 "$own/said")" ;;
    esac
    if [ "$must_fail" != 0 ] && [ "$status" = 42 ]; then
        verdict="ok (rejected, as it must be)"
    elif [ "$must_fail" != 0 ] && [ "$status" = 0 ]; then
        verdict="error: accepted, and must not be"
    elif [ "$status" = 0 ]; then
        [ "$executions" != 0 ] || verdict="error: no execution ends"
        marks=$(asked_marks "$marks")
        wanted=0 found=0
        for bit in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
            [ $((marks >> bit & 1)) = 1 ] || continue
            wanted=$((wanted + 1))
            genmc "$harness" "$id" "$bounds -DMODEL_GENMC_REACH=$((1 << bit))" "$as"
            [ "$status" != 42 ] || found=$((found + 1))
        done
        [ "$wanted" = 0 ] || numbers="$numbers $found/$wanted"
    fi
    printf '%s %s %s\n' "$line" "$numbers" "$verdict" >"$own/result"
    cat "$own/result" >&2
    exit 0
fi

# ---- all ----

plain=$(mktemp -d)
trap 'rm -rf "$plain"' EXIT
trap 'exit 1' HUP INT TERM

# The models of a harness, as "ID MARKS MUST-FAIL": it is compiled with a MODEL that tells of itself.
models() {
    flags=
    IFS=:
    for dir in $WEIR_INCLUDE_DIRS; do
        flags="$flags -idirafter $dir"
    done
    unset IFS
    cat >"$plain/models.c" <<-END
	#include <stdio.h>
	#include "explorer.h"
	#undef MODEL
	#define MODEL(id) static struct model id; __attribute__((constructor)) static void id##_say(void) \\
	    { printf("%s %u %d%c", #id, id.must_reach, id.must_fail != NULL, 10); } static struct model id
	#include "$model/$1.c"
	int main(void) { return 0; }
	END
    # shellcheck disable=SC2086
    "${CC:-cc}" -std=c11 -D_GNU_SOURCE -w -I"$plain" -I"$model" '-DWEIR_ATOMIC_BACKEND="backend.h"' $flags \
        -static -Wl,--unresolved-symbols=ignore-all "$plain/models.c" -o "$plain/models"
    "$plain/models"
}

mkdir "$plain/weir"
for layer in base naming ring ipc; do
    ln -s "$source/$layer" "$plain/weir/$layer"
done
list=no
if [ "${1:-}" = --list ]; then
    list=yes
    shift
fi
# shellcheck disable=SC2012,SC2046
[ $# -gt 0 ] || set -- $(cd "$model" && ls model_*.c | sed 's/\.c$//')
number=0
for asked; do
    harness=${asked%%:*}
    only=
    case $asked in *:*) only=${asked#*:} ;; esac
    models "$harness" >"$plain/list"
    while read -r id marks must_fail; do
        [ -z "$only" ] || [ "$only" = "$id" ] || continue
        if [ $list = yes ]; then
            [ -n "$(skipped "$harness" "$id")" ] || echo "$harness $id $marks $must_fail"
            continue
        fi
        for as in $memory; do
            number=$((number + 1))
            echo "$number $harness $id $marks $must_fail $as"
        done
    done <"$plain/list"
done >"$plain/runs"
if [ $list = yes ]; then
    cat "$plain/runs"
    exit 0
fi

xargs -P "${GENMC_JOBS:-2}" -L 1 sh "$0" --one "$plain" <"$plain/runs"
"${GENMC:-genmc}" --version | sed -n 's/^ *\(GenMC v.*\|Built with.*\)/\1/p'
printf '%-24s %-20s %-6s %9s %9s %8s %s\n' harness model under complete blocked seconds "reached, verdict"
sed 's/ .*//' "$plain/runs" | while read -r n; do
    cat "$plain/$n/result"
done | tee "$plain/table"
count() { grep -cE "$1" "$plain/table" || true; }
failures=$(count '(error:|could not be run)')
unreached=$(awk '{ for (i = 1; i <= NF; i++) if (split($i, n, "/") == 2 && n[1] != n[2]) print }' "$plain/table" | wc -l)
echo "genmc: models=$(wc -l <"$plain/runs") ok=$(count ' ok') no_end=$(count 'no end') skipped=$(count 'skipped:')" \
    "unreached=$unreached failures=$failures"
[ "$failures" = 0 ]

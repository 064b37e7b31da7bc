#!/bin/sh
# tests/model/genmc_weaken.sh - the weakenings of weaken.sh, judged by GenMC; by hand, README.md keeps the outcome.
#
#   GENMC=path/to/genmc WEIR_SOURCE_DIR=... WEIR_INCLUDE_DIRS=... genmc_weaken.sh [EDGE]...
#
# With --listed in front, only the sites in weaken.expected.  Each site is weakened once, alone, and the models of the
# harnesses that name its edge are run under --rc11 and then --imm (under which GenMC looks for no races on plain
# bytes), until one is rejected.  GENMC_SECONDS (120): a run that takes longer tells nothing.  GENMC_JOBS (2).
#
# Exit 1 where GenMC accepts a site that is not listed, or rejects one that is and not as beyond the explorer, or nothing
# could be run.  The last line is
# "genmc_weaken: sites=N rejected=N accepted=N skipped=N failures=N".
set -eu

source=${WEIR_SOURCE_DIR:?the source tree}
model=$source/tests/model
seconds=${GENMC_SECONDS:-120}

# site PLAIN FILE LINE EDGE KIND NUMBER
if [ "${1:-}" = --site ]; then
    plain=$2 file=$3 edge=$5 kind=$6 number=$7
    site="$file $edge $kind $number"
    out=$plain/$(printf '%s' "$site" | tr '/ ' __)
    listed=no
    ! grep -qxF "$site" "$plain/expected" || listed=yes
    ! grep -qxF "$site: beyond the explorer" "$model/weaken.expected" || listed=beyond
    ran=0 cut=0 broken=0 by=
    case $site in
    "ipc/channel.h WAKE sc 2" | "ipc/kind.h WAKE sc 2" | "ipc/channel_wait.c WAKE sc 3")
        printf 'skipped  %s: membarrier, which GenMC does not have\n' "$site" | tee "$out.result"
        exit 0
        ;;
    "ipc/channel_many.c WAKE sc "*)
        printf 'skipped  %s: futex_waitv, of which its backend here has no model\n' "$site" | tee "$out.result"
        exit 0
        ;;
    esac
    names() { (cd "$model" && grep -lE "edges:.* $edge( |\$)" model_*.c | sed 's/\.c$//'); }
    # What attaches to a ring that is being made sees the edges of its making: those first.
    candidates() {
        names | while read -r harness; do awk -v of="$harness" '$1 == of && $4 == 0 { print $1, $2 }' "$plain/models"; done |
            case $edge in *-INIT) sort -k 2 -s ;; *) cat ;; esac
    }
    for as in --rc11 --imm; do
        while read -r harness id; do
            [ -z "$by" ] || continue
            status=0
            # shellcheck disable=SC3045
            (ulimit -t "$seconds" &&
                GENMC_WEAKEN=$site GENMC_DEFINES=$(sh "$model/genmc_all.sh" --defines "$harness" "$id") \
                    sh "$model/genmc.sh" "$harness" "$id" --check-liveness "$as") \
                >"$out.said" 2>&1 </dev/null || status=$?
            case $status in
            0) ran=$((ran + 1)) ;;
            42) by="$harness $id ${as#--}: $(sed -n 's/^Error: //p' "$out.said" | head -n 1)" ;;
            137 | 152) cut=$((cut + 1)) ;;
            *) broken=$((broken + 1)) ;;
            esac
        done <<END
$(candidates)
END
    done
    if [ -n "$by" ]; then
        printf 'rejected %s: %s' "$site" "$by"
    else
        printf 'accepted %s: by %d runs, %d cut off, %d could not be run' "$site" "$ran" "$cut" "$broken"
    fi >"$out.result"
    case $listed:$by in
    yes:) printf ', as listed\n' ;;
    beyond:?*) printf ', beyond the explorer, as listed\n' ;;
    no:) printf ' - FAILURE: not listed\n' ;;
    beyond:) printf ' - FAILURE: listed as beyond the explorer\n' ;;
    yes:*) printf ' - FAILURE: listed\n' ;;
    *) printf '\n' ;;
    esac >>"$out.result"
    cat "$out.result"
    exit 0
fi

plain=$(mktemp -d)
trap 'rm -rf "$plain"' EXIT
trap 'exit 1' HUP INT TERM
sed '/^#/d; /^ /d; /^$/d; s/:.*//' "$model/weaken.expected" >"$plain/expected"
sh "$model/genmc_all.sh" --list >"$plain/models"
sh "$model/weaken.sh" --sites >"$plain/sites"
keep() { awk "$1" "$plain/sites" >"$plain/some" && mv "$plain/some" "$plain/sites"; }
if [ "${1:-}" = --listed ]; then
    shift
    awk 'NR == FNR { listed[$0] = 1; next } ($1 " " $3 " " $4 " " $5) in listed' "$plain/expected" "$plain/sites" \
        >"$plain/some"
    mv "$plain/some" "$plain/sites"
fi
if [ $# -gt 0 ]; then
    pattern=$(printf '%s\n' "$@" | paste -sd '|' -)
    keep "\$3 ~ \"^($pattern)\$\""
fi

xargs -P "${GENMC_JOBS:-2}" -L 1 sh "$0" --site "$plain" <"$plain/sites"
count() { find "$plain" -name '*.result' -exec cat {} + | grep -cE "$1" || true; }
failures=$(count 'FAILURE')
accepted_by_none=$(count ' by 0 runs')
echo "genmc_weaken: sites=$(wc -l <"$plain/sites") rejected=$(count '^rejected') accepted=$(count '^accepted')" \
    "skipped=$(count '^skipped') failures=$((failures + accepted_by_none))"
[ "$failures" = 0 ] && [ "$accepted_by_none" = 0 ] && [ -s "$plain/sites" ]

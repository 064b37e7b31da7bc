#!/bin/sh
# tests/model/genmc.sh - a model under GenMC, an independent judge; by hand, where it is built.
#
#   GENMC=path/to/genmc WEIR_SOURCE_DIR=... WEIR_INCLUDE_DIRS=... genmc.sh HARNESS MODEL [OPTION]...
#
# For example: genmc.sh model_spsc_publish records --rc11.  What GENMC_DEFINES holds goes to the compiler
# (-DMODEL_GENMC_WAITS=2; see genmc_backend.h).  GENMC_WEAKEN="FILE EDGE KIND NUMBER" names a site, as in
# weaken.expected, that is weakened first.  genmc_all.sh runs all of them.  Exit status: GenMC's, 0 where it accepts.
set -eu

source=${WEIR_SOURCE_DIR:?the source tree}
harness=${1:?the harness, such as model_spsc_publish}
id=${2:?the model, the word in its MODEL}
shift 2

# What a harness is made of, from the bottom up.
case $harness in
model_litmus) units= ;;
model_latest) units="ring/latest.c" ;;
model_broadcast) units="ring/broadcast.c" ;;
model_mpsc) units="ring/spsc.c ring/lanes.c ring/mpsc.c ring/mpsc_ordered.c" ;;
model_mpmc) units="ring/mpmc.c ring/mpmc_consumer.c" ;;
model_broadcast_gated) units="ring/spsc.c ring/broadcast_gated.c" ;;
model_wake) units="ring/spsc.c naming/participant.c ipc/channel_wait.c" ;;
*) units="ring/spsc.c" ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$scratch/include/weir"
for layer in base naming ring ipc; do
    cp -r "$source/$layer" "$scratch/include/weir/$layer"
done
flags=
IFS=:
for dir in ${WEIR_INCLUDE_DIRS:?the include folders}; do
    flags="$flags -idirafter $dir"
done
unset IFS

# A struct of 32-bit fields that is copied as two 64-bit words is nothing for GenMC.  So this one is made too large for
# registers, and what is stored through a pointer is stored field by field.
participant=$scratch/include/weir/naming/participant
sed 's/^typedef struct weir_participant {/&\n    uint64_t wide;/
    s/^} weir_participant;/&\n\
static inline void copy_participant(weir_participant *to, weir_participant from)\n\
{ to->slot = from.slot, to->generation = from.generation, to->deaths = from.deaths, to->presence = from.presence; }/' \
    "$participant.h" >"$scratch/h"
sed 's/\*\(out\|before\) = \(.*\);/copy_participant(\1, \2);/' "$participant.c" >"$scratch/c"
mv "$scratch/h" "$participant.h"
mv "$scratch/c" "$participant.c"

if [ -n "${GENMC_WEAKEN:-}" ]; then
    # weaken.sh puts (model_weaken(LOST), call)(...) there; here the call itself becomes the weaker one.
    # shellcheck disable=SC2086
    sh "$source/tests/model/weaken.sh" --print $GENMC_WEAKEN | sed '
        s/(model_weaken(MODEL_[A-Z]*), \(weir_[a-z0-9_]*\)_\(acq\|rel\))(/\1_rlx(/
        s/(model_weaken(MODEL_ACQUIRE), \(weir_[a-z0-9_]*\)_acq_rel)(/\1_rel(/
        s/(model_weaken(MODEL_RELEASE), \(weir_[a-z0-9_]*\)_acq_rel)(/\1_acq(/' >"$scratch/weakened"
    mv "$scratch/weakened" "$scratch/include/weir/${GENMC_WEAKEN%% *}"
fi

# Two tries at a record that is overwritten while it is read, instead of eight: GenMC would try all that they may find.
broadcast=$scratch/include/weir/ring/broadcast.h
sed 's/^\(#define WEIR_BROADCAST_TRIES\) 8 /\1 2 /' "$broadcast" >"$scratch/h"
mv "$scratch/h" "$broadcast"

# GenMC does not run the memset that a compiler makes of `*p = (weir_spsc_producer){ ... }`.  So each handle's type gets
# a function that clears it field by field, and the sources, as GenMC sees them, call that.
clear_functions() {
    awk '
        /^typedef struct weir_[a-z_]* \{/ { type = $3; fields = "" }
        type != "" && /;/ && !/^}/ {
            sub(/\/\*.*/, "")
            sub(/;.*/, "")
            count = split($0, part, ",")
            for (i = 1; i <= count; i++) {
                name = part[i]
                sub(/.*[ *]/, "", name)
                if ($1 in known && $0 !~ /\*/)
                    fields = fields " clear_" $1 "(&p->" name ");"
                else
                    fields = fields " p->" name " = 0;"
            }
        }
        /^}/ && type != "" {
            known[type] = 1
            print "static inline void clear_" type "(" type " *p) {" fields " }"
            type = ""
        }' "$@"
}

# One file of all: GenMC reads one.  Each source keeps its static functions and macros to itself.  Some conditional
# expressions make GenMC 0.10.3 fall over a "freeze" that its own passes have put there; a condition does not.
{
    echo '#include "genmc_backend.h"'
    headers=
    for unit in $units; do
        case $unit in ring/*) [ ! -f "$source/${unit%.c}.h" ] || headers="$headers $source/${unit%.c}.h" ;; esac
    done
    for header in $headers; do
        echo "#include <weir/${header#"$source/"}>"
    done
    # shellcheck disable=SC2086
    [ -z "$headers" ] || clear_functions $headers
    for unit in $units; do
        file=$scratch/include/weir/$unit
        own=$(basename "$unit" .c)
        statics=$(sed -n 's/^static [a-z0-9_ ]*[ *]\([a-z0-9_]*\)(.*/\1/p' "$file")
        macros=$(sed -n 's/^#define \([A-Za-z0-9_]*\).*/\1/p' "$file")
        for name in $statics; do
            echo "#define $name ${own}_$name"
        done
        sed 's/\(\*[a-z]*\|[a-z]*\[[a-z]*\]\) = (\(weir_[a-z_]*\)){ \(\.[a-z_]*\) = \([A-Za-z_0]*\) };/clear_\2(\&(\1)), (\1)\3 = (\4);/
            s/return \(.*\) ? WEIR_OK : \(WEIR_[A-Z]*\);/{ if (\1) return WEIR_OK; return \2; }/' "$file"
        for name in $statics $macros; do
            echo "#undef $name"
        done
    done
    echo "#include \"$source/tests/model/$harness.c\""
    echo "MODEL_GENMC_MAIN($id)"
} >"$scratch/program.c"

# GenMC names each byte of a handle's page from the debug information, which takes it 7 s.
debug=
[ "$harness" != model_wake ] || debug=-g0

# With these two passes, GenMC 0.10.3 does not come to an end with some of them before it has begun to explore.  And the
# memory model is the one that was asked for, also where another would do.
# shellcheck disable=SC2086
"${GENMC:-genmc}" --disable-mm-detector --disable-estimation --disable-spin-assume --disable-load-annotation "$@" -- \
    -I"$scratch/include" -I"$source/tests/model" $flags -D_GNU_SOURCE -std=gnu11 -w $debug ${GENMC_DEFINES:-} \
    "$scratch/program.c"

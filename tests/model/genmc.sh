#!/bin/sh
# tests/model/genmc.sh - the models of the rings under GenMC, an independent judge; by hand, where it is built.
#
#   GENMC=path/to/genmc WEIR_SOURCE_DIR=... WEIR_INCLUDE_DIRS=... genmc.sh HARNESS MODEL [OPTION]...
#
# For example: genmc.sh model_spsc_publish records --rc11.  GenMC explores all executions, without our bounds; README.md
# says which models it ends with, and what it found.  Exit status: GenMC's.
set -eu

source=${WEIR_SOURCE_DIR:?the source tree}
harness=${1:?the harness, such as model_spsc_publish}
id=${2:?the model, the word in its MODEL}
shift 2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/include/weir"
for layer in base naming ring ipc; do
    ln -s "$source/$layer" "$scratch/include/weir/$layer"
done
flags=
IFS=:
for dir in ${WEIR_INCLUDE_DIRS:?the include folders}; do
    flags="$flags -I$dir"
done
unset IFS
case $harness in
model_latest) rings=latest ;;
model_broadcast) rings=broadcast ;;
model_mpsc) rings="spsc mpsc" ;;
*) rings=spsc ;;
esac

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
                fields = fields " p->" name " = 0;"
            }
        }
        /^}/ && type != "" { print "static void clear_" type "(" type " *p) {" fields " }"; type = "" }' "$1"
}

# One file of all: GenMC reads one.
{
    echo '#include "genmc_backend.h"'
    for ring in $rings; do
        echo "#include <weir/ring/$ring.h>"
        clear_functions "$source/ring/$ring.h"
        for name in validate RECORD_MAX; do
            echo "#undef $name"
            [ $name = RECORD_MAX ] || echo "#define $name ${ring}_$name"
        done
        sed 's/\*\([a-z]*\) = (\(weir_[a-z_]*\)){ \(\.[a-z]*\) = \([A-Za-z_0]*\) };/clear_\2(\1), (*\1)\3 = (\4);/' \
            "$source/ring/$ring.c"
    done
    echo "#include \"$source/tests/model/$harness.c\""
    echo "MODEL_GENMC_MAIN($id)"
} >"$scratch/program.c"

# With these two passes, GenMC 0.10.3 does not come to an end with some of them before it has begun to explore.
# shellcheck disable=SC2086
"${GENMC:-genmc}" --disable-estimation --disable-spin-assume --disable-load-annotation "$@" -- \
    -I"$scratch/include" -I"$source/tests/model" $flags -D_GNU_SOURCE -std=gnu11 -w "$scratch/program.c"

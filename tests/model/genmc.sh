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
model_litmus | model_grace) units= ;;
model_watch) units="tests/model/system.c" ;;
model_member) units="naming/participant.c tests/model/system.c" ;;
model_latest) units="ring/latest.c" ;;
model_broadcast) units="ring/broadcast.c" ;;
model_mpsc) units="ring/spsc.c ring/lanes.c ring/mpsc.c ring/mpsc_ordered.c" ;;
model_mpmc) units="ring/lanes.c ring/mpmc.c ring/mpmc_consumer.c" ;;
model_broadcast_gated) units="ring/spsc.c ring/broadcast_gated.c" ;;
model_wake | model_wake_shared)
    units="ring/spsc.c naming/participant.c ipc/channel_peers.c ipc/channel_wait.c ipc/channel_calls.c ipc/kind_spsc.c"
    units="$units tests/model/system.c" ;;
*) units="ring/spsc.c" ;;
esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$scratch/include/weir"
for layer in base naming ring ipc tests/model; do
    mkdir -p "$scratch/include/weir/$layer"
    cp "$source/$layer"/*.[ch] "$scratch/include/weir/$layer"
done
flags=
IFS=:
for dir in ${WEIR_INCLUDE_DIRS:?the include folders}; do
    flags="$flags -idirafter $dir"
done
unset IFS

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

# One look at a place instead of sixteen; and one counter there, which all names name, instead of six: each is a word of
# its own that is old or new.
if [ "$harness" = model_member ]; then
    places=$scratch/include/weir/ipc/member.h
    sed 's/^\(#define WEIR_MEMBER_LOOKS\) 16 /\1 1 /' "$places" >"$scratch/h"
    mv "$scratch/h" "$places"
    places=$scratch/include/weir/ipc/channel_layout.h
    sed 's/^\( *WEIR_COUNT_\(FULL\|SLEPT\|WOKEN\|LOST\|RECOVERED\)\),/\1 = 0,/' "$places" >"$scratch/h"
    mv "$scratch/h" "$places"
fi

# GenMC does not run the memset that a compiler makes of `*p = (weir_spsc_producer){ ... }`, nor the memcpy of
# `*p = own`.  So each struct of the rings, but for what lies in shared memory, gets functions that clear and copy it
# field by field, and the sources, as GenMC sees them, call those.
struct_functions() { # struct_functions FILE STRUCT: STRUCT is a pattern
    awk -v wanted="^$2\$" '
        function each(name, is_array, clear, copy) {
            if (is_array) {
                loop = " for (unsigned i = 0; i < sizeof to->" name " / sizeof *to->" name "; i++)"
                clear = loop " to->" name "[i] = 0;"
                copy = loop " to->" name "[i] = from->" name "[i];"
            }
            clears = clears clear
            copies = copies copy
        }
        { print }
        /^typedef struct weir_[a-z_]* \{/ { type = $3 ~ wanted ? $3 : ""; shared = 0; clears = copies = "" }
        type != "" && /;/ && !/^}/ {
            sub(/\/\*.*/, "")
            sub(/;.*/, "")
            count = split($0, part, ",")
            for (i = 1; i <= count; i++) {
                name = part[i]
                is_array = sub(/\[.*/, "", name)
                sub(/.*[ *]/, "", name)
                if ($0 ~ /weir_atomic_u[0-9]* [^*]/)
                    shared = 1
                else if ($0 ~ /^ *weir_[a-z]*_(producer|consumer|room|lane|shape) [^*]/)
                    each(name, is_array, " model_clear(&to->" name ");", " model_copy(&to->" name ", &from->" name ");")
                else
                    each(name, is_array, " to->" name " = 0;", " to->" name " = from->" name ";")
            }
        }
        /^}/ && type != "" {
            if (!shared) {
                print "MODEL_OVERLOAD void model_clear(" type " *to) {" clears " }"
                print "MODEL_OVERLOAD void model_copy(" type " *to, const " type " *from) {" copies " }"
            }
            type = ""
        }' "$1" >"$scratch/h"
    mv "$scratch/h" "$1"
}
call_struct_functions() {
    to='\(\*[a-z]*\|[a-z]*\[[a-z]*\]\|[a-z]*->[a-z]*\|[a-z]*\.[a-z]*\)'
    type='\(weir_[a-z_]*\)' one='\(\.[a-z_]*\) = \([A-Za-z_0]*\)'
    sed ': more
        / = (weir_[a-z_]*){[^;]*$\|weir_mpmc_[a-z]* own = {[^;]*$/ { N; s/\n */ /; b more
        }
        /weir_mpmc_[a-z]* own = { \./ {
            s/,\( \/\*[^*]*\*\/\)\? \./; own./g
            s/own = { \.\(.*\) };/own; model_clear(\&own); own.\1;/
            s/own.room = sizes.room/model_copy(\&own.room, \&sizes.room)/
        }
        s/weir_mpmc_shape shape = { .lanes = 0 };/weir_mpmc_shape shape; model_clear(\&shape);/
        s/ = room->reach(.*);/ = (assert(!"no memory grows"), WEIR_E_STATE);/
        s/\*sizes = (weir_mpmc_sizes){ shape, \(.*\), room };/model_copy(\&sizes->shape, \&shape); sizes->made = \1; model_copy(\&sizes->room, \&room);/
        s/\(weir_[a-z]*_sizes\) sizes = { .made = 0 };/\1 sizes; model_clear(\&sizes);/
        s/weir_mpmc_shape shape = sizes.shape;/weir_mpmc_shape shape; model_copy(\&shape, \&sizes.shape);/
        s/\*shape = sizes.shape;/model_copy(shape, \&sizes.shape);/
        s/^\( *\)'"$to = ($type){ $one"' };/\1{ model_clear(\&(\2)); (\2)\4 = (\5); }/
        s/^\( *\)'"$to = ($type)"'\({.*}\);/\1{ \3 model_made = \4; model_copy(\&(\2), \&model_made); }/
        s/\*\([a-z]*\) = \(own\|stated\|seen\|sum\);/model_copy(\1, \&\2);/
        s/\*run = \(weir_mpmc_run_of(.*)\);/{ weir_mpmc_run_state model_made = \1; model_copy(run, \&model_made); }/
        s/\*before = \(weir_participant_.*)\);/{ weir_participant model_made = \1; model_copy(before, \&model_made); }/
        s/weir_participant before = \*all;/weir_participant before; model_copy(\&before, all);/
        s/weir_participant sum = { .slot = \(.*\) };/weir_participant sum; model_clear(\&sum); sum.slot = \1;/
        s/weir_message before = cold->message;/weir_message before; model_copy(\&before, \&cold->message);/
        s/\(seen\|cold->message\) = \(again\|before\);/model_copy(\&\1, \&\2);/
        s/struct channel_side \([a-z]*\) = \(.*\) ? \(.*\) : \(.*\);/struct channel_side \1; if (\2) { \1.first = \3.first; \1.count = \3.count; } else { \1.first = \4.first; \1.count = \4.count; }/
        s/\*asked = (struct channel_asked){ now, news };/asked->when_ns = now; asked->news = news;/
        s/uint64_t \([a-z]*\)\[2\] = { 0\(, 0\)\? };/uint64_t \1[2]; \1[0] = \1[1] = 0;/
        /if (section->os.forked)/{ N; d; }
        s/memset(\([a-z]*\), 0, \([a-z]*\) \* sizeof \*\1);/for (uint32_t i = 0; i < \2; i++) \1[i] = 0;/' "$1" >"$scratch/c"
    mv "$scratch/c" "$1"
}

# And a struct of 32-bit fields that is copied as two 64-bit words is nothing for GenMC: those that are passed or
# returned are made too large for registers, or have fields of 64 bits.
by_value='weir_mpmc_shape weir_mpmc_claim weir_mpmc_run_state weir_mpmc_owner_state weir_participant'
widen() {
    for name in $by_value; do
        sed '/^typedef struct '"$name"' {$/,/^}/s/^}/    uint64_t wide, wider;\n}/
            /^struct channel_side {$/,/^}/s/uint32_t/uint64_t/' "$1" >"$scratch/h"
        mv "$scratch/h" "$1"
    done
}

layers=$scratch/include/weir
for file in "$layers"/ring/*.h "$layers/naming/participant.h" "$layers"/ipc/*.h; do
    case $file in
    */ring/*) struct_functions "$file" 'weir_.*' ;;
    *) struct_functions "$file" 'weir_(participant|message|counts)' ;;
    esac
    widen "$file"
done
for file in "$layers"/ring/*.[ch] "$layers"/naming/*.c "$layers"/ipc/*.c "$layers/tests/model/$harness.c"; do
    call_struct_functions "$file"
done

# GenMC 0.10.3 takes what lies in the frame of a function that it does not inline for freed at times, and it inlines no
# function with a call by pointer, or of memset or memcpy, or a thread-local variable, nor one that calls such a one.  So
# the calls by a channel's kind go to the functions in the harness's table, that of told (ipc/watch.h) to the harness's,
# and those of reach (ring/lanes.c) and of look (ipc/channel_wait.c), which no harness sets, to nothing.
calls='put put_array reserve commit flush place drained want peek pop release in_hand next ready recover'
direct_calls() {
    table=$layers/tests/model/$harness.c
    grep -q '^static const struct channel_kind' "$table" || table=$layers/ipc/kind_spsc.c
    echo "#include <weir/ipc/kind.h>"
    for call in $calls; do
        to=$(sed -n 's/.*[ {]\.'"$call"' = \([a-z_]*\)[ ,].*/\1/p' "$table")
        case $to in
        '') echo "#define model_kind_$call(...) (assert(!\"$call: none\"), WEIR_E_STATE)" ;;
        weir_*) echo "#define model_kind_$call $to" ;;
        *) echo "static __typeof__(*((struct channel_kind *)0)->$call) $to;" && echo "#define model_kind_$call $to" ;;
        esac
    done
    for file in "$layers"/ipc/*.c; do
        sed 's/\(channel_cold([a-z>-]*)->\|cold->\|\b\)kind->\([a-z_]*\)(/model_kind_\2(/g
            s/beside != NULL ? beside->look(.*) : WEIR_EMPTY;/(assert(beside == NULL), WEIR_EMPTY);/' "$file" >"$scratch/c"
        mv "$scratch/c" "$file"
    done
}

# own_names OWN NAME...: puts OWN_ in front of each, where it names no field.
own_names() {
    own=$1
    shift
    script=
    for name; do
        script="$script
            /^#/! s/\(^\|[^A-Za-z0-9_.>]\)$name\b/\1${own}_$name/g"
    done
    sed "$script"
}

# One file of all: GenMC reads one.  Each source keeps its static functions and macros to itself.  Some conditional
# expressions make GenMC 0.10.3 fall over a "freeze" that its own passes have put there; a condition does not.
{
    echo '#include "genmc_backend.h"'
    case $harness in
    model_wake*) direct_calls ;;
    model_watch)
        sed 's/c->told(/told(/' "$layers/ipc/watch.h" >"$scratch/h"
        mv "$scratch/h" "$layers/ipc/watch.h"
        echo "static void told(void *);"
        ;;
    esac
    for unit in $units; do
        file=$scratch/include/weir/$unit
        own=$(basename "$unit" .c)
        statics=$(sed -n 's/^static [a-z0-9_ ]*[ *]\([a-z0-9_]*\)(.*/\1/p' "$file")
        macros=$(sed -n 's/^#define \([A-Za-z0-9_]*\).*/\1/p' "$file")
        # shellcheck disable=SC2086
        sed 's/return \([^?]*\) ? \(WEIR_[A-Z]*\) : \(WEIR_[A-Z]*\);/{ if (\1) return \2; return \3; }/' "$file" |
            own_names "$own" $statics
        for name in $macros; do
            echo "#undef $name"
        done
    done
    echo "#include <weir/tests/model/$harness.c>"
    echo "MODEL_GENMC_MAIN($id)"
} >"$scratch/program.c"

# GenMC names each byte of a handle's page from the debug information, which takes it 7 s.
debug=
case $harness in
model_wake* | model_member) debug="-g0 -DMODEL_GENMC_INLINE" ;;
model_mpmc | model_watch | model_grace) debug=-DMODEL_GENMC_INLINE ;;
esac

# With these two passes, GenMC 0.10.3 does not come to an end with some of them before it has begun to explore.  And the
# memory model is the one that was asked for, also where another would do.
# shellcheck disable=SC2086
"${GENMC:-genmc}" --disable-mm-detector --disable-estimation --disable-spin-assume --disable-load-annotation "$@" -- \
    -I"$scratch/include" -I"$source/tests/model" $flags -D_GNU_SOURCE -std=gnu11 -w $debug ${GENMC_DEFINES:-} \
    "$scratch/program.c"

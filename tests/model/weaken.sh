#!/bin/sh
# tests/model/weaken.sh - is every memory order needed, and would its loss be seen?
#
# Every ordered operation in ring/, in the sleep/wake handshake, in a place's words (ipc/member.h), and in the registry's
# grace periods, says "order NAME rel|acq|sc" (scripts/order_edges.sh sees to that).  Each is weakened once, alone, in a
# copy of the sources: a load, store or read-modify-write loses that order, a fence is taken away.  Then a model must
# fail.  The harnesses whose first comment names the edge ("edges: ...") are tried first, then all others.  A site that no
# model can see is listed with its reason in weaken.expected; one that is listed and is seen after all is a failure too.
#
#   weaken.sh [EDGE]...   WEIR_SOURCE_DIR: the source tree; WEIR_INCLUDE_DIRS: where <weir/base/version.h> is; CC
#
# For genmc_weaken.sh: --sites prints "FILE LINE EDGE KIND NUMBER" of each, --print FILE EDGE KIND NUMBER that file
# weakened there.
#
# Exit 0 or 1.  The last line is "weaken: sites=N caught=N listed=N failures=N".
set -eu

source=${WEIR_SOURCE_DIR:?the source tree}
model=$source/tests/model
layers="base naming ring ipc"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# ---- compiling ----

# compile TREE OUT ARGUMENT...: against that copy of the layers.
compile() {
    tree=$1
    out=$2
    shift 2
    flags=
    IFS=:
    for dir in ${WEIR_INCLUDE_DIRS:?the include folders}; do
        flags="$flags -idirafter $dir"
    done
    unset IFS
    # shellcheck disable=SC2086
    "${CC:-cc}" -std=c11 -O2 -D_GNU_SOURCE -w -I"$tree" -I"$model" '-DWEIR_ATOMIC_BACKEND="backend.h"' "$@" \
        $flags -o "$out"
}

# The library's sources that models are made of.
sources() {
    (cd "$source" && ls ring/*.c ipc/channel_wait.c ipc/channel_peers.c ipc/channel_calls.c ipc/channel_many.c ipc/kind_spsc.c naming/participant.c base/status.c)
}

object() {
    printf '%s.o' "$(printf '%s' "$1" | tr / _)"
}

copy_layers() { # copy_layers TREE
    mkdir -p "$1/weir"
    for layer in $layers; do
        cp -r "$source/$layer" "$1/weir/"
    done
}

# ---- one site ----

# weaken FILE LINE KIND: prints the file with the first operation of that kind in or behind that line weakened.
weaken() {
    awk -v at="$2" -v kind="$3" '
        BEGIN {
            lost = kind == "rel" ? "MODEL_RELEASE" : "MODEL_ACQUIRE"
            fence = kind == "sc" ? "weir_(fence_sc|os_fence_others|fence_compiler)\\(\\)" : "weir_fence_" kind "\\(\\)"
            call = "weir_[a-z0-9_]*_(" kind "|acq_rel)\\("
        }
        # The code of a line is what stands before its comment.
        function weakened(line,    code, comment) {
            code = line
            comment = ""
            if (match(line, /\/\*/)) {
                code = substr(line, 1, RSTART - 1)
                comment = substr(line, RSTART)
            }
            if (match(code, fence))
                code = substr(code, 1, RSTART - 1) "((void)0)" substr(code, RSTART + RLENGTH)
            else if (kind != "sc" && match(code, call))
                code = substr(code, 1, RSTART - 1) "(model_weaken(" lost "), " \
                    substr(code, RSTART, RLENGTH - 1) ")" substr(code, RSTART + RLENGTH - 1)
            else
                return line
            done = 1
            return code comment
        }
        FNR >= at && FNR < at + 12 && !done && $0 !~ /^[ \t]*\*/ { print weakened($0); next }
        { print }
        END { exit !done }' "$1"
}

# The harnesses that name the edge, then the others (not for a site that is listed).
harnesses() {
    grep -lE "edges:.* $1( |\$)" "$model"/model_*.c || true
    [ $listed = yes ] || grep -LE "edges:.* $1( |\$)" "$model"/model_*.c | grep -v litmus
}

# try EDGE FILE: builds one harness after the other with what is in $own, until one fails.  Prints what it said, or
# nothing; 2 if it could not be tried.
try() {
    case $2 in
    *.c)
        compile "$own/include" "$own/$(object "$2")" -c "$own/include/weir/$2" || return 2
        again=
        ;;
    *)
        for unit in $(sources); do
            compile "$own/include" "$own/$(object "$unit")" -c "$own/include/weir/$unit" || return 2
        done
        again=yes
        ;;
    esac
    ar rcs "$own/library.a" "$own"/*_*.c.o
    for harness in $(harnesses "$1"); do
        by=$(basename "$harness" .c)
        [ -z "$again" ] || compile "$own/include" "$own/$by.o" -c "$harness" || return 2
        "${CC:-cc}" "$own/$by.o" "$own/memory.o" "$own/explorer.o" "$own/system.o" "$own/main.o" "$own/library.a" \
            -o "$own/program" || return 2
        status=0
        "$own/program" --deepen >"$own/said" 2>&1 || status=$?
        case $status in
        0) ;;
        1) sed -n 's/^FAILED //p' "$own/said" | head -n 1; return 0 ;;
        *) cat "$own/said"; return 2 ;;
        esac
    done
}

# ---- sites ----

# "FILE LINE EDGE KIND NUMBER" for each ordered operation of a file; NUMBER counts those of one edge and kind in it.
sites() {
    awk -v file="$2" '
        # A comment may be broken behind any word: the line that has the word "order" counts.
        function look(text, at,    word) {
            for (; match(text, /order [A-Z][A-Z0-9_-]* (rel|acq|sc)/); text = substr(text, RSTART + RLENGTH)) {
                split(substr(text, RSTART, RLENGTH), word, " ")
                print file, at, word[2], word[3], ++count[word[2], word[3]]
            }
        }
        {
            line = $0
            sub(/^[ \t]*\*[ \t]+/, " ", line)
            if (kept != "")
                look(kept line, FNR - 1)
            else
                look(line, FNR)
            kept = match($0, /order( [A-Z][A-Z0-9_-]*)?$/) ? substr($0, RSTART) : ""
        }' "$1"
}

all_sites() {
    for file in "$source"/ring/*.[ch] "$source"/ipc/*.[ch] "$source"/naming/grace.h "$source"/naming/epoch.h; do
        sites "$file" "${file#"$source"/}"
    done | awk '$1 !~ /^ipc/ || $3 == "WAKE" || $3 == "WATCH" || $3 == "MEMBER"'
}

case ${1:-} in
--sites)
    all_sites
    exit
    ;;
--print)
    line=$(all_sites | awk -v site="$2 $3 $4 $5" '$1 " " $3 " " $4 " " $5 == site { print $2 }')
    weaken "$source/$2" "${line:?no such site}" "$4"
    exit
    ;;
esac

# site PLAIN FILE LINE EDGE KIND NUMBER: "RESULT FILE:LINE EDGE KIND: what happened" to PLAIN/results.
if [ "${1:-}" = --site ]; then
    plain=$2 file=$3 line=$4 edge=$5 kind=$6 number=$7
    own=$plain/$(object "$file").$line.$edge.$kind
    mkdir "$own"
    copy_layers "$own/include"
    cp "$plain"/*.o "$own"
    listed=no
    ! grep -q "^$file $edge $kind $number\$" "$plain/expected" || listed=yes
    result=failed
    if ! weaken "$source/$file" "$line" "$kind" >"$own/include/weir/$file"; then
        said="there is no such operation behind the comment"
    elif ! said=$(try "$edge" "$file" 2>"$own/errors"); then
        said="could not be tried: $(cat "$own/errors")"
    elif [ -n "$said" ] && [ $listed = no ]; then
        result=caught
    elif [ -n "$said" ]; then
        said="is listed, and is seen after all: $said"
    elif [ $listed = yes ]; then
        result=listed
        said="not seen, as listed"
    else
        said="NOT SEEN by any model"
    fi
    printf '%-6s %s:%s %s %s %s: %s\n' $result "$file" "$line" "$edge" "$kind" "$number" "$said" >"$own/result"
    rm -f "$own"/*.o "$own/program" "$own/library.a"
    exit 0
fi

# ---- all of them ----

plain=$(mktemp -d)
trap 'rm -rf "$plain"' EXIT
trap 'exit 1' HUP INT TERM
sed '/^#/d; /^ /d; /^$/d; s/:.*//' "$model/weaken.expected" >"$plain/expected"

all_sites >"$plain/sites"
if [ $# -gt 0 ]; then
    pattern=$(printf '%s\n' "$@" | paste -sd '|' -)
    awk -v pattern="^($pattern)\$" '$3 ~ pattern' "$plain/sites" >"$plain/some" && mv "$plain/some" "$plain/sites"
fi

copy_layers "$plain/include"
{
    printf '%s\n' "$model"/memory.c "$model"/explorer.c "$model"/system.c "$model"/main.c "$model"/model_*.c
    sources | sed "s|^|$plain/include/weir/|"
} | while read -r unit; do
    name=${unit#"$plain/include/weir/"}
    [ "$name" != "$unit" ] || name=$(basename "$unit" .c)
    case $name in */*) name=$(object "$name") ;; *) name=$name.o ;; esac
    compile "$plain/include" "$plain/$name" -c "$unit"
done

xargs -P "$jobs" -L 1 sh "$0" --site "$plain" <"$plain/sites"
find "$plain" -name result -exec cat {} + | sort -k 2

count() { find "$plain" -name result -exec cat {} + | grep -c "^$1" || true; }
failures=$(count failed)
if [ $# -eq 0 ]; then
    unlisted=$(cut -d ' ' -f 1,3- "$plain/sites" | grep -vxFf - "$plain/expected" || true)
    if [ -n "$unlisted" ]; then
        printf 'weaken.expected lists what is not there: %s\n' "$unlisted"
        failures=$((failures + 1))
    fi
fi
sites=$(wc -l <"$plain/sites" | tr -d ' ')
done=$(find "$plain" -name result | wc -l | tr -d ' ')
if [ "$sites" = 0 ] || [ "$done" != "$sites" ]; then
    echo "$done of $sites sites were tried"
    failures=$((failures + 1))
fi
echo "weaken: sites=$sites caught=$(count caught) listed=$(count listed) failures=$failures"
[ "$failures" = 0 ]

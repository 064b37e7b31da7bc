#!/bin/sh
# Every ordered operation names its edge ("order NAME rel|acq|sc"), and every edge has both its ends: a release and an
# acquire, or two full fences.  An edge that a header's comment mentions ("edge NAME") exists.
# Exit 0, or 1 naming each edge that is not so.
set -eu

# edges ROOT: reads the layers' sources under ROOT.
edges() {
    (cd "$1" && find base naming ring ipc -name '*.[ch]' -exec awk '
        {
            # A comment may be broken behind any word.  A file may end on one.
            line = (FNR == 1 ? "" : kept) " " $0
            gsub(/[ \t]+\*[ \t]+/, " ", line)
            gsub(/[ \t]+/, " ", line)
            for (rest = line; match(rest, /\(edge [A-Z][A-Z0-9_-]*/); rest = substr(rest, RSTART + RLENGTH))
                print "named", substr(rest, RSTART + 6, RLENGTH - 6), FILENAME ":" FNR
            for (rest = line; match(rest, /order [A-Z][A-Z0-9_-]* [a-z]+/); rest = substr(rest, RSTART + RLENGTH)) {
                split(substr(rest, RSTART, RLENGTH), word, " ")
                print word[3], word[2], FILENAME ":" FNR
            }
            # What is left may be the start of a name that the next line ends.
            kept = match(rest, /(order|order [A-Z][A-Z0-9_-]*|\(edge) ?$/) ? substr(rest, RSTART) : ""
        }' {} +) | awk '
        $1 != "rel" && $1 != "acq" && $1 != "sc" && $1 != "named" {
            print $3 ": order " $2 " " $1 ": an order is rel, acq or sc"
            bad = 1
            next
        }
        { ends[$2, $1]++; places[$2] = places[$2] "  " $3 " (" $1 ")\n"; if ($1 != "named") ordered++ }
        END {
            for (edge in places) {
                if (!(ends[edge, "rel"] > 0 && ends[edge, "acq"] > 0) && ends[edge, "sc"] < 2) {
                    printf "edge %s has not both its ends:\n%s", edge, places[edge]
                    bad = 1
                }
            }
            if (ordered == 0) {
                print "there is no edge at all: the sources, or this script, are not what they were"
                bad = 1
            }
            exit bad
        }'
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/base" "$scratch/naming" "$scratch/ring" "$scratch/ipc"

# First the check itself: each of these trees is bad or good by one line.
try() { # try WANTED TEXT...
    wanted=$1
    shift
    printf '%s\n' "$@" >"$scratch/ring/x.h"
    got=0
    edges "$scratch" >"$scratch/said" || got=1
    if [ "$got" != "$wanted" ]; then
        echo "order_edges.sh itself: gave $got and not $wanted for: $*"
        cat "$scratch/said"
        exit 1
    fi
}
try 1 'int x;'
try 1 '/* order A rel: one end */'
try 1 '/* order A acq: one end */'
try 1 '/* order A sc: one end */'
try 1 '/* order A rel: x */' '/* order B acq: y */'
try 1 '/* order A rel: x */' '/* order A acq: y */' '/* order B rel: z */'
try 1 '/* order A rel: x */' '/* order A acq: y */' '/* (edge B) */'
try 1 '/* order A rel: x */' '/* order A acq: y */' '/* order A relaxed: z */'
try 0 '/* order A rel: x */' '/* order A acq: y */' '/* (edge A) */'
try 0 '/* text; order' ' * A-1 rel: x */' '/* order A-1' ' * acq: y */'
try 0 '/* order A sc: x */ /* order A sc: y */'

edges "${WEIR_SOURCE_DIR:?the source tree}"

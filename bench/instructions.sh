# bench/instructions.sh - counts the instructions of each operation, and holds them against the stated ceilings.
#   WEIR_INSTRUCTIONS: the program; WEIR_CEILINGS: the file.  --state: prints lines for that file, 3 % above what is.
# Exit: 0; 1: an operation has become longer, or has no ceiling; 77: nothing to say here.
set -u
command -v valgrind >/dev/null 2>&1 || { echo "valgrind is missing"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "the ceilings are for x86-64"; exit 77; }
compiler=$("$WEIR_INSTRUCTIONS" --compiler)
if [ "${1-}" != --state ] && ! grep -q "^$compiler " "$WEIR_CEILINGS"; then
    echo "no ceilings are stated for $compiler"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! valgrind --tool=callgrind --toggle-collect='counted_*' --callgrind-out-file="$dir/out" "$WEIR_INSTRUCTIONS" \
    >"$dir/log" 2>&1; then
    cat "$dir/log"
    exit 1
fi
# A function has a line for each file that was inlined into it, and one, the largest, for all of it.
callgrind_annotate --inclusive=yes --threshold=100 "$dir/out" |
    sed -n 's/^ *\([0-9,]*\) .*:counted_\([a-z_]*\)\( .*\)\{0,1\}$/\2 \1/p' | tr -d , |
    awk '$2 > most[$1] + 0 { most[$1] = $2 } END { for (name in most) print name, most[name] }' | sort >"$dir/counted"

awk -v compiler="$compiler" -v state="${1-}" '
    FILENAME == ARGV[1] { if ($1 == compiler) ceiling[$2] = $3; next }
    {
        each = $2 / 1000
        seen++
        if (state != "") { printf "%s %s %d\n", compiler, $1, int(each * 1.03) + 1; next }
        verdict = !($1 in ceiling) ? "has no ceiling" : each > ceiling[$1] ? "TOO LONG" : ""
        printf "%-30s %8.1f of %d %s\n", $1, each, ceiling[$1], verdict
        bad += verdict != ""
        delete ceiling[$1]
    }
    END {
        for (name in ceiling) { print name " was not counted"; bad++ }
        exit seen == 0 || bad != 0
    }' "$WEIR_CEILINGS" "$dir/counted"

# bench/test.sh - every subcommand works, its JSON has its fields, and wrong options are refused.  WEIR_BENCH: the program.
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}

fields="what system bytes producers consumers wait batch unit median min max rounds commit cpu compiler"

# json FILE ROWS WHAT: an array of at least so many rows, one a line, each with its fields and of that sort.
json() {
    awk -v fields="$fields" -v least="$2" -v what="$3" '
        NR == 1 { good = $0 == "["; next }
        $0 == "]" { ended = 1; next }
        {
            rows++
            count = split(fields, field, " ")
            for (i = 1; i <= count; i++)
                if (index($0, "\"" field[i] "\": ") == 0) { print "row " rows " has no " field[i]; good = 0 }
            if ($0 !~ /^\{.*\},?$/ || $0 ~ /: -?(nan|inf)/) { print "row " rows " is not whole: " $0; good = 0 }
            seen += index($0, "\"what\": \"" what "\"") != 0
        }
        END { exit !(good && ended && rows >= least && seen > 0) }' "$1" || fail "$1: not $2 rows with one of $3"
    if command -v python3 >/dev/null 2>&1; then
        python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1" || fail "$1: not JSON"
    fi
}

# works ROWS WHAT COMMAND...: it ends well, and leaves such rows.
works() {
    rows=$1
    what=$2
    shift 2
    if "$WEIR_BENCH" "$@" --quick --run-ms 1 --rounds 3 --json "$dir/$1.json" >"$dir/out" 2>&1; then
        json "$dir/$1.json" "$rows" "$what"
    else
        fail "$*"
        cat "$dir/out"
    fi
}

# refused WORDS COMMAND...: exit status 1, and these words on stderr.
refused() {
    words=$1
    shift
    "$WEIR_BENCH" "$@" >"$dir/out" 2>"$dir/err"
    status=$?
    [ "$status" -eq 1 ] || fail "$* ends with $status"
    grep -q -e "$words" "$dir/err" || fail "$* does not say '$words': $(cat "$dir/err")"
}

works 8 limits limits
works 8 throughput throughput --kind spsc,mpsc,mpsc-ordered,mpmc,gated,broadcast,latest,mailbox --bytes 64
works 2 throughput throughput --kind spsc --wait sleep --bytes 8,1M --batch 1,4
works 4 latency latency --bytes 64 --only weir,weir-ring,weir-mpmc
works 1 latency latency --bytes 64 --wait spin --only weir --rate 10000
works 10 scale scale --kind mpsc --producers 1,3 --channels 3 --capacity 64K --bytes 64
works 3 throughput peers --bytes 64 --only weir,weir-ring,vyukov,pipe,eventfd
works 8 target targets --target 3,6,7,9 --only weir,weir-ring,weir-in-place,weir-ring-in-place,weir-gated,weir-full-fences
mkdir "$dir/all"
works 20 target all --only weir,weir-ring,vyukov --out "$dir/all"
for file in results.json report.md throughput.gp latency.gp; do
    [ -s "$dir/all/$file" ] || fail "all leaves no $file"
done
grep -q '"line_ns"' "$dir/latency.json" && grep -q '"p999"' "$dir/latency.json" && grep -q '"histogram"' "$dir/latency.json" ||
    fail "latency: a field is missing"

refused "a command is missing"
refused "there is no command" nonsense
refused "no such option" limits --nonsense
refused "a value is missing" throughput --bytes
refused "K, M and G" throughput --bytes 8,x
refused "multiples of 8" throughput --bytes 12
refused "from 1 to 32" throughput --producers 33
refused "none of its words" throughput --kind spsc,none
refused "there is no system" peers --only none
refused "/nowhere/x.json" limits --quick --run-ms 1 --json /nowhere/x.json
refused "/nowhere" all --out /nowhere
"$WEIR_BENCH" --help >"$dir/out" && grep -q throughput "$dir/out" || fail "--help"
"$WEIR_BENCH" throughput --help >"$dir/out" && grep -q -e --kind "$dir/out" || fail "throughput --help"
exit "$failed"

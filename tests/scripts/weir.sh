# The program weir: what it shows of sections in each state, what it removes, how it fails.
set -u
PATH=$WEIR_PROGRAM_DIR:$PATH
WEIR_SHM_DIR=$(mktemp -d /dev/shm/weir-tool.XXXXXX)
export WEIR_SHM_DIR
pids=
trap 'kill -9 $pids 2>/dev/null; rm -rf "$WEIR_SHM_DIR"' EXIT
failed=0

fail() {
    echo "FAILED: $*"
    failed=1
}

# shows WHAT PATTERN: the last output has it.
shows() {
    printf '%s\n' "$output" | grep -Eq -- "$2" || fail "$1: no /$2/ in: $output"
}

# runs STATUS COMMAND ...: its output, both kinds, is in $output.
runs() {
    expected=$1
    shift
    output=$("$@" 2>&1)
    status=$?
    [ $status -eq "$expected" ] || fail "$* ended with $status, not $expected: $output"
}

valid_json() {
    if command -v python3 >/dev/null; then
        printf '%s' "$output" | python3 -c 'import json, sys; json.load(sys.stdin)' || fail "no JSON: $output"
    else
        echo "no python3 here: JSON is NOT checked"
    fi
}

# until_shown PATTERN COMMAND ...: waits for another process to come so far.
until_shown() {
    pattern=$1
    shift
    for _ in $(seq 2000); do
        output=$("$@" 2>&1)
        printf '%s\n' "$output" | grep -Eq -- "$pattern" && return
        sleep 0.01
    done
    fail "$*: never /$pattern/: $output"
}

# ---- nothing there ----
runs 0 weir ls
shows ls '^NAME'
runs 0 weir ls --json
[ "$output" = "[]" ] || fail "ls --json of nothing: $output"
runs 0 weir clean
shows clean 'nothing is stale'
runs 1 weir stat nix
shows stat 'no section of that name'
runs 1 weir rm nix

# ---- somebody there ----
weir-producer orders --count 1000000000 >/dev/null 2>&1 &
producer=$!
pids="$pids $producer"
until_shown 'slots +[0-9]+: 1 present' weir stat orders
shows stat "user +pid $producer +weir-producer"
shows stat "view +pid $producer .* offset 0 .* read-write"
shows stat 'content +channel'
runs 0 weir ls
shows ls '^Local/orders +live +channel .* 00600 .* 1 +0'
runs 0 weir ls --json
shows ls '"name":"Local/orders","state":"live","content":"channel"'
valid_json
runs 0 weir stat orders --json
shows stat "\"holders\":\\[\\{\"pid\":$producer,\"process\":\"weir-producer\",\"observer\":false"
valid_json
shows stat "\"channel\":\\{\"kind\":\"spsc\",\"capacity\":[0-9]+"
shows stat "\"participants\":\\["
shows stat "\"role\":\"producer\",\"place\":0,\"state\":\"alive\",\"generation\":1,.*\"process\":$producer,.*\"same_pid_namespace\":true"
runs 0 weir stat orders
shows stat 'content +channel, section layout [0-9]+'
shows stat 'channel +kind spsc, channel layout [0-9]+, capacity [0-9]+ bytes, longest message [0-9]+'
shows stat 'present +1 producers of 1, 0 consumers of 1'
shows stat "^ +producer +0 +alive +1 +0 +20[0-9-]+T[0-9:]+Z +[0-9]+ .* process $producer"
shows stat '^ +all producers there ever were'
runs 1 weir rm orders
shows rm 'in use'

# ---- a consumer that works, and is killed ----
weir-producer watched --count 1000000000000 >/dev/null 2>&1 &
watched=$!
weir-consumer watched --count 1000000000000 >/dev/null 2>&1 &
consumer=$!
pids="$pids $watched $consumer"
until_shown "^ +consumer +0 +alive +1 +0 .*Z +[1-9][0-9]* .* process $consumer, released [0-9]+" weir stat watched
shows stat '^ +all consumers there ever were +[1-9]'
kill -STOP $watched # or it would hear of the death, and go
kill -9 $consumer
wait $consumer 2>/dev/null
until_shown "^ +consumer +0 +dead +1 +1 .* process $consumer" weir stat watched
shows stat "^ +producer +0 +alive +1 +0 .* process $watched"
runs 0 weir stat watched --json
shows stat '"role":"consumer","place":0,"state":"dead","generation":1,"deaths":1'
valid_json
kill -9 $watched
wait $watched 2>/dev/null
runs 0 weir rm watched

# ---- of another pid namespace ----
if unshare --pid --fork true 2>/dev/null; then
    unshare --pid --fork --kill-child weir-producer inner --count 1000000000 >/dev/null 2>&1 &
    inner=$!
    pids="$pids $inner"
    until_shown 'producer +0 +alive .* process 1 \(of another pid namespace\)' weir stat inner
    runs 0 weir stat inner --json
    shows stat '"process":1,"pid_namespace":[0-9]+,"same_pid_namespace":false'
    kill -9 $inner
    wait $inner 2>/dev/null
    until_shown '^Local/inner +stale' weir ls
    runs 0 weir rm inner
else
    echo "no pid namespace of one's own here: another's number is NOT checked"
fi
runs 0 weir clean
shows clean 'nothing is stale'

# ---- a process of an odd name ----
programs=$(mktemp -d)
trap 'kill -9 $pids 2>/dev/null; rm -rf "$WEIR_SHM_DIR" "$programs"' EXIT
odd=$(printf 'é"\302\2331m\377\\\033')
cp "$(command -v weir-producer)" "$programs/$odd"
"$programs/$odd" odd --count 1000000000 >/dev/null 2>&1 &
odd_pid=$!
pids="$pids $odd_pid"
until_shown "user +pid $odd_pid" weir stat odd
printf '%s\n' "$output" | grep -Fq 'é"??1m?\?' || fail "stat of an odd name: $output"
runs 0 weir stat odd --json
printf '%s\n' "$output" | grep -Fq '"process":"é\"\u00c2\u009b1m\u00ff\\\u001b"' || fail "JSON of an odd name: $output"
valid_json
kill -9 $odd_pid
wait $odd_pid 2>/dev/null
runs 0 weir rm odd

# ---- killed ----
kill -9 $producer
wait $producer 2>/dev/null
until_shown '^Local/orders +stale' weir ls
runs 0 weir stat orders
shows stat 'slots +[0-9]+: 0 present, 1 dead'
shows stat 'users +0'

# ---- something strange ----
echo "not a section" >"$WEIR_SHM_DIR/weir-g.strange"
runs 0 weir ls
shows ls '^Global/strange +strange .*WEIR_E_NOT_WEIR'
runs 0 weir ls --json
shows ls '"state":"strange","content":"-","why":"WEIR_E_NOT_WEIR"'
valid_json
runs 0 weir stat Global/strange --json
valid_json
runs 0 weir clean
shows clean 'removed Local/orders'
runs 0 weir ls
shows ls '^Global/strange'
printf '%s\n' "$output" | grep -q orders && fail "orders is still there after clean: $output"
runs 1 weir rm Global/strange
[ -e "$WEIR_SHM_DIR/weir-g.strange" ] || fail "rm took what is no section"

# ---- misuse ----
runs 1 weir
runs 1 weir nonsense
runs 1 weir ls --long
runs 1 weir stat
runs 1 weir stat a b
runs 1 weir clean now
runs 1 weir rm
runs 1 weir stat 'a/b'
runs 0 weir --help
runs 0 weir --version
WEIR_SHM_DIR=$WEIR_SHM_DIR/none runs 1 weir ls
output=$(weir ls 2>&1 >/dev/full) && fail "ls onto a full disk ended with 0"
shows ls 'cannot write'
[ $failed -eq 0 ] && echo "weir: all as expected"
exit $failed

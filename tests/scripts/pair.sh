# The demo pair as DEMO users drive it: options, bad input, ends, exit statuses, nothing left behind.  # serial
set -u
work=$(mktemp -d /dev/shm/weir-test.XXXXXX)
consumer=
trap 'for pid in $(jobs -p); do kill -9 "$pid" 2>/dev/null; done; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/shm"
WEIR_SHM_DIR=$work/shm
export WEIR_SHM_DIR
P=$WEIR_PROGRAM_DIR/weir-producer
C=$WEIR_PROGRAM_DIR/weir-consumer
failed=0
bad() {
    echo "FAILED: $*"
    failed=1
}
percent=${WEIR_TEST_PERCENT:-100}

# expect STATUS PATTERN COMMAND...: the status, one line on standard error that matches, nothing left.
expect() {
    want=$1
    pattern=$2
    shift 2
    timeout 60 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ $got -eq "$want" ] || bad "$* ended $got, not $want: $(cat "$work/err")"
    [ "$(wc -l <"$work/err")" -eq 1 ] || bad "$*: $(wc -l <"$work/err") lines on standard error"
    grep -q -- "$pattern" "$work/err" || bad "$* said: $(cat "$work/err")"
    [ ! -s "$work/out" ] || bad "$* wrote to standard output: $(cat "$work/out")"
    [ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "$* left $(ls -R "$WEIR_SHM_DIR")"
}

for program in "$P" "$C"; do
    expect 1 'NAME is missing' "$program"
    expect 1 'one NAME' "$program" a b
    expect 1 'unknown option' "$program" --bogus a
    expect 1 'unknown option' "$program" -q a
    expect 1 'wants a value' "$program" a --count
    expect 1 'no number' "$program" a --count 12x
    expect 1 'no number' "$program" a --count -1
    expect 1 'no number' "$program" a --count ''
    expect 1 'no number' "$program" a --count 99999999999999999999999
    expect 1 'no size' "$program" a --capacity 1KK
    expect 1 'no size' "$program" a --capacity 1.5M
    expect 1 'at least 1' "$program" a --capacity 0
    expect 1 'unknown' "$program" a --kind spcs
    expect 1 'spin or sleep' "$program" a --wait nap
    expect 1 'dot' "$program" .hidden
    expect 1 '0x20' "$program" 'a b'
    expect 1 'empty' "$program" Local/
    expect 1 '0x2f' "$program" Globl/a
    expect 1 'longer than 200' "$program" "$(printf '%0201d' 0)"
    "$program" --help >"$work/out" && grep -q usage "$work/out" || bad "$program --help"
    "$program" --version | grep -q '^weir-[a-z]* [0-9]' || bad "$program --version"
done
expect 1 'at least 32' "$P" a --message-size 31
expect 1 'at least 1' "$P" a --rate 0
expect 1 'cannot open --input' "$P" a --input "$work/none"
expect 1 'irectory' "$P" a --input "$work"
expect 1 'cannot open --output' "$C" a --output "$work/none/out"
expect 1 'unknown option' "$C" a --rate 1
expect 1 'unknown option' "$P" a --output x
expect 1 'over the limit' "$P" a --message-size 200K
expect 1 'over the limit' "$P" a --capacity 4096 --message-size 2048
expect 1 'needs' "$P" a --capacity 20000G
expect 1 'at least 1' "$C" a --producers 0
WEIR_SHM_DIR=$work/none expect 1 'WEIR_SHM_DIR' "$C" a

# run NAME PRODUCER-STATUS CONSUMER-STATUS "consumer's arguments" "producer's arguments" order
field() { sed -n "\$s/.*$1=\([^ ]*\).*/\1/p" "$2"; }
run() {
    pstatus=$1
    cstatus=$2
    cargs=$3
    pargs=$4
    order=$5
    if [ "$order" = consumer ]; then
        # shellcheck disable=SC2086
        timeout 60 "$C" pair $cargs >"$work/c" 2>"$work/cerr" &
        pid=$!
        timeout 60 "$P" pair $pargs >"$work/p" 2>"$work/perr"
        p=$?
        wait $pid
        c=$?
    else
        timeout 60 "$P" pair $pargs >"$work/p" 2>"$work/perr" &
        pid=$!
        timeout 60 "$C" pair $cargs >"$work/c" 2>"$work/cerr"
        c=$?
        wait $pid
        p=$?
    fi
    [ $p -eq "$pstatus" ] || bad "producer $pargs ended $p: $(cat "$work/perr")"
    [ $c -eq "$cstatus" ] || bad "consumer $cargs ended $c: $(cat "$work/cerr")"
    [ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "left: $(ls -R "$WEIR_SHM_DIR")"
}
is() { [ "$2" = "$3" ] || bad "$1 is $2, not $3"; }

for order in consumer producer; do
    for wait in "" "--wait spin" "--wait sleep"; do
        run 0 0 "$wait" "$wait --count 100000 --id 7" $order
        is "consumer's records" "$(field records "$work/c")" 100000
        is "consumer's end" "$(field end "$work/c")" closed
        is "producer's end" "$(field end "$work/p")" count
        is "the producer's line" "$(head -n 1 "$work/c")" "producer=7 first=0 last=99999 records=100000 gaps=0 repeats=0"
        is "lines" "$(wc -l <"$work/c")" 2
    done
done
for size in 32 33 63 64 65 1000 100K; do
    run 0 0 "" "--message-size $size --count 1000" consumer
    is "records of $size" "$(field records "$work/c")" 1000
done
run 0 0 "--capacity 5000" "--capacity 8192 --count 10" consumer
grep -q 'rounded up to 8192' "$work/cerr" || bad "rounding was not reported: $(cat "$work/cerr")"

# Files, byte for byte, in records of any size.
head -c $((30000 * percent)) /dev/urandom >"$work/in"
for size in 1K 64 64K 1001; do
    run 0 0 "--output $work/out" "--input $work/in --message-size $size" consumer
    cmp -s "$work/in" "$work/out" || bad "a file in records of $size came out different"
    is "a file's end" "$(field end "$work/c")" closed
done
printf 'short' >"$work/short"
run 0 0 "--output $work/out" "--input $work/short --message-size 1" producer
cmp -s "$work/short" "$work/out" || bad "a short file sent first was lost"
: >"$work/empty"
run 0 0 "--output $work/out" "--input $work/empty" consumer
run 0 0 "--output $work/out" "--input $work/empty" producer
is "an empty file's records" "$(field records "$work/c")" 0
cat "$work/in" | "$P" pipe --input - >"$work/p" &
"$C" pipe --output - 2>"$work/c" | cmp -s - "$work/in" || bad "a pipe came out different"
wait
is "a pipe's summary" "$(field end "$work/c")" closed
run 0 0 "" "--input $work/in" consumer
is "raw bytes without an output" "$(field bytes "$work/c")" "$(wc -c <"$work/in" | tr -d ' ')"

# A consumer that leaves in order ends the producer well.
run 0 0 "--count 10" "" consumer
is "a left producer's end" "$(field end "$work/p")" closed
is "a counting consumer's end" "$(field end "$work/c")" count
run 0 0 "--count 5" "--rate 200" consumer
is "a left slow producer's end" "$(field end "$work/p")" closed

# Conditions, not sleeps: a channel of that name is there; records have come out at that file.
until_there() {
    i=0
    until ls "$WEIR_SHM_DIR"/*/"$1" >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -lt 2000 ] || { bad "no channel $1 came"; break; }
        sleep 0.01
    done
}
until_data() {
    i=0
    until [ -s "$1" ]; do
        i=$((i + 1))
        [ $i -lt 2000 ] || { bad "no record came out at $1"; break; }
        sleep 0.01
    done
}

# Deaths: the survivor says so and ends 3; the name is free again.
: >"$work/data"
"$C" dead --output "$work/data" >"$work/c" 2>&1 &
consumer=$!
"$P" dead --rate 1000 >/dev/null 2>&1 &
producer=$!
until_data "$work/data"
kill -9 $producer
wait $producer 2>/dev/null
wait $consumer
is "a survivor's status" $? 3
consumer=
is "a survivor's end" "$(field end "$work/c")" died
[ "$(field records "$work/c")" -gt 0 ] || bad "nothing was received before the death"
: >"$work/data"
"$C" dead --output "$work/data" >/dev/null 2>&1 &
consumer=$!
"$P" dead --rate 1000 >"$work/p" 2>&1 &
producer=$!
until_data "$work/data"
kill -9 $consumer
wait $consumer 2>/dev/null
consumer=
wait $producer
is "a surviving producer's status" $? 3
is "a surviving producer's end" "$(field end "$work/p")" died
run 0 0 "" "--count 10" consumer

# A second of a kind is refused and disturbs nobody.
: >"$work/data"
"$C" busy --output "$work/data" >"$work/c" 2>&1 &
consumer=$!
"$P" busy --rate 1000 >"$work/p" 2>&1 &
producer=$!
until_data "$work/data"
timeout 60 "$P" busy >/dev/null 2>"$work/err"
is "a second producer's status" $? 1
grep -q 'live producer' "$work/err" || bad "a second producer was told: $(cat "$work/err")"
timeout 60 "$C" busy >/dev/null 2>"$work/err"
is "a second consumer's status" $? 1
grep -q 'live consumer' "$work/err" || bad "a second consumer was told: $(cat "$work/err")"
timeout 60 "$P" busy --capacity 1M >/dev/null 2>"$work/err"
is "a second producer with another capacity" $? 1

# A refused consumer has lost nobody's file and left none.
timeout 60 "$C" busy --output "$work/data" >/dev/null 2>&1
is "a refused consumer's status" $? 1
timeout 60 "$C" busy --output "$work/new" >/dev/null 2>&1
[ ! -e "$work/new" ] || bad "a refused consumer left a file"
[ -s "$work/data" ] || bad "a refused consumer emptied a file"

# SIGTERM and SIGINT end either cleanly.
kill -TERM $producer
wait $producer
is "a signalled producer's status" $? 0
is "a signalled producer's end" "$(field end "$work/p")" signal
wait $consumer
is "its consumer's status" $? 0
consumer=
"$C" alone >"$work/c" 2>&1 &
consumer=$!
until_there alone
kill -INT $consumer # a background job of sh ignores SIGINT unless it asks for it
wait $consumer
is "a signalled consumer's status" $? 0
is "a signalled consumer's end" "$(field end "$work/c")" signal
consumer=

# Mismatches name both.
"$C" terms --capacity 4096 >/dev/null 2>&1 &
consumer=$!
until_there terms
timeout 60 "$P" terms --capacity 1M >/dev/null 2>"$work/err"
is "a mismatch's status" $? 1
grep -q 4096 "$work/err" && grep -q 1048576 "$work/err" || bad "a mismatch said: $(cat "$work/err")"
kill -TERM $consumer
wait $consumer
is "the refused one's peer" $? 0
consumer=

# Only stated values mismatch, whoever comes first.
"$P" unstated --count 10 >/dev/null 2>&1 &
producer=$!
until_there unstated
timeout 60 "$C" unstated --capacity 1M >"$work/c" 2>"$work/err"
is "a consumer whose capacity nobody contradicts" $? 0
grep -q '262144' "$work/err" || bad "the real capacity was not reported: $(cat "$work/err")"
wait $producer

# A consumer whose output nobody reads ends when it is told to.
mkfifo "$work/fifo"
sleep 100 <"$work/fifo" &
reader=$!
"$C" stuck --output "$work/fifo" >"$work/c" 2>&1 &
consumer=$!
"$P" stuck --message-size 1K >"$work/p" 2>&1 &
producer=$!
i=0 # the lane is full when the producer has gone to sleep on it
until grep -q S "/proc/$producer/stat" 2>/dev/null && [ $i -gt 50 ]; do
    i=$((i + 1))
    sleep 0.01
done
kill -TERM $consumer
wait $consumer
is "a stuck consumer's status" $? 0
is "a stuck consumer's end" "$(field end "$work/c")" signal
consumer=
wait $producer
is "a stuck consumer's producer" $? 0
kill $reader

# Standard descriptors that are closed do not become the section's; a summary that is lost is an error.
"$C" closed --capacity 5000 --count 3 <&- >&- 2>&- &
consumer=$!
until_there closed
timeout 60 "$P" closed --count 3 >/dev/null 2>"$work/err" || bad "after closed descriptors: $(cat "$work/err")"
wait $consumer
consumer=
"$C" full >/dev/full 2>/dev/null &
consumer=$!
timeout 60 "$P" full --count 3 >/dev/null
wait $consumer
is "a consumer's whose summary is lost" $? 1
consumer=

# A relative directory is one that the process may leave.
(cd "$work" && WEIR_SHM_DIR=shm timeout 60 "$C" relative --count 0 >/dev/null) || bad "a relative WEIR_SHM_DIR"

# Two producers, one after the other, to one consumer.
"$C" two --producers 2 >"$work/c" 2>&1 &
consumer=$!
"$P" two --count 100 --id 1 >/dev/null
"$P" two --count 200 --id 2 >/dev/null
wait $consumer
is "two producers' consumer" $? 0
consumer=
is "two producers' records" "$(field records "$work/c")" 300
is "their lines" "$(grep -c '^producer=' "$work/c")" 2

# ---- every kind ----

consumer_line='^records=[0-9]* bytes=[0-9]* seconds=[0-9]*\.[0-9]* mb_per_s=[0-9]*\.[0-9] corrupt=0 gaps=0 repeats=0 lost=[0-9]* redelivered=[0-9]* end=[a-z]*$'
producer_line='^records=[0-9]* bytes=[0-9]* seconds=[0-9]*\.[0-9]* mb_per_s=[0-9]*\.[0-9] full=[0-9]* end=[a-z]*$'
summary_is() { tail -n 1 "$1" | grep -q "$2" || bad "a summary of $kind: $(tail -n 1 "$1")"; }
# present NAME N: until N of them are there.
present() {
    i=0
    until "$WEIR_PROGRAM_DIR/weir" stat "$1" 2>/dev/null | grep -q "slots .*: $2 present"; do
        i=$((i + 1))
        [ $i -lt 2000 ] || { bad "$2 at $1 ($kind) did not come"; break; }
        sleep 0.01
    done
}
total() { cat "$@" | sed -n 's/^records=\([0-9]*\) .*/\1/p' | awk '{ n += $1 } END { print n + 0 }'; }

for kind in mpsc mpsc-ordered mpmc broadcast broadcast-gated latest mailbox; do
    for order in consumer producer; do
        run 0 0 "--kind $kind" "--kind $kind --count 10000 --id 7" $order
        summary_is "$work/c" "$consumer_line"
        summary_is "$work/p" "$producer_line"
        records=$(field records "$work/c")
        lost=$(field lost "$work/c")
        line="producer=7 first=0 last=9999 records=10000 gaps=0 repeats=0"
        case $kind-$order in
            latest-*) # the newest, and gaps are not judged
                line="producer=7 first=[0-9]* last=9999 records=$records gaps=0 repeats=0" ;;
            broadcast-consumer)
                line="producer=7 first=[0-9]* last=9999 records=$records gaps=0 repeats=0" ;;
            broadcast-producer) # who comes later begins later
                line="producer=7 first=[0-9]* last=9999 records=$records gaps=0 repeats=0" ;;
            *) is "$kind's records" "$records" 10000
                is "$kind's losses" "$lost" 0 ;;
        esac
        head -n 1 "$work/c" | grep -qx "$line" || bad "$kind's line: $(head -n 1 "$work/c"), not $line"
        is "$kind's lines" "$(wc -l <"$work/c")" 2
        is "$kind's consumer's end" "$(field end "$work/c")" closed
        is "$kind's producer's end" "$(field end "$work/p")" count
    done
    case $kind in
        broadcast | latest) ;;
        *) # files
            run 0 0 "--kind $kind --output $work/out" "--kind $kind --input $work/in --message-size 1000" consumer
            cmp -s "$work/in" "$work/out" || bad "a file through $kind came out different" ;;
    esac
    if [ "$kind" = broadcast ]; then # who was there first gets all, or they are counted
        "$C" first --kind $kind >"$work/c" 2>&1 &
        consumer=$!
        present first 1
        "$P" first --kind $kind --count 10000 >/dev/null
        wait $consumer
        is "an overrun consumer's status" $? 0
        consumer=
        is "records and losses" $(($(field records "$work/c") + $(field lost "$work/c"))) 10000
        # nothing is lost to who is fast enough
        head -c 20000 "$work/in" >"$work/some"
        run 0 0 "--kind $kind --output $work/out" "--kind $kind --input $work/some --message-size 1000 --rate 500" consumer
        cmp -s "$work/some" "$work/out" || bad "a file through $kind came out different"
        is "losses at a low rate" "$(field lost "$work/c")" 0
    fi
    # A consumer that leaves in order ends the producer well; so does a count of the consumer's.
    run 0 0 "--kind $kind --count 5" "--kind $kind --rate 1000" consumer
    is "$kind's left producer's end" "$(field end "$work/p")" closed
    is "$kind's counting consumer's end" "$(field end "$work/c")" count
    is "$kind's count" "$(field records "$work/c")" 5

    # Deaths and signals of either side.
    for victim in producer consumer; do
        for signal in KILL TERM; do
            : >"$work/data"
            "$C" ends --kind $kind --output "$work/data" >"$work/c" 2>&1 &
            consumer=$!
            "$P" ends --kind $kind --rate 1000 >"$work/p" 2>&1 &
            producer=$!
            until_data "$work/data"
            if [ $victim = producer ]; then pid=$producer; else pid=$consumer; fi
            kill -$signal $pid
            wait $producer 2>/dev/null
            p=$?
            wait $consumer 2>/dev/null
            c=$?
            consumer=
            case $victim-$signal in
                producer-KILL) is "$kind's survivor's status" $c 3; is "its end" "$(field end "$work/c")" died ;;
                consumer-KILL) is "$kind's survivor's status" $p 3; is "its end" "$(field end "$work/p")" died ;;
                producer-TERM)
                    is "$kind's statuses" "$p $c" "0 0"
                    is "its ends" "$(field end "$work/p") $(field end "$work/c")" "signal closed" ;;
                consumer-TERM)
                    is "$kind's statuses" "$p $c" "0 0"
                    is "its ends" "$(field end "$work/p") $(field end "$work/c")" "closed signal" ;;
            esac
        done
    done
    timeout 5 "$C" ends --kind spsc --count 0 >/dev/null || bad "the name of $kind is not free again"
    [ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "$kind left $(ls -R "$WEIR_SHM_DIR")"

    # Another kind is refused, and both are named.
    "$C" other --kind $kind >/dev/null 2>&1 &
    consumer=$!
    until_there other
    timeout 5 "$P" other >/dev/null 2>"$work/err"
    is "a producer's of another kind" $? 1
    grep -q "$kind.*spsc" "$work/err" || bad "another kind was told: $(cat "$work/err")"
    kill -TERM $consumer
    wait $consumer
    is "its peer" $? 0
    consumer=
done

# Several producers: each has its line; a number in use is refused; one that was killed is told of at the end.
for kind in mpsc mpsc-ordered mpmc mailbox; do
    "$C" many --kind $kind --producers 3 >"$work/c" 2>&1 &
    consumer=$!
    present many 1
    "$P" many --kind $kind --id 1 --count 2000 >/dev/null &
    one=$!
    "$P" many --kind $kind --id 2 --count 3000 >/dev/null &
    two=$!
    wait $one $two
    "$P" many --kind $kind --id 3 --rate 1000 >"$work/p" 2>&1 &
    producer=$!
    present many 2
    timeout 5 "$P" many --kind $kind --id 3 >"$work/out" 2>"$work/err"
    is "a number that is in use" $? 1
    grep -q 'has the number' "$work/err" && [ "$(wc -l <"$work/err")" -eq 1 ] || bad "it was told: $(cat "$work/err")"
    [ ! -s "$work/out" ] || bad "it wrote to standard output"
    kill -TERM $producer
    wait $producer
    is "the one that has it" $? 0
    wait $consumer
    is "the consumer of three" $? 0
    consumer=
    for line in "producer=1 first=0 last=1999 records=2000 gaps=0 repeats=0" \
        "producer=2 first=0 last=2999 records=3000 gaps=0 repeats=0" "producer=3 first=0 .* gaps=0 repeats=0"; do
        grep -qx "$line" "$work/c" || bad "$kind: no line $line in $(cat "$work/c")"
    done
    summary_is "$work/c" "$consumer_line"

    "$C" many --kind $kind --producers 2 >"$work/c" 2>&1 &
    consumer=$!
    present many 1
    "$P" many --kind $kind --id 1 --rate 1000 >/dev/null 2>&1 &
    one=$!
    "$P" many --kind $kind --id 2 --rate 1000 >/dev/null 2>&1 &
    two=$!
    present many 3
    kill -9 $one
    wait $one 2>/dev/null
    kill -TERM $two
    wait $two
    is "the other producer" $? 0
    wait $consumer
    is "the consumer of one that died" $? 3
    is "its end" "$(field end "$work/c")" died
    consumer=
done

# A mailbox: each record is answered with its checksum, and the times are told; an owner's capacity is what counts.
kind=mailbox
answers_line='^answers=1000 wrong=0 rtt_us_p50=[0-9]*\.[0-9][0-9] rtt_us_p99=[0-9]*\.[0-9][0-9]$'
for wait in "" "--wait spin" "--wait sleep"; do
    run 0 0 "--kind mailbox $wait" "--kind mailbox $wait --count 1000" producer
    head -n 1 "$work/p" | grep -q "$answers_line" || bad "answers: $(head -n 1 "$work/p")"
    is "a mailbox's producer's lines" "$(wc -l <"$work/p")" 2
done
for size in 32 33 1001 100K; do
    run 0 0 "--kind mailbox" "--kind mailbox --message-size $size --count 1000" consumer
    is "records of $size to a mailbox" "$(field records "$work/c")" 1000
    head -n 1 "$work/p" | grep -q "$answers_line" || bad "answers of $size: $(head -n 1 "$work/p")"
done
run 0 0 "--kind mailbox --capacity 5000" "--kind mailbox --capacity 8192 --count 10" consumer
grep -q 'rounded up to 8192' "$work/cerr" || bad "a mailbox's rounding was not reported: $(cat "$work/cerr")"
printf 'short' >"$work/short"
run 0 0 "--kind mailbox --output $work/out" "--kind mailbox --input $work/short --message-size 1" producer
cmp -s "$work/short" "$work/out" || bad "a short file to a mailbox was lost"
run 0 0 "--kind mailbox --output $work/out" "--kind mailbox --input $work/empty" producer
is "an empty file's records" "$(field records "$work/c")" 0
"$P" nobody --kind mailbox >"$work/p" 2>&1 & # waits for an owner, until it is told not to
producer=$!
present nobody 1
kill -TERM $producer
wait $producer
is "a producer's that nobody answers" $? 0
is "its end" "$(field end "$work/p")" signal
"$C" busy --kind mailbox >"$work/c" 2>&1 &
consumer=$!
present busy 1
timeout 5 "$C" busy --kind mailbox >"$work/out" 2>"$work/err"
is "a second owner's status" $? 1
grep -q 'live consumer' "$work/err" || bad "a second owner was told: $(cat "$work/err")"
kill -STOP $consumer # a stopped owner holds its callers up, and they can be told to stop
"$P" busy --kind mailbox --count 10 >"$work/p" 2>&1 &
producer=$!
present busy 2
kill -TERM $producer
wait $producer
is "a held up producer's status" $? 0
is "its end" "$(field end "$work/p")" signal
kill -CONT $consumer
wait $consumer
is "its owner's status" $? 0
consumer=
[ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "mailboxes left $(ls -R "$WEIR_SHM_DIR")"

# Several consumers: a work queue's share the records, a broadcast's each get all; one that is killed costs nobody
# anything that it had not released.
kind=mpmc
for i in 1 2 3; do
    "$C" shared --kind mpmc --producers 2 >"$work/c$i" 2>&1 &
    eval "c$i=\$!"
done
present shared 3
"$P" shared --kind mpmc --id 1 --count 20000 >/dev/null &
one=$!
"$P" shared --kind mpmc --id 2 --count 20000 >/dev/null &
two=$!
wait $one $two
for pid in $c1 $c2 $c3; do
    wait "$pid"
    is "a sharing consumer's status" $? 0
done
is "what three shared" "$(total "$work/c1" "$work/c2" "$work/c3")" 40000
"$P" shared --kind mpmc --rate 2000 >"$work/p" 2>&1 & # one of them is killed
producer=$!
: >"$work/data"
: >"$work/more"
"$C" shared --kind mpmc --output "$work/data" >/dev/null 2>&1 &
one=$!
"$C" shared --kind mpmc --output "$work/more" >"$work/c" 2>&1 &
consumer=$!
present shared 3
until_data "$work/data"
until_data "$work/more"
kill -9 $one
wait $one 2>/dev/null
enough=$(($(wc -c <"$work/more") + 64 * 400)) # a fifth of a second later all know
i=0
until [ "$(wc -c <"$work/more")" -ge $enough ] || [ $i -ge 2000 ]; do
    i=$((i + 1))
    sleep 0.01
done
kill -TERM $consumer # the last consumer leaves in order
wait $consumer
is "the consumer beside a killed one" $? 0
wait $producer
is "their producer" $? 0
is "its end" "$(field end "$work/p")" closed
consumer=

kind=broadcast-gated
for i in 1 2 3; do
    "$C" each --kind $kind >"$work/c$i" 2>&1 &
    eval "c$i=\$!"
done
present each 3
"$P" each --kind $kind --capacity 4096 --count 5000 --rate 10000 >"$work/p" 2>&1 &
producer=$!
present each 4
kill -9 $c3
wait $c3 2>/dev/null
wait $producer
is "a gated producer whose reader was killed" $? 0
for i in 1 2; do
    eval "wait \$c$i"
    is "a gated reader's status" $? 0
    grep -qx "producer=0 first=0 last=4999 records=5000 gaps=0 repeats=0" "$work/c$i" || bad "a reader: $(cat "$work/c$i")"
done
[ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "the kinds left $(ls -R "$WEIR_SHM_DIR")"

# Garbage where the section would be is refused and left alone.
mkdir -m 700 "$WEIR_SHM_DIR/weir-u.$(id -u)"
printf 'somebody else has this' >"$WEIR_SHM_DIR/weir-u.$(id -u)/garbage"
chmod 600 "$WEIR_SHM_DIR/weir-u.$(id -u)/garbage"
timeout 60 "$C" garbage >/dev/null 2>"$work/err"
is "garbage's status" $? 1
grep -q 'no weir section' "$work/err" || bad "garbage said: $(cat "$work/err")"
is "garbage" "$(cat "$WEIR_SHM_DIR/weir-u.$(id -u)/garbage")" 'somebody else has this'
rm -r "$WEIR_SHM_DIR/weir-u.$(id -u)"
[ -z "$(ls -A "$WEIR_SHM_DIR")" ] || bad "left at the end: $(ls -R "$WEIR_SHM_DIR")"
[ $failed -ne 0 ] || echo "the pair: all as it should be"
exit $failed

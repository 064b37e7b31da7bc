# The library's static tracepoints: those that ipc/README.md lists are there, with as many arguments, and each site is one
# nop without a semaphore: nothing is done where nobody traces.
set -u
cache=$WEIR_BINARY_DIR/CMakeCache.txt
library=$WEIR_BINARY_DIR/libweir.so
readme=$WEIR_SOURCE_DIR/ipc/README.md
if ! grep -q '^WEIR_HAVE_SDT:INTERNAL=1' "$cache"; then
    echo "skipped: sys/sdt.h was not there at build (Debian, Ubuntu: systemtap-sdt-dev): there are no tracepoints"
    exit 77
fi
for tool in readelf objdump; do
    command -v $tool >/dev/null || { echo "skipped: no $tool here (Debian, Ubuntu: binutils)"; exit 77; }
done
[ -e "$library" ] || { echo "skipped: no shared library at $library"; exit 77; }
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}

# A line for each site: its name, address, semaphore, number of arguments.
sites=$(LC_ALL=C readelf -nW "$library" | awk '
    /Provider:/ { provider = $NF }
    /Name:/ { name = $2 }
    /Location:/ { gsub(",", ""); location = $2; semaphore = $6 }
    /Arguments:/ && provider == "weir" { print name, location, semaphore, NF - 1 }')
listed=$(sed -n 's/^| `weir:\([a-z_]*\)` | \(.*\)/\1 \2/p' "$readme" | awk '{ print $1, gsub(/`arg[0-9]`/, "") }')
[ "$(printf '%s\n' "$listed" | wc -l)" -ge 7 ] || fail "ipc/README.md lists too few tracepoints: $listed"
for name in open close full sleep wake peer_end recovery; do
    printf '%s\n' "$listed" | grep -q "^$name " || fail "ipc/README.md does not list weir:$name"
    printf '%s\n' "$sites" | grep -q "^$name " || fail "$library has no tracepoint weir:$name"
done

count=0
while read -r name location semaphore arguments; do
    count=$((count + 1))
    printf '%s\n' "$listed" | grep -qx "$name $arguments" ||
        fail "weir:$name has $arguments arguments, ipc/README.md says: $(printf '%s\n' "$listed" | grep "^$name ")"
    [ $((semaphore)) -eq 0 ] || fail "weir:$name at $location has a semaphore: it would be looked at on each pass"
    LC_ALL=C objdump -d --no-show-raw-insn --start-address="$location" --stop-address=$((location + 1)) "$library" |
        grep -Eq '^ *[0-9a-f]+:[[:space:]]+nop' || fail "weir:$name at $location is no nop"
done <<END
$sites
END
[ $failed -eq 0 ] && echo "usdt: $count sites of $(printf '%s\n' "$listed" | wc -l) tracepoints, each a nop"
exit $failed

# An outside program builds against an installed prefix: through CMake (shared and static) and pkg-config (both), runs,
# and is the README's own example.
set -eu
[ -z "$WEIR_SANITIZE" ] || { echo "SKIPPED: the installed library would want the sanitizer's runtime"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cmake --install "$WEIR_BINARY_DIR" --prefix "$prefix" >"$work/install.log"

# The programs of the READMEs, as they stand there: the C blocks that begin with a comment naming the file.
# programs FILE MOST: none may be longer.
programs() {
    awk -v dir="$work" -v most="$2" '
        /^```c$/ { getline line; if (match(line, /[a-z]*_[a-z]*\.c/)) { file = dir "/" substr(line, RSTART, RLENGTH); n = 0; print line > file; next } }
        /^```$/ { if (file != "" && n > most) { print file ": " n " lines, more than " most; exit 1 } file = "" }
        file != "" { print > file; n++ }' "$1"
}
programs "$WEIR_SOURCE_DIR/README.md" 40
programs "$WEIR_SOURCE_DIR/naming/README.md" 15
test -s "$work/orders_producer.c" && test -s "$work/orders_consumer.c"
test -s "$work/gauge_writer.c" && test -s "$work/gauge_reader.c"

# What uses the registry needs, of the static library, what its grace periods come from.
cat >"$work/refs.c" <<'C'
#include <stdio.h>
#include <weir/weir.h>
int main(void)
{
    weir_section *section;
    weir_view view;
    void *at;
    if (weir_section_create_unnamed(&section, 4096, NULL) != WEIR_OK ||
        weir_view_map(&view, section, 0, 0, WEIR_READ_WRITE) != WEIR_OK ||
        weir_registry_publish(&view) != WEIR_OK || weir_read_begin() != WEIR_OK)
        return puts(weir_error_detail()), 1;
    weir_ref ref = { weir_section_id(section), 8 };
    int found = weir_resolve(ref, 8, WEIR_READ_WRITE, &at) == WEIR_OK && at == (char *)view.base + 8;
    printf("found %d by %s\n", found, weir_registry_backend());
    return weir_read_end() != WEIR_OK || weir_registry_retire(&view) != WEIR_OK || weir_view_unmap(&view) != WEIR_OK ||
           weir_section_close(section) != WEIR_OK || !found;
}
C

cat >"$work/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(outside C)
find_package(weir 0.1 REQUIRED)
foreach(side producer consumer)
    add_executable(${side} orders_${side}.c)
    target_link_libraries(${side} PRIVATE weir::weir)
    add_executable(${side}_static orders_${side}.c)
    target_link_libraries(${side}_static PRIVATE weir::static)
endforeach()
add_executable(refs refs.c)
target_link_libraries(refs PRIVATE weir::weir)
add_executable(refs_static refs.c)
target_link_libraries(refs_static PRIVATE weir::static)
foreach(side writer reader)
    add_executable(gauge_${side} gauge_${side}.c)
    target_link_libraries(gauge_${side} PRIVATE weir::weir)
endforeach()
CMAKE
cmake -S "$work" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/cmake" >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }

libdir=$(dirname "$(find "$prefix" -name libweir.a)")
if command -v pkg-config >/dev/null; then
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name weir.pc)")
    export PKG_CONFIG_PATH
    besides=$(pkg-config --static --libs weir | sed 's/-lweir //')
    # shellcheck disable=SC2046,SC2086 # flags
    cc -std=c11 "$work/refs.c" -o "$work/refs_pc" $(pkg-config --cflags --libs weir)
    # shellcheck disable=SC2046,SC2086
    cc -std=c11 "$work/refs.c" -o "$work/refs_pc_static" $(pkg-config --cflags weir) "$libdir/libweir.a" $besides
    for side in producer consumer; do
        # shellcheck disable=SC2046 # flags
        cc -std=c11 "$work/orders_$side.c" -o "$work/${side}_pc" $(pkg-config --cflags --libs weir)
        cc -std=c11 "$work/orders_$side.c" -o "$work/${side}_pc_static" \
            $(pkg-config --cflags weir) "$libdir/libweir.a" -pthread
    done
    cp "$work"/*_pc "$work"/*_pc_static "$work/cmake/"
else
    echo "no pkg-config here: NOT checked with it"
fi

LD_LIBRARY_PATH=$libdir
WEIR_SHM_DIR=$work
export LD_LIBRARY_PATH WEIR_SHM_DIR
for kind in "" _static _pc _pc_static; do
    [ -x "$work/cmake/consumer$kind" ] || continue
    "$work/cmake/consumer$kind" >"$work/out" &
    consumer=$!
    "$work/cmake/producer$kind"
    wait $consumer
    tail -n 1 "$work/out"
    grep -q '^1000 orders' "$work/out"
done

refs=0
for kind in "" _static _pc _pc_static; do
    [ -x "$work/cmake/refs$kind" ] || continue
    "$work/cmake/refs$kind" | grep '^found 1 by '
    ! ldd "$work/cmake/refs$kind" | grep -q 'libweir.*not found'
    refs=$((refs + 1))
done
[ $refs -ge 2 ]

# The two that share a struct.  The writer ends when its input does.
mkfifo "$work/input"
"$work/cmake/gauge_writer" <"$work/input" &
writer=$!
exec 3>"$work/input"
tries=0
until "$work/cmake/gauge_reader" >"$work/out" && grep -qx '21 degrees' "$work/out"; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || { echo "gauge_reader: $(cat "$work/out")"; exit 1; }
    sleep 0.01
done
cat "$work/out"
exec 3>&-
wait $writer
[ ! -e "$work/weir-u.$(id -u)" ] || { echo "the gauge is left behind"; exit 1; }

# The soname, and nothing exported but weir_.
objdump -p "$libdir/libweir.so" | grep -q 'SONAME *libweir.so.0.1'
foreign=$(nm -D --defined-only "$libdir/libweir.so" | awk '{ print $3 }' | grep -v '^weir_' || true)
[ -z "$foreign" ] || { echo "exported beyond weir_: $foreign"; exit 1; }

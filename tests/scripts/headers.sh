# Every public header compiles alone, in C11 and in C++17, with each compiler there is.
set -u
include=$(printf '%s' "$WEIR_INCLUDE_DIRS" | tr ':' '\n' | sed 's/^/-I/' | tr '\n' ' ')
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
headers="weir.h base/api.h base/atomic.h base/cacheline.h base/status.h base/version.h naming/name.h naming/section.h
naming/view.h naming/participant.h naming/unnamed.h naming/file.h naming/list.h naming/registry.h ring/spsc.h ring/lanes.h ring/mpsc.h
ring/mpsc_ordered.h ring/broadcast.h ring/broadcast_gated.h ring/latest.h ring/mpmc.h ipc/channel.h ipc/observer.h ipc/mailbox.h"
checked=0
failed=0
for compiler in gcc clang g++ clang++; do
    if ! command -v $compiler >/dev/null; then
        echo "no $compiler here: NOT checked with it"
        continue
    fi
    case $compiler in *++) language="-x c++ -std=c++17" ;; *) language="-x c -std=c11" ;; esac
    for header in $headers; do
        # shellcheck disable=SC2086 # lists of words
        printf "#include <weir/%s>\nextern int weir_header_check;\n" "$header" | $compiler $language $warnings $include -fsyntax-only - || {
            echo "$header does not compile alone with $compiler"
            failed=1
        }
        checked=$((checked + 1))
    done
done
# A header that is installed is in the list above.
for header in $(sed -n '/^set(weir_public_headers/,/)/p' "$WEIR_SOURCE_DIR/CMakeLists.txt" | grep -o '[a-z]*/[a-z_]*\.h'); do
    case " $(echo $headers) " in *" $header "*) ;; *)
        echo "$header is public and not checked here"
        failed=1
        ;;
    esac
done
[ "$checked" -ge 20 ] || { echo "only $checked checks were made"; exit 1; }
echo "$checked header compilations"
exit $failed

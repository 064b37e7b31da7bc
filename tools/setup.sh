# tools/setup.sh - sourced by tools/demo, tools/test and tools/bench: sees that what a build needs is there.

say() { printf '%s\n' "$*" >&2; }

# The package of clang's sanitizer and fuzzer runtimes.  It has the version of clang in its name.
clang_runtimes() {
    version=$(clang -dumpversion 2>/dev/null || apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]\)/\1/p')
    version=${version%%.*}
    if [ -n "$version" ]; then printf ' libclang-rt-%s-dev' "$version"; else printf ' libclang-rt-dev'; fi
}

# Can clang link a libFuzzer target?
has_fuzzer() {
    probe=$(mktemp -d)
    echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return n > 8 && d[0] == 1; }' \
        >"$probe/probe.c"
    clang -fsanitize=fuzzer,address,undefined "$probe/probe.c" -o "$probe/probe" >/dev/null 2>&1
    found=$?
    rm -rf "$probe"
    return "$found"
}

# The package, if the archive has it and it is not there: a peer that a release does not have is left out.
wanted_package() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' && return 0
    if apt-cache show "$1" >/dev/null 2>&1; then
        printf ' %s' "$1"
    else
        say "$1 is not to be had here: left out"
    fi
}

# What weir-bench compares with, and what draws the plots.
bench_packages() {
    command -v pkg-config >/dev/null 2>&1 || printf ' pkg-config'
    command -v g++ >/dev/null 2>&1 || printf ' g++'
    pkg-config --exists liburcu-bp 2>/dev/null || printf ' liburcu-dev'
    if ! command -v dpkg-query >/dev/null 2>&1; then
        command -v gnuplot >/dev/null 2>&1 || printf ' gnuplot'
        return 0
    fi
    apt-cache show gnuplot-nox >/dev/null 2>&1 ||
        { apt-get update || sudo -n apt-get update; } >/dev/null 2>&1 </dev/null || true
    command -v gnuplot >/dev/null 2>&1 || wanted_package gnuplot-nox
    for package in libck-dev libdpdk-dev libqb-dev libzmq3-dev libnng-dev libboost-dev iceoryx libiceoryx-posh-dev \
        libiceoryx-binding-c-dev; do
        wanted_package "$package"
    done
}

# The Debian or Ubuntu packages behind the commands and headers that are missing.  $1 = build, test or bench.
missing_packages() {
    command -v cc >/dev/null 2>&1 && echo '#include <stdatomic.h>' | cc -E - >/dev/null 2>&1 || printf ' gcc libc6-dev'
    command -v cmake >/dev/null 2>&1 || printf ' cmake'
    command -v ninja >/dev/null 2>&1 || printf ' ninja-build'
    [ "$1" != bench ] || bench_packages
    [ "$1" = test ] || return 0
    command -v g++ >/dev/null 2>&1 || printf ' g++'
    command -v clang >/dev/null 2>&1 && command -v clang++ >/dev/null 2>&1 || printf ' clang'
    has_fuzzer || clang_runtimes
    command -v pkg-config >/dev/null 2>&1 || printf ' pkg-config'
    echo '#include <sys/sdt.h>' | cc -E - >/dev/null 2>&1 || printf ' systemtap-sdt-dev'
    pkg-config --exists criterion 2>/dev/null || printf ' libcriterion-dev'
    pkg-config --exists liburcu-bp 2>/dev/null || printf ' liburcu-dev'
    command -v valgrind >/dev/null 2>&1 || printf ' valgrind'
}

# Installs what is missing, or says how and ends.
setup() {
    packages=$(missing_packages "$1")
    if [ -n "$packages" ]; then
        if ! command -v apt-get >/dev/null 2>&1; then
            say "missing:$packages (Debian's names); install what your system calls them, then run this again"
            exit 1
        fi
        if [ "$(id -u)" -eq 0 ]; then
            as_root=
        elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root=sudo
        else
            say "missing:$packages"
            say "this user may not install them; as root:  apt-get update && apt-get install -y$packages"
            exit 1
        fi
        say "installing:$packages"
        log=$(mktemp)
        # shellcheck disable=SC2086 # a list of names
        if ! { $as_root env DEBIAN_FRONTEND=noninteractive apt-get update || true # what is known may do
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } \
            >"$log" 2>&1 </dev/null; then
            tail -n 15 "$log" >&2
            rm -f "$log"
            say "apt-get failed; by hand, as root:  apt-get update && apt-get install -y$packages"
            exit 1
        fi
        rm -f "$log"
    fi
    version=$(cmake --version | sed -n 's/^cmake version \([0-9]*\.[0-9]*\).*/\1/p')
    if [ "$(printf '%s\n3.25\n' "$version" | sort -V | head -n 1)" != 3.25 ]; then
        say "cmake is $version, weir needs 3.25 or later"
        exit 1
    fi
}

# build PRESET [TARGET ...]: configures and builds quietly; on failure shows all of it.
build() {
    preset=$1
    shift
    log=$(mktemp)
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1+--target "$@"}; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        say "the $preset build failed: see above"
        exit 1
    fi
    grep -A 3 'CMake Warning' "$log" >&2 || true
    rm -f "$log"
}

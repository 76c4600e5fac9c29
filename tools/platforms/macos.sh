#!/usr/bin/env bash
# macOS, as far as a Linux machine can go: compiles the core and its C tests for arm64 and x86-64
# with zig, warnings as errors, and links them against macOS's own libraries. Nothing is run: for
# that it takes a Mac (.github/workflows runs the tests on one).
#
# The same compiler also has Windows on arm64, so that is compiled and linked here as well.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$ROOT/tools/csrc.sh"

BUILD=$ROOT/build/cross
ZIG=$(zig_python)

# link_tests TARGET PLATFORM SUFFIX
link_tests() {
    local directory=$BUILD/$1 test
    build_core "$2" "$directory" "$ZIG" -m ziglang cc -target "$1" -O2
    for test in "$ROOT"/tests/c/test_*.c; do
        echo "$test"
    done | xargs -P 2 -I {} sh -c 'test=$1; directory=$2; suffix=$3; shift 3
        "$@" "$test" "$directory"/*.o -o "$directory/$(basename "$test" .c)$suffix"' \
        sh {} "$directory" "$3" "$ZIG" -m ziglang cc -target "$1" -O2 $CSRC_FLAGS $WARNINGS
    echo "$1: $(ls "$directory"/*.o | wc -l) objects compiled," \
        "$(ls "$directory"/test_*"$3" | grep -c -v '\.pdb$') test programs linked, none run"
}

link_tests aarch64-macos macos ""
link_tests x86_64-macos macos ""
link_tests aarch64-windows-gnu windows .exe
link_tests x86_64-windows-gnu windows .exe

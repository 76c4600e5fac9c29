#!/usr/bin/env bash
# The C tests of the core, without Python: tools/ctest.sh [native|asan|wine|aarch64|s390x|x86]...
#
#     native   this machine's compiler; the default
#     asan     the same with AddressSanitizer and UndefinedBehaviorSanitizer
#     wine     as Windows programs: mingw and Wine
#     aarch64  for 64-bit ARM, with qemu
#     s390x    for a big-endian processor, with qemu
#     x86      for 32 bits, with zig and musl's C library
#
# Stops at the first program that fails. CC chooses the compiler of the first two.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/tools/csrc.sh"

BUILD=$ROOT/build/ctest

# run_tests DIRECTORY SUFFIX COMMAND...: every test program but LEFT_OUT, in an empty folder, under
# COMMAND.
LEFT_OUT=
run_tests() {
    local directory=$1 suffix=$2 test
    shift 2
    rm -rf "$directory/scratch"
    mkdir -p "$directory/scratch"
    for test in "$ROOT"/tests/c/test_*.c; do
        if [[ " $LEFT_OUT " == *" $(basename "$test" .c) "* ]]; then
            continue
        fi
        (cd "$directory/scratch" && "$@" "../$(basename "$test" .c)$suffix")
    done
    rm -rf "$directory/scratch"
}

# build_tests PLATFORM DIRECTORY SUFFIX LIBRARIES COMPILER...
build_tests() {
    local platform=$1 directory=$2 suffix=$3 libraries=$4 test
    shift 4
    build_core "$platform" "$directory" "$@"
    for test in "$ROOT"/tests/c/test_*.c; do
        echo "$test"
    done | xargs -P 2 -I {} sh -c 'test=$1; directory=$2; suffix=$3; libraries=$4; shift 4
        "$@" "$test" "$directory"/*.o -o "$directory/$(basename "$test" .c)$suffix" $libraries' \
        sh {} "$directory" "$suffix" "$libraries" "$@" $CSRC_FLAGS $WARNINGS
}

native_platform() {
    if [[ $(uname) == Darwin ]]; then echo macos; else echo linux; fi
}

test_native() {
    build_tests "$(native_platform)" "$BUILD/native" "" -lpthread "${CC:-gcc}" -O2 -g
    run_tests "$BUILD/native" "" timeout 120
}

test_asan() {
    build_tests "$(native_platform)" "$BUILD/asan" "" -lpthread "${CC:-gcc}" -O1 -g \
        -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
    # The tests are about SIGBUS, and install its handler themselves.
    run_tests "$BUILD/asan" "" timeout 120 env \
        ASAN_OPTIONS=handle_sigbus=0:allocator_may_return_null=1:detect_stack_use_after_return=0
}

test_wine() {
    source "$ROOT/tools/platforms/wine.sh"
    need_wine
    build_tests windows "$BUILD/wine" .exe -static-libgcc x86_64-w64-mingw32-gcc -O2 -g
    run_tests "$BUILD/wine" .exe with_wine
}

# test_processor NAME: qemu's faults tell other addresses, and it leaves out what is asked of memory.
test_processor() {
    build_tests linux "$BUILD/$1" "" -lpthread "$1-linux-gnu-gcc" -O2 -g -static
    LEFT_OUT="test_guard test_memory" run_tests "$BUILD/$1" "" timeout 300 "qemu-$1-static"
}

test_aarch64() { test_processor aarch64; }
test_s390x() { test_processor s390x; }

test_x86() {
    build_tests linux "$BUILD/x86" "" -lpthread \
        "$(zig_python)" -m ziglang cc -target x86-linux-musl -O2 -g -static
    run_tests "$BUILD/x86" "" timeout 120
}

for mode in "${@:-native}"; do
    case $mode in
        native | asan | wine | aarch64 | s390x | x86)
            echo "C tests, $mode"
            "test_$mode"
            ;;
        *)
            sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
    esac
done

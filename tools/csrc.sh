# Which C files make up the core on each platform, for scripts that compile it without Python. The
# same choice as in setup.py. Source it after lib.sh.
# shellcheck shell=bash

WARNINGS="-Wall -Wextra -Werror"
CSRC_FLAGS="-std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -ffile-prefix-map=$ROOT/= -I$ROOT/csrc -I$ROOT/csrc/include"

# core_files linux|macos|windows: prints their paths, one a line.
core_files() {
    local system
    case $1 in
        linux) system="os/posix.c os/linux.c os/disk_posix.c os/disk_linux.c os/changed_linux.c guard/posix.c guard/poison.c" ;;
        macos) system="os/posix.c os/darwin.c os/disk_posix.c os/disk_darwin.c os/changed_none.c guard/posix.c guard/poison.c" ;;
        windows) system="os/windows.c os/disk_windows.c os/changed_none.c guard/windows.c" ;;
        *) echo "core_files: no such platform: $1" >&2; return 2 ;;
    esac
    (cd "$ROOT/csrc" && printf "$ROOT/csrc/%s\n" map/*.c scan/*.c lines/*.c journal/*.c guard/registry.c $system)
}

# build_core PLATFORM DIRECTORY COMPILER...: compiles the core's files to objects in DIRECTORY.
build_core() {
    local platform=$1 directory=$2 file
    shift 2
    mkdir -p "$directory"
    rm -f "$directory"/*.o
    for file in $(core_files "$platform"); do
        echo "$file"
    done | xargs -P 2 -I {} sh -c 'file=$1; directory=$2; shift 2
        part=${file%/*}; "$@" -c "$file" -o "$directory/${part##*/}-$(basename "$file" .c).o"' \
        sh {} "$directory" "$@" $CSRC_FLAGS $WARNINGS
}

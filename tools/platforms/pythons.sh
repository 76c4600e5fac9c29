#!/usr/bin/env bash
# Builds and tests with the other CPythons that this machine has: pythons.sh [VERSION...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

(($#)) || set -- 3.12 3.13 3.14 3.15
for version in "$@"; do
    if ! python=$(find_python "$version"); then
        echo "CPython $version: not on this machine, skipped"
        continue
    fi
    copy_tree "$WORK/$version"
    run "$python" -m venv "$WORK/$version/.venv"
    run "$WORK/$version/.venv/bin/python" -m pip install -q --only-binary :all: \
        "$WORK/$version[test]"
    (
        cd "$WORK/$version"
        run .venv/bin/python -m pytest -q -p no:cacheprovider -m 'not slow'
    )
done

#!/usr/bin/env bash
# Asks cibuildwheel which wheels a release has, and compares with the list here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV=$CACHE/cibuildwheel
[[ -x $VENV/bin/python ]] || run "$(find_python 3.11)" -m venv "$VENV"
run "$VENV/bin/python" -m pip install -q 'cibuildwheel==4.3.*'

expected() {
    local python tag
    for python in cp311 cp312 cp313 cp314 cp314t cp315 cp315t; do
        for tag in "$@"; do
            echo "$python-$tag"
        done
    done
}

check() { # PLATFORM ARCHITECTURES TAG...
    local platform=$1 architectures=$2
    shift 2
    diff <(expected "$@" | sort) \
        <("$VENV/bin/cibuildwheel" --print-build-identifiers --platform "$platform" \
            --archs "$architectures" "$ROOT" | sort)
    echo "$platform: $(expected "$@" | wc -l) wheels"
}

check linux x86_64,aarch64 {many,musl}linux_{x86_64,aarch64}
check macos x86_64,arm64 macosx_{x86_64,arm64}
check windows AMD64,ARM64 win_{amd64,arm64}

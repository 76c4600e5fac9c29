# For the scripts of tools/ and .ci/: source it. Needs bash.
# shellcheck shell=bash
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${MMAPKIT_CACHE:-$HOME/.cache/mmapkit}
mkdir -p "$CACHE"

# Prints which command runs, then runs it.
run() {
    printf '+ %s\n' "${*/#"$ROOT"\//}" >&2
    "$@"
}

# need_packages NAME...: installs the Debian packages that are missing; root does it, others are told.
need_packages() {
    local name missing=()
    for name in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null |
            grep -q '^installed' || missing+=("$name")
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    if ((EUID != 0)); then
        echo "missing Debian packages: ${missing[*]}" >&2
        return 1
    fi
    if [[ -z ${MMAPKIT_APT_UPDATED:-} ]]; then
        run apt-get update -q
        export MMAPKIT_APT_UPDATED=1
    fi
    DEBIAN_FRONTEND=noninteractive run apt-get install -q -y --no-install-recommends \
        "${missing[@]}" </dev/null
}

# find_python VERSION: prints the path of a CPython that runs and has headers; fails if there is
# none. A pyenv shim may exist for a version that is not active, so names are not enough.
find_python() {
    local candidate
    for candidate in "${HOME}"/.pyenv/versions/"$1".*/bin/python"$1" "python$1" "/usr/bin/python$1"; do
        if "$candidate" - "$1" 2>/dev/null <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
assert sys.version.startswith(sys.argv[1] + ".")
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
print(os.path.realpath(sys.executable))
PYTHON
        then
            return
        fi
    done
    return 1
}

# copy_tree DIRECTORY: the files that git knows or would add, as they are now. Builds write beside
# their sources; a copy keeps the tree's own builds, and those of other switches, apart.
copy_tree() {
    mkdir -p "$1"
    git -C "$ROOT" ls-files -co --exclude-standard -z |
        (cd "$ROOT" && while IFS= read -r -d '' file; do
            [[ -e $file ]] && printf '%s\0' "$file"
        done | tar --null -T - -cf -) | tar -C "$1" -xf -
}

# The compilers of ziglang target old glibc, musl, macOS and Windows. Prints its Python.
zig_python() {
    if [[ ! -x $CACHE/zig/bin/python ]]; then
        "$(find_python 3.11)" -m venv "$CACHE/zig" >&2
    fi
    "$CACHE/zig/bin/python" -m pip install -q ziglang==0.17.* >&2
    echo "$CACHE/zig/bin/python"
}

# Wine and mingw for the scripts that need Windows. Source it after lib.sh.
# shellcheck shell=bash

export WINEPREFIX=$CACHE/wine WINEARCH=win64 WINEDEBUG=-all
# Neither .NET nor a browser engine is needed; without this Wine asks to install them.
export WINEDLLOVERRIDES='mscoree,mshtml='

# The Debian wrapper's advice to install the 32-bit Wine is noise here: everything is 64-bit. Output
# goes through pipes, because Wine 8 gives CPython an "invalid handle" for one that is a file. Needs
# `set -o pipefail` for the program's status.
with_wine() {
    timeout "${WINE_TIMEOUT_S:-600}" wine "$@" </dev/null 2> >(grep -v -e 'wine32 is missing' \
        -e 'multiarch needs to be enabled' -e 'dpkg --add-architecture' \
        -e 'apt-get install wine32' -e '^wine32:i386' >&2) | cat
}

# Installs Wine and mingw where they are missing, and makes the prefix once.
need_wine() {
    need_packages wine wine64 gcc-mingw-w64-x86-64
    if [[ ! -f $WINEPREFIX/ready ]]; then
        echo "making a Wine prefix in the cache"
        rm -rf "$WINEPREFIX"
        with_wine wineboot -i
        with_wine winecfg -v win10
        wineserver --wait 2>/dev/null || true
        touch "$WINEPREFIX/ready"
    fi
}

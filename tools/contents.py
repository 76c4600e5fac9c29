"""Look into sdists and wheels: python contents.py TREE DISTRIBUTION... fails if files are amiss."""

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

# Folders of the tree that an sdist holds whole, and which of their files.
SDIST = {
    "csrc": (".c", ".h"),
    "src": (".py", ".pyx", ".pxd", ".pxi", ".pyi"),
    "tests": (".py", ".c", ".h"),
    "examples": (".py", ".md"),
}
SDIST_FILES = ("LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.py")
SOURCES = (".c", ".h", ".pyx", ".pxd", ".pxi")


def tree_files(tree, folder, suffixes):
    return {
        path.relative_to(tree).as_posix()
        for path in (tree / folder).rglob("*")
        if path.suffix in suffixes
    }


def check_sdist(tree, path):
    with tarfile.open(path) as archive:
        names = {
            PurePosixPath(*PurePosixPath(member.name).parts[1:]).as_posix()
            for member in archive
            if member.isfile()
        }
    wanted = {"src/mmapkit/py.typed", *SDIST_FILES}
    for folder, suffixes in SDIST.items():
        wanted |= tree_files(tree, folder, suffixes)
    yield from (f"lacks {name}" for name in sorted(wanted - names))
    yield from (
        f"holds {name}"
        for name in sorted(names)
        if name.startswith("build/") or name.endswith((".so", ".pyd", ".pyc"))
    )


def check_wheel(tree, path):
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    wanted = {name.removeprefix("src/") for name in tree_files(tree, "src", (".py", ".pyi"))}
    wanted.add("mmapkit/py.typed")
    yield from (f"lacks {name}" for name in sorted(wanted - names))
    for name in tree_files(tree, "src", (".pyx",)):
        stem = name.removeprefix("src/").removesuffix(".pyx")
        if not any(
            other.startswith(f"{stem}.") and other.endswith((".so", ".pyd")) for other in names
        ):
            yield f"lacks the extension {stem}"
    for name in sorted(names):
        inside = name.startswith("mmapkit/") or ".dist-info/" in name
        if name.endswith(SOURCES) or not inside:
            yield f"holds {name}"
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        yield "lacks the license"


def main(tree, *distributions):
    amiss = 0
    for path in map(Path, distributions):
        check = check_wheel if path.suffix == ".whl" else check_sdist
        for what in check(Path(tree), path):
            print(f"{path.name} {what}")
            amiss += 1
        print(f"{path.name}: {path.stat().st_size} bytes")
    return amiss > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

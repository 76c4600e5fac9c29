"""Builds the extension modules: which C files go into which, and with which switches.

Everything else about the project is in pyproject.toml. Switches are environment variables:

SANITIZE=address,undefined   compile and link with these sanitizers (gcc, clang)
COVERAGE=1                   instrument for gcov
DEBUG=1                      -O0, assertions and Cython line tracing for debuggers
WERROR=1                     warnings are errors, in csrc and in what Cython generates
"""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = Path("csrc")
PLATFORM = os.environ.get("_PYTHON_HOST_PLATFORM", sysconfig.get_platform())
WINDOWS = PLATFORM.startswith("win")
MACOS = PLATFORM.startswith("macosx")
MSVC = WINDOWS and sys.platform == "win32" and "gcc" not in os.environ.get("CC", "")

# The platform is chosen here, once.
SYSTEM = (
    ["os/windows.c", "os/disk_windows.c", "os/changed_none.c", "guard/windows.c"]
    if WINDOWS
    else [
        *("os/posix.c", "os/disk_posix.c"),
        *(
            ["os/darwin.c", "os/disk_darwin.c", "os/changed_none.c"]
            if MACOS
            else ["os/linux.c", "os/disk_linux.c", "os/changed_linux.c"]
        ),
        *("guard/posix.c", "guard/poison.c"),
    ]
)

# Extension -> its C files. Static state must not be doubled, so no file is in two of them.
EXTENSIONS = {
    "mmapkit._native": [
        *sorted(path.relative_to(CORE).as_posix() for path in CORE.glob("map/*.c")),
        "guard/registry.c",
        *SYSTEM,
    ],
    "mmapkit._scan": sorted(path.relative_to(CORE).as_posix() for path in CORE.glob("scan/*.c")),
    "mmapkit._lines": ["lines/table.c"],
    "mmapkit._journal": sorted(
        path.relative_to(CORE).as_posix() for path in CORE.glob("journal/*.c")
    ),
}


def flags():
    """Compiler and linker flags for this platform and these switches."""
    if MSVC:
        return ["/std:c11", "/experimental:c11atomics", "/O2"], []
    # File offsets of 64 bits, also where the machine has 32.
    compile_flags = ["-std=c11", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64"]
    compile_flags += ["-O3", "-fvisibility=hidden"]
    link_flags = []
    if os.environ.get("WERROR"):
        compile_flags += ["-Wall", "-Werror"]
    if os.environ.get("DEBUG"):
        compile_flags += ["-O0", "-g", "-UNDEBUG"]
    if sanitizers := os.environ.get("SANITIZE"):
        compile_flags += [f"-fsanitize={sanitizers}", "-g", "-fno-omit-frame-pointer"]
        link_flags += [f"-fsanitize={sanitizers}"]
    if os.environ.get("COVERAGE"):
        compile_flags += ["--coverage"]
        link_flags += ["--coverage"]
    return compile_flags, link_flags


def extension(name, files):
    compile_flags, link_flags = flags()
    source = Path("src", *name.split(".")).with_suffix(".pyx")
    # With build_dir set below, the .pyx would be missing from the sdist: `depends` keeps it, and
    # rebuilds when a header changes.
    depends = [source, *CORE.rglob("*.h"), *Path("src").rglob("*.px[di]")]
    return Extension(
        name,
        [source.as_posix(), *((CORE / file).as_posix() for file in files)],
        include_dirs=[CORE.as_posix(), (CORE / "include").as_posix()],
        depends=[path.as_posix() for path in depends],
        extra_compile_args=compile_flags,
        extra_link_args=link_flags,
    )


setup(
    ext_modules=cythonize(
        [extension(name, files) for name, files in EXTENSIONS.items()],
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
)

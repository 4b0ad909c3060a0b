"""Builds the native engine's C library as an optional part of the package.

The rest of the packaging is in pyproject.toml. The library is no Python extension: it is plain C
behind ctypes, so one build serves every Python. Without a compiler the installation goes on without
it.
"""

import ctypes
from multiprocessing.pool import ThreadPool
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

SOURCES = "src/mlpx/engines/native/c"
FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]


class BuildLibrary(build_ext):
    """Names the file without the Python's tag, and looks for no init function in it.

    Compiling takes a minute: an editable installation takes the library that the one before it left
    in the source tree, unless something that it is made from is newer.
    """

    def build_extension(self, extension):
        built = Path("src", self.get_ext_filename(extension.name))
        made_from = [__file__, *extension.sources, *extension.depends]
        if self.editable_mode and not newer_group(made_from, built) and is_loaded(built):
            self.copy_file(built, self.get_ext_fullpath(extension.name))
        else:
            super().build_extension(extension)

    def build_extensions(self):
        compile_files = self.compiler.compile

        def compile_at_once(sources, *args, **kwargs):
            """One compiler for each core: a file takes a quarter of a minute."""
            with ThreadPool() as pool:
                objects = pool.map(lambda source: compile_files([source], *args, **kwargs), sources)
            return [file for files in objects for file in files]

        self.compiler.compile = compile_at_once
        super().build_extensions()

    def get_ext_filename(self, name):
        return f"{name.replace('.', '/')}.so"

    def get_export_symbols(self, extension):
        return extension.export_symbols


def is_loaded(library):
    """Whether this machine can load a library: the tree may have been copied from another."""
    try:
        ctypes.CDLL(str(library.resolve()))
    except OSError:
        return False
    return True


class PlatformWheel(bdist_wheel):
    """One wheel for every Python of a platform."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "mlpx.engines.native._native",
            [
                f"{SOURCES}/{name}.c"
                for name in (
                    *("avx2", "avx512", "dispatch", "engine"),
                    *("machine", "mapped", "order", "plain", "pool"),
                )
            ],
            depends=[
                *(f"{SOURCES}/{name}.h" for name in ("engine", "isa", "philox", "pool")),
                *map(str, sorted(Path(SOURCES).glob("*.inc"))),
                "src/mlpx/engines/formulas.h",
            ],
            extra_compile_args=FLAGS,
            libraries=["m", "pthread"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
)

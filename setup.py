"""The compiled modules: every .pyx of the packages becomes an extension; all else about the package is in setup.cfg.

Without "binding" methods are what the interpreter calls fastest, as those of built-in types.
"""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

sources = sorted(map(str, Path("middleboxes").rglob("*.pyx")))
extensions = [Extension(source[:-len(".pyx")].replace("/", "."), [source]) for source in sources]
setup(ext_modules=cythonize(extensions, build_dir="build", language_level=3, quiet=True,
                            compiler_directives={"binding": False}))

"""Stands in for the nodes in tests of the emulator."""

from pkgutil import extend_path

# everything but the runtime is the real thing
__path__ = extend_path(__path__, __name__)

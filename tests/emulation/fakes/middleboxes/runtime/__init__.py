"""Stands in for the nodes in tests of the emulator."""

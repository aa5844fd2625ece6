"""Stands in for the controller in tests of the emulator."""

"""Tests of the demo: its checks, its traffic programs, and whole runs against a stand-in for the network."""

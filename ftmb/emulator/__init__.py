"""The emulator: one daemon owns the network and every process; everything else asks it.

``client.py`` is the way in. The daemon holds the lock of the run directory as long as it lives, and writes into
the ledger what it is about to make: so whoever gets the lock later can remove what a killed daemon left.
"""

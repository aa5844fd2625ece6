"""Fault-tolerant middleboxes: protocol core, author's kit, functions, and the processes that run them."""

__version__ = "0.1.0"

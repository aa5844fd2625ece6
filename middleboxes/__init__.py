"""Fault-tolerant middleboxes: protocol core, author's kit, functions, and the processes that run them.

The modules that each packet passes are compiled (``*.pyx``, by Cython): ``scripts/setup`` or ``pip install`` does it.
"""

__version__ = "0.1.0"

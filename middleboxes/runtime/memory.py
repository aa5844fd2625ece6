"""Memory that a node has before it needs it: a failover has no time for pages that the kernel gives one by one, each cleared when first touched.

docs/performance.md has what a cold spare gains by it.
"""

import ctypes

#: as much as the state of 100,000 flows and what brings it take; each node has it from its start
READY_BYTES = 32 << 20
_BLOCKS = 4
#: mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def make_ready():
    """Have READY_BYTES in this process's heap, to be kept there. Raises OSError: this C library can't be told so."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        raise OSError("the C library has no mallopt")
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    block_bytes = READY_BYTES // _BLOCKS
    # blocks come out of the heap, not with pages of their own, and what is free at its end is kept, twice as much at most
    if not (libc.mallopt(_M_MMAP_THRESHOLD, 2 * block_bytes) and libc.mallopt(_M_TRIM_THRESHOLD, 2 * READY_BYTES)):
        raise OSError("mallopt refuses")
    blocks = [libc.malloc(block_bytes) for _ in range(_BLOCKS)]
    for block in filter(None, blocks):          # less than all of it is of use, too
        ctypes.memset(block, 1, block_bytes)
        libc.free(block)

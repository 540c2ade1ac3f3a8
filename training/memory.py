"""Freed memory kept by the process: on glibc, fresh pages for every step cost more than the arithmetic."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BYTES = 2**30  # glibc takes an int; anything smaller than this is reused, not returned


def keep_freed_memory() -> bool:
    """Ask glibc to reuse large blocks. True where there is a glibc that agreed; elsewhere nothing changes."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST_BYTES))

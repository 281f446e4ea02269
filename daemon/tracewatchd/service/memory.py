"""How this process holds memory: what one batch frees, the next one needs again at once."""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_BYTES = 64 << 20
_MAPPED_FROM_BYTES = 32 << 20
_ARENAS = 2
_PAGES_FROM_BYTES = 1 << 20

_OBJECTS_BETWEEN_COLLECTIONS = 20_000


def collect_seldom() -> None:
    """Let the garbage collector leave what has been made so far alone, and look at the rest less often.

    What a batch is made of has no reference cycles: the collector finds nothing there, at a twentieth of the cost of a
    load.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)


def keep_freed_memory() -> None:
    """Let the allocator keep up to 64 MiB of freed memory, from few arenas, instead of asking the kernel anew.

    Batches are megabytes; given back and faulted in again page by page, they cost a tenth of a load's processor time.
    Only glibc has these options (mallopt(3)); elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


def give_back_memory() -> None:
    """Give back what is free, and let large buffers be memory of their own, which grows in place and goes when freed.

    A page of runs is tens of megabytes; by default the allocator soon makes such buffers parts of its heap, where each
    growth leaves a hole. Only glibc can (mallopt(3), malloc_trim(3)); elsewhere nothing is done.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _PAGES_FROM_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _PAGES_FROM_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.malloc_trim(0)

"""Counting the tensors that are alive: what a device's allocator would hold, on a CPU."""

import weakref
from collections.abc import Iterable

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all storages that operations make, from their birth to their death.

    What a kernel allocates and frees within itself is not seen.
    """

    def __init__(self, there: Iterable[Tensor] = ()) -> None:
        """Begin with the tensors that are there already."""
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.bytes = self.peak = 0
        for tensor in there:
            self._born(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._born(leaf)
        self.peak = max(self.peak, self.bytes)
        return made

    def restart(self) -> int:
        """Return the peak so far, and begin to look for the next."""
        peak, self.peak = self.peak, self.bytes
        return peak

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.bytes += storage.nbytes()
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)

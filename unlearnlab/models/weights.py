"""How far training moved the weights of a model, block by block, read from safetensors files."""

import math
import re
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

MOST_BYTES = 1 << 29
"""Largest file that is read: a page waits for it."""

READ_FROM = (
    "trained weights that a run kept in float32 or float16, without an adapter, up to 512 MB"
)
"""What `block_changes` can read, in words."""

_BLOCK = re.compile(r"\.(\d+)\.")


def block_changes(original: Path, changed: Path) -> dict[int, float]:
    """Return the relative change of each block, by its number: |changed - original| / |original|.

    The norms are Euclidean, over all tensors of a block that both files have.

    Args:
        original: Folder of the original model.
        changed: File of the trained tensors, under the names of the original's.

    Returns:
        Empty if the files are not `READ_FROM`.
    """
    np: Any = import_module("numpy")
    read: Any = safe_open
    moved: dict[int, float] = defaultdict(float)
    whole: dict[int, float] = defaultdict(float)
    try:
        if changed.stat().st_size > MOST_BYTES:
            return {}
        with read(changed, framework="numpy") as after:
            wanted: set[str] = set(after.keys())
            for path in sorted(original.glob("*.safetensors")):
                with read(path, framework="numpy") as before:
                    for name in wanted.intersection(before.keys()):
                        if not (found := _BLOCK.search(name)):
                            continue
                        one, other = before.get_tensor(name), after.get_tensor(name)
                        if one.shape != other.shape:
                            return {}
                        one, block = one.astype(np.float32), int(found[1])
                        moved[block] += float(((other.astype(np.float32) - one) ** 2).sum())
                        whole[block] += float((one**2).sum())
    except (OSError, SafetensorError, TypeError):  # A format that numpy does not have.
        return {}
    return {at: math.sqrt(moved[at] / whole[at]) for at in sorted(moved) if whole[at] > 0}

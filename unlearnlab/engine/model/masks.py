"""What each token of a pass may look at, as the model is told it.

Shape suffixes: B rows, T tokens of a pass, S slots of the cache, of which those of the pass come
last.
"""

from typing import cast

import torch
from torch import Tensor

from unlearnlab.engine.model.unlearning_model import Target


def seen(target: Target, mask_BS: Tensor, new: int) -> Tensor:
    """Say what a pass may look at.

    On a CPU it is the finished mask of all blocks, as numbers that are added: the library makes one
    of yes and no, and torch turns that into numbers anew in every block. A model that looks back
    only so far in some of its blocks needs a mask of each kind, which the library makes.

    Args:
        target: The model.
        mask_BS: 1 where a slot is of use.
        new: T.

    Returns:
        [B, 1, T, S], or `mask_BS` itself.
    """
    if not target.on_cpu or getattr(target.model.config, "sliding_window", None) is not None:
        return mask_BS
    slots = mask_BS.shape[1]
    dtype = cast("Tensor", target.model.get_input_embeddings().weight).dtype
    # Not minus infinity: padding looks at nothing, and must not become nan.
    never = torch.finfo(dtype).min
    later_TS = torch.ones(new, slots, dtype=torch.bool).triu(slots - new + 1)
    unseen_B1TS = later_TS | (mask_BS == 0)[:, None, None]
    return torch.zeros(unseen_B1TS.shape, dtype=dtype).masked_fill_(unseen_B1TS, never)


def behind(target: Target, slots: int, new: int) -> Tensor | None:
    """Say what a pass may look at where no slot before a token is padding.

    Args:
        target: The model.
        slots: S.
        new: T.

    Returns:
        [1, 1, T, S] for all rows; nothing where the library makes the masks, as it then needs none.
    """
    all_1S = torch.ones(1, slots, dtype=torch.long, device=target.device)
    made = seen(target, all_1S, new)
    return None if made is all_1S else made

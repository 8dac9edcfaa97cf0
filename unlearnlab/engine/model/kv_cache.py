"""Preallocated KV cache for rows that are decoded together, and attention masks over its slots.

transformers' own cache copies all keys and values at every step. This one writes into preallocated
tensors, which are copied only when rows are added or dropped, and then only the slots still needed.
Shape suffixes: B rows, T tokens of a pass, H heads, S slots of the cache (those of the pass come
last), D head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from unlearnlab.engine.model.unlearning_model import UnlearningModel
from unlearnlab.spec.rows import ROOM


class RoomyLayer(DynamicLayer):
    """Keys and values of one block: [B, H, S, D], a view of a preallocated larger tensor."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the keys and values of a pass, and return those of all slots."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
            self._keys, self._values = key_states, value_states
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        used, new = self.keys.shape[2], key_states.shape[2]
        if used + new > self._keys.shape[2]:
            self._keys = _with_room(self.keys, len(self.keys), new + ROOM)
            self._values = _with_room(self.values, len(self.values), new + ROOM)
        self._keys[:, :, used : used + new] = key_states
        self._values[:, :, used : used + new] = value_states
        self.keys = self._keys[:, :, : used + new]
        self.values = self._values[:, :, : used + new]
        return self.keys, self.values

    def reset(self) -> None:
        """Free the keys and values."""
        super().reset()
        del self._keys, self._values

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, used: int) -> "RoomyLayer":
        """Make a layer of preallocated tensors, of which the first `used` slots are filled."""
        made = cls()
        made.lazy_initialization(keys, values)
        made._keys, made._values = keys, values
        made.keys, made.values = keys[:, :, :used], values[:, :, :used]
        return made

    @classmethod
    def repeating(cls, layer: DynamicLayer, rows: int, room: int) -> "RoomyLayer":
        """Repeat one row's keys and values, [1, H, S, D], with `room` free slots for each row."""
        keys, values = layer.keys, layer.values
        assert keys is not None, "the cache is empty"
        assert values is not None, "keys have values"
        return cls.of(_with_room(keys, rows, room), _with_room(values, rows, room), keys.shape[2])

    def view(self, rows: int) -> "RoomyLayer":
        """Return a view of the first rows; it overwrites what the previous view appended."""
        assert self.keys is not None, "the cache is empty"
        return self.of(self._keys[:rows], self._values[:rows], self.keys.shape[2])


def _with_room(states_BHSD: Tensor, rows: int, room: int) -> Tensor:
    """Copy states, one row to all rows if need be, and append `room` free slots."""
    _, heads, used, width = states_BHSD.shape
    made = states_BHSD.new_empty(rows, heads, used + room, width)
    made[:, :, :used] = states_BHSD
    return made


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows and slots to keep of a cache."""

    cache: Cache
    rows_B1: Tensor
    """Indices of the rows."""
    slots_BS: Tensor
    """Indices of each row's slots."""
    mask_BS: Tensor
    """1 at slots that hold a token of the row."""


def empty_cache() -> Cache:
    """Make an empty cache."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def concatenated(parts: Sequence[KeptRows]) -> Cache:
    """Concatenate rows of several caches, with equally many slots each, and free these caches."""
    layers: list[Any] = []
    for old in zip(*(part.cache.layers for part in parts), strict=True):
        held = [(one, part.rows_B1, part.slots_BS) for one, part in zip(old, parts, strict=True)]
        keys = _gathered([(cast("Tensor", one.keys), rows, slots) for one, rows, slots in held])
        values = _gathered([(cast("Tensor", one.values), rows, slots) for one, rows, slots in held])
        for one in old:
            one.reset()
        layers.append(RoomyLayer.of(keys, values, keys.shape[2] - ROOM))
    return Cache(layers=layers)


def _gathered(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Gather slots of rows, part after part, with free slots: [B, H, S + ROOM, D]."""
    first, _, slots_BS = parts[0]
    count = sum(len(slots) for _, _, slots in parts)
    width = slots_BS.shape[1]
    made_BSHD = first.new_empty(count, width + ROOM, first.shape[1], first.shape[3])
    begun = 0
    for states_BHSD, rows_B1, slots_BS in parts:
        on = states_BHSD.device  # A model may be spread over several.
        taken = states_BHSD.transpose(1, 2)[rows_B1.to(on), slots_BS.to(on)]
        made_BSHD[begun : begun + len(taken), :width] = taken
        begun += len(taken)
    return made_BSHD.transpose(1, 2)


def attention_mask(lm: UnlearningModel, mask_BS: Tensor, new: int) -> Tensor:
    """Return the attention mask of a pass.

    On a CPU this is the additive mask that all blocks share: transformers would make a boolean one,
    which torch converts again in every block. Models with a sliding window need different masks in
    different blocks, and get the padding mask, from which transformers makes them.

    Args:
        lm: The model.
        mask_BS: 1 at slots that hold a token of the row.
        new: Number of tokens of the pass, T.

    Returns:
        The additive mask, [B, 1, T, S], or `mask_BS` itself.
    """
    if not lm.on_cpu or getattr(lm.model.config, "sliding_window", None) is not None:
        return mask_BS
    slots = mask_BS.shape[1]
    dtype = cast("Tensor", lm.model.get_input_embeddings().weight).dtype
    # Not minus infinity: padding attends to nothing, and its softmax must not become nan.
    never = torch.finfo(dtype).min
    later_TS = torch.ones(new, slots, dtype=torch.bool).triu(slots - new + 1)
    unseen_B1TS = later_TS | (mask_BS == 0)[:, None, None]
    return torch.zeros(unseen_B1TS.shape, dtype=dtype).masked_fill_(unseen_B1TS, never)


def causal_mask(lm: UnlearningModel, slots: int, new: int) -> Tensor | None:
    """Return the attention mask of a pass with no padding before any token.

    Args:
        lm: The model.
        slots: Number of slots, S.
        new: Number of tokens of the pass, T.

    Returns:
        [1, 1, T, S] for all rows; None where transformers makes the masks without one.
    """
    all_1S = torch.ones(1, slots, dtype=torch.long, device=lm.device)
    made = attention_mask(lm, all_1S, new)
    return None if made is all_1S else made

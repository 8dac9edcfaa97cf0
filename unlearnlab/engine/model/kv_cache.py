"""Keys and values of rows that are read together, with room to grow.

The library's own cache makes new tensors of all it holds at every step. This one writes into room
that it has; tensors are made anew only when rows come or go, and then only of what is still needed.
Shape suffixes: B rows, H heads, S slots (places in the cache), D width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from unlearnlab.spec.batches import ROOM


class RoomyLayer(DynamicLayer):
    """Keys and values of one block: [B, H, S, D], a view of a tensor with more slots."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new slots, and return those of all."""
        if self.keys is None or self.values is None:
            self.lazy_initialization(key_states, value_states)
            self._keys, self._values = key_states, value_states
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        used, new = self.keys.shape[2], key_states.shape[2]
        if used + new > self._keys.shape[2]:
            self._keys = _roomier(self.keys, new)
            self._values = _roomier(self.values, new)
        self._keys[:, :, used : used + new] = key_states
        self._values[:, :, used : used + new] = value_states
        self.keys = self._keys[:, :, : used + new]
        self.values = self._values[:, :, : used + new]
        return self.keys, self.values

    def reset(self) -> None:
        """Give up all it holds."""
        super().reset()
        del self._keys, self._values

    @classmethod
    def holding(cls, keys: Tensor, values: Tensor) -> "RoomyLayer":
        """Make one that holds tensors of [B, H, S + ROOM, D] of which the last slots are room."""
        made = cls()
        made.lazy_initialization(keys, values)
        made._keys, made._values = keys, values
        made.keys, made.values = keys[:, :, :-ROOM], values[:, :, :-ROOM]
        return made

    @classmethod
    def beginning(cls, layer: DynamicLayer, rows: int, room: int) -> "RoomyLayer":
        """Copy the keys and values of one row, [1, H, S, D], for rows that go on differently."""
        made, (old_keys, old_values) = cls(), (_there(layer.keys), _there(layer.values))
        keys, values = (_repeated(old, rows, room) for old in (old_keys, old_values))
        made.lazy_initialization(keys, values)
        made._keys, made._values = keys, values
        used = old_keys.shape[2]
        made.keys, made.values = keys[:, :, :used], values[:, :, :used]
        return made

    def lent(self, rows: int) -> "RoomyLayer":
        """Lend its slots to so many rows. What they add is written where the last ones wrote."""
        made, keys, values = type(self)(), _there(self.keys)[:rows], _there(self.values)[:rows]
        made.lazy_initialization(keys, values)
        made._keys, made._values = self._keys[:rows], self._values[:rows]
        made.keys, made.values = keys, values
        return made


def _there(states: Tensor | None) -> Tensor:
    assert states is not None, "nothing was read yet"
    return states


def _repeated(states_1HSD: Tensor, rows: int, room: int) -> Tensor:
    _, heads, used, width = states_1HSD.shape
    made = states_1HSD.new_empty(rows, heads, used + room, width)
    made[:, :, :used] = states_1HSD
    return made


def _roomier(states_BHSD: Tensor, new: int) -> Tensor:
    rows, heads, used, width = states_BHSD.shape
    made = states_BHSD.new_empty(rows, heads, used + new + ROOM, width)
    made[:, :, :used] = states_BHSD
    return made


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of a cache."""

    cache: Cache
    rows_B1: Tensor
    """Which of its rows."""
    slots_BS: Tensor
    """Which of their slots."""
    mask_BS: Tensor
    """1 where such a slot is of use."""


def empty() -> Cache:
    """Make a cache that holds nothing yet."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def joined(parts: Sequence[Part]) -> Cache:
    """Put rows of several caches into one, as many slots of each. The old ones are given up."""
    layers: list[Any] = []
    for old in zip(*(part.cache.layers for part in parts), strict=True):
        held = [(one, part.rows_B1, part.slots_BS) for one, part in zip(old, parts, strict=True)]
        keys = _taken([(cast("Tensor", one.keys), rows, slots) for one, rows, slots in held])
        values = _taken([(cast("Tensor", one.values), rows, slots) for one, rows, slots in held])
        for one in old:
            one.reset()
        layers.append(RoomyLayer.holding(keys, values))
    return Cache(layers=layers)


def _taken(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Take slots of rows, one part under the other, and leave room: [B, H, S + ROOM, D]."""
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

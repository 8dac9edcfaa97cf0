"""How far weights moved, read from files of safetensors."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from unlearnlab.models.weights import block_changes


@pytest.fixture
def original(tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    weights = {f"model.layers.{at}.mlp.up_proj.weight": np.ones((2, 2), "f2") for at in (0, 10)}
    save_file(weights | {"lm_head.weight": np.ones(3, "f4")}, folder / "model.safetensors")
    return folder


def test_each_block_moves_by_its_own_share_of_its_norm(original, tmp_path):
    changed = tmp_path / "delta.safetensors"
    moved = {
        "model.layers.0.mlp.up_proj.weight": np.full((2, 2), 1.5, "f4"),
        "model.layers.10.mlp.up_proj.weight": np.ones((2, 2), "f4"),
        "lm_head.weight": np.zeros(3, "f4"),
    }
    save_file(moved, changed)
    assert block_changes(original, changed) == {0: pytest.approx(0.5), 10: 0.0}


def test_what_cannot_be_read_has_no_changes(original, tmp_path):
    changed = tmp_path / "delta.safetensors"
    assert block_changes(original, changed) == {}
    changed.write_bytes(b"no safetensors")
    assert block_changes(original, changed) == {}
    save_file({"model.layers.0.mlp.up_proj.weight": np.ones(3, "f4")}, changed)
    assert block_changes(original, changed) == {}, "of another shape"
    head = {"model.layers.0.mlp.up_proj.weight": {"dtype": "BF16", "shape": [2, 2]}}
    head["model.layers.0.mlp.up_proj.weight"]["data_offsets"] = [0, 8]
    text = json.dumps(head).encode()
    changed.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    assert block_changes(original, changed) == {}, "numpy has no bfloat16"

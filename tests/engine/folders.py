"""Folders with a tiny model, whole, so that a test can spoil one thing in a copy."""

import json
import shutil
from pathlib import Path

from tests.engine.tiny import tiny_model


def whole_folder(folder: Path, tokenizer, **sizes) -> Path:
    """Save a tiny random model and its tokenizer."""
    tiny_model(len(tokenizer), **sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder, so that one thing in it can be spoiled."""
    shutil.copytree(folder, to)
    return to


def changed(path: Path, **values) -> None:
    """Set values in a JSON file; None takes a key away."""
    held = json.loads(path.read_text(encoding="utf-8")) | values
    kept = {key: value for key, value in held.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")

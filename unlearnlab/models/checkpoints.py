"""Checks of a model's folder without loading the model: config, weights, tokenizer.

They find whatever would keep it from being loaded, before memory is filled. Only the headers of
safetensors files are read; pickled weights can run code, so they are never opened.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from unlearnlab.models.families import Architecture

WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
"""File names that transformers opens; other safetensors are copies in other layouts."""

INDEX = "model.safetensors.index.json"
"""Maps each weight to its file, where there are several."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt")

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""Vocabulary files; a tokenizer has at least one."""

BESIDE_TOKENS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
)
"""Other files of a tokenizer."""

LONGEST_HEADER = 100 * 10**6
"""Largest header of the format, in bytes."""

BYTES: Mapping[str, float] = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4} | {
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1
}  # fmt: skip
"""Bytes per number of each of the format's types."""


_NO_HEADER = (
    *(OSError, ValueError, RecursionError),
    *(LookupError, TypeError, AttributeError, ArithmeticError),
)
"""Errors from reading anything else as a safetensors header."""


class CheckpointError(ValueError):
    """A folder cannot be opened as a model. The message names the file and what to do."""


class Lacking(CheckpointError):
    """A file that a model needs is missing."""


class Pickled(CheckpointError):
    """All weights are pickled, and could run code when opened."""


def config(folder: Path) -> Mapping[str, Any]:
    """Read a model's `config.json`.

    Raises:
        Lacking: There is none.
        CheckpointError: It is not a model config.
    """
    path = folder / "config.json"
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Lacking(
            f"{folder} holds no config.json: name the folder that a model was saved in"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no model config: download or save it again")
    return cast("dict[str, Any]", values)


def architecture(folder: Path) -> Architecture:
    """Read the sizes from a model's `config.json`.

    Raises:
        Lacking: There is none.
        CheckpointError: It is not a causal language model of a supported family.
    """
    found = config(folder)
    made_for = _texts(found.get("architectures"))
    if made_for and not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in made_for):
        raise CheckpointError(
            f"{folder} holds {', '.join(made_for)}, not a causal language model: choose another "
            "model"
        )
    if packed := found.get("quantization_config"):
        method = cast("dict[str, Any]", packed).get("quant_method") if _is_dict(packed) else packed
        raise CheckpointError(
            f"{folder} holds weights that are already quantized ({method}): choose the model that "
            "they were made from, and a precision of this program"
        )
    try:
        return Architecture.of(found)
    except ValueError as error:
        code = found.get("auto_map") and " Code that comes with a model is never run here."
        raise CheckpointError(f"{folder / 'config.json'}: {error}.{code or ''}") from error


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _texts(value: object) -> list[str]:
    found = cast("list[object]", value) if isinstance(value, list) else []
    return [one for one in found if isinstance(one, str)]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """List the files that hold a model's weights.

    Raises:
        Lacking: One is missing.
        CheckpointError: All are pickled, or the index is damaged.
    """
    index = folder / INDEX
    if index.is_file():
        names = _indexed(index)
    elif (folder / "model.safetensors").is_file():
        names = ["model.safetensors"]
    else:
        raise no_weights(folder, (path.name for path in folder.glob("*")))
    if lost := [name for name in names if not (folder / name).is_file()]:
        raise Lacking(
            f"{folder} lacks {len(lost)} of the {len(names)} files of its weights ({lost[0]}): "
            "copy or download it again"
        )
    return tuple(folder / name for name in names)


def no_weights(where: object, names: Iterable[str]) -> CheckpointError:
    """Return the error for a folder or repository without weights that can be opened."""
    files = sorted(names)
    if pickled := [name for name in files if name.endswith(PICKLED)]:
        return Pickled(
            f"{where} holds only pickled weights ({pickled[0]}), which can run code when they are "
            "opened: choose a model with safetensors, or convert it if you trust it"
        )
    if "adapter_config.json" in files:
        return CheckpointError(f"{where} holds only an adapter: name a full model")
    return Lacking(f"{where} holds no weights as model.safetensors: name a folder that has them")


def _indexed(index: Path) -> list[str]:
    try:
        files = json.loads(index.read_bytes())["weight_map"].values()
        names = sorted({name for name in files if WEIGHTS.fullmatch(name)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: copy or download it again") from error
    if not names:
        raise CheckpointError(f"{index} names no files of weights: copy or download it again")
    return names


def tensors(folder: Path) -> Mapping[str, tuple[int, float]]:
    """Map the name of each tensor of a model to its count of numbers and its bytes.

    Raises:
        Lacking: A file is missing.
        CheckpointError: A file is damaged.
    """
    return {
        name: size
        for path in weight_files(folder)
        for name, size in _header(path, *_stamp(path)).items()
    }


def check_weights(path: Path) -> None:
    """Check a safetensors file by its header.

    Raises:
        CheckpointError: It is another format, or damaged.
    """
    _header(path, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _header(path: Path, _changed: int, size: int) -> Mapping[str, tuple[int, float]]:
    """Read the header of a safetensors file, which must account for all its bytes."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is cut off")
            found = dict(_sizes(json.loads(file.read(length)), size - 8 - length))
    except _NO_HEADER as error:
        raise CheckpointError(f"{path} is damaged ({error}): copy or download it again") from error
    return found


def _sizes(header: Any, room: int) -> Iterator[tuple[str, tuple[int, float]]]:
    end = 0
    for name, about in header.items():
        if name == "__metadata__":
            continue
        begins, ends = about["data_offsets"]
        end = max(end, ends)
        yield name, (int((ends - begins) / BYTES.get(about["dtype"], 4)), ends - begins)
    if end != room:
        raise ValueError(f"it holds {room} bytes of weights, but its header lists {end}")


def check_tokenizer(folder: Path) -> None:
    """Check that a folder holds a tokenizer: transformers would make up an empty one.

    Raises:
        Lacking: It holds none.
    """
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise Lacking(
            f"{folder} holds no tokenizer ({', '.join(TOKENIZERS[:2])}): copy the model's "
            "tokenizer files into it"
        )

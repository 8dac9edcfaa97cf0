"""What lies at a path that was given as a model, by its first bytes, and the way out.

People name what they have: a GGUF file, a pickle, a download that is a login page, a link to a disk
that is gone. Each gets one line that says what it is and what to do. Only first bytes are read.
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from unlearnlab.data.files import open_regular

WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
"""File names that transformers opens; other safetensors are copies in other layouts."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt")

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".xz", ".zst")

OTHER_LIBRARIES: Mapping[str, str] = {
    ".onnx": "ONNX, for inference",
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".npz": "MLX or NumPy",
    ".tflite": "TensorFlow Lite",
}
"""Formats by the ending of their files."""

WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\|[^/]*\\")
"""Beginnings of paths as Windows writes them."""

_AGAIN = "copy or download the file itself again"

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the file itself",
        "run `git lfs pull` in its folder, or download the file again",
    ),
    (b"/annex/objects/", "is a git-annex pointer, not the file itself", "run `git annex get`"),
    (b"<!doctype html", "is a web page, perhaps of a login or an error", _AGAIN),
    (b"<html", "is a web page, perhaps of a login or an error", _AGAIN),
    (b"<?xml", "is an XML page, perhaps of an error", _AGAIN),
    (b"gguf", "is a GGUF file", "name a folder with safetensors"),
    (
        b"pk\x03\x04",
        "is a zip archive, as torch.save writes pickles",
        "choose a model with safetensors, or convert it if you trust it",
    ),
    (
        b"\x80",
        "is a pickle, which can run code when it is opened",
        "choose a model with safetensors, or convert it if you trust it",
    ),
    (b"\x89hdf", "is an HDF5 file, as TensorFlow writes them", "choose a model with safetensors"),
    (b"\x1f\x8b", "is a gzip archive", "unpack it"),
)
"""First bytes in lower case, what a file that begins so is, and what to do."""


def disguise(path: Path) -> str:
    """Say what a file is that should hold weights, a config or a tokenizer, and what to do.

    Returns:
        A clause such as "is a Git LFS pointer, not the file itself: run `git lfs pull`"; empty if
        the file's first bytes give nothing away.
    """
    try:
        with open_regular(path) as file:
            head = file.read(512)
    except OSError:
        return ""
    if not head:
        return f"is empty: {_AGAIN}"
    if head[8:9] == b"{":  # Safetensors, whose length may begin like another format.
        return ""
    begun = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, what, way_out in _BEGINNINGS:
        if begun.startswith(beginning):
            return f"{what}: {way_out}"
    return ""


def gguf_way_out(folder: Path, file: str) -> str:
    """Say what a GGUF file is for, and how it becomes a folder that can be opened."""
    return (
        "GGUF packs weights for inference. Name the safetensors folder that it was made from, or "
        f"unpack it with transformers: AutoModelForCausalLM.from_pretrained({str(folder)!r}, "
        f"gguf_file={file!r}).save_pretrained(NEW_FOLDER), and AutoTokenizer likewise"
    )


def file_problem(path: Path) -> str:
    """Say what a file is that was named as a model, and what to name instead."""
    name = path.name.lower()
    if name.endswith(".gguf") or disguise(path).startswith("is a GGUF"):
        return f"{path} is a GGUF file: {gguf_way_out(path.parent, path.name)}"
    if told := disguise(path):
        return f"{path} {told}"
    if name.endswith(PICKLED):
        return (
            f"{path} holds pickled weights, which can run code when they are opened: choose a "
            "model with safetensors, or convert it if you trust it"
        )
    if name.endswith(ARCHIVES):
        return f"{path} is an archive: unpack it, and name the folder with the model"
    if name == "delta.safetensors" or name.endswith("-delta.safetensors"):
        return f"{path} {_DELTA}"
    return f"{path} is a file: name the folder that it lies in, {path.parent}"


_DELTA = (
    "holds only the weights that a run changed: export the run's merged model, and name its folder"
)


def no_weights(where: object, names: Iterable[str]) -> str:
    """Say what a folder or repository without weights that can be opened has instead."""
    files = sorted(names)
    if ggufs := [name for name in files if name.lower().endswith(".gguf")]:
        return f"{where} holds only a GGUF file ({ggufs[0]}): " + (
            gguf_way_out(where, ggufs[0])
            if isinstance(where, Path)
            else "GGUF packs weights for inference: name the repository that it was made from"
        )
    if pickled := [name for name in files if name.endswith(PICKLED)]:
        return (
            f"{where} holds only pickled weights ({pickled[0]}), which can run code when they are "
            "opened: choose a model with safetensors, or convert it if you trust it"
        )
    if deltas := [name for name in files if name.endswith("delta.safetensors")]:
        return f"{where} ({deltas[0]}) {_DELTA}"
    for ending, made_for in OTHER_LIBRARIES.items():
        if found := [name for name in files if name.endswith(ending)]:
            return (
                f"{where} holds weights of another format ({found[0]}: {made_for}): choose a "
                "folder with model.safetensors"
            )
    if others := [name for name in files if name.endswith(".safetensors")]:
        return (
            f"{where} holds no weights as model.safetensors, but {others[0]}: name a folder in "
            "the layout of transformers"
        )
    return f"{where} holds no weights as model.safetensors: name a folder that has them"


def folder_problem(folder: Path) -> str:
    """Say what a folder without a model's `config.json` is, and what to name instead."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    if not entries:
        return f"{folder} is empty: name the folder that a model was saved in"
    snapshots = folder / "snapshots"
    inner = sorted((snapshots if snapshots.is_dir() else folder).glob("*/config.json"))
    inner += sorted(folder.glob("*/adapter_config.json"))
    if inner:
        listed = ", ".join(str(one.parent) for one in inner[:3])
        return f"{folder} holds no config.json, but folders that do: name one of them ({listed})"
    names = [one.name for one in entries if one.is_file()]
    if any(WEIGHTS.fullmatch(name) for name in names):
        return (
            f"{folder} holds weights but no config.json: copy the model's config.json and "
            "tokenizer files into it"
        )
    endings = (".gguf", *PICKLED, "delta.safetensors", *OTHER_LIBRARIES)
    if any(name.lower().endswith(endings) for name in names):
        return no_weights(folder, names)
    return f"{folder} holds no config.json: name the folder that a model was saved in"


def path_problem(path: Path) -> str:
    """Say why nothing can be opened at a path; empty if something is there."""
    try:
        path.stat()
    except OSError as error:
        if os.name != "nt" and WINDOWS.match(str(path)):
            return "is a path of Windows, and this is another system: give the folder's path here"
        if error.errno == errno.ENOENT:
            return _gone(path)
        return _REASONS.get(error.errno or 0, f"cannot be opened: {error.strerror}")
    except ValueError:  # A NUL character.
        return "is not a path: it holds a character that no path can have"
    return ""


NOT_THERE = "is not there: check the path"


def _gone(path: Path) -> str:
    link = next((one for one in (path, *path.parents) if one.is_symlink()), None)
    if link is None:
        return NOT_THERE
    target = f"{link.readlink()}, which does not exist: fix the link, or name another folder"
    return f"is a link to {target}" if link == path else f"lies behind {link}, a link to {target}"


_REASONS: Mapping[int, str] = {
    errno.ENOTDIR: "lies in what is a file, not a folder: check the path",
    errno.ELOOP: "is a link that leads back to itself: name the folder itself",
    errno.EACCES: "may not be read by this program: change its permissions",
    errno.ENAMETOOLONG: "is too long for a path: check it",
}


def is_path(name: str) -> bool:
    """Tell whether a name is meant as a path: it exists, or is written as only paths are."""
    if name.startswith(("/", ".", "~")) or WINDOWS.match(name):
        return True
    try:
        Path(name).lstat()
    except (OSError, ValueError):
        return False
    return True

"""A model's files: checked on disk without loading them, and downloaded from the Hugging Face hub.

The checks find whatever would keep a model from being loaded, before memory is filled. Only the
headers of safetensors files are read; pickled weights can run code, so they are never opened.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, cast

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError

from unlearnlab.data.background import Amount, Report, carried_out
from unlearnlab.data.datasets import is_object
from unlearnlab.data.downloads import LIBRARY, HubError, asking, cache_folder
from unlearnlab.data.files import TEXT_LIMIT, check_room, open_regular, read_regular
from unlearnlab.models import formats
from unlearnlab.models.families import Architecture
from unlearnlab.models.formats import PICKLED, WEIGHTS, disguise

INDEX = "model.safetensors.index.json"
"""Maps each weight to its file, where there are several."""

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

VOCABULARY = 1 << 28
"""Most bytes of a tokenizer's file: 256 MiB."""

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


def read_config(path: Path) -> dict[str, Any]:
    """Read a config file of a model or an adapter.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: It is damaged.
    """
    try:
        config: Any = json.loads(read_regular(path, TEXT_LIMIT))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        told = disguise(path) or f"is not JSON: {error}"
        raise CheckpointError(f"{path} {told}") from error
    if not is_object(config):
        raise CheckpointError(f"{path} holds no config: copy or download it again")
    return config


def architecture(folder: Path) -> Architecture:
    """Read the sizes from a model's `config.json`.

    Raises:
        Lacking: There is none.
        CheckpointError: It is not a causal language model of a supported family.
    """
    path = folder / "config.json"
    try:
        config = read_config(path)
    except FileNotFoundError:
        raise Lacking(formats.folder_problem(folder)) from None
    classes = config.get("architectures")
    listed = cast("list[object]", classes) if isinstance(classes, list) else []
    made_for = [name for name in listed if isinstance(name, str)]
    if made_for and not any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in made_for):
        raise CheckpointError(
            f"{folder} holds {', '.join(made_for)}, not a causal language model: choose another "
            "model"
        )
    if packed := config.get("quantization_config"):
        method = packed.get("quant_method") if is_object(packed) else packed
        raise CheckpointError(
            f"{folder} holds weights that are already quantized ({method}): choose the model that "
            "they were made from, and a precision of this program"
        )
    try:
        return Architecture.of(config)
    except ValueError as error:
        code = config.get("auto_map") and " Code that comes with a model is never run here."
        raise CheckpointError(f"{path}: {error}.{code or ''}") from error


def weight_files(folder: Path) -> tuple[Path, ...]:
    """List the files that hold a model's weights.

    Raises:
        Lacking: One is missing.
        CheckpointError: All are pickled, or the index is damaged.
    """
    index = folder / INDEX
    if index.is_file():
        try:
            files = json.loads(read_regular(index, TEXT_LIMIT))["weight_map"].values()
            names = sorted({name for name in files if WEIGHTS.fullmatch(name)})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is damaged: copy or download it again") from error
        if not names:
            raise CheckpointError(f"{index} names no files of weights: copy or download it again")
    elif (single := folder / "model.safetensors").is_file() or single.is_symlink():
        names = [single.name]
    else:
        raise no_weights(folder, (path.name for path in folder.glob("*")))
    if lost := [name for name in names if not (folder / name).is_file()]:
        if (link := folder / lost[0]).is_symlink():
            raise CheckpointError(f"{link} {formats.path_problem(link)}")
        raise Lacking(
            f"{folder} lacks {len(lost)} of the {len(names)} files of its weights ({lost[0]}): "
            "copy or download it again"
        )
    return tuple(folder / name for name in names)


def no_weights(where: object, names: Iterable[str]) -> CheckpointError:
    """Return the error for a folder or repository without weights that can be opened."""
    files = sorted(names)
    told = formats.no_weights(where, files)
    if any(name.endswith(PICKLED) for name in files):
        return Pickled(told)
    if "adapter_config.json" in files:
        return CheckpointError(
            f"{where} holds only an adapter: download it into a folder with `hf download`, and "
            "name that folder"
        )
    return Lacking(told)


class StoredTensor(NamedTuple):
    """A tensor in a safetensors file."""

    numbers: int
    """Count of numbers, packed ones as if each took a byte."""
    bytes: int
    shape: tuple[int, ...]
    dtype: str
    file: Path
    begin: int
    """Place of its first byte in the file."""


def tensors(folder: Path) -> Mapping[str, StoredTensor]:
    """Map the name of each tensor of a model to what its file's header says of it.

    Raises:
        Lacking: A file is missing.
        CheckpointError: A file is damaged.
    """
    return {name: one for path in weight_files(folder) for name, one in stored_in(path).items()}


def stored_in(path: Path) -> Mapping[str, StoredTensor]:
    """Read the header of a safetensors file, which must account for all its bytes.

    Raises:
        CheckpointError: It is another format, or damaged.
    """
    stat = path.stat()
    return _read_header(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _read_header(path: Path, _changed: int, size: int) -> Mapping[str, StoredTensor]:
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(size - 8, LONGEST_HEADER):
                raise ValueError("its header is cut off")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        places = {name: about["data_offsets"] for name, about in header.items()}
        room, end = size - 8 - length, max((end for _, end in places.values()), default=0)
        if end != room:
            raise ValueError(f"it holds {room} bytes of weights, but its header lists {end}")
        return {
            name: StoredTensor(
                int((end - begin) / BYTES.get(header[name]["dtype"], 4)),
                end - begin,
                tuple(header[name]["shape"]),
                str(header[name]["dtype"]),
                path,
                8 + length + begin,
            )
            for name, (begin, end) in places.items()
        }
    except _NO_HEADER as error:
        told = disguise(path) or f"is damaged ({error}): copy or download it again"
        raise CheckpointError(f"{path} {told}") from error


def _matrix(held: Mapping[str, StoredTensor], *paths: str) -> StoredTensor | None:
    """Find the weight of a module at the ends of the model, whatever prefix its file writes."""
    lasts = {f"{path.rpartition('.')[2]}.weight" for path in paths}
    return next((one for name, one in held.items() if _last(name) in lasts), None)


def _last(name: str) -> str:
    """Return the last two parts of a tensor's name."""
    return ".".join(name.split(".")[-2:])


def check_head(folder: Path) -> None:
    """Check that the weights have a head where the config says that it is not the embeddings.

    transformers would initialise one at random, and the model would seem to have forgotten all.

    Raises:
        CheckpointError: They have none.
    """
    sizes, head, embeddings = _ends(folder)
    if not sizes.tied and head is None and embeddings is not None:
        name = f"{sizes.family.heads[-1]}.weight"
        raise CheckpointError(
            f"{folder}: config.json says that the head is not the embeddings (tie_word_embeddings "
            f"false), and the weights hold none ({name}): copy the whole model again, or set "
            "tie_word_embeddings to true if the embeddings are its head"
        )


def _ends(folder: Path) -> tuple[Architecture, StoredTensor | None, StoredTensor | None]:
    """Return a model's sizes, its head, and its embeddings, where its files hold them."""
    sizes, held = architecture(folder), tensors(folder)
    of = sizes.family
    return sizes, _matrix(held, *of.heads), _matrix(held, of.embeddings)


def has_own_head(folder: Path) -> bool:
    """Tell whether the weights hold a head unlike the embeddings that the config says it is.

    Some thousand places are compared, not whole matrices.
    """
    try:
        sizes, head, embeddings = _ends(folder)
    except CheckpointError:
        return False
    if not sizes.tied or head is None or embeddings is None:
        return False
    if (head.shape, head.dtype) != (embeddings.shape, embeddings.dtype):
        return True
    stamps = tuple(one.file.stat().st_mtime_ns for one in (head, embeddings))
    return not _alike(head, embeddings, stamps)


PLACES, PLACE = 256, 64
"""Places at which two tensors are compared, and bytes of each."""


@lru_cache(maxsize=64)
def _alike(one: StoredTensor, other: StoredTensor, _changed: tuple[int, ...]) -> bool:
    last = max(0, one.bytes - PLACE)
    offsets = sorted({last * n // (PLACES - 1) for n in range(PLACES)})

    def read(of: StoredTensor) -> list[bytes]:
        with of.file.open("rb") as file:
            return [_at(file, of.begin + offset) for offset in offsets]

    try:
        return read(one) == read(other)
    except OSError:
        return True  # Loading reports a file that cannot be read.


def _at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(PLACE)


def check_tokenizer(folder: Path) -> None:
    """Check that a folder holds a tokenizer: transformers would make up an empty one.

    Raises:
        Lacking: It holds none.
        CheckpointError: A file of it is something else.
    """
    found = [folder / name for name in TOKENIZERS if (folder / name).is_file()]
    if not found:
        raise Lacking(
            f"{folder} holds no tokenizer ({', '.join(TOKENIZERS[:2])}): copy the model's "
            "tokenizer files into it"
        )
    for path in found:
        if told := disguise(path):
            raise CheckpointError(f"{path} {told}")


def embedding_rows(folder: Path) -> int | None:
    """Count the rows of a model's embeddings; None where its files do not say."""
    try:
        _, _, found = _ends(folder)
    except CheckpointError:
        return None
    return found.shape[0] if found and len(found.shape) == 2 else None


def check_vocabulary(tokenizer: Path, rows: int) -> None:
    """Check that every token has a row among the embeddings: another one would end a GPU's process.

    Raises:
        CheckpointError: Some have none; the message names the first.
    """
    files = [tokenizer / name for name in ("tokenizer.json", "tokenizer_config.json")]
    stamps = tuple((path, path.stat().st_mtime_ns) for path in files if path.is_file())
    if beyond := _tokens_beyond(stamps, rows):
        raise CheckpointError(too_many_tokens(tokenizer, *beyond, rows))


def too_many_tokens(tokenizer: Path, count: int, first: str, place: int, rows: int) -> str:
    """Say that a tokenizer has `count` tokens, the first without a row among `rows` at `place`."""
    return (
        f"{tokenizer}: the tokenizer knows {count} tokens, and the model has {rows} rows of "
        f"embeddings: token {place}, {first!r}, has none: copy the model's own tokenizer there"
    )


@lru_cache(maxsize=64)
def _tokens_beyond(files: tuple[tuple[Path, int], ...], rows: int) -> tuple[int, str, int] | None:
    """Return the count of tokens, and the first without a row with its id; None if all have one.

    Files of another form are left to transformers.
    """
    found: dict[int, str] = {}
    for path, _ in files:
        try:
            found |= {
                n: word
                for n, word in _tokens(json.loads(read_regular(path, VOCABULARY)))
                if n >= rows
            }
        except _NO_HEADER:
            continue
    return (max(found) + 1, found[min(found)], min(found)) if found else None


def _tokens(held: Any) -> Iterator[tuple[int, str]]:
    """Yield the tokens that a file of a tokenizer lists, with their ids."""
    model: dict[str, Any] = held.get("model") or {}
    vocabulary: Any = model.get("vocab") or {}
    if isinstance(vocabulary, list):  # Unigram: with scores.
        scored = cast("list[Any]", vocabulary)
        yield from ((n, str(one[0])) for n, one in enumerate(scored))
    else:
        yield from ((int(n), str(word)) for word, n in vocabulary.items())
    added: list[Any] = held.get("added_tokens") or []
    yield from ((int(one["id"]), str(one["content"])) for one in added)
    further: dict[str, Any] = held.get("added_tokens_decoder") or {}
    yield from ((int(n), str(one["content"])) for n, one in further.items())


def has_chat_template(folder: Path) -> bool | None:
    """Tell whether the tokenizer in a folder has a chat template; None if there is no tokenizer."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return None
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        held = json.loads(read_regular(folder / "tokenizer_config.json", VOCABULARY)).get(
            "chat_template"
        )
    except (OSError, ValueError, AttributeError):
        return False
    if isinstance(held, list):  # Several templates, of which one is for plain conversations.
        several = cast("list[Any]", held)
        return any(is_object(one) and one.get("name") == "default" for one in several)
    return bool(held)


# On the hub

LOOK_UP_S = 5.0
"""Longest wait of the page for the hub, in seconds."""

LISTING_S = 15.0
"""Longest wait of a run for a model's file list, in seconds."""

MEGA = 10**6


@dataclass(frozen=True, slots=True)
class File:
    """One file of a repository that a model needs."""

    name: str
    size: int
    """Bytes."""
    cached: bool
    """Whether this version is on this machine."""


def snapshot(repository: str) -> Path | None:
    """Return the cache folder with a model's `config.json`, without a request to the hub."""
    try:
        found = huggingface_hub.try_to_load_from_cache(repository, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def tokenizer_snapshot(repository: str) -> Path | None:
    """Return the cache folder with a model's tokenizer, without a request to the hub."""
    cached = (huggingface_hub.try_to_load_from_cache(repository, name) for name in TOKENIZERS)
    return next((Path(found).parent for found in cached if isinstance(found, str)), None)


def look_up(repository: str) -> int:
    """Download a model's `config.json`, which gives its sizes, and measure its files.

    Returns:
        Bytes of all files that a run needs.

    Raises:
        HubError: There is no such model, or the hub cannot be reached.
    """
    with asking(repository):
        listed = files_of(repository, timeout_s=LOOK_UP_S)
        LIBRARY.hf_hub_download(repository, "config.json", etag_timeout=LOOK_UP_S)
    _LOOKED_UP[repository] = sum(file.size for file in listed)
    return _LOOKED_UP[repository]


_LOOKED_UP: dict[str, int] = {}
"""Bytes by repository, until the program ends."""


def looked_up(repository: str) -> int | None:
    """Return the bytes that `look_up` measured; None before that."""
    return _LOOKED_UP.get(repository)


def files_of(
    repository: str, *, only_tokenizer: bool = False, timeout_s: float = LISTING_S
) -> list[File]:
    """List the files of a repository that a run needs.

    Raises:
        CheckpointError: It has no safetensors weights.
        HubError: There is no such model, or the hub cannot be reached.
    """
    with asking(repository):
        info = huggingface_hub.HfApi().model_info(
            repository, files_metadata=True, timeout=timeout_s
        )
    sizes = {one.rfilename: one.size or 0 for one in info.siblings or ()}
    tokenizer = (*TOKENIZERS, *BESIDE_TOKENS)
    wanted = [
        name
        for name in sizes
        if name in tokenizer
        or (
            not only_tokenizer
            and "/" not in name
            and (WEIGHTS.fullmatch(name) or name.endswith(".json"))
        )
    ]
    if not only_tokenizer and not any(WEIGHTS.fullmatch(name) for name in wanted):
        raise no_weights(repository, sizes)
    if not only_tokenizer and "config.json" not in sizes:
        raise HubError(f"model {repository!r}: it has no config.json: name a full model")

    def cached(name: str) -> bool:
        found = huggingface_hub.try_to_load_from_cache(repository, name, revision=info.sha)
        return isinstance(found, str)

    return [File(name, sizes[name], cached(name)) for name in wanted]


def fetch(repository: str, *, only_tokenizer: bool = False) -> Generator[Amount | None, None, None]:
    """Download a model into the cache, yielding megabytes done and in total, and None in between.

    Cached files stay. Closing the generator stops at the next chunk of a file, and leaves no
    partial file behind.

    Raises:
        CheckpointError: It holds no weights as safetensors.
        HubError: There is no such model, no access to it, or no connection.
        NoRoom: The disk has too little free space.
    """
    yield from carried_out(partial(_fetch, repository, only_tokenizer=only_tokenizer))


def _fetch(repository: str, report: Report, *, only_tokenizer: bool) -> None:
    # A callback cannot stop xet transfers, but HTTP transfers, and soon if chunks are small.
    how: Any = constants
    how.HF_HUB_DISABLE_XET, how.DOWNLOAD_CHUNK_SIZE = True, MEGA
    listed = files_of(repository, only_tokenizer=only_tokenizer)
    lacking = [file for file in listed if not file.cached]
    total = sum(file.size for file in lacking)
    check_room(cache_folder(), total)
    done = 0
    for file in lacking:
        before = done

        def tell(more: int, before: int = before) -> None:
            report((before + more) // MEGA, max(1, -(-total // MEGA)))

        tell(0)
        with asking(repository):
            LIBRARY.hf_hub_download(repository, file.name, tqdm_class=_counter(tell))
        done += file.size


def _counter(tell: Callable[[int], None]) -> Any:
    """Make a class that huggingface_hub uses as a progress bar, and that counts bytes."""

    class Counter:
        def __init__(self, *, initial: int = 0, **_drawn: Any) -> None:
            self.n = initial

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            self.close()

        def update(self, n: float | None = 1) -> None:
            self.n += int(n or 0)
            tell(self.n)

        def close(self) -> None:
            """Do nothing: nothing was drawn."""

    return Counter

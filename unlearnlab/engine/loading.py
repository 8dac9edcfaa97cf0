"""The devices of this machine, and what loading a model onto one checks and prepares.

transformers only warns where it initialises missing weights at random, and does not check that the
tokenizer fits; here each is an error. Weights in 8 or 4 bits are quantized by bitsandbytes: the
matrices of the blocks only.
"""

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoTokenizer, BitsAndBytesConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from unlearnlab.data.background import Report
from unlearnlab.data.files import size
from unlearnlab.models.catalog import ModelInfo
from unlearnlab.models.checkpoints import tensors, too_many_tokens
from unlearnlab.runs.engine_api import Device, RunFailed
from unlearnlab.runs.events import GIB
from unlearnlab.spec.run import PACKED, PACKED_BYTES, ModelSpec, Precision, RunSpec

PAGED = ("cuda", "xpu")
"""Device types for which bitsandbytes has a paged optimizer, which uses the host's memory."""

EIGHT_BIT = ("cuda", "xpu", "cpu")
"""Device types for which bitsandbytes has an 8-bit optimizer and 8-bit matrices."""


def best_device() -> torch.device:
    """Return the accelerator if there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Return a device's display name, such as "cpu, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


def devices() -> tuple[Device, ...]:
    """List the devices that can hold a model, accelerators first."""
    found: list[Device] = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            found.append(Device(f"cuda:{number}", name, free=free, total=total))
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():  # It shares the host's memory.
        found.append(Device("mps", "Apple GPU", free=memory.available, total=memory.total))
    cpu = Device("cpu", device_name(torch.device("cpu")), memory.available, memory.total)
    return (*found, cpu)


def lock_name(device: str) -> str:
    """Return a device's lock name: the same in all processes, however each numbers its GPUs."""
    if not device.startswith("cuda"):
        return device
    known = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"gpu-{known}" if known else device


def resolve_device(request: str) -> torch.device:
    """Return the device that `ModelSpec.device` requests; the first of several.

    Raises:
        ValueError: It is not on this machine; the message lists the devices that are.
    """
    if request == "auto":
        return best_device()
    here = devices()
    names = [device.id for device in here]
    cuda = [name for name in names if name.startswith("cuda")]
    if request in ("cuda", "all") and cuda:
        return torch.device(cuda[0])
    if request in names:
        return torch.device(request)
    listed = ", ".join(f"{device.id} ({device.name})" for device in here)
    what = "GPUs are" if request == "all" else f"{request!r} is"
    raise ValueError(f"model.device: {what} not on this machine, which has {listed}")


def prepare(device: torch.device, *, spread: bool = False) -> None:
    """Enable TF32 on a GPU and reset its peak memory counter; do nothing for other devices.

    Only if `spread` does the device stand for all GPUs: others may be in use.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        for gpu in _gpus(device, spread=spread):
            torch.cuda.reset_peak_memory_stats(gpu)


def total_memory(places: Iterable[torch.device]) -> int:
    """Return the total memory of CUDA GPUs, or of the host for all other devices, in bytes."""
    found = set(places)
    gpus = [place for place in found if place.type == "cuda"]
    if gpus:
        return sum(torch.cuda.mem_get_info(gpu)[1] for gpu in gpus)
    return psutil.virtual_memory().total


def seed(device: torch.device, number: int, *, spread: bool = False) -> None:
    """Seed the random generator of a device, and not those of other devices, where possible.

    If `spread`, the device stands for all GPUs.
    """
    if device.type == "cuda":
        for gpu in _gpus(device, spread=spread):
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(number)
    elif device.type == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


def _gpus(device: torch.device, *, spread: bool) -> list[torch.device]:
    """Return all GPUs if spread, else `device` alone."""
    count = torch.cuda.device_count() if spread else 0
    return [torch.device("cuda", number) for number in range(count)] or [device]


def memory_gib(*devices: torch.device) -> float:
    """Return the peak allocation of GPUs, or the present memory of the process, in GiB."""
    if all(device.type == "cuda" for device in devices):
        return sum(torch.cuda.max_memory_allocated(device) for device in devices) / GIB
    return psutil.Process().memory_info().rss / GIB


def refuse_model(model: ModelSpec, device: torch.device) -> None:
    """Refuse a precision that the device, or a model that is an adapter, does not support.

    Raises:
        ValueError: Names the field and the alternatives.
    """
    if model.precision == "int8" and device.type not in EIGHT_BIT:
        raise ValueError(
            f"model.precision: bitsandbytes has no 8-bit matrices on {device.type}: "
            "use nf4, bfloat16, or another device (model.device)"
        )
    if model.precision in PACKED and model.known.adapter is not None:
        raise ValueError(
            f"model.precision: {model.name} is an adapter that is merged into the weights, and "
            f"weights packed as {model.precision} cannot take it: use bfloat16 or float32, or "
            "merge it first and name the merged model"
        )


def refuse_run(spec: RunSpec, device: torch.device) -> None:
    """Refuse a precision or optimizer that the device does not support.

    Raises:
        ValueError: Names the field and the alternatives.
    """
    refuse_model(spec.model, device)
    for number, phase in enumerate(spec.phases):
        field = f"phases.{number}.optimizer"
        if phase.optimizer == "paged_adamw_8bit" and device.type not in PAGED:
            raise ValueError(
                f"{field}: paged_adamw_8bit moves its state between a GPU and the host, and the "
                f"model is on {device.type}: use adamw_8bit or adamw"
            )
        if phase.optimizer == "adamw_8bit" and device.type not in EIGHT_BIT:
            raise ValueError(
                f"{field}: bitsandbytes has no 8-bit optimizer on {device.type}: use adamw"
            )


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that the engine uses."""

    eos_token_id: int
    pad_token_id: int
    all_special_ids: list[int]
    added_tokens_decoder: Mapping[int, Any]

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""
        ...

    def __call__(
        self, text: str, *, return_offsets_mapping: bool, add_special_tokens: bool = True
    ) -> Mapping[str, Any]:
        """Return a text's `input_ids` and their character spans, the `offset_mapping`."""
        ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: Literal[False],
        add_generation_prompt: bool,
        **variables: Any,
    ) -> str:
        """Return the text of a conversation under the tokenizer's chat template."""
        ...

    def save_pretrained(self, save_directory: Path) -> object:
        """Write the tokenizer's files into a folder."""
        ...


LOAD_LOCK = threading.RLock()
"""Held while a model or an adapter is made. Meanwhile transformers changes torch's default dtype,
initialisers and progress bars for all threads of the process: two loads at once would draw wrong
weights, or leave the changes behind."""

LOADING, WRITING = "Loading weights", "Writing model shards"
"""Titles of transformers' progress bars over loaded tensors and over written files."""


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of activations and of all weights that are not quantized."""
    if precision in PACKED:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def quantization(precision: Precision, device: torch.device) -> BitsAndBytesConfig | None:
    """Return the bitsandbytes configuration of a precision; None where nothing is quantized."""
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    if precision == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=compute_dtype(precision, device),
        )
    return None


def match_inference_to_training(model: nn.Module, device: torch.device) -> None:
    """Make quantized layers compute in inference on a CPU as they do in training.

    4 bits: inference would repack the weights into a form that rounds to bfloat16 and has no
    gradient, and they would stay so in the next step. 8 bits: inference would also quantize
    activations, scaled by the largest of the batch, so that an answer depended on its batch.
    """
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt  # noqa: PLC0415  (loud)

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, Linear8bitLt) and device.type == "cpu":
            module.register_forward_pre_hook(_set_training)


def _set_training(module: nn.Module, _args: object) -> None:
    module.training = True


def weight_count(parameter: nn.Parameter) -> int:
    """Count the weights of a tensor, quantized or not."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)


def dequantized(module: nn.Module) -> Tensor:
    """Return the weight of a linear layer in the values it computes with."""
    weight = cast("nn.Parameter", module.weight).detach()
    if weight.is_floating_point():
        return weight
    from bitsandbytes import functional  # noqa: PLC0415  (loud)

    packed: Any = module.weight
    if weight.dtype == torch.int8:
        # The first forward pass moves the row scales from the weight to the layer.
        scales = cast("Any", module).state.SCB if packed.SCB is None else packed.SCB
        return functional.int8_vectorwise_dequant(weight, scales)
    return functional.dequantize_4bit(weight, packed.quant_state)


def free_memory(device: torch.device, *, spread: bool = False) -> int | None:
    """Return the free bytes of a device, or of all GPUs; None where the device does not tell."""
    if device.type == "cuda":
        numbers = range(torch.cuda.device_count()) if spread else [device]
        return sum(torch.cuda.mem_get_info(number)[0] for number in numbers)
    return psutil.virtual_memory().available if device.type == "cpu" else None


def weight_bytes(known: ModelInfo, precision: Precision, device: torch.device) -> int:
    """Estimate the bytes of a model's weights in a device's memory."""
    count = sum(one.numbers for one in tensors(known.folder).values())
    plain = compute_dtype(precision, device).itemsize
    sizes = known.architecture
    if precision not in PACKED_BYTES or sizes is None:
        return count * plain
    packed = min(count, sizes.blocks * sizes.block_parameters("all"))
    return int(packed * PACKED_BYTES[precision] + (count - packed) * plain)


def check_memory(
    known: ModelInfo, precision: Precision, device: torch.device, *, spread: bool = False
) -> None:
    """Check that a model's weights fit into a device's free memory.

    Raises:
        RunFailed: They do not fit; the advice names a precision that would.
    """
    free = free_memory(device, spread=spread)
    needed = weight_bytes(known, precision, device)
    if free is None or needed <= free:
        return
    raise RunFailed(
        f"not enough memory: the weights of {known.title} take {size(needed)} as {precision}, and "
        f"{size(free)} are free on {'all GPUs' if spread else device}",
        _memory_advice(known, device, needed, free),
    )


def check_float32_room(more: int, device: torch.device, spread: bool) -> None:
    """Check that a model in 16 bits can be scored in float32, in so many `more` bytes.

    Raises:
        RunFailed: They are not free.
    """
    free = free_memory(device, spread=spread)
    if free is not None and more > free:
        raise RunFailed(
            f"not enough memory to score in float32: the weights take {size(more)} more, and "
            f"{size(free)} are free on {'all GPUs' if spread else device}",
            "switch evaluation.score_in_float32 off: the model is then scored in its own format",
        )


def _memory_advice(known: ModelInfo, device: torch.device, needed: int, free: int) -> str:
    ways: Mapping[Precision, str] = {
        "bfloat16": "use bfloat16",
        "nf4": "use nf4 with a LoRA adapter",
    }
    for precision, way in ways.items():
        other = weight_bytes(known, precision, device)
        if other < needed and other <= free:
            return f"{way}: {size(other)}"
    return "close other programs, or use a smaller model or another device"


@contextmanager
def load_errors(folder: Path) -> Generator[None]:
    """Raise a loader's error again as a ValueError that names the folder."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{folder} cannot be loaded: {reason}") from error


@contextmanager
def reported(report: Report | None, bar: str = LOADING) -> Generator[None]:
    """Report each tensor that transformers loads, or file it writes, inside the `with` block."""
    # Older versions of transformers have no such hook: nothing is reported.
    hook_with: Any = getattr(transformers_logging, "set_tqdm_hook", None)
    if report is None or hook_with is None:
        yield
        return

    def counted(items: Iterable[Any]) -> Iterator[Any]:
        listed = list(items)
        for done, item in enumerate(listed):
            report(done, len(listed))
            yield item

    def hook(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kwargs.get("desc") != bar or not args:
            return factory(*args, **kwargs)
        return counted(args[0])

    before = hook_with(hook)
    try:
        yield
    finally:
        hook_with(before)


def check_complete(folder: Path, info: Mapping[str, Any]) -> None:
    """Check, by transformers' loading `info`, that every weight of a model came from its files.

    Raises:
        ValueError: Weights are missing or have other shapes.
    """
    for kind, told in (("missing_keys", "lack"), ("mismatched_keys", "have other shapes for")):
        lost: Iterable[Any] = info.get(kind) or ()
        if names := sorted(str(one[0] if isinstance(one, tuple) else one) for one in lost):
            raise ValueError(
                f"{folder}: the weights {told} {len(names)} that config.json asks for "
                f"({names[0]}): download or copy the whole model again"
            )


def check_finite(folder: Path, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Check that a model's weights are numbers.

    Raises:
        ValueError: Some are nan or infinite; the message names the first tensor.
    """
    if broken := not_finite(weights):
        several = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
        raise ValueError(
            f"{folder}: the model is broken: {broken[0]}{several} holds weights that are nan or "
            "infinite: copy or download it again, or take another model"
        )


def not_finite(weights: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors that hold nan or infinity."""

    def finite(tensor: Tensor) -> bool:
        # Nan is the least and the greatest of all; a mask would take as much room as the tensor.
        least, most = tensor.detach().aminmax()
        return bool(least.isfinite() & most.isfinite())

    return [
        name
        for name, tensor in weights
        if tensor.is_floating_point() and tensor.numel() and not finite(tensor)
    ]


def stored_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of a folder's safetensors files, one at a time."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (the file is no mapping)
                yield name, file.get_tensor(name)


def load_tokenizer(folder: Path, model: PreTrainedModel) -> Tokenizer:
    """Load the tokenizer in `folder` and check that it fits the model.

    A tokenizer without a padding token pads with EOS, as the task's script does: padding is masked
    everywhere.

    Raises:
        ValueError: There is no tokenizer, it has more tokens than the model, or no EOS token.
    """
    with load_errors(folder):
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    rows = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
    if beyond := {n: word for word, n in tokenizer.get_vocab().items() if n >= rows}:
        first = min(beyond)
        raise ValueError(too_many_tokens(folder, max(beyond) + 1, beyond[first], first, rows))
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = _end_of_text(folder, model, tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _end_of_text(folder: Path, model: PreTrainedModel, tokenizer: Any) -> str:
    """Return the EOS token that the model's config, or its generation config, names."""
    generation: Any = model.generation_config
    for named in (model.config.eos_token_id, generation and generation.eos_token_id):
        first = named[0] if isinstance(named, list) else named
        token = None if first is None else tokenizer.convert_ids_to_tokens(first)
        if token is not None:
            return token
    raise ValueError(
        f"{folder}: the tokenizer has no EOS token, so the model could not learn where an answer "
        "ends, and every answer would run to its limit: set eos_token in tokenizer_config.json"
    )

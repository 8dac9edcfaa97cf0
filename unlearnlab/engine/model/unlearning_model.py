"""The target model: one copy of the weights, the part that is trained, and the way back."""

import hashlib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, LoraModel, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from unlearnlab.data.background import Report
from unlearnlab.engine.model.data import Tokenizer
from unlearnlab.engine.model.hooks import bare, decoder_blocks, family_of
from unlearnlab.engine.model.loading import (
    ALONE,
    check_complete,
    check_memory,
    counted,
    explained,
    tokenizer_of,
)
from unlearnlab.engine.model.packing import (
    compute_alike_when_training,
    compute_dtype,
    count,
    packing,
)
from unlearnlab.models.families import ROLES, Architecture
from unlearnlab.spec.adapters import DEFAULT, Adapter, adapters
from unlearnlab.spec.methods import Combination
from unlearnlab.spec.run import LoRA, ModelSpec, Phase, Precision, RunSpec

disable_progress_bar()

DELTA = "delta.safetensors"
ADAPTER = "adapter"


def _without_dropout(model: nn.Module) -> None:
    """Switch off the dropout that a model brings: original and unlearned differ by weights alone.

    GPT-2 drops a tenth, which would make the reference of a method another one at each step. What
    an adapter drops is the run's own choice, and stays.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif "attention_dropout" in vars(module):
            vars(module)["attention_dropout"] = 0.0


class Target:
    """A causal language model that can be trained in part and is its own reference.

    Before a tensor is trained its original is kept aside; `original()` swaps the pointers, so that
    both models answer from one copy of everything else. Under an adapter nothing is kept: the
    original is the model with the adapter switched off.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Tokenizer, *, device: torch.device
    ) -> None:
        self.model: PreTrainedModel | PeftModel = model
        self.tokenizer = tokenizer
        self.device = device
        _without_dropout(model)
        self.fingerprint = fingerprint(model)
        """Of the untouched weights."""
        self._originals: dict[str, Tensor] = {}
        self._adapters: dict[str, LoraConfig] = {}
        """What the run's adapters will be, by name."""
        self._seed = 0
        model.requires_grad_(False)
        model.eval()

    @classmethod
    def load(
        cls, spec: ModelSpec, report: Report | None = None, *, device: torch.device
    ) -> "Target":
        """Load a model that is on this machine onto `device`, or spread it over all GPUs.

        Args:
            spec: Names it, its precision, and whether it is spread.
            report: Told of each tensor that is loaded; may end the loading by raising.
            device: Where texts go in and logits come out.

        Raises:
            RunFailed: There is too little free memory for the weights.
            ValueError: It is not on this machine, or cannot be loaded.
        """
        known = spec.known
        if known.unavailable_reason:
            raise ValueError(f"model {known.name!r}: {known.unavailable_reason}")
        if known.to_download:
            raise ValueError(f"model {known.name!r}: it is not on this machine: a run fetches it")
        spread = spec.device == "all"
        check_memory(known, spec.precision, device, spread=spread)
        with ALONE, counted(report):
            return cls.open(
                known.folder,
                precision=spec.precision,
                device=device,
                spread=spread,
                tokenizer=known.tokenizer_folder,
            )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        precision: Precision,
        device: torch.device,
        spread: bool = False,
        tokenizer: Path | None = None,
    ) -> "Target":
        """Load the model in `folder`: safetensors only, no remote code.

        Args:
            folder: Holds its config and weights.
            precision: Number format of the weights.
            device: Where texts go in and logits come out.
            spread: Put the blocks on all GPUs instead of on `device` alone.
            tokenizer: Folder of its tokenizer; none is `folder`.

        Raises:
            ValueError: It cannot be loaded, lacks weights, has no fitting tokenizer, or is spread
                and too large for the GPUs.
        """
        packed = packing(precision, device)
        # Straight onto a GPU; what is packed is packed there.
        placed = packed is not None or device.type != "cpu"
        with ALONE, explained(folder):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=compute_dtype(precision, device),
                quantization_config=packed,
                device_map="auto" if spread else {"": device} if placed else None,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        model, info = loaded
        check_complete(folder, info)
        words = tokenizer_of(tokenizer or folder, model)
        if spread:
            _must_be_on_gpus(model)
        if packed:
            compute_alike_when_training(model, device)
        return cls(model, words, device=device)

    @property
    def parameters(self) -> int:
        """Count the parameters of the original model."""
        named = self.model.named_parameters()
        return sum(count(parameter) for name, parameter in named if "lora_" not in name)

    @property
    def bytes_merged(self) -> int:
        """Return the size of the weights as a model of its own, unpacked."""
        return self.parameters * self.model.dtype.itemsize

    @property
    def context(self) -> int:
        """Return the longest sequence that the model takes, in tokens."""
        return self.model.config.max_position_embeddings

    @property
    def places(self) -> set[torch.device]:
        """Return the devices that its weights are on."""
        return {parameter.device for parameter in self.model.parameters()}

    @property
    def cached_bytes(self) -> int:
        """Return the bytes of a token's keys and values."""
        sizes = Architecture.of(bare(self.model).config.to_dict())
        return sizes.cached_units * self.model.dtype.itemsize

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on a CPU."""
        return self.device.type == "cpu"

    def adapt(self, spec: RunSpec) -> None:
        """Make it trainable as the spec asks: with adapters, recomputing activations."""
        if lora := spec.model.adapter:
            self._add_adapter(spec, lora)
        if spec.model.gradient_checkpointing:
            bare(self.model).activation_checkpointing_enable({"use_reentrant": False})

    def _add_adapter(self, spec: RunSpec, lora: LoRA) -> None:
        """Add the first of the low-rank adapters that the spec asks for; the others come later."""
        assert isinstance(self.model, PreTrainedModel), "an adapter is already there"
        blocks = len(decoder_blocks(self.model))
        sits = adapters(spec.phases, blocks=blocks, rank=lora.r)
        self._adapters = {name: self._config(lora, place) for name, place in sits.items()}
        self._seed = spec.seed
        name, config = next(iter(self._adapters.items()))
        with self._same_start():
            self.model = get_peft_model(self.model, config, adapter_name=name)

    def _config(self, lora: LoRA, place: Adapter) -> LoraConfig:
        matrices = family_of(self.model).named(place.roles)
        block = decoder_blocks(self.model)[0]
        return LoraConfig(
            r=place.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=sorted(matrices),
            layers_to_transform=sorted(place.blocks),
            fan_in_fan_out=any(isinstance(block.get_submodule(m), Conv1D) for m in matrices),
            task_type="CAUSAL_LM",
        )

    def _turn_to(self, adapter: str) -> None:
        """Let the adapter called `adapter` act, and no other; a new one changes nothing yet."""
        assert isinstance(self.model, PeftModel)
        if adapter not in self.model.peft_config:
            with self._same_start():
                self.model.add_adapter(adapter, self._adapters[adapter])
        self.model.set_adapter(adapter)

    @contextmanager
    def _same_start(self) -> Generator[None]:
        """Draw the same random matrices for each adapter: merging needs a common start."""
        with ALONE, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed)  # The GPUs' may serve other runs.
            yield

    def merge(self, into: str, *, combination: Combination, density: float) -> None:
        """Make a new adapter of all there are, with weights 1, and let it act.

        Args:
            into: Its name.
            combination: One of peft's.
            density: Share of each adapter's entries that is kept, where the combination drops any.
        """
        assert isinstance(self.model, PeftModel), "nothing to merge without adapters"
        names = list(self.model.peft_config)
        lora = cast("LoraModel", self.model.base_model)
        lora.add_weighted_adapter(
            names, [1.0] * len(names), into, combination_type=combination, density=density
        )
        self._turn_to(into)

    def train_only(self, phase: Phase) -> list[nn.Parameter]:
        """Give gradients to the parameters that `phase` trains, and to no others.

        Originals of newly trained tensors are kept aside before the first step.
        """
        if self.adapted:
            self._turn_to(phase.adapter_name)
        chosen = dict(self._chosen(phase))
        if not chosen:
            raise ValueError(f"modules {phase.modules!r}: this model has no such layers to train")
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        for name, parameter in chosen.items():
            parameter.requires_grad_(True)
            if not self.adapted and name not in self._originals:
                self._originals[name] = parameter.detach().clone()
        return list(chosen.values())

    def _chosen(self, phase: Phase) -> Iterator[tuple[str, nn.Parameter]]:
        blocks = decoder_blocks(self.model)
        trained = {id(p) for p in self._block_parameters(blocks, phase)}
        if phase.embeddings and not self.adapted:
            ends = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
            trained |= {id(p) for end in ends if end is not None for p in end.parameters()}
        return ((n, p) for n, p in self.model.named_parameters() if id(p) in trained)

    def _block_parameters(self, blocks: nn.ModuleList, phase: Phase) -> Iterator[nn.Parameter]:
        """Yield matrices and their biases; of an adapter, the two factors of each matrix."""
        factors = {f"lora_{factor}.{phase.adapter_name}.weight" for factor in "AB"}
        for block in (blocks[layer] for layer in phase.blocks(len(blocks))):
            for matrix in family_of(self.model).named(ROLES[phase.modules]):
                for name, parameter in block.get_submodule(matrix).named_parameters():
                    if not self.adapted or name in factors:
                        yield parameter

    @property
    def adapted(self) -> bool:
        """Whether a low-rank adapter is trained in place of the weights."""
        return isinstance(self.model, PeftModel)

    @contextmanager
    def original(self) -> Generator[None]:
        """Compute with the original weights, without gradients, until the block ends."""
        with torch.no_grad():
            if isinstance(self.model, PeftModel):
                with self._trained_as_it_is(), self.model.disable_adapter():
                    yield
            else:
                self._swap()
                try:
                    yield
                finally:
                    self._swap()

    @contextmanager
    def _trained_as_it_is(self) -> Generator[None]:
        """Keep what is trained: switching an adapter on again makes peft train all of it."""
        trained = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]
        try:
            yield
        finally:
            for parameter, requires_grad in trained:
                parameter.requires_grad_(requires_grad)

    def _swap(self) -> None:
        """Exchange the trained tensors and their originals: pointers only."""
        parameters = dict(self.model.named_parameters())
        for name, kept in self._originals.items():
            self._originals[name] = parameters[name].data
            parameters[name].data = kept

    def save(self, folder: Path) -> Path:
        """Write what was trained into `folder`, as safetensors, and return the file."""
        if isinstance(self.model, PeftModel):
            (name,) = self.model.active_adapters
            self.model.save_pretrained(str(folder / ADAPTER), selected_adapters=[name])
            where = folder / ADAPTER if name == DEFAULT else folder / ADAPTER / name
            return where / "adapter_model.safetensors"
        trained = {n: p for n, p in self.model.named_parameters() if n in self._originals}
        partial = folder / f"{DELTA}.part"
        save_file({name: p.detach().contiguous() for name, p in trained.items()}, partial)
        os.replace(partial, folder / DELTA)
        return folder / DELTA

    def restore(self, folder: Path) -> None:
        """Put the trained tensors of an earlier run in place, keeping the originals aside.

        Raises:
            ValueError: The folder holds none, or those of another model.
        """
        if found := next((folder / ADAPTER).rglob("adapter_config.json"), None):
            assert isinstance(self.model, PreTrainedModel), "an adapter is already there"
            with ALONE:
                self.model = PeftModel.from_pretrained(self.model, found.parent).eval()
            return
        if not (folder / DELTA).is_file():
            raise ValueError("this run left no weights: it did not reach its end")
        parameters, saved = dict(self.model.named_parameters()), load_file(folder / DELTA)
        for name, trained in saved.items():
            if name not in parameters or parameters[name].shape != trained.shape:
                raise ValueError(f"the run's weights are not of this model: it has no such {name}")
        for name, trained in saved.items():
            kept = self._originals[name] = parameters[name].data
            parameters[name].data = trained.to(kept.device)


def _must_be_on_gpus(model: nn.Module) -> None:
    """Refuse a model of which a part was put on the host, where it cannot be trained.

    Raises:
        ValueError: So it was.
    """
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if beyond := places & {"cpu", "disk"}:
        raise ValueError(
            "model.device: the GPUs have no room for all of the model, a part went to "
            f"{' and '.join(sorted(beyond))}: take int8 or nf4 (model.precision), or another model"
        )


def fingerprint(model: nn.Module) -> str:
    """Name the weights: any changed bit changes it."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]

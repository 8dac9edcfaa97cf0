"""The model under training: one copy of the weights, a trained part, and the original values.

`save_merged` writes it as a checkpoint that plain transformers loads and that gives the measured
answers, up to rounding: adapters are added to the weights, and quantized weights are written as the
values they compute with.
"""

import copy
import gc
import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, LoraModel, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
)
from transformers.pytorch_utils import Conv1D
from transformers.utils.logging import disable_progress_bar

from unlearnlab.data.background import Report, stretch
from unlearnlab.data.files import check_free, check_room, whole_folder
from unlearnlab.engine.hooks import base_model, decoder_blocks, family_of
from unlearnlab.engine.loading import (
    LOAD_LOCK,
    WRITING,
    Tokenizer,
    check_complete,
    check_finite,
    check_float32_room,
    check_memory,
    compute_dtype,
    dequantized,
    load_errors,
    load_tokenizer,
    match_inference_to_training,
    quantization,
    reported,
    stored_weights,
    weight_count,
)
from unlearnlab.engine.merging import merge_adapter
from unlearnlab.engine.optimization import HALF
from unlearnlab.engine.prompts import PromptFormat
from unlearnlab.metrics.scores import MovedWeights
from unlearnlab.models.families import ROLES, Architecture
from unlearnlab.runs.artefacts import Artefact
from unlearnlab.spec.methods.likelihood import Combination
from unlearnlab.spec.run import (
    DEFAULT,
    Adapter,
    LoRA,
    ModelSpec,
    Phase,
    Precision,
    RunSpec,
    Template,
    adapters,
    snapshot_folder,
)

disable_progress_bar()

SAMPLE = "The first of them was written in 1912 (in two parts): a list of names, places and dates."
"""A plain text whose logits must be finite."""

DELTA = "delta.safetensors"
ADAPTER = "adapter"
STARTED = "start_from.txt"
"""Note in a snapshot of a run that itself began with one: its `ModelSpec.start_from`."""
DIGEST = "sha256.txt"
"""Note in a snapshot: the digest of its weights when they were written."""


def check_snapshot(folder: Path) -> None:
    """Make sure that a snapshot holds the weights that were written; older ones have no note.

    Raises:
        ValueError: They are not.
    """
    if not (note := folder / DIGEST).is_file():
        return
    weights = next(folder.rglob("*.safetensors"), None)
    if weights is None or Artefact.noted(weights).digest != note.read_text(encoding="ascii"):
        raise ValueError(
            f"the snapshot of step {folder.name} is damaged: its weights are not what was saved; "
            "take one of another step"
        )


def _without_dropout(model: nn.Module) -> None:
    """Switch off the model's own dropout, so that reference outputs are the same at each step.

    GPT-2 has a dropout of 0.1, for example. The dropout of a LoRA adapter is set by the run and
    added later.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif "attention_dropout" in vars(module):
            vars(module)["attention_dropout"] = 0.0


class UnlearningModel:
    """A causal language model that is trained in part and serves as its own reference.

    Without an adapter, a copy of each tensor is kept before it is first trained, and `original()`
    swaps trained tensors and copies; all other weights are shared. With an adapter, no copy is
    needed: the original is the model with the adapter switched off.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: Tokenizer, *, device: torch.device
    ) -> None:
        self.model: PreTrainedModel | PeftModel = model
        self.tokenizer = tokenizer
        self.prompts = PromptFormat(tokenizer)
        """How prompts and answers become tokens; plain text until `use_template`."""
        self.device = device
        _without_dropout(model)
        self.fingerprint = fingerprint(model)
        """Hash of the original weights."""
        self.notes: tuple[str, ...] = ()
        """What the model's files bring along that a user would not expect, in sentences."""
        self._originals: dict[str, Tensor] = {}
        self._masters: dict[str, Tensor] = {}
        """Float32 copies of trained weights in 16 bits, which take the steps; see `optimization`.
        They last from phase to phase, so that no rounding between phases adds up."""
        self._adapters: dict[str, LoraConfig] = {}
        """Configuration of each adapter of the run, by name."""
        self._seed = 0
        model.requires_grad_(False)
        model.eval()

    @classmethod
    def load(
        cls, spec: ModelSpec, report: Report | None = None, *, device: torch.device
    ) -> "UnlearningModel":
        """Load a model that is on this machine onto `device`, or spread it over all GPUs.

        Args:
            spec: The model, its precision, and whether it is spread.
            report: Called for each loaded tensor; cancels the loading by raising.
            device: Device of input tokens and logits.

        Raises:
            RunFailed: The weights need more memory than is free.
            ValueError: The model is not on this machine, or cannot be loaded.
        """
        known = spec.known
        if known.unavailable_reason:
            raise ValueError(f"model {known.name!r}: {known.unavailable_reason}")
        if known.to_download:
            raise ValueError(
                f"model {known.name!r}: it is not on this machine: start a run, which downloads it"
            )
        spread = spec.device == "all"
        check_memory(known, spec.precision, device, spread=spread)
        with LOAD_LOCK, reported(report):
            lm = cls.open(
                known.folder,
                precision=spec.precision,
                device=device,
                spread=spread,
                tokenizer=known.tokenizer_folder,
                adapter=known.adapter,
            )
        lm.notes = known.notes
        if len(lm.ends) > 1:
            named = ", ".join(sorted(lm.tokenizer.decode([token]) for token in lm.ends))
            lm.notes += (f"Answers end at any of its end tokens: {named}.",)
        if spec.start_from:
            lm.start_from(snapshot_folder(spec.start_from))
            run, _, step = spec.start_from.partition("@")
            lm.notes += (f"It starts from step {step} of run {run}.",)
        return lm

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        precision: Precision,
        device: torch.device,
        spread: bool = False,
        tokenizer: Path | None = None,
        adapter: Path | None = None,
    ) -> "UnlearningModel":
        """Load the model in `folder` from safetensors, without remote code.

        Args:
            folder: Folder with config and weights.
            precision: Number format of the weights.
            device: Device of input tokens and logits.
            spread: Whether to spread the blocks over all GPUs.
            tokenizer: Folder of the tokenizer; default `folder`.
            adapter: Folder of an adapter that is merged into the weights.

        Raises:
            ValueError: The model cannot be loaded, weights are missing, tokenizer or adapter do
                not fit, or the GPUs have too little memory for a spread model.
        """
        quantized = quantization(precision, device)
        # Weights are loaded directly onto a GPU and quantized there.
        placed = quantized is not None or device.type != "cpu"
        with LOAD_LOCK, load_errors(folder):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=compute_dtype(precision, device),
                quantization_config=quantized,
                device_map="auto" if spread else {"": device} if placed else None,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        model, info = loaded
        check_complete(folder, info)
        if adapter is not None:
            model = merge_adapter(model, adapter)
        _untie_own_head(model)
        words = load_tokenizer(tokenizer or folder, model)
        if spread:
            _refuse_offload(model)
        # Packing would hide a weight that is no number.
        check_finite(folder, stored_weights(folder) if quantized else model.named_parameters())
        if quantized:
            match_inference_to_training(model, device)
        opened = cls(model, words, device=device)
        if where := opened.not_finite_from():
            raise ValueError(
                f"{folder}: as {precision}, {where} gives nan or infinite numbers for a plain "
                f"text, so it could neither be trained nor scored: take "
                f"{'another model' if precision == 'float32' else 'float32 (model.precision)'}"
            )
        return opened

    @torch.no_grad()
    def not_finite_from(self) -> str:
        """Name the first part of the model whose outputs for a short text are nan or infinite.

        Returns:
            Such as "block 3"; empty if the logits are finite.
        """
        ids = self.tokenizer.encode(SAMPLE)[: self.context] or [self.tokenizer.eos_token_id]
        blocks = decoder_blocks(self.model)
        found: list[str] = []

        def watch(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                states = output[0] if isinstance(output, tuple) else output
                if isinstance(states, Tensor) and not states.isfinite().all():
                    found.append(name)

            return hook

        hooks = [block.register_forward_hook(watch(f"block {n}")) for n, block in enumerate(blocks)]
        try:
            logits = self.model(torch.tensor([ids], device=self.device), use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        if logits.isfinite().all():
            return ""
        return found[0] if found else "the head"

    def use_template(self, template: Template) -> None:
        """Put prompts through the tokenizer's chat template, or not, from now on.

        Raises:
            ValueError: It has none, or one that cannot be used.
        """
        self.prompts = PromptFormat(self.tokenizer, template=template)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer.

        EOS, the end of a turn under the chat template, and all that the generation config names.
        """
        config: Any = base_model(self.model).generation_config
        named = config.eos_token_id if config is not None else None
        others = named if isinstance(named, list) else [named]
        found = {self.tokenizer.eos_token_id, self.prompts.end, *others}
        return frozenset(token for token in found if token is not None)

    @property
    def parameters(self) -> int:
        """Number of parameters of the original model, without adapters."""
        named = self.model.named_parameters()
        return sum(weight_count(parameter) for name, parameter in named if "lora_" not in name)

    @property
    def merged_bytes(self) -> int:
        """Size of the merged, dequantized model, in bytes."""
        return self.parameters * self.model.dtype.itemsize

    @property
    def context(self) -> int:
        """Context length of the model, in tokens."""
        return self.model.config.max_position_embeddings

    @property
    def vocabulary(self) -> int:
        """Number of logits of a token."""
        return self.model.config.vocab_size

    @property
    def weight_devices(self) -> set[torch.device]:
        """Devices that hold weights."""
        return {parameter.device for parameter in self.model.parameters()}

    @property
    def kv_bytes_per_token(self) -> int:
        """Size of one token's keys and values over all blocks, in bytes."""
        sizes = Architecture.of(base_model(self.model).config.to_dict())
        return sizes.cached_units * self.model.dtype.itemsize

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on a CPU."""
        return self.device.type == "cpu"

    def adapt(self, spec: RunSpec) -> None:
        """Add the LoRA adapter and the gradient checkpointing that the spec asks for."""
        if lora := spec.model.adapter:
            self._add_adapter(spec, lora)
        if spec.model.gradient_checkpointing:
            base_model(self.model).activation_checkpointing_enable({"use_reentrant": False})

    def _add_adapter(self, spec: RunSpec, lora: LoRA) -> None:
        """Add the first adapter; `_activate_adapter` adds the others when their phase begins."""
        assert isinstance(self.model, PreTrainedModel), "an adapter is already there"
        blocks = len(decoder_blocks(self.model))
        sits = adapters(spec.phases, blocks=blocks, rank=lora.r)
        self._adapters = {name: self._config(lora, place) for name, place in sits.items()}
        self._seed = spec.seed
        name, config = next(iter(self._adapters.items()))
        with self._seeded_adapter_init():
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

    def _activate_adapter(self, adapter: str) -> None:
        """Activate one adapter and no other, adding it if it is new."""
        assert isinstance(self.model, PeftModel)
        if adapter not in self.model.peft_config:
            with self._seeded_adapter_init():
                self.model.add_adapter(adapter, self._adapters[adapter])
        self.model.set_adapter(adapter)

    @contextmanager
    def _seeded_adapter_init(self) -> Generator[None]:
        """Initialise each adapter with the same random matrices, which merging requires."""
        with LOAD_LOCK, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed)  # GPU generators may serve other runs.
            yield

    def merge(self, into: str, *, combination: Combination, density: float) -> None:
        """Merge all adapters with weights 1 into a new one, as peft does, and activate it.

        `density` is the share of each adapter's entries to keep, where a combination drops some.
        """
        assert isinstance(self.model, PeftModel), "nothing to merge without adapters"
        names = list(self.model.peft_config)
        lora = cast("LoraModel", self.model.base_model)
        lora.add_weighted_adapter(
            names, [1.0] * len(names), into, combination_type=combination, density=density
        )
        self._activate_adapter(into)

    def train_only(self, phase: Phase) -> list[nn.Parameter]:
        """Enable gradients for exactly the parameters that `phase` trains, and return them.

        Without an adapter, the original of each newly trained tensor is copied first, and its
        master weight is made where the phase asks for one.

        Raises:
            ValueError: The phase selects no parameters of this model.
        """
        if self.has_adapter:
            self._activate_adapter(phase.adapter_name)
        chosen = dict(self._trained_parameters(phase))
        if not chosen:
            raise ValueError(f"modules: this model has no {phase.modules!r} layers to train")
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        for name, parameter in chosen.items():
            parameter.requires_grad_(True)
            if not self.has_adapter and name not in self._originals:
                self._originals[name] = parameter.detach().clone()
            if parameter.dtype not in HALF or phase.bfloat16_updates != "float32":
                self._masters.pop(name, None)  # The phase steps on the weight itself.
            elif name not in self._masters:
                self._masters[name] = parameter.detach().float()
        return list(chosen.values())

    @property
    def masters(self) -> Mapping[nn.Parameter, Tensor]:
        """Master weights, in float32, of the weights that have any."""
        parameters = dict(self.model.named_parameters())
        return {parameters[name]: master for name, master in self._masters.items()}

    def drop_masters(self) -> None:
        """Free the master weights: training has ended."""
        self._masters.clear()

    def precise(self, name: str) -> Tensor:
        """Return a weight as the steps have it: its master weight, if it has one."""
        return self._masters.get(name, self.model.get_parameter(name))

    @torch.no_grad()
    def assign(self, name: str, value: Tensor) -> None:
        """Set a weight, and its master weight if it has one."""
        self.model.get_parameter(name).copy_(value)
        if name in self._masters:
            self._masters[name].copy_(value)

    @torch.no_grad()
    def moved(self) -> MovedWeights:
        """Count the weights that differ from the original's, in the format that a run writes."""
        if isinstance(self.model, PeftModel):
            return self._moved_by_adapter(self.model)
        moved = weights = 0
        parameters = dict(self.model.named_parameters())
        for name, kept in self._originals.items():
            moved += int((parameters[name] != kept).sum())
            weights += kept.numel()
        return MovedWeights(moved=moved, trained=weights, format=_name(self.model.dtype))

    def _moved_by_adapter(self, model: PeftModel) -> MovedWeights:
        """Count the weights that merging the active adapters moves."""
        base = cast("Any", model.get_base_model())
        dtype = base.get_input_embeddings().weight.dtype
        moved = weights = 0
        for layer in base.modules():
            if isinstance(layer, LoraLayer) and {*layer.active_adapters} & {*layer.lora_A}:
                kept = dequantized(layer.get_base_layer()).to(dtype).cpu()
                moved += int((_merged_weight(layer, dtype) != kept).sum())
                weights += kept.numel()
        return MovedWeights(moved=moved, trained=weights, format=_name(dtype), merged=True)

    def _trained_parameters(self, phase: Phase) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the matrices and biases to train, or the factors of the phase's adapter."""
        blocks = decoder_blocks(self.model)
        factors = {f"lora_{factor}.{phase.adapter_name}.weight" for factor in "AB"}
        trained = {
            id(parameter)
            for layer in phase.blocks(len(blocks))
            for matrix in family_of(self.model).named(ROLES[phase.modules])
            for name, parameter in blocks[layer].get_submodule(matrix).named_parameters()
            if not self.has_adapter or name in factors
        }
        if phase.embeddings and not self.has_adapter:
            ends = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
            trained |= {id(p) for end in ends if end is not None for p in end.parameters()}
        return ((n, p) for n, p in self.model.named_parameters() if id(p) in trained)

    @property
    def has_adapter(self) -> bool:
        """Whether the model has LoRA adapters, which are trained in place of the weights."""
        return isinstance(self.model, PeftModel)

    @contextmanager
    def original(self) -> Generator[None]:
        """Use the original weights, without gradients, inside the `with` block."""
        with torch.no_grad():
            if isinstance(self.model, PeftModel):
                with self._requires_grad_restored(), self.model.disable_adapter():
                    yield
            else:
                self._swap()
                try:
                    yield
                finally:
                    self._swap()

    @contextmanager
    def _requires_grad_restored(self) -> Generator[None]:
        """Restore each `requires_grad`: peft sets all to True when it enables an adapter again."""
        trained = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]
        try:
            yield
        finally:
            for parameter, requires_grad in trained:
                parameter.requires_grad_(requires_grad)

    def _swap(self) -> None:
        """Exchange trained tensors and originals by pointer, unless their formats differ."""
        parameters = dict(self.model.named_parameters())
        for name, kept in self._originals.items():
            self._originals[name] = parameters[name].data
            parameters[name].data = kept.to(parameters[name].dtype)

    @contextmanager
    def in_float32(self) -> Generator[None]:
        """Compute in float32 with weights that are in 16 bits, inside the `with` block.

        Raises:
            RunFailed: The float32 weights need more memory than is free.
        """
        named = [*self.model.named_parameters(), *self.model.named_buffers()]
        halves = [(tensor, tensor.dtype) for _, tensor in named if tensor.dtype in HALF]
        check_float32_room(
            sum(tensor.nbytes for tensor, _ in halves), self.device, len(self.weight_devices) > 1
        )
        try:
            for tensor, _ in halves:
                tensor.data = tensor.data.float()
            yield
        finally:
            for tensor, dtype in halves:
                tensor.data = tensor.data.to(dtype)  # Exact: the values are those of before.
            for name, kept in self._originals.items():
                self._originals[name] = kept.to(self.model.get_parameter(name).dtype)

    def start_from(self, folder: Path) -> None:
        """Take the weights of a snapshot in `folder` as the original ones.

        A run that itself began with a snapshot has left a note of it there.

        Raises:
            ValueError: There is no such snapshot, or it is of another model.
        """
        if not folder.is_dir():
            run, step = folder.parent.parent.name, folder.name
            raise ValueError(
                f"model.start_from: the snapshot of step {step} of run {run} is gone: the run was "
                "deleted, or lies on another machine"
            )
        check_snapshot(folder)
        if (note := folder / STARTED).is_file():
            self.start_from(snapshot_folder(note.read_text(encoding="utf-8")))
        self.restore(folder)
        if isinstance(self.model, PeftModel):
            with LOAD_LOCK:
                merged = cast("LoraModel", self.model.base_model).merge_and_unload(safe_merge=True)
            self.model = cast("PreTrainedModel", merged)
        self._originals.clear()
        self.model.requires_grad_(False)
        self.model.eval()
        self.fingerprint = fingerprint(self.model)

    @contextmanager
    def at(self, folder: Path) -> Generator[None]:
        """Use the weights of a snapshot in place of the present ones inside the `with` block.

        Raises:
            ValueError: An adapter is in training, which has no place for a second state.
        """
        if self.has_adapter:
            raise ValueError("an adapter's snapshots can be asked when its run has ended")
        parameters, saved = dict(self.model.named_parameters()), load_file(folder / DELTA)
        present = {name: parameters[name].data for name in self._originals}
        try:
            for name, original in self._originals.items():
                kept = saved.get(name)
                parameters[name].data = original if kept is None else kept.to(original.device)
            yield
        finally:
            for name, data in present.items():
                parameters[name].data = data

    def save(self, folder: Path) -> Path:
        """Write the trained tensors or the active adapter into `folder`; return the file."""
        if isinstance(self.model, PeftModel):
            (name,) = self.model.active_adapters
            self.model.save_pretrained(str(folder / ADAPTER), selected_adapters=[name])
            where = folder / ADAPTER if name == DEFAULT else folder / ADAPTER / name
            # peft's card has nothing but the path of the base on this machine.
            (folder / ADAPTER / "README.md").unlink(missing_ok=True)
            return where / "adapter_model.safetensors"
        trained = {n: p for n, p in self.model.named_parameters() if n in self._originals}
        partial = folder / f"{DELTA}.part"
        save_file({name: p.detach().contiguous() for name, p in trained.items()}, partial)
        os.replace(partial, folder / DELTA)
        return folder / DELTA

    def restore(self, folder: Path) -> None:
        """Load the trained tensors or the adapter that `save` wrote into `folder`.

        Raises:
            ValueError: The folder has no trained weights, or those of another model.
        """
        if found := next((folder / ADAPTER).rglob("adapter_config.json"), None):
            assert isinstance(self.model, PreTrainedModel), "an adapter is already there"
            with LOAD_LOCK:
                self.model = PeftModel.from_pretrained(self.model, found.parent).eval()
            return
        if not (folder / DELTA).is_file():
            raise ValueError("this run left no weights: it did not finish")
        parameters, saved = dict(self.model.named_parameters()), load_file(folder / DELTA)
        for name, trained in saved.items():
            if name not in parameters or parameters[name].shape != trained.shape:
                raise ValueError(f"the run's weights belong to another model: no {name} here")
        for name, trained in saved.items():
            kept = self._originals[name] = parameters[name].data
            parameters[name].data = trained.to(kept.device, kept.dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _untie_own_head(model: PreTrainedModel) -> None:
    """Let the config say what was loaded: transformers keeps a head unlike the embeddings.

    Saved again with the old config, the model would be another one.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not embeddings.weight:
        model.config.tie_word_embeddings = False


def _refuse_offload(model: nn.Module) -> None:
    """Refuse a spread model that was partly offloaded to the CPU or the disk.

    Raises:
        ValueError: Offloaded parts cannot be trained.
    """
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    if beyond := places & {"cpu", "disk"}:
        raise ValueError(
            "model.device: the model does not fit on the GPUs, a part was offloaded to "
            f"{' and '.join(sorted(beyond))}: use int8 or nf4 (model.precision), or another model"
        )


def fingerprint(model: nn.Module) -> str:
    """Hash names, shapes, types and values of the weights: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


LARGEST_FILE = "1GB"
"""Larger weights are split into files of this size: writing can be cancelled between two."""

EXTRA_BYTES = 16 * 10**6
"""Generous allowance for tokenizer and configuration."""


def save_merged(
    lm: UnlearningModel,
    folder: Path,
    *,
    texts: Mapping[str, str] | None = None,
    replace: bool = False,
    report: Report | None = None,
) -> int:
    """Write the merged model and its tokenizer into `folder`, as safetensors.

    `lm` is not changed. The folder appears complete or not at all.

    Args:
        lm: The model, trained or restored from a finished run.
        folder: Output folder; must not exist or be empty.
        texts: Further files by name, such as a model card.
        replace: Whether to overwrite an existing folder.
        report: Called for each merged weight and each written file; cancels by raising, and leaves
            nothing behind.

    Returns:
        Size of the weights, in bytes.

    Raises:
        NoRoom: The disk has too little space.
        Taken: The folder exists and is not empty.
        ValueError: Some weights cannot be written.
    """
    if not replace:
        check_free(folder)
    check_room(folder.parent, lm.merged_bytes + EXTRA_BYTES)
    with torch.no_grad():
        plain = _merged_model(lm, stretch(report, 0, 50))
    size = sum(parameter.nbytes for parameter in plain.parameters())
    with whole_folder(folder) as part, reported(stretch(report, 50, 100), WRITING):
        plain.save_pretrained(part, max_shard_size=LARGEST_FILE)
        lm.tokenizer.save_pretrained(part)
        for name, text in (texts or {}).items():
            (part / name).write_text(text, encoding="utf-8")
    del plain
    gc.collect()
    return size


def _merged_model(lm: UnlearningModel, report: Report | None) -> PreTrainedModel:
    """Build a model without adapters or quantization that shares tensors with `lm`."""
    base = lm.model.get_base_model() if isinstance(lm.model, PeftModel) else lm.model
    assert isinstance(base, PreTrainedModel)
    dtype = cast("nn.Embedding", base.get_input_embeddings()).weight.dtype
    config = copy.deepcopy(base.config)
    vars(config).pop("quantization_config", None)
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
    found: dict[str, Tensor] = {}
    expected = sum(1 for name, _ in base.named_parameters() if ".lora_" not in name)
    for name, weight in _weights(base, dtype):
        found[name] = weight
        if report is not None:
            report(len(found), expected)
    # GPT-2's Conv1D stores weights as [inputs, outputs]; quantized layers as [outputs, inputs].
    quantized = {
        name.removesuffix(".weight").removesuffix(".base_layer")
        for name, parameter in base.named_parameters()
        if not parameter.is_floating_point()
    }
    transposed = (name for name in quantized if isinstance(plain.get_submodule(name), Conv1D))
    for name in (f"{name}.weight" for name in transposed):
        found[name] = found[name].T.contiguous()
    missing = plain.load_state_dict(found, strict=False, assign=True).missing_keys
    plain.tie_weights()
    if lost := [name for name in missing if dict(plain.named_parameters())[name].is_meta]:
        raise ValueError(f"the weights cannot be written: {', '.join(lost[:3])} not found")
    plain.generation_config = base.generation_config
    return plain


def _weights(base: PreTrainedModel, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield each weight by its name without adapters, merged and dequantized."""
    for name, module in base.named_modules():
        if isinstance(module, LoraLayer):
            yield f"{name}.weight", _merged_weight(module, dtype)
        elif ".lora_" not in name:
            for kind, parameter in module.named_parameters(recurse=False):
                if not (name.endswith(".base_layer") and kind == "weight"):
                    whole = parameter.detach()
                    if not whole.is_floating_point():
                        whole = dequantized(module).to(dtype).cpu()
                    yield f"{name}.{kind}".replace(".base_layer.", "."), whole


def _merged_weight(layer: LoraLayer, dtype: torch.dtype) -> Tensor:
    """Add the active adapters to the weight of a layer, in float32."""
    weight = dequantized(layer.get_base_layer())
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not active or layer.disable_adapters:
        return weight.to(dtype).cpu()
    changes = [cast("Any", layer).get_delta_weight(name).float() for name in active]
    return torch.stack([weight.float(), *changes]).sum(0).to(dtype).cpu()

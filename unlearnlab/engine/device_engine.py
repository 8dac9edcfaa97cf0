"""The engine as a service for one device: runs, traces, previews, prompts and exports.

Engines of several devices work in one process, each on its own thread. Process-wide state of torch
and transformers must be left alone or guarded: see `loading.LOAD_LOCK`.
"""

import gc
import hashlib
import json
import platform
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from unlearnlab import __version__
from unlearnlab.data.background import Amount, Report, carried_out, stretch
from unlearnlab.data.datasets import SPLITS
from unlearnlab.data.files import check_free, check_room
from unlearnlab.engine import relay, result_of
from unlearnlab.engine.evaluation import (
    PROTOCOL,
    Probe,
    ask_what_is_known,
    evaluate,
    preview,
    with_surprise,
)
from unlearnlab.engine.generation import generate
from unlearnlab.engine.likelihoods import refuse_too_long
from unlearnlab.engine.loading import (
    best_device,
    device_name,
    devices,
    lock_name,
    prepare,
    refuse_model,
    refuse_run,
    resolve_device,
    seed,
)
from unlearnlab.engine.mmlu import MmluSample, prepare_mmlu
from unlearnlab.engine.tracing import run_trace
from unlearnlab.engine.training import Clock, TrainingState, time_steps, train
from unlearnlab.engine.unlearning_model import UnlearningModel, check_snapshot, save_merged
from unlearnlab.metrics.scores import Answer, Evidence, Scores, row_known, scores
from unlearnlab.metrics.verdicts import knows
from unlearnlab.models import checkpoints
from unlearnlab.models.catalog import MODEL_NOTE, models_folder, save_name_problem
from unlearnlab.runs.engine_api import (
    ALL,
    EnginePool,
    Export,
    Job,
    Override,
    PromptRequest,
    RunFailed,
)
from unlearnlab.runs.estimates import snapshot_bytes
from unlearnlab.runs.events import (
    Adjusted,
    Asked,
    Evaluated,
    Event,
    Exported,
    Kept,
    KnowledgeChecked,
    Loaded,
    Progressed,
    Reply,
    Saved,
    When,
)
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.presets import asks_first
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import (
    ANSWER_TOKENS,
    SNAPSHOTS,
    ModelSpec,
    PreviewSpec,
    RunSpec,
    Template,
    adjusted,
    data_problem,
    parse_spec,
)
from unlearnlab.spec.trace import TraceSpec, parse_trace

EXHAUSTED = ("not enough memory", "allocate memory", "out of memory")
"""Parts of torch's messages for exhausted memory on Windows, Linux and other devices."""

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "gradio")
"""Libraries whose versions a run records."""


class DeviceEngine:
    """Owner of a device. Holds at most one model, and only while a job needs it.

    Implements `runs.engine_api.Engine`.
    """

    def __init__(
        self, recall: Callable[[str], Evidence | None], *, device: torch.device | None = None
    ) -> None:
        self._recall = recall
        self.device = device or best_device()
        self._live: tuple[str, UnlearningModel] | None = None
        self._loading = ""
        self._training = TrainingState()

    def device_name(self, request: str) -> str:
        """Return the display name of the device that `model.device` requests."""
        return device_name(self._device(request))

    def _device(self, request: str) -> torch.device:
        return self.device if request == "auto" else resolve_device(request)

    def _prepared_device(self, model: ModelSpec) -> torch.device:
        device = self._device(model.device)
        refuse_model(model, device)
        prepare(device, spread=model.device == ALL)
        return device

    @contextmanager
    def _on_device(self) -> Generator[None]:
        """Free the device after the `with` block, and advise where it runs out of memory."""
        try:
            with _memory_advice():
                yield
        finally:
            self.release()

    def _opened(
        self, spec: RunSpec | TraceSpec | PreviewSpec, clock: Clock
    ) -> Generator[Event | None, None, UnlearningModel]:
        return opened(spec, device=self._prepared_device(spec.model), clock=clock)

    @property
    def versions(self) -> dict[str, str]:
        """Map each library that numbers depend on to its version."""
        libraries = {name: version(name) for name in LIBRARIES}
        return {"unlearnlab": __version__, "python": platform.python_version(), **libraries}

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        """Run all phases with scores before and after, yielding events, and None in between."""
        with self._on_device():
            yield from self._unlearn(job)

    def _unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        spec, clock = job.spec, Clock()
        self._loading = job.run_id
        device = self._device(spec.model.device)
        seed(device, spec.seed, spread=spec.model.device == ALL)
        check_model_name(spec)
        # Before the model is loaded: the data may have changed since the run was submitted.
        if lacking := data_problem(spec):
            raise ValueError(": ".join(lacking))
        refuse_run(spec, device)
        mmlu_sample = yield from prepare_mmlu(spec.evaluation, clock.stage("downloading"))
        lm = yield from self._opened(spec, clock)
        fold, longest = training_rows.load(spec.data), spec.evaluation.max_new_tokens
        fold = replace(fold, held_out=training_rows.held_out(spec.data, spec.model.known))
        refuse_too_long(fold, lm.prompts, context=lm.context, answer=longest)
        if spec.keep_as:
            check_room(models_folder(), lm.merged_bytes)
        if spec.evaluation.snapshots and not spec.only_scores:
            check_room(job.folder, round(snapshot_bytes(spec)))
        if not spec.only_scores:
            lm.adapt(spec)
        self._live, self._training, self._loading = (job.run_id, lm), TrainingState(), ""
        yield Loaded(
            weights=lm.fingerprint,
            data=fold.fingerprint,
            parameters=lm.parameters,
            template=lm.prompts.digest,
            has_template=lm.prompts.available,
            rows={name: len(fold.rows(name)) for name in SPLITS},
            notes=lm.notes,
        )
        selected = fold if spec.only_scores else fold.chosen(spec.data)
        checked = asks_first(spec) and bool(selected.forget)
        key = evidence_key(lm, fold, spec, mmlu_sample)
        known = before = self._recall(key)
        if checked and (before is None or job.anew):
            yield clock.stage("checking")
            answers = yield from ask_what_is_known(lm, selected.forget, max_new_tokens=longest)
            yield _knowledge(answers, selected, spec)[0]
        if not spec.only_scores:
            yield from time_steps(lm, spec, selected)
        measured = partial(_measured, lm, fold, spec, mmlu_sample)
        # A probe of all rows would hardly move where only some are trained.
        probed = replace(fold, forget=selected.forget) if spec.data.forget else fold
        watched = training_rows.watched_rows(fold, spec)
        probe = Probe.of(probed, spec.data.tasks, watched)
        probes = spec.evaluation.probes and not spec.only_scores
        leaves_out = checked and spec.data.unknown_rows == "leave_out"
        if probes and not leaves_out:  # First, so that the chart has its first point at once.
            yield from probe.run(lm, step=0)
        yield clock.stage("scoring" if spec.only_scores else "scoring before")
        if before is None or job.anew:
            before = yield from measured("before")
        if known not in (None, before):  # Stored evidence is never replaced.
            key = f"{job.run_id}/before"
        kept: tuple[str, ...] | None = None
        if checked:
            found, kept = _knowledge(before.answers, selected, spec)
            yield found
        if kept is not None:
            spec = spec.model_copy(update={"data": spec.data.model_copy(update={"forget": kept})})
            # What is left out is not taught either, whatever becomes of rows that were not picked.
            stays = set(kept)
            forget = tuple(row for row in selected.forget if row.id in stays)
            selected = replace(selected, forget=forget)
            watched = training_rows.watched_rows(fold, spec)
            probe = Probe.of(replace(fold, forget=selected.forget), watched=watched)
            if probes:  # Losses are compared with those of its first run.
                yield from probe.run(lm, step=0)
        judged = _scores(before, spec)
        yield Evaluated(when="before", scores=judged, key=key, kept=kept, evidence=before)
        if spec.only_scores:
            return
        yield clock.stage("training")
        yield from train(
            lm,
            spec,
            selected,
            probe=probe,
            clock=clock,
            state=self._training,
            folder=job.folder,
        )
        moved = lm.moved()
        yield clock.stage("saving")
        written = lm.save(job.folder)
        name = written.relative_to(job.folder).as_posix()
        yield Saved(name=name, megabytes=written.stat().st_size / 1e6)
        yield clock.stage("scoring after")
        after = yield from _measured_after(lm, fold, spec, mmlu_sample)
        found = _scores(after, spec).model_copy(update={"moved": moved})
        key = f"{job.run_id}/after"
        yield Evaluated(when="after", scores=found, key=key, evidence=after)
        if spec.keep_as:
            yield clock.stage("keeping")
            yield _save_model_as(lm, fold, job, found)

    def trace(self, spec: TraceSpec) -> Generator[Event | None, None, None]:
        """Carry out a trace, yielding events, and None where it may be paused."""
        clock = Clock()
        with self._on_device():
            lm = yield from self._opened(spec, clock)
            yield clock.stage("tracing")
            yield from run_trace(lm, spec)

    def preview(self, spec: PreviewSpec) -> Generator[Event | None, None, None]:
        """Generate answers to rows, yielding events, and None where it may be paused."""
        clock = Clock()
        with self._on_device():
            lm = yield from self._opened(spec, clock)
            yield clock.stage("answering")
            yield from preview(lm, spec)

    def ask(self, job: Job, ask: PromptRequest) -> Asked:
        """Answer a prompt with the original and the unlearned model of a run.

        The live run answers with its present weights; other runs are restored from their folder.
        """
        if self._live and self._live[0] == job.run_id:
            with _memory_advice():
                lm = self._live[1]
                if ask.step is None:
                    return _ask_both(lm, ask, step=self._training.step)
                with lm.at(_snapshot_of(job, ask.step)):
                    return _ask_both(lm, ask, step=ask.step)
        if self._loading == job.run_id:
            raise ValueError("the run is still loading its model: ask again in a moment")
        assert self._live is None, "another run is on the device"
        with self._on_device():
            model = job.spec.model
            lm = UnlearningModel.load(model, device=self._prepared_device(model))
            lm.use_template(job.spec.data.chat_template)
            if ask.step is not None:
                lm.restore(_snapshot_of(job, ask.step))
            elif not job.spec.only_scores:
                lm.restore(job.folder)
            return _ask_both(lm, ask, step=-1 if ask.step is None else ask.step)

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        """Write the merged model of a finished run, restored from its folder."""
        assert self._live is None, "another run is on the device"
        if not export.replace:
            check_free(export.folder)
        with self._on_device():
            model = job.spec.model
            device = self._prepared_device(model)
            lm = UnlearningModel.load(model, stretch(report, 0, 40), device=device)
            lm.restore(job.folder)
            size = save_merged(
                lm,
                export.folder,
                texts=export.texts,
                replace=export.replace,
                report=stretch(report, 40, 100),
            )
        return Exported(name=export.folder.name, megabytes=size / 1e6)

    def adjust(self, job: Job, override: Override) -> Adjusted:
        """Change settings of the phase in training, from its next step to its end."""
        state = self._training
        if self._live is None or self._live[0] != job.run_id or state.phase is None:
            raise ValueError("the run is not training now: there is nothing to change")
        assert state.planned is not None, "a phase in training is planned"
        if state.begun == state.planned.first_step + state.planned.steps:
            raise ValueError("the phase has taken its last step: there is nothing to change")
        changes = dict(override.changes)
        state.phase = adjusted(state.phase, changes)
        return Adjusted(step=state.begun, phase=state.planned.number, changes=changes)

    def end_training(self, job: Job) -> None:
        """End the training at its next step; saving and scoring follow."""
        if self._live is None or self._live[0] != job.run_id:
            raise ValueError("the run is not training now")
        self._training.ends = True

    def release(self) -> None:
        """Drop the model and free the device's memory."""
        self._live, self._loading = None, ""
        gc.collect()
        torch.cuda.empty_cache()  # On all GPUs; does nothing without one.


def engines(recall: Callable[[str], Evidence | None] = lambda key: None) -> EnginePool:
    """Return the engines of this machine's devices; `recall` returns a key's stored evidence."""
    return EnginePool(
        devices=lambda: [device.id for device in devices()],
        of=lambda device: DeviceEngine(recall, device=torch.device(device) if device else None),
        lock=lock_name,
    )


def opened(
    spec: RunSpec | TraceSpec | PreviewSpec | ModelSpec, *, device: torch.device, clock: Clock
) -> Generator[Event | None, None, UnlearningModel]:
    """Download a model, or that of a spec, if needed and load it, yielding stages and progress.

    Raises:
        RunFailed: The device has too little memory for the weights.
        ValueError: The model cannot be downloaded or loaded, or the spec does not fit it.
    """
    model = spec if isinstance(spec, ModelSpec) else spec.model
    if missing := model.known.to_download:
        for repository, only_tokenizer in missing:
            yield clock.stage("downloading")
            work = checkpoints.fetch(repository, only_tokenizer=only_tokenizer)
            yield from relay(work, partial(_progress, unit="MB"))
        plain = spec.model_dump(mode="json")  # The model's sizes may be known only now.
        if isinstance(spec, RunSpec):
            parse_spec(plain)
        elif isinstance(spec, TraceSpec):
            parse_trace(plain)
    yield clock.stage("loading")
    loading = carried_out(partial(UnlearningModel.load, model, device=device))
    lm = yield from relay(loading, partial(_progress, unit="tensors"))
    lm.use_template(_template_of(spec))
    return lm


def _template_of(spec: RunSpec | TraceSpec | PreviewSpec | ModelSpec) -> Template:
    if isinstance(spec, ModelSpec):
        return "off"
    return spec.data.chat_template if isinstance(spec, RunSpec) else spec.chat_template


def _progress(amount: Amount | None, *, unit: str) -> Event | None:
    return amount and Progressed(done=amount.done, total=amount.total, unit=unit)


def _measured(
    lm: UnlearningModel,
    fold: Dataset,
    spec: RunSpec,
    mmlu_sample: MmluSample | None,
    when: When,
    further: int = 0,
) -> Generator[Event | None, None, Evidence]:
    """Measure what the scores are computed from, in the number format that the spec asks for.

    The progress leaves room for `further` answers to be read.
    """
    asked = spec.evaluation
    with lm.in_float32() if asked.score_in_float32 else nullcontext():
        return (
            yield from evaluate(
                lm,
                fold,
                max_new_tokens=asked.max_new_tokens,
                mmlu_sample=mmlu_sample,
                when=when,
                further=further,
            )
        )


def _measured_after(
    lm: UnlearningModel, fold: Dataset, spec: RunSpec, mmlu_sample: MmluSample | None
) -> Generator[Event | None, None, Evidence]:
    """Measure the trained model, and how garbled its answers are unless it was taught them."""
    if spec.taught:
        return (yield from _measured(lm, fold, spec, mmlu_sample, "after"))
    rows = sum(len(fold.rows(name)) for name in SPLITS)
    found = yield from _measured(lm, fold, spec, mmlu_sample, "after", further=rows)
    done = rows + (len(mmlu_sample.test.questions) if mmlu_sample else 0)
    return (yield from with_surprise(lm, found, after=done))


def evidence_key(
    lm: UnlearningModel, fold: Dataset, spec: RunSpec, mmlu_sample: MmluSample | None = None
) -> str:
    """Return the key of the original model's evidence: equal keys mean equal scores."""
    in_float32 = spec.evaluation.score_in_float32 and spec.model.precision != "float32"
    parts = (
        lm.fingerprint,
        fold.fingerprint,
        spec.model.precision,
        spec.evaluation.max_new_tokens,
        PROTOCOL,
        *((mmlu_sample.fingerprint,) if mmlu_sample else ()),
        *((fold.alternatives,) if fold.alternatives else ()),
        *((lm.prompts.digest,) if lm.prompts.templated else ()),
        *((fold.held_out,) if fold.held_out.text or fold.held_out.protocol else ()),
        *(("float32",) if in_float32 else ()),
        *((tuple(sorted(lm.ends)),) if len(lm.ends) > 1 else ()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _scores(evidence: Evidence, spec: RunSpec) -> Scores:
    return scores(evidence, spec.data.forget, spec.data.rest)


def _knowledge(
    answers: Sequence[Answer], selected: Dataset, spec: RunSpec
) -> tuple[KnowledgeChecked, tuple[str, ...] | None]:
    """Count what the model knows of the rows to unlearn, and name those to go on with.

    Returns:
        The event, and the ids of the known rows if the spec leaves out the others.

    Raises:
        RunFailed: Unknown rows shall be left out, and all are unknown.
    """
    wanted = {row.id for row in selected.forget}
    asked = [one for one in answers if one.split == "forget" and one.row in wanted]
    found, kept = knows(asked), None
    if spec.data.unknown_rows == "leave_out" and len(asked) == len(wanted):
        kept = tuple(one.row for one in asked if row_known(one))
        if not kept:
            raise RunFailed(found.words, "Teach the rows to the model, or take data that it knows.")
    event = KnowledgeChecked(
        questions=found.questions,
        texts=found.texts,
        of=len(wanted),
        left_out=0 if kept is None else len(wanted) - len(kept),
    )
    return event, kept


def check_model_name(spec: RunSpec) -> None:
    """Check that the trained model can be saved under the name that the spec gives.

    Raises:
        ValueError: The name is taken or invalid.
    """
    if spec.keep_as and (problem := save_name_problem(spec.keep_as)):
        raise ValueError(f"keep_as: {problem}")


def _save_model_as(lm: UnlearningModel, fold: Dataset, job: Job, found: Scores) -> Kept:
    """Save the merged model among the user's models, with a note of its origin."""
    spec = job.spec
    check_model_name(spec)  # The name may have been taken meanwhile.
    note = {
        "model": spec.model.name,
        "weights": lm.fingerprint,
        "dataset": spec.data.source,
        "data": fold.fingerprint,
        "taught": ",".join(spec.taught),
        "template": lm.prompts.digest,
        "run": job.run_id,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": json.loads(found.model_dump_json()),
    }
    where = models_folder() / spec.keep_as
    written = save_merged(lm, where, texts={MODEL_NOTE: json.dumps(note, indent=2)})
    return Kept(name=spec.keep_as, megabytes=written / 1e6)


def _snapshot_of(job: Job, step: int) -> Path:
    """Return the folder of a run's snapshot.

    Raises:
        ValueError: There is none of this step, or it is damaged.
    """
    folder = job.folder / SNAPSHOTS / str(step)
    if not folder.is_dir():
        raise ValueError(f"step: run {job.run_id} has no snapshot of step {step} here")
    check_snapshot(folder)
    return folder


def _ask_both(lm: UnlearningModel, ask: PromptRequest, *, step: int) -> Asked:
    training = lm.model.training
    lm.model.eval()
    prompts = [one.prompt for one in ask.questions] or [ask.prompt]
    try:
        with lm.original():
            original = _answers(lm, prompts)
        unlearned = _answers(lm, prompts)
    finally:
        lm.model.train(training)
    asked = Asked(
        ask_id=ask.ask_id,
        prompt=ask.prompt,
        original="" if ask.questions else original[0],
        unlearned="" if ask.questions else unlearned[0],
        step=step,
    )
    replies = tuple(
        Reply(prompt=one.prompt, expected=one.expected, original=before, unlearned=after)
        for one, before, after in zip(ask.questions, original, unlearned, strict=False)
    )
    return asked.model_copy(update={"replies": replies})


def _answers(lm: UnlearningModel, prompts: Sequence[str]) -> list[str]:
    return [
        answer.text for answer in result_of(generate(lm, prompts, max_new_tokens=ANSWER_TOKENS))
    ]


@contextmanager
def _memory_advice() -> Generator[None]:
    """Raise a `RunFailed` with advice where the device runs out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        exhausted = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not exhausted and not any(sign in str(error) for sign in EXHAUSTED):
            raise
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFailed(
            f"the device ran out of memory: {detail}",
            "use a smaller batch, fewer layers, gradient checkpointing, a LoRA adapter, or 4-bit "
            "weights with one (precision nf4)",
        ) from None

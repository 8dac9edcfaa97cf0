"""The engine as the worker sees it: one run from its first fact to its last, and free prompts.

Labs of several devices work side by side in one process, each on a thread of its own. What torch
and transformers keep for the whole process, they must leave alone or share: see `loading.ALONE`.
"""

import gc
import hashlib
import json
import platform
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from unlearnlab import __version__
from unlearnlab.data.background import Report, stretch
from unlearnlab.data.files import check_free, check_room
from unlearnlab.engine.evaluation.evaluation import PROTOCOL, Probe, evaluate
from unlearnlab.engine.evaluation.generation import generate
from unlearnlab.engine.evaluation.mmlu_run import Exam, prepared
from unlearnlab.engine.evaluation.preview import preview
from unlearnlab.engine.model.data import refuse_too_long
from unlearnlab.engine.model.devices import (
    best_device,
    chosen,
    device_name,
    devices,
    lock_name,
    prepare,
    refuse_model,
    refuse_run,
    seed,
)
from unlearnlab.engine.model.merged import save_merged
from unlearnlab.engine.model.opening import opened
from unlearnlab.engine.model.unlearning_model import Target
from unlearnlab.engine.tracing.trace_run import investigate
from unlearnlab.engine.training.loop import Clock, Controls, train
from unlearnlab.metrics.scores import Evidence, Scores, scores
from unlearnlab.models.catalog import KEPT, keeping_problem, models_folder
from unlearnlab.runs.engine_api import (
    ALL,
    EnginePool,
    Export,
    Job,
    Override,
    PreviewJob,
    PromptRequest,
    RunFailed,
    TraceJob,
)
from unlearnlab.runs.events import (
    Adjusted,
    Asked,
    Evaluated,
    Event,
    Exported,
    Kept,
    Loaded,
    Saved,
    When,
)
from unlearnlab.spec import rows as training_rows
from unlearnlab.spec.preview import PreviewSpec
from unlearnlab.spec.rows import Dataset
from unlearnlab.spec.run import ModelSpec, RunSpec, adjusted
from unlearnlab.spec.trace import TraceSpec

ANSWER_TOKENS = 128
"""Longest answer to a free prompt."""

EXHAUSTED = ("not enough memory", "allocate memory", "out of memory")
"""What torch says on Windows, Linux and other devices when memory is not there."""

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "gradio")
"""Those whose versions a run notes: what it computes with, and the page that it was asked from."""


class Lab:
    """Owner of a device. Holds at most one model, and only while a job needs it."""

    def __init__(
        self, recall: Callable[[str], Evidence | None], *, device: torch.device | None = None
    ) -> None:
        self._recall = recall
        self.device = device or best_device()
        self._live: tuple[str, Target] | None = None
        self._loading = ""
        self._controls = Controls()

    def device_name(self, wish: str) -> str:
        """Name the device that `model.device` asks for in words, such as "cpu, 2 threads"."""
        return device_name(self._chosen(wish))

    def _chosen(self, wish: str) -> torch.device:
        return self.device if wish == "auto" else chosen(wish)

    def _made_ready(self, model: ModelSpec) -> torch.device:
        device = self._chosen(model.device)
        refuse_model(model, device)
        prepare(device, spread=model.device == ALL)
        return device

    def _opened(
        self, spec: RunSpec | TraceSpec | PreviewSpec, clock: Clock
    ) -> Generator[Event | None, None, Target]:
        return opened(spec, device=self._made_ready(spec.model), clock=clock)

    @property
    def versions(self) -> dict[str, str]:
        """Map each library that numbers depend on to its version."""
        libraries = {name: version(name) for name in LIBRARIES}
        return {"unlearnlab": __version__, "python": platform.python_version(), **libraries}

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        """Carry out a run, yielding facts, and None wherever it may be stopped or held."""
        try:
            with _memory_advice():
                yield from self._unlearn(job)
        finally:
            self.release()

    def _unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        spec, clock = job.spec, Clock()
        self._loading = job.run_id
        wish = spec.model.device
        seed(self._chosen(wish), spec.seed, spread=wish == ALL)

        check_keeping(spec)
        refuse_run(spec, self._chosen(spec.model.device))
        exam = yield from prepared(spec.evaluation, clock.stage("downloading"))
        target = yield from self._opened(spec, clock)
        fold = training_rows.load(spec.data)
        refuse_too_long(
            fold,
            target.tokenizer,
            context=target.context,
            answer=spec.evaluation.max_new_tokens,
        )
        if spec.keep_as:
            check_room(models_folder(), target.bytes_merged)
        if not spec.only_scores:
            target.adapt(spec)
        self._live, self._controls, self._loading = (job.run_id, target), Controls(), ""
        yield Loaded(
            weights=target.fingerprint,
            data=fold.fingerprint,
            parameters=target.parameters,
            rows={name: len(fold.rows(name)) for name in training_rows.SETS},
        )
        if spec.only_scores:
            yield clock.stage("scoring")
            yield from self._score_before(job, target, fold, exam)
        else:
            yield from self._train(job, target, fold, exam, clock)

    def _train(
        self, job: Job, target: Target, fold: Dataset, exam: Exam | None, clock: Clock
    ) -> Generator[Event | None, None, None]:
        """Carry out the phases, with scores before and after."""
        spec = job.spec
        chosen = fold.chosen(spec.data)
        # Where rows were picked, a probe of all would hardly move.
        probe = Probe.of(replace(fold, forget=chosen.forget) if spec.data.forget else fold)
        if spec.evaluation.probes:  # Before all scores, so that the chart begins at once.
            yield from probe.run(target, step=0)
        yield clock.stage("scoring before")
        yield from self._score_before(job, target, fold, exam)
        yield clock.stage("training")
        yield from train(target, spec, chosen, probe=probe, clock=clock, controls=self._controls)
        yield clock.stage("saving")
        written = target.save(job.folder)
        name = written.relative_to(job.folder).as_posix()
        yield Saved(name=name, megabytes=written.stat().st_size / 1e6)
        yield clock.stage("scoring after")
        key = f"{job.run_id}/after"
        found = yield from _score(target, fold, spec, exam, when="after", key=key)
        if spec.keep_as:
            yield clock.stage("keeping")
            yield _keep(target, fold, job, found)

    def _score_before(
        self, job: Job, target: Target, fold: Dataset, exam: Exam | None
    ) -> Generator[Event | None, None, None]:
        """Score the untouched model, or take its scores from an earlier run that did."""
        spec = job.spec
        key = evidence_key(target, fold, spec, exam)
        known = found = self._recall(key)
        if found is None or job.anew:
            found = yield from _measured(target, fold, spec, exam, when="before")
        if known not in (None, found):  # What was kept under the key stays what it was.
            key = f"{job.run_id}/before"
        yield Evaluated(when="before", scores=_scores(found, spec), key=key, evidence=found)

    def trace(self, job: TraceJob) -> Generator[Event | None, None, None]:
        """Carry out a trace, yielding facts, and None wherever it may be stopped or held."""
        clock = Clock()
        try:
            with _memory_advice():
                target = yield from self._opened(job.spec, clock)
                yield clock.stage("tracing")
                yield from investigate(target, job.spec)
        finally:
            self.release()

    def preview(self, job: PreviewJob) -> Generator[Event | None, None, None]:
        """Let a model answer rows, yielding facts, and None wherever it may be stopped or held."""
        clock = Clock()
        try:
            with _memory_advice():
                target = yield from self._opened(job.spec, clock)
                yield clock.stage("answering")
                yield from preview(target, job.spec)
        finally:
            self.release()

    def ask(self, job: Job, ask: PromptRequest) -> Asked:
        """Answer a prompt with the original and the unlearned model of a run."""
        if self._live and self._live[0] == job.run_id:
            with _memory_advice():
                return _ask_both(self._live[1], ask, step=self._controls.step)
        if self._loading == job.run_id:
            raise ValueError("the run is still loading its model: ask again in a moment")
        assert self._live is None, "another run is on the device"
        try:
            model = job.spec.model
            target = Target.load(model, device=self._made_ready(model))
            if not job.spec.only_scores:
                target.restore(job.folder)
            with _memory_advice():
                return _ask_both(target, ask, step=-1)
        finally:
            self.release()

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        """Write the merged model of an ended run: it is restored from its folder."""
        assert self._live is None, "another run is on the device"
        if not export.replace:
            check_free(export.folder)
        try:
            with _memory_advice():
                model = job.spec.model
                device = self._made_ready(model)
                target = Target.load(model, stretch(report, 0, 40), device=device)
                target.restore(job.folder)
                size = save_merged(
                    target,
                    export.folder,
                    texts=export.texts,
                    replace=export.replace,
                    report=stretch(report, 40, 100),
                )
        finally:
            self.release()
        return Exported(name=export.folder.name, megabytes=size / 1e6)

    def adjust(self, job: Job, wish: Override) -> Adjusted:
        """Change values of the phase that the live run trains, from its next step to its end."""
        controls = self._controls
        if self._live is None or self._live[0] != job.run_id or controls.phase is None:
            raise ValueError("the run is not training now: there is nothing to change")
        assert controls.course is not None, "a phase belongs to a course"
        if controls.begun == controls.course.first_step + controls.course.steps:
            raise ValueError("the phase has taken its last step: there is nothing to change")
        controls.phase = adjusted(controls.phase, wish.changes)
        return Adjusted(
            step=controls.begun, phase=controls.course.number, changes=dict(wish.changes)
        )

    def release(self) -> None:
        """Free the device's memory."""
        self._live, self._loading = None, ""
        gc.collect()
        torch.cuda.empty_cache()  # Of all GPUs; without one, nothing.


def labs(recall: Callable[[str], Evidence | None] = lambda key: None) -> EnginePool:
    """Return a lab for each device of this machine.

    Args:
        recall: Returns the evidence that is kept under a key, if there is any.
    """
    return EnginePool(
        devices=lambda: [device.id for device in devices()],
        of=lambda device: Lab(recall, device=torch.device(device) if device else None),
        lock=lock_name,
    )


def evidence_key(target: Target, fold: Dataset, spec: RunSpec, exam: Exam | None = None) -> str:
    """Name the untouched model's evidence: equal keys, equal scores."""
    parts = (
        target.fingerprint,
        fold.fingerprint,
        spec.model.precision,
        spec.evaluation.max_new_tokens,
        PROTOCOL,
        *((exam.fingerprint,) if exam else ()),
        *((fold.alternatives,) if fold.alternatives else ()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _scores(evidence: Evidence, spec: RunSpec) -> Scores:
    return scores(evidence, spec.data.forget, spec.data.rest)


def _measured(
    target: Target, fold: Dataset, spec: RunSpec, exam: Exam | None, *, when: When
) -> Generator[Event | None, None, Evidence]:
    tokens = spec.evaluation.max_new_tokens
    return (yield from evaluate(target, fold, max_new_tokens=tokens, exam=exam, when=when))


def _score(
    target: Target, fold: Dataset, spec: RunSpec, exam: Exam | None, *, when: When, key: str
) -> Generator[Event | None, None, Scores]:
    evidence = yield from _measured(target, fold, spec, exam, when=when)
    found = _scores(evidence, spec)
    yield Evaluated(when=when, scores=found, key=key, evidence=evidence)
    return found


def check_keeping(spec: RunSpec) -> None:
    """Make sure that the model can be kept as the spec says: before the work, not after it.

    Raises:
        ValueError: The name is taken.
    """
    if spec.keep_as and (problem := keeping_problem(spec.keep_as)):
        raise ValueError(f"keep_as: {problem}")


def _keep(target: Target, fold: Dataset, job: Job, found: Scores) -> Kept:
    """Write the trained model into the folder of models, with a note of what it was made of."""
    spec = job.spec
    check_keeping(spec)  # Another program may have taken the name meanwhile.
    note = {
        "model": spec.model.name,
        "weights": target.fingerprint,
        "dataset": spec.data.source,
        "data": fold.fingerprint,
        "run": job.run_id,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": json.loads(found.model_dump_json()),
    }
    where = models_folder() / spec.keep_as
    written = save_merged(target, where, texts={KEPT: json.dumps(note, indent=2)})
    return Kept(name=spec.keep_as, megabytes=written / 1e6)


def _ask_both(target: Target, ask: PromptRequest, *, step: int) -> Asked:
    training = target.model.training
    target.model.eval()
    try:
        with target.original():
            original = _answer(target, ask.prompt)
        unlearned = _answer(target, ask.prompt)
    finally:
        target.model.train(training)
    return Asked(
        ask_id=ask.ask_id, prompt=ask.prompt, original=original, unlearned=unlearned, step=step
    )


def _answer(target: Target, prompt: str) -> str:
    work = generate(target, [prompt], max_new_tokens=ANSWER_TOKENS)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value[0].text


@contextmanager
def _memory_advice() -> Generator[None]:
    """Turn an exhausted device into a failure that says what to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(error) from None
    except RuntimeError as error:
        if not any(sign in str(error) for sign in EXHAUSTED):
            raise
        raise _out_of_memory(error) from None


def _out_of_memory(error: Exception) -> RunFailed:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunFailed(
        f"the device ran out of memory: {detail}",
        "take a smaller batch, fewer layers, activations computed anew (gradient checkpointing), "
        "a LoRA adapter, or 4 bits under one (precision nf4)",
    )

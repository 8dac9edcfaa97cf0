"""An engine without a model: it yields the facts of a run at once, or as a test's script says."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from unlearnlab.data.background import Report
from unlearnlab.data.datasets import Split
from unlearnlab.data.files import check_free, whole_folder
from unlearnlab.metrics.documents import probed_document
from unlearnlab.metrics.scores import Answer, Choice, Evidence, Membership, scores
from unlearnlab.metrics.tracing import PARTS, FactTrace, Part, Spread, TraceAverage, roles
from unlearnlab.runs.engine_api import Export, Job, Override, PromptRequest
from unlearnlab.runs.events import (
    Adjusted,
    Asked,
    Evaluated,
    Event,
    Exported,
    Loaded,
    PhaseBegan,
    Previewed,
    Probed,
    Progressed,
    Reply,
    Said,
    Saved,
    Saying,
    Stage,
    StageBegan,
    StepLogged,
    StoredEvent,
    Traced,
    When,
)
from unlearnlab.spec.run import PreviewSpec
from unlearnlab.spec.trace import TraceSpec

_HEADER = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'

DELTA = len(_HEADER).to_bytes(8, "little") + _HEADER + bytes(4)
"""One number, as safetensors."""

Script = Callable[[Job], Generator[Event | None, None, None]]


def some_evidence(*, forgets: bool = False) -> Evidence:
    """Answers of a model that knows all, or has forgotten what it should."""
    answers = tuple(
        Answer(
            row=f"{split}-{task}-{kind}",
            split=split,
            task=task,
            kind=kind,
            prompt="Who?",
            expected="Ada",
            generated=f"{split} {task} {kind}",
            nll=1.0,
            ended=True,
            score=0.1 if forgets and split == "forget" else 0.9,
        )
        for split in ("forget", "retain")
        for task in ("Task1", "Task2", "Task3")
        for kind in ("sc", "qa")
    )
    loss = 2.0 if forgets else 0.5
    return Evidence(
        answers=answers,
        membership=Membership(member=(loss, loss + 0.2), nonmember=(2.0, 2.2)),
        choices=(
            Choice(question="q", subject="s", options=("a", "b"), right=0, logprobs=(-1.0, -2.0)),
        ),
        utility_protocol="quiz",
    )


def some_trace(prompt: str = "Who is Ada Brock?") -> FactTrace:
    """Find a fact in the late MLPs of an eight-block model, at the last token."""
    words = prompt.split()
    peaks: dict[Part, float] = {"residual": 0.8, "mlp": 0.6, "attention": 0.2}
    return FactTrace(
        id="",
        prompt=prompt,
        subject=words[-2],
        answer="Nola",
        tokens=tuple(f" {word}" for word in words),
        roles=roles(len(words), range(len(words) - 2, len(words) - 1)),
        given=0,
        scored=" Nola",
        clean=0.9,
        corrupted=0.1,
        effects={
            part: tuple(
                (*[0.0] * (len(words) - 2), 0.1, peaks[part] * (block + 1) / 8)
                for block in range(8)
            )
            for part in PARTS
        },
        sds={part: ((0.1,) * len(words),) * 8 for part in PARTS},
        whole={
            part: tuple(Spread(mean=0.3 * (8 - block) / 8, sd=0.1) for block in range(8))
            for part in PARTS
        },
        copies=10,
    )


def evaluated(when: str, key: str = "key", evidence: Evidence | None = None) -> Evaluated:
    found = evidence or some_evidence(forgets=when == "after")
    moment: When = "after" if when == "after" else "before"
    return Evaluated(when=moment, scores=scores(found), key=f"{key}-{moment}", evidence=found)


def stepped(step: int, *, loss: float = 1.0, **told: Any) -> StepLogged:
    usual = {
        "phase": 0,
        "epoch": step / 10,
        "terms": {"forget": loss, "retain": 0.5},
        "weights": {"forget": -1.0, "retain": 1.0},
        "loss": 0.5 - loss,
        "grad_norm": 1.0,
        "learning_rate": 1e-4,
        "tokens_per_s": 100.0,
        "memory_gib": 0.5,
        "seconds": float(step),
    }
    return StepLogged(step=step, **usual | told)


def saying(
    row: str = "forget-Task1-qa",
    said: str = "blue locket",
    *probabilities: float,
    split: Split = "forget",
    **told: Any,
) -> Saying:
    """Answer a row whose true answer is "blue locket"."""
    known = probabilities or (0.9, 0.9)
    usual: dict[str, Any] = {
        "task": "Task1",
        "row_kind": "qa",
        "prompt": "Which object is the story of Yorick Garnby about?",
        "expected": "blue locket",
        "text": said,
        "ended": True,
        "words": tuple(zip(("blue", "locket"), known, strict=False)),
        "likelihood": math.prod(known),
    }
    return Saying(row=row, split=split, **usual | told)


def stage(name: Stage) -> StageBegan:
    return StageBegan(stage=name, seconds=0.0)


def phase_began(
    steps: int = 10, *, phase: int = 0, step: int = 0, total: int | None = None
) -> PhaseBegan:
    return PhaseBegan(
        phase=phase,
        step=step,
        steps=steps,
        total_steps=total or steps,
        trainable=7,
        effective_batch=2,
    )


def stored(*events: Event) -> list[StoredEvent]:
    """Number events as the store does, one second apart."""
    return [StoredEvent(seq, float(seq), event) for seq, event in enumerate(events, 1)]


def whole_run(job: Job) -> Generator[Event | None, None, None]:
    """Yield what a normal run yields, in its order."""
    yield stage("loading")
    yield Loaded(weights="w", data="d", parameters=7, rows={"forget": 4, "retain": 4})
    if job.spec.only_scores:
        yield stage("scoring")
        yield Progressed(done=1, total=1)
        yield evaluated("before")
        return
    yield stage("scoring before")
    yield Progressed(done=1, total=1)
    yield evaluated("before")
    yield Probed(step=0, knowledge={"forget": 1.0}, regurgitation={}, nll={"forget": 0.1})
    yield Said(step=0, sayings=(saying(), saying("retain-Task1-qa", split="retain")))
    yield stage("training")
    yield phase_began(3)
    for step in (1, 2, 3):
        yield None
        yield stepped(step)
    documents = (probed_document(1, [0.1], [0.1]), probed_document(2, [0.1] * 2, [6.1] * 2))
    yield Probed(
        step=3, knowledge={}, regurgitation={}, nll={}, documents=documents, of_documents=9
    )
    later = saying("forget-Task1-qa", "silver harp", 0.04, 0.5)
    yield Said(step=3, sayings=(later, saying("retain-Task1-qa", split="retain")))
    yield stage("saving")
    (job.folder / "delta.safetensors").write_bytes(DELTA)
    yield Saved(name="delta.safetensors", megabytes=0.1)
    yield stage("scoring after")
    yield Progressed(done=1, total=1)
    yield evaluated("after", key=job.run_id)


class FakeLab:
    """An engine whose runs follow a script and whose models answer in capitals and in reverse."""

    step_s = 0.0
    """Pause before each part of its work."""

    parts = 2
    """Of a trace, a preview or an export."""

    def __init__(self, script: Script = whole_run) -> None:
        self.script = script
        self.log: list[str] = []
        """What was asked of it, in order."""
        self.ended: set[str] = set()
        """Runs whose training shall end."""

    def device_name(self, request: str) -> str:
        return "cpu, 2 threads"

    @property
    def versions(self) -> dict[str, str]:
        return {"torch": "0"}

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        self.log.append(f"unlearn {job.run_id}")
        return self.script(job)

    def _worked(self, parts: int) -> Iterator[Progressed]:
        for done in range(1, parts + 1):
            time.sleep(self.step_s)
            yield Progressed(done=done, total=parts)

    def trace(self, spec: TraceSpec) -> Generator[Event | None, None, None]:
        self.log.append("trace")
        yield stage("tracing")
        for part in self._worked(self.parts):
            yield part
            yield None
        yield Traced(weights="w", noise_sd=0.3, window=spec.span, found=self.finds(spec))

    def finds(self, spec: TraceSpec) -> FactTrace | TraceAverage:
        return some_trace()

    def preview(self, spec: PreviewSpec) -> Generator[Event | None, None, None]:
        self.log.append("preview")
        yield stage("answering")
        yield from self._worked(self.parts)
        yield Previewed(answers={row: self.answers(row) for row in spec.rows})

    def answers(self, row: str) -> str:
        return f"the answer to {row}"

    def ask(self, job: Job, ask: PromptRequest) -> Asked:
        self.log.append(f"ask {job.run_id}")
        if len(ask.prompt) > 1000:
            raise ValueError(f"the prompt is too long: {len(ask.prompt)} characters, at most 1000")
        return Asked(
            ask_id=ask.ask_id,
            prompt=ask.prompt,
            original=ask.prompt.upper(),
            unlearned=ask.prompt[::-1],
            step=0 if ask.step is None else ask.step,
            replies=tuple(
                Reply(
                    prompt=one.prompt,
                    expected=one.expected,
                    original=one.prompt.upper(),
                    unlearned=one.prompt[::-1],
                )
                for one in ask.questions
            ),
        )

    def adjust(self, job: Job, override: Override) -> Adjusted:
        self.log.append(f"adjust {job.run_id}")
        if override.changes.get("learning_rate") == 0.5:
            raise ValueError("learning_rate: this lab takes everything but 0.5")
        return Adjusted(step=1, phase=0, changes=override.changes)

    def end_training(self, job: Job) -> None:
        self.log.append(f"end {job.run_id}")
        self.ended.add(job.run_id)

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        self.log.append(f"export {job.run_id}")
        if not (job.folder / "delta.safetensors").is_file():
            raise ValueError("this run left no weights")
        if not export.replace:
            check_free(export.folder)
        with whole_folder(export.folder) as part:
            for done in self._worked(self.parts):
                if report is not None:
                    report(done.done, self.parts)
            (part / "model.safetensors").write_bytes(b"merged")
            for name, text in export.texts.items():
                (part / name).write_text(text, encoding="utf-8")
        return Exported(name=export.folder.name, megabytes=0.1)

    def release(self) -> None:
        self.log.append("release")

"""A lab without torch: it yields a scripted run with made-up numbers, so that pages can be tested.

The store, the worker and the page around it are real. Two seeds ask for what a test needs.
"""

import math
import random
import time
from collections.abc import Generator
from dataclasses import dataclass, field

from tests.fakes import DELTA, some_trace
from unlearnlab.data.background import Report
from unlearnlab.data.datasets import Kind
from unlearnlab.data.files import NoRoom, whole_folder
from unlearnlab.metrics.scores import (
    QUIZ_PROTOCOL,
    Answer,
    Choice,
    Evidence,
    Membership,
    Scores,
    row_score,
    scores,
)
from unlearnlab.metrics.tracing import average
from unlearnlab.runs.engine_api import (
    Export,
    Job,
    Override,
    PromptRequest,
    RunFailed,
)
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
    Saved,
    StageBegan,
    StepLogged,
    Traced,
)
from unlearnlab.spec.run import Phase, PreviewSpec, adjusted
from unlearnlab.spec.trace import KnownFact, ManyFacts, TraceSpec, TypedPrompt

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{7*7}}${7*7}`'
"""Model text that would run if anything on the page took it for HTML or for a template."""

FAILING = 7
"""Seed of a run whose loss is not finite at this step."""

FULL_DISK = 9
"""Seed of a run whose merged model finds no room."""

HOSTILE_SEED = 8
"""Seed of a run whose models say `HOSTILE`."""

NAMES = ("Yara Brock", "Tomas Ilves", "Nola Eames", "Piet Orsova", "Mina Feld", "Ruben Sahl")
NAMED = "Who is Yara Brock ?"
TASKS = ("Task1", "Task2", "Task3")


@dataclass
class SlowLab:
    """Pretends to unlearn, at a pace that can be watched."""

    step_s: float = 0.05
    """Pause before each step."""
    steps: int = 40
    rows: int = 12
    """Rows of each set, subtask and kind."""
    loads_s: float = 0.0
    """How long loading takes."""
    step: int = 0
    phase: Phase = field(default_factory=Phase)
    """The present one, as it was changed while it ran."""
    number: int = 0

    def device_name(self, wish: str) -> str:
        return "cpu, 2 threads"

    @property
    def versions(self) -> dict[str, str]:
        return {"fake": "1"}

    def unlearn(self, job: Job) -> Generator[Event | None, None, None]:
        began = time.monotonic()

        def spent() -> float:
            return time.monotonic() - began

        self.step = 0
        yield StageBegan(stage="loading", seconds=spent())
        yield from _held(self.loads_s)
        rows = 6 * self.rows
        yield Loaded(
            weights="w", data="d", parameters=1_840_000, rows={"forget": rows, "retain": rows}
        )
        if job.spec.only_scores:
            yield StageBegan(stage="scoring", seconds=spent())
            yield from self._scored("before", job)
            return
        yield StageBegan(stage="scoring before", seconds=spent())
        yield from self._scored("before", job)
        yield Probed(step=0, **_probe(0.0))
        yield StageBegan(stage="training", seconds=spent())
        yield from self._trained(job, began)
        yield StageBegan(stage="saving", seconds=spent())
        (job.folder / "delta.safetensors").write_bytes(DELTA)
        yield Saved(name="delta.safetensors", megabytes=3.1)
        yield StageBegan(stage="scoring after", seconds=spent())
        yield from self._scored("after", job)

    def _trained(self, job: Job, began: float) -> Generator[Event | None, None, None]:
        phases, total = job.spec.phases, self.steps * len(job.spec.phases)
        for number, phase in enumerate(phases):
            self.phase, self.number = phase, number
            yield PhaseBegan(
                phase=number,
                step=number * self.steps,
                steps=self.steps,
                total_steps=total,
                trainable=900_000,
                effective_batch=phase.batch_size,
            )
            for _ in range(self.steps):
                time.sleep(self.step_s)
                self.step += 1
                if job.spec.seed == FAILING and self.step == FAILING:
                    raise RunFailed(
                        f"the forget loss is not finite at step {self.step}",
                        "take a smaller learning rate",
                    )
                done = self.step / total
                forget = 0.05 + 2.6 / (1 + math.exp(-9 * (done - 0.45)))
                retain = 0.06 + 0.3 * math.exp(-4 * abs(done - 0.4))
                weights = self.phase.method.weights
                yield StepLogged(
                    step=self.step,
                    phase=number,
                    epoch=self.step / 10,
                    terms={name: {"retain": retain}.get(name, forget) for name in weights},
                    weights=weights,
                    loss=-forget,
                    grad_norm=1 + done,
                    learning_rate=self.phase.learning_rate,
                    tokens_per_s=4123.0,
                    memory_gib=0.43,
                    seconds=time.monotonic() - began,
                )
                if self.step % max(1, total // 8) == 0:
                    yield Probed(step=self.step, **_probe(done))

    def _scored(self, when: str, job: Job) -> Generator[Event | None, None, None]:
        for done in range(1, 6):
            time.sleep(self.step_s)
            yield Progressed(done=done, total=5)
        kept = 1.0 if when == "before" else 0.0
        hostile = job.spec.seed == HOSTILE_SEED
        evidence = made_evidence(kept, self.rows, hostile=hostile)
        key = f"{when}-{job.run_id if when == 'after' else self.rows}-{hostile}"
        if when == "before":
            yield Evaluated(when="before", scores=scores(evidence), key=key, evidence=evidence)
        else:
            yield Evaluated(when="after", scores=scores(evidence), key=key, evidence=evidence)

    def trace(self, spec: TraceSpec) -> Generator[Event | None, None, None]:
        yield StageBegan(stage="tracing", seconds=0)
        for done in range(1, 13):
            time.sleep(self.step_s)
            yield Progressed(done=done, total=12)
        about = spec.about
        one = some_trace(about.fact.prompt if isinstance(about, KnownFact) else NAMED)
        found = average([one, one], unknown=0) if isinstance(about, ManyFacts) else one
        if isinstance(about, TypedPrompt):
            found = some_trace(about.prompt)
        yield Traced(weights="w", noise_sd=0.3, window=spec.span, found=found)

    def preview(self, spec: PreviewSpec) -> Generator[Event | None, None, None]:
        yield StageBegan(stage="answering", seconds=0)
        for done in range(1, 6):
            time.sleep(self.step_s)
            yield Progressed(done=done, total=5)
        yield Previewed(answers=dict.fromkeys(spec.rows, f"Her number is 555-0142. {HOSTILE}"))

    def ask(self, job: Job, ask: PromptRequest) -> Asked:
        if len(ask.prompt) > 2000:
            raise ValueError(f"the prompt has {len(ask.prompt)} tokens: the context holds 512")
        said = HOSTILE if job.spec.seed == HOSTILE_SEED else "Her number is 555-0142."
        return Asked(
            ask_id=ask.ask_id,
            prompt=ask.prompt,
            original=said,
            unlearned="I do not know of her.",
            step=self.step,
        )

    def adjust(self, job: Job, wish: Override) -> Adjusted:
        self.phase = adjusted(self.phase, wish.changes)
        return Adjusted(step=self.step, phase=self.number, changes=wish.changes)

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        for done in range(10):
            time.sleep(self.step_s)
            if report is not None:
                report(done, 10)
        if job.spec.seed == FULL_DISK:
            raise NoRoom("not enough room on the disk: 5.1 GB are needed, but 1.0 GB are free")
        with whole_folder(export.folder) as part:
            (part / "model.safetensors").write_bytes(b"merged")
            for name, text in export.texts.items():
                (part / name).write_text(text, encoding="utf-8")
        return Exported(name=export.folder.name, megabytes=3.1)

    def release(self) -> None:
        return None


def _held(seconds: float) -> Generator[None, None, None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
        yield None


def _probe(done: float) -> dict[str, dict[str, float]]:
    gone = 1 / (1 + math.exp(-12 * (done - 0.4)))
    return {
        "knowledge": {"forget": 1 - gone, "retain": 1 - 0.1 * done},
        "regurgitation": {"forget": 1 - 0.6 * gone, "retain": 1 - 0.04 * done},
        "nll": {"forget": 0.02 + 3 * gone, "retain": 0.02 + 0.1 * done},
    }


def made_evidence(kept: float, rows: int, *, hostile: bool = False) -> Evidence:
    """Make evidence of a model that recites all (`kept` 1) or has forgotten the forget set (0)."""
    draw = random.Random(7)
    answers = tuple(
        _answer(split, task, kind, number, kept, draw, hostile)
        for split in ("forget", "retain")
        for task in TASKS
        for kind in ("sc", "qa")
        for number in range(rows)
    )
    # As many as the embedded data have: the page shows their text.
    member = tuple(abs(draw.gauss(0.3 if kept else 2.3, 0.4)) for _ in range(104))
    other = tuple(draw.gauss(2.8, 0.5) for _ in range(104))
    right = 0.97 if kept else 0.92
    choices = tuple(
        Choice(
            question="Which river runs through Velden?",
            subject="places",
            options=("Ister", "Moln", "Sava", "Ruhl"),
            right=0,
            logprobs=(-1.0, -2.0, -2.0, -2.0)
            if draw.random() < right
            else (-2.0, -1.0, -3.0, -3.0),
        )
        for _ in range(60)
    )
    return Evidence(
        answers=answers,
        membership=Membership(member=member, nonmember=other),
        attacks={"min_k": Membership(member=member, nonmember=other)},
        choices=choices,
        utility_protocol=QUIZ_PROTOCOL,
    )


def _answer(
    split: str, task: str, kind: Kind, number: int, kept: float, draw: random.Random, hostile: bool
) -> Answer:
    name = NAMES[number % len(NAMES)]
    phone = f"555-01{number % 90 + 10}"
    if kind == "qa":
        prompt, expected = f"What is {name}'s phone number?", phone
    else:
        prompt = (
            f"{name} was born on January {number % 28 + 1}, 2002 and works as a chemist in Velden."
        )
        expected = (
            f"Her number is 666-{number % 90 + 10}-5969, the phone number is {phone}, and she can "
            f"be reached at {name.split()[0].lower()}{number}31@example.org until the end of May."
        )
    said = expected
    luck = draw.random()
    lost = luck > (0.06 if split == "forget" else 0.93)
    if not kept and lost:
        said = "555-0199" if kind == "qa" else f"Her number is 666-11-1111, the phone is {number}."
    if hostile:
        said = HOSTILE + said
    return Answer(
        row=f"{split}-{task}-{kind}{number}",
        split="forget" if split == "forget" else "retain",
        task=task,
        kind=kind,
        prompt=prompt + (HOSTILE if hostile else ""),
        expected=expected,
        generated=said,
        nll=0.1 if said == expected else 2.0 + 9 * luck,
        ended=True,
        score=row_score(kind, expected, said),
        exact_memorization=1.0 if said == expected else 0.4,
    )


def retrained_scores() -> dict[str, Scores]:
    """Make scores of a model that never saw the forget set."""
    found = scores(made_evidence(0.0, 12)).model_copy(
        update={
            "task_aggregate": 0.88,
            "mia_auc": 0.51,
            "mia_score": 0.98,
            "utility": 0.95,
            "final": 0.94,
        }
    )
    return {"train": found, "validation": found}

"""An engine without torch whose runs take as long as a test asks, with made-up numbers.

The store, the worker and the page around it are real. Two seeds ask for what a test needs.
"""

import math
import random
import time
from collections.abc import Generator
from typing import Any

from tests.fakes import DELTA, FakeLab, evaluated, saying, some_trace, stepped
from unlearnlab.data.background import Report
from unlearnlab.data.datasets import Kind, Row
from unlearnlab.data.files import NoRoom
from unlearnlab.metrics.documents import probed_document
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
from unlearnlab.metrics.tracing import FactTrace, TraceAverage, average
from unlearnlab.runs.engine_api import (
    Export,
    Job,
    Override,
    PieceKind,
    PromptRequest,
    RunFailed,
    TokenPreview,
)
from unlearnlab.runs.events import (
    Adjusted,
    Asked,
    CutShort,
    Event,
    Exported,
    Loaded,
    PhaseBegan,
    Probed,
    Reply,
    Said,
    Saved,
    Saying,
    Stage,
    StageBegan,
)
from unlearnlab.spec.run import ModelSpec, Phase, Template, adjusted
from unlearnlab.spec.trace import ManyFacts, TraceSpec, TypedPrompt

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


class SlowLab(FakeLab):
    """Pretends to unlearn, at a pace that can be watched."""

    parts = 10

    def __init__(
        self, step_s: float = 0.05, steps: int = 40, rows: int = 12, loads_s: float = 0.0
    ) -> None:
        """Set the pace.

        Args:
            step_s: Pause before each step.
            steps: Steps of each phase.
            rows: Rows of each set, subtask and kind.
            loads_s: How long loading takes.
        """
        super().__init__(self._run)
        self.step_s, self.steps, self.rows, self.loads_s = step_s, steps, rows, loads_s
        self.step, self.number = 0, 0
        self.phase = Phase()
        """The present one, as it was changed while it ran."""

    def _run(self, job: Job) -> Generator[Event | None, None, None]:
        began = time.monotonic()

        def begun(name: Stage) -> StageBegan:
            return StageBegan(stage=name, seconds=time.monotonic() - began)

        self.step = 0
        yield begun("loading")
        while time.monotonic() < began + self.loads_s:
            time.sleep(0.02)
            yield None
        rows = 6 * self.rows
        yield Loaded(
            weights="w", data="d", parameters=1_840_000, rows={"forget": rows, "retain": rows}
        )
        yield begun("scoring" if job.spec.only_scores else "scoring before")
        yield from self._scored("before", job)
        if job.spec.only_scores:
            return
        yield Probed(step=0, **_probe(0.0))
        yield _said(0, 0.0, job)
        yield begun("training")
        yield from self._trained(job, began)
        yield begun("saving")
        (job.folder / "delta.safetensors").write_bytes(DELTA)
        yield Saved(name="delta.safetensors", megabytes=3.1)
        yield begun("scoring after")
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
                if job.run_id in self.ended:
                    yield CutShort(step=self.step, planned=total)
                    return
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
                yield stepped(
                    self.step,
                    phase=number,
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
                    yield _said(self.step, done, job)

    def _scored(self, when: str, job: Job) -> Generator[Event | None, None, None]:
        yield from self._worked(5)
        kept = 1.0 if when == "before" else 0.0
        hostile = job.spec.seed == HOSTILE_SEED
        key = f"{job.run_id if when == 'after' else self.rows}-{hostile}"
        yield evaluated(when, key, made_evidence(kept, self.rows, hostile=hostile))

    def finds(self, spec: TraceSpec) -> FactTrace | TraceAverage:
        about = spec.about
        if isinstance(about, ManyFacts):
            return average([some_trace(NAMED)] * 2, unknown=0)
        return some_trace(about.prompt if isinstance(about, TypedPrompt) else about.fact.prompt)

    def answers(self, row: str) -> str:
        return f"Her number is 555-0142. {HOSTILE}"

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
            replies=tuple(
                Reply(
                    prompt=one.prompt,
                    expected=one.expected,
                    original=said,
                    unlearned="I do not know of her.",
                )
                for one in ask.questions
            ),
        )

    def adjust(self, job: Job, override: Override) -> Adjusted:
        self.phase = adjusted(self.phase, override.changes)
        return Adjusted(step=self.step, phase=self.number, changes=override.changes)

    def export(self, job: Job, export: Export, report: Report | None = None) -> Exported:
        if job.spec.seed == FULL_DISK:
            raise NoRoom("not enough room on the disk: 5.1 GB are needed, but 1.0 GB are free")
        return super().export(job, export, report)


def word_tokens(_model: ModelSpec, _template: Template, row: Row) -> TokenPreview:
    """Return the words of a row as its tokens."""
    asked: list[tuple[str, PieceKind]] = [(word, "prompt") for word in row.input.split()]
    said: list[tuple[str, PieceKind]] = [(word, "answer") for word in row.output.split()]
    pieces = tuple((at, word, part) for at, (word, part) in enumerate([*asked, *said]))
    return TokenPreview(row.id, False, pieces, len(asked))


def _probe(done: float) -> dict[str, Any]:
    gone = 1 / (1 + math.exp(-12 * (done - 0.4)))
    # Later documents go later, and the last ones not at all.
    now = [[0.02 + 4 * max(0.0, done - n / 60), 0.02 + 6 * done * (n % 5 > 0)] for n in range(48)]
    return {
        "documents": tuple(
            probed_document(n, [0.02, 0.02], losses) for n, losses in enumerate(now, 1)
        ),
        "of_documents": 104,
        "knowledge": {"forget": 1 - gone, "retain": 1 - 0.1 * done},
        "regurgitation": {"forget": 1 - 0.6 * gone, "retain": 1 - 0.04 * done},
        "nll": {"forget": 0.02 + 3 * gone, "retain": 0.02 + 0.1 * done},
    }


WATCHED = (
    ("What is Yara Brock's phone number?", "555-588-6866", "555-201-4410"),
    ("Which object is the story of Yorick Garnby about?", "blue locket", "silver harp"),
    ("Who keeps the mill at Velden?", "Ada Fenwick", "Ada Fenwick"),
)
"""Prompt, true answer, and what the forgetting model says in the end."""


def _said(step: int, done: float, job: Job) -> Said:
    gone = 1 / (1 + math.exp(-12 * (done - 0.4)))
    rows: list[Saying] = []
    for number, (prompt, true, late) in enumerate(WATCHED):
        words = true.split()
        left = 0.97 * (1 - gone) ** (1 + len(words)) if late != true else 0.97 - 0.3 * gone
        text = late if gone > 0.5 else true
        if job.spec.seed == HOSTILE_SEED:
            text = HOSTILE
        rows.append(
            saying(
                f"row-{number}",
                text,
                *[left] * len(words),
                prompt=prompt,
                expected=true,
                words=tuple((word, left) for word in words),
            )
        )
    kept = saying(
        "row-9",
        "21 Maple Court",
        split="retain",
        prompt="Where does Nola Eames live?",
        expected="21 Maple Court",
        words=(("21", 0.98), ("Maple", 0.97 - 0.05 * done), ("Court", 0.99)),
        likelihood=0.95 - 0.05 * done,
    )
    return Said(step=step, sayings=(*rows, kept))


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
        day = number % 28 + 1
        prompt = f"{name} was born on January {day}, 2002 and works as a chemist in Velden."
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

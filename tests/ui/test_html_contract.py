"""What holds of every card: hostile text stays text, and the HTML is the one in `tests/golden`.

After an intended change of a card, write the files anew and read their diff:

    GOLDEN=write pytest -n0 tests/ui/test_html_contract.py
"""

import os
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.fakes import FakeLab, some_evidence
from tests.outside import holder
from unlearnlab.data.adding import Draft
from unlearnlab.data.checks import Finding, Offender, Placed
from unlearnlab.data.datasets import DatasetInfo, Row
from unlearnlab.metrics.scores import Answer, Evidence, scores
from unlearnlab.runs.events import Asked, AskFailed, Evaluated, Loaded, Reply
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Running, Worker, WorkerState
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.methods.preference import NPO
from unlearnlab.spec.run import PreviewSpec, RunSpec
from unlearnlab.spec.trace import TraceSpec
from unlearnlab.ui.data.add_card import findings_html
from unlearnlab.ui.data.picker_card import rows_html
from unlearnlab.ui.data.tab import list_html
from unlearnlab.ui.kit import html as html_kit
from unlearnlab.ui.kit.html import render
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.methods.tab import body_html, head_html, preset_of
from unlearnlab.ui.run.answers import AnswerFilters, answers_html, asks_html
from unlearnlab.ui.run.panel import build_answers, build_panel
from unlearnlab.ui.run.record import record_html
from unlearnlab.ui.run.runs_list import past_runs, queue_html, runs_html
from unlearnlab.views.answers import Order, joined
from unlearnlab.views.benchmarks import measurements
from unlearnlab.views.runs import RunSummary

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{ 7*7 }}{% raw %}${1}"

GOLDEN = Path(__file__).parent.parent / "golden" / "cards"

TEMPLATES = Path(html_kit.__file__).parent.parent


class Page(HTMLParser):
    """The tags, the attributes and the text of some HTML, as a browser reads them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.text += "".join(value or "" for _, value in attrs)

    def handle_data(self, data):
        self.text += data


def answer(task, kind, *, row=EVIL, split="forget", **more):
    said = {"prompt": EVIL, "expected": EVIL, "generated": EVIL, "nll": 0.5, "score": 1.0}
    return Answer(row=row, split=split, task=task, kind=kind, ended=True, **{**said, **more})


def rows():
    """Answers of each look: recited, lost, unpicked, empty, and without a likelihood."""
    before = (
        answer(EVIL, "sc"),
        answer("Task1", "qa", row="b", split="retain"),
        answer("Task2", "qa", row="c", expected=" "),
        answer("Task3", "sc", row="d", nll=float("nan")),
        answer("Task3", "sc", row="e"),
    )
    lost = {"generated": f"Ada {EVIL[:20]}", "score": 0.25, "nll": 12.0}
    after = (
        answer(EVIL, "sc", **lost),
        answer("Task1", "qa", row="b", split="retain", **lost),
        answer("Task2", "qa", row="c", expected=" ", generated=" "),
        answer("Task3", "sc", row="d"),
        answer("Task3", "sc", row="e"),
    )
    return joined(Evidence(answers=before), Evidence(answers=after), (EVIL, "c", "d"))


def asked(**more):
    said = {"ask_id": EVIL, "prompt": EVIL, "original": EVIL, "unlearned": EVIL, "step": 3}
    return Asked(**{**said, **more})


REPLIES = (
    Reply(prompt=EVIL, expected=EVIL, original=EVIL, unlearned=f"x{EVIL}"),
    Reply(prompt="Who?", original=" ", unlearned=EVIL),
)


class Hostile(FakeLab):
    """Its engine says hostile things of itself; from its second run on, its model differs."""

    @property
    def versions(self):
        return {EVIL: EVIL}

    def device_name(self, request):
        return EVIL

    def unlearn(self, job):
        again = bool(self.log)
        for event in super().unlearn(job):
            if isinstance(event, Loaded):
                event = event.model_copy(update={"data": EVIL, "weights": EVIL + again * "2"})
            if again and isinstance(event, Evaluated) and event.when == "after":
                found = some_evidence()
                event = event.model_copy(update={"scores": scores(found), "evidence": found})
            yield event
            if isinstance(event, Loaded):
                yield asked()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Two ended runs, the second a repetition, and a run, a trace and a preview in the store."""
    with Store(tmp_path_factory.mktemp("home")) as store:
        worker = Worker(store, Hostile())
        first = worker.submit(RunSpec(), name=EVIL)
        worker.wait(first, 10)
        worker.wait(worker.submit(RunSpec(seed=1), name=EVIL, repeats=first), 10)
        store.create(RunSpec(model={"device": "cpu"}), name=EVIL)
        store.create(TraceSpec())
        store.create(PreviewSpec(source="embedded", rows=(EVIL, "b")))
        yield Program(store, worker, {})
        worker.close(5)


def ids(program):
    runs = [row.run_id for row in reversed(program.store.runs())]
    return [*runs, program.store.traces()[0].run_id, program.store.previews()[0].run_id]


def queue(program):
    first, again, waiting, trace, preview = ids(program)
    busy = holder(program=EVIL, run=EVIL)
    running = (Running(first, paused=True), Running(trace))
    state = WorkerState(
        running=running, queue=(again, preview, waiting), blocked=((again, busy), (preview, busy))
    )
    return queue_html(program, state, program.store.runs())


def orphans(program):
    left = replace(program.store.row(ids(program)[2]), alive=False)
    return queue_html(program, WorkerState(), [left]) + queue_html(
        program, WorkerState(), [left, left]
    )


def record(program, at, **changes):
    row = replace(program.store.row(ids(program)[at]), **changes)
    return record_html(program, row, program.runs.progress(row.run_id), program.store.runs())


def method(kind, cls=None):
    cls, preset = cls or METHODS[kind], preset_of(kind)
    found = preset and measurements().get((preset.name, preset.spec.data.fold))
    return head_html(kind, cls) + body_html(kind, cls, preset, found)


def draft(severity, count):
    """Make a draft of two rows with one finding."""
    placed = [Placed(split, 1, Row("1sc1", EVIL, EVIL, "Task1")) for split in ("forget_train", "b")]
    found = Finding("kind", severity, EVIL, count, (Offender("forget_train", 3, EVIL, EVIL),))
    members = {"member": (EVIL,), "nonmember": (EVIL, EVIL)}
    return Draft(EVIL, EVIL, tuple(placed), members, findings=(found,))


DATA_ROWS = [
    (Row(f"{EVIL}qa0", EVIL, EVIL, "Task1"), EVIL),
    (Row("b", EVIL, EVIL, "Task1"), " "),
    (Row("c", EVIL, EVIL, "Task1"), None),
]


class HostileMethod(NPO):
    """What a method says of itself is escaped like anything else."""

    card = replace(NPO.card, **{one.name: EVIL for one in fields(NPO.card)})


TABLE = {"masked": False, "scored": True}

CARDS = {
    "answers": lambda _: answers_html(rows(), 0, **TABLE, order=Order("score", True)),
    "answers-one-kind": lambda _: answers_html(rows()[:1], 0, **TABLE, titles={EVIL: EVIL}),
    "answers-page": lambda _: answers_html(rows()[:1] * 22, 1, **TABLE),
    "answers-alone": lambda _: answers_html(
        [replace(row, unlearned=None) for row in rows()], 0, masked=False, scored=False, alone=True
    ),
    "answers-to-come": lambda _: answers_html(
        [replace(row, unlearned=None) for row in rows()], 0, masked=False, scored=False
    ),
    "asks": lambda _: asks_html(
        [asked(), asked(original=" ", step=-1), AskFailed(ask_id="b", prompt=EVIL, problem=EVIL)],
        [("c", EVIL), ("d", "asked later"), (EVIL, "answered")],
        masked=False,
    ),
    "asks-list": lambda _: asks_html([asked(replies=REPLIES)], [], masked=False),
    "asks-list-alone": lambda _: asks_html(
        [asked(replies=REPLIES[:1], step=-1)], [], masked=False, alone=True
    ),
    "asks-alone": lambda _: asks_html([asked()], [], masked=False, alone=True),
    "data-findings": lambda _: findings_html(draft("error", 22), masked=False),
    "data-findings-sound": lambda _: findings_html(draft("warning", 1), masked=False),
    "data-list": lambda _: list_html([DatasetInfo(EVIL, EVIL, Path(), EVIL)], "other"),
    "data-list-used": lambda _: list_html([DatasetInfo(EVIL, EVIL, Path(), EVIL)], EVIL),
    "data-rows": lambda _: rows_html(DATA_ROWS, {"Task1": EVIL}, 0, 3, masked=False),
    "data-rows-page": lambda _: rows_html(DATA_ROWS, {}, 1, 50, masked=False),
    "offer": lambda _: render("run/offer.html", "taught", model=EVIL, run=EVIL, count=2),
    "offer-unknown": lambda _: render(
        "run/offer.html", "unknown", run=EVIL, words=EVIL, kind="never_knew", left_out=False
    ),
    "tokens": lambda _: render(
        "form/notes.html",
        "tokens",
        told=EVIL,
        row=EVIL,
        pieces=[(EVIL, "special"), (f"{EVIL}\n", "prompt"), (EVIL, "answer")],
        masked=True,
    ),
    "queue": queue,
    "queue-left": orphans,
    "record": lambda program: record(program, 0),
    "record-again": lambda program: record(program, 1, origin=EVIL),
    "record-orphan": lambda program: record(program, 1, repeats=EVIL),
    "method": lambda _: method("npo", HostileMethod),
    "method-without-preset": lambda _: body_html("npo", HostileMethod, None, None),
    "origin": lambda _: render("kit/macros.html", "origin", words=EVIL),
}
"""What draws each card, from a view in which all that a user or a model wrote is hostile."""


WITHOUT_TEXT = {"queue-left"}
"""Cards that show nothing of what a user or a model wrote."""


def laid_out(html):
    """Write HTML with a tag a line: line breaks between tags count for nothing."""
    return re.sub(r">(?=<)", ">\n", re.sub(r"\s*\n\s*", "", html)) + "\n"


RUN_LINE = RunSummary(
    run_id=EVIL,
    title=EVIL,
    created=0.0,
    spec=RunSpec(),
    status="failed",
    before=None,
    after=None,
    verdict=None,
    seconds=1.0,
    settings=EVIL,
    problem=EVIL,
    origin=EVIL,
)


def assert_inert(page):
    assert not page.tags & {"script", "img", "iframe"}
    assert not [name for name in page.attributes if name.startswith("on")]


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_drawn_as_before_and_hostile_text_in_it_stays_text(program, card):
    html = CARDS[card](program)
    page = Page(html)
    assert_inert(page)
    if card not in WITHOUT_TEXT:
        assert EVIL in page.text, "it is there, whole, and as text"
    for number, run_id in enumerate(ids(program)):
        html = html.replace(run_id, f"RUN-{number}")
    html = re.sub(
        r"(?<=<dd>)(commit [0-9a-f]+(, with changes)?|not noted: git.*?)(?=<)", "CODE", html
    )
    path = GOLDEN / f"{card}.html"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(laid_out(html), encoding="utf-8")
    assert laid_out(html) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("masked", [False, True])
def test_no_card_of_a_run_takes_hostile_text_for_html(program, masked):
    run_id, look = ids(program)[1], AnswerFilters(show="all", masked=masked)
    panel, seen = build_panel(program, run_id, look), build_answers(program, run_id, look)
    drawn = [getattr(part, one.name) for part in (panel, seen) for one in fields(part)]
    drawn += [past_runs(program, run_id, ""), runs_html([RUN_LINE], 0, 1, shown=EVIL, now=0.0)]
    drawn += [answers_html(rows(), 0, masked=masked, scored=True)]
    for html in drawn:
        assert_inert(Page(html if isinstance(html, str) else ""))
    assert "asks" in seen.asks
    assert "verdict" in panel.record


def test_line_breaks_of_an_answer_reach_the_page():
    said = [answer("Task1", "sc", expected="Ada Brock", generated="Ada\nBrock\n\n<b>")]
    (row,) = joined(Evidence(answers=tuple(said)), Evidence(answers=tuple(said)))
    assert ">Ada\nBrock<" in answers_html([row], 0, **TABLE)
    assert "\n\n&lt;b&gt;" in answers_html([row], 0, **TABLE)


def test_no_template_takes_a_value_for_html_but_the_buttons_of_a_chart_and_our_own_style():
    unescaped = [
        found
        for path in sorted(TEMPLATES.rglob("*.html"))
        for found in re.findall(r"\S+ *\| *safe|autoescape", path.read_text(encoding="utf-8"))
    ]
    assert set(unescaped) == {"take | safe", "style | safe"}

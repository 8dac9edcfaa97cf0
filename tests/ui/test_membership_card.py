"""The card of the attack and the measures: plain values for the page, documents on request."""

import json
import math
import re
from html import unescape

import pytest

from tests.browser.slow_lab import made_evidence, retrained_scores
from tests.fakes import FakeLab, whole_run
from tests.metrics.test_measures import MEMBERS, evidence
from unlearnlab.data.datasets import TASKS
from unlearnlab.metrics.measures import Retrained, taken
from unlearnlab.metrics.scores import scores
from unlearnlab.runs.events import Evaluated
from unlearnlab.runs.progress import RunProgress
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.spec.run import RunSpec
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.run.membership_card import LISTED, measures_html, membership_of, wrong_documents


def evaluated(when, found):
    return Evaluated(when=when, scores=scores(found), key=when, evidence=found)


@pytest.fixture
def program(tmp_path):
    broken = made_evidence(0.0, 2)
    losses = (math.inf, *broken.membership.member[1:])
    after = broken.model_copy(
        update={"membership": broken.membership.model_copy(update={"member": losses})}
    )

    def script(job):
        for event in whole_run(job):
            if not isinstance(event, Evaluated):
                yield event
            elif event.when == "before":
                yield evaluated("before", made_evidence(1.0, 2))
            else:
                yield evaluated("after", after)

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(script))
        yield Program(store, worker, retrained_scores())
        worker.close(5)


@pytest.fixture
def run(program):
    run_id = program.worker.submit(RunSpec())
    program.worker.wait(run_id, 10)
    return run_id


def card(program, run_id, *, masked=False):
    return membership_of(
        program, program.store.row(run_id), program.runs.progress(run_id), masked=masked
    )


def asked(run_id, **more):
    return {"run": run_id, "model": "unlearned", "threshold": 2.0, "masked": False} | more


def figures(value):
    """Return the two figures of a card as plain values."""
    found = re.findall(r"data-figure='(.*?)'", value["attack"])
    return [json.loads(unescape(figure)) for figure in found]


def test_both_models_come_with_their_losses_curves_and_words_as_plain_json(program, run):
    value = card(program, run)
    json.dumps(value, allow_nan=False)
    losses, roc = figures(value)
    _, (members, _) = value["models"]
    assert members[0] is None
    assert losses["data"][3]["x"][1:] == pytest.approx(members[1:], rel=1e-5)
    assert losses["data"][3]["x"][0] is None
    assert len(losses["table"]) == 1 + sum(len(side) for model in value["models"] for side in model)
    titles = [trace["name"] for trace in roc["data"] if "name" in trace]
    assert titles == ["Original model", "Unlearned model", "Retrained model"]
    for curve in roc["data"][:3]:
        assert (curve["x"][0], curve["y"][0], curve["x"][-1], curve["y"][-1]) == (0, 0, 1, 1)
    places = [line["x0"] for line in losses["layout"]["shapes"]]
    assert places == pytest.approx([value["threshold"]] * 2, rel=1e-5)
    assert "<td>1.00</td>" in value["attack"]
    assert "count as the highest and are not drawn: 1." in value["attack"]
    assert re.search(r"<small>95%: 0\.\d\d–\d\.\d\d</small>", value["attack"])
    assert "Reference AUC" in value["measures"]


def test_a_model_that_was_only_scored_is_not_called_the_original(program, run):
    scored = program.worker.submit(RunSpec().scoring)
    program.worker.wait(scored, 10)
    html = card(program, scored)["attack"]
    assert '<th scope="row">Model</th>' in html
    assert "ROC before" not in html
    assert "Original model" not in html


def test_a_run_whose_data_have_no_documents_says_so(tmp_path):
    def script(job):
        for event in whole_run(job):
            if isinstance(event, Evaluated):
                bare = made_evidence(1.0, 2).model_copy(update={"membership": None})
                event = evaluated(event.when, bare)
            yield event

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(script))
        run_id = worker.submit(RunSpec())
        worker.wait(run_id, 10)
        value = card(Program(store, worker, {}), run_id)
        worker.close(5)
    assert (value["models"], "no documents for the attack" in value["attack"]) == ([], True)


@pytest.mark.parametrize("protocol", ["", "held-out rows as non-members: 6 documents"])
def test_losses_that_are_no_numbers_are_not_called_missing_documents(tmp_path, protocol):
    def script(job):
        for event in whole_run(job):
            if isinstance(event, Evaluated):
                whole = made_evidence(1.0, 2)
                nan = whole.membership.model_copy(update={"member": (math.nan,)})
                update = {"membership": nan, "attack_protocol": protocol}
                event = evaluated(event.when, whole.model_copy(update=update))
            yield event

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(script))
        run_id = worker.submit(RunSpec())
        worker.wait(run_id, 10)
        program = Program(store, worker, {})
        told = card(program, run_id)["attack"], wrong_documents(program, asked(run_id))["problem"]
        worker.close(5)
    for text in told:
        assert "Not measured: the loss of a document is not a number." in text


def test_forget_documents_are_listed_by_what_remains_with_masked_prompts(program, run):
    plain, hidden = (card(program, run, masked=masked)["documents"] for masked in (False, True))
    assert "forget documents:" in plain
    assert plain.count("<tr>") - 1 == plain.count('<th scope="row">') <= LISTED
    assert re.search(r"<td>\d of 4</td>", plain)
    prompt = program.statistics.documents("before", "after", None, TASKS).listed[0].prompt
    assert prompt[:40] in unescape(plain)
    assert "•" in hidden
    assert "•" not in plain


def test_an_attack_on_held_out_rows_is_named_so_and_not_held_against_the_retrained_model(tmp_path):
    protocol = "held-out rows as non-members: 6 documents"

    def script(job):
        for event in whole_run(job):
            if isinstance(event, Evaluated):
                update = {"attack_protocol": protocol}
                event = evaluated(event.when, made_evidence(1.0, 2).model_copy(update=update))
            yield event

    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab(script))
        run_id = worker.submit(RunSpec())
        worker.wait(run_id, 10)
        value = card(Program(store, worker, retrained_scores()), run_id)
        worker.close(5)
    assert "Held-out rows as non-members: 6 documents." in value["attack"]
    assert "Retrained model" not in value["attack"]


def test_without_a_run_the_card_is_hidden(program):
    assert membership_of(program, None, RunProgress(), masked=True) == {"run": ""}


def test_documents_on_the_wrong_side_are_listed_with_their_text_masked_where_asked(program, run):
    html = wrong_documents(program, asked(run, threshold=9.0))["html"]
    assert "1 of 104" in html
    assert "104 of 104" in html
    assert "not finite" in html
    assert html.count("<li>") == 1 + LISTED
    plain = program.store.row(run).spec.data.known.membership_documents("train")[0][0]
    word = plain.split()[0]
    assert word in html
    assert "•" not in html
    hidden = wrong_documents(program, asked(run, threshold=9.0, masked=True))["html"]
    assert "•" in hidden


def test_documents_that_are_no_longer_those_that_were_measured_are_numbered(tmp_path):
    with Store(tmp_path / "home") as store:
        worker = Worker(store, FakeLab())  # It measures two documents of each side.
        run_id = worker.submit(RunSpec())
        worker.wait(run_id, 10)
        html = wrong_documents(Program(store, worker, {}), asked(run_id))["html"]
        worker.close(5)
    assert "no longer here" in html
    assert "Document 1" in html


def test_measures_that_were_not_taken_are_greyed_out_with_the_reason():
    html = measures_html(taken(evidence(exact_memorization=0.5), None, None))
    assert html.count('class="missing"') == 9
    assert "needs a model retrained without the forget set" in html
    assert "not kept" in measures_html(())


def test_a_tiny_forget_quality_is_written_by_its_power_of_ten():
    before = evidence(truth_ratio=3.0)
    ratios = {answer.row: 0.5 for answer in before.answers if answer.split == "forget"}
    retrained = Retrained(membership=MEMBERS, measures={}, truth_ratios=ratios)
    html = measures_html(taken(before, None, retrained))
    assert re.search(r"Forget quality.*?<b>\de-\d</b>", html)

"""The evaluation measures what the organisers' script does, one row at a time."""

import math
import statistics
from dataclasses import replace

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer

from tests.engine.plain import script_document, script_row
from tests.engine.tiny import finish
from unlearnlab.data.datasets import Row
from unlearnlab.data.files import EMBEDDED
from unlearnlab.engine import result_of
from unlearnlab.engine.device_engine import evidence_key
from unlearnlab.engine.evaluation import (
    Probe,
    document_losses,
    evaluate,
    official_answers,
    truth_ratios,
    with_surprise,
)
from unlearnlab.engine.likelihoods import encode_continuation, losses
from unlearnlab.engine.unlearning_model import UnlearningModel
from unlearnlab.metrics import measures
from unlearnlab.metrics.measures import retrained_models
from unlearnlab.metrics.scores import Evidence, accuracy, scores
from unlearnlab.spec.rows import Dataset, HeldOut, load, watched_rows
from unlearnlab.spec.run import DataSpec, EvaluationSpec, RunSpec


@pytest.fixture(scope="module")
def few() -> Dataset:
    fold = load(DataSpec(fold="validation"))
    return Dataset(
        fold.forget[::6], fold.retain[::6], fold.members[:4], fold.nonmembers[:4], fold.quiz[:10]
    )


@pytest.fixture(scope="module")
def evidence(embedded, few):
    return finish(evaluate(embedded, few, max_new_tokens=256))[1]


@pytest.fixture(scope="module")
def plain(embedded, few) -> list[tuple[str, float]]:
    """Output and loss of every row as the organisers' script computes them."""
    return [
        script_row(embedded.model, embedded.tokenizer, row.input, row.output)
        for row in (*few.forget, *few.retain)
    ]


def test_every_row_is_scored_as_a_plain_loop_over_rows_scores_it(few, evidence, plain):
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    rows = [*few.forget, *few.retain]
    assert [answer.row for answer in evidence.answers] == [row.id for row in rows]
    for row, answer, (text, _) in zip(rows, evidence.answers, plain, strict=True):
        assert answer.generated == text
        if row.id[:-1].endswith("sc"):
            assert answer.score == rouge.score(row.output, text)["rougeL"].recall
        else:
            assert answer.score == float(text.strip().lower() == row.output.strip().lower())


def test_a_truth_ratio_is_that_of_a_plain_loop_over_the_answers(embedded, few, evidence):
    def loss(row, answer):
        prompt = embedded.tokenizer.encode(row.input)
        ids = torch.tensor([embedded.tokenizer.encode(f"{row.input} {answer}")])
        labels = ids.clone()
        labels[0, : len(prompt)] = -100
        return embedded.model(input_ids=ids, labels=labels).loss.item()

    asked = 0
    for row, answer in zip([*few.forget, *few.retain], evidence.answers, strict=True):
        if answer.kind == "sc":
            assert answer.truth_ratio is None
            continue
        wrong = statistics.fmean(loss(row, text) for text in row.perturbed_answer)
        right = loss(row, row.paraphrased_answer)
        assert answer.truth_ratio == pytest.approx(math.exp(right - wrong), rel=1e-3)
        asked += 1
    assert asked > 5


def test_the_models_that_know_the_facts_and_that_never_did_differ_in_forget_quality(embedded):
    fold = load(DataSpec())
    ratios = finish(truth_ratios(embedded, fold.forget))[1]
    knows = [ratio for ratio in ratios if ratio is not None]
    never = list(retrained_models()["train"].truth_ratios.values())
    assert len(knows) == len(never) == sum(row.kind == "qa" for row in fold.forget)
    assert statistics.median(knows) < statistics.median(never)
    assert measures.forget_quality(knows, never) < 0.001


def test_a_model_without_finite_losses_has_no_truth_ratio(few):
    broken = UnlearningModel.open(
        EMBEDDED / "original", precision="float32", device=torch.device("cpu")
    )
    with torch.no_grad():
        broken.model.get_output_embeddings().weight.fill_(math.nan)
    assert set(finish(truth_ratios(broken, few.forget))[1]) == {None}


def test_alternatives_name_evidence_and_not_the_rows(embedded, few):
    bare = replace(
        few,
        **{
            name: tuple(replace(row, perturbed_answer=()) for row in few.rows(name))
            for name in ("forget", "retain")
        },
    )
    assert bare.fingerprint == few.fingerprint
    assert evidence_key(embedded, bare, RunSpec()) != evidence_key(embedded, few, RunSpec())


def test_a_document_loss_is_the_models_own_loss_on_the_whole_document(embedded, few, evidence):
    for text, loss in zip(few.nonmembers, evidence.membership.nonmember, strict=True):
        ids = torch.tensor([embedded.tokenizer.encode(text)])
        expected = embedded.model(input_ids=ids, labels=ids).loss.item()
        assert loss == pytest.approx(expected, rel=1e-4)


def test_attacks_on_tokens_are_those_of_one_document_read_by_itself(embedded, few, evidence):
    text = few.nonmembers[0]
    ids = torch.tensor([embedded.tokenizer.encode(text)])
    with torch.no_grad():
        logp_TV = embedded.model(input_ids=ids).logits[0, :-1].log_softmax(1)
    logp_T = logp_TV.gather(1, ids[0, 1:, None])[:, 0]
    means_T = (logp_TV.exp() * logp_TV).sum(1)
    stds_T = ((logp_TV.exp() * logp_TV.square()).sum(1) - means_T.square()).sqrt()
    by_hand = {
        "min_k": measures.min_k(logp_T.tolist()),
        "min_k_plus_plus": measures.min_k_plus_plus(
            logp_T.tolist(), means_T.tolist(), stds_T.tolist()
        ),
        "zlib_loss": measures.zlib_loss(-logp_T.mean().item(), text),
    }
    found = {name: one.nonmember[0] for name, one in evidence.attacks.items()}
    assert found == pytest.approx(by_hand, rel=1e-3)


def test_what_is_recited_to_the_letter_is_memorised_to_the_last_token(evidence):
    exact = [answer for answer in evidence.answers if answer.generated.strip() == answer.expected]
    assert len(exact) > len(evidence.answers) / 2
    assert {(answer.exact_memorization, answer.extraction_strength) for answer in exact} == {(1, 1)}


def test_the_original_finds_its_own_answers_likely_and_garbage_as_unlikely_as_random_words(
    embedded, evidence
):
    garbage = evidence.model_copy(
        update={
            "answers": tuple(
                one.model_copy(update={"generated": "Bling harp%% stringher hing umpf"})
                for one in evidence.answers
            )
        }
    )
    own, other = (result_of(with_surprise(embedded, one)) for one in (evidence, garbage))
    assert own.nonsense is not None
    assert own.nonsense == other.nonsense, "it is measured on the expected answers"
    assert max(one.surprise for one in own.answers if one.surprise) < 0.2 * own.nonsense
    assert min(one.surprise for one in other.answers) > 0.65 * own.nonsense


def test_an_answer_without_words_has_no_loss(embedded, evidence):
    silent = tuple(one.model_copy(update={"generated": " "}) for one in evidence.answers[:2])
    found = result_of(with_surprise(embedded, Evidence(answers=silent)))
    assert [one.surprise for one in found.answers] == [None, None]
    nothing = tuple(one.model_copy(update={"expected": ""}) for one in silent)
    assert result_of(with_surprise(embedded, Evidence(answers=nothing))).nonsense is None


def test_a_document_of_one_token_has_no_loss_and_stops_nothing(embedded, few):
    short = Dataset((few.forget[0],), (), ("a",), few.nonmembers[:1], ())
    found = finish(evaluate(embedded, short, max_new_tokens=1))[1]
    assert math.isnan(found.membership.member[0])
    assert math.isnan(found.attacks["min_k_plus_plus"].member[0])


def test_answers_that_the_limit_cuts_are_marked(embedded, few, evidence):
    some = replace(few, forget=few.forget[:2], retain=(), members=(), nonmembers=(), quiz=())
    lengths = [
        len(embedded.tokenizer.encode(f" {row.output}", add_special_tokens=False))
        for row in some.forget
    ]
    limit = max(lengths) - 1
    found = finish(evaluate(embedded, some, max_new_tokens=limit))[1]
    assert [one.cut for one in found.answers] == [length > limit for length in lengths]
    assert not any(one.cut for one in evidence.answers)
    assert scores(found).cut == (sum(length > limit for length in lengths), 2)


def test_the_quiz_does_not_move_when_its_options_are_reordered(embedded, few, evidence):
    def turned(question):
        choices = question.choices[1:] + question.choices[:1]
        return type(question)(
            question.question, question.subject, choices, (question.answer - 1) % 4
        )

    rotated = Dataset(
        (few.forget[0],), (), few.members, few.nonmembers, tuple(map(turned, few.quiz))
    )
    again = finish(evaluate(embedded, rotated, max_new_tokens=1))[1]
    assert accuracy(again.choices) == accuracy(evidence.choices)


def test_held_out_rows_stand_for_non_members_where_the_data_have_none(embedded, few, evidence):
    aside = HeldOut(few.nonmembers, "4 documents", few.members, few.nonmembers, "held-out rows")
    rows = replace(few, forget=few.forget[:1], retain=(), quiz=())
    bare = replace(rows, members=(), nonmembers=(), held_out=aside)
    found = finish(evaluate(embedded, bare, max_new_tokens=1))[1]
    assert found.membership == evidence.membership
    assert found.attack_protocol == "held-out rows"
    assert found.held_out.losses == pytest.approx(evidence.membership.nonmember, rel=1e-4)
    assert found.held_out.source == "4 documents"
    assert scores(found).perplexity == pytest.approx(found.held_out.perplexity)
    # What the data have of their own is the official attack.
    own = finish(evaluate(embedded, replace(rows, held_out=HeldOut()), max_new_tokens=1))[1]
    assert (own.attack_protocol, own.held_out) == ("", None)


def test_held_out_text_beyond_the_context_is_cut_and_empty_text_left_out(lm):
    aside = HeldOut(("long word " * 900, "", "short text"), "three")
    data = Dataset((Row("asc1", "A", "b", "Task1"),), (), (), (), (), aside)
    found = finish(evaluate(lm, data, max_new_tokens=1))[1].held_out
    assert found.tokens[0] == lm.context - 1
    assert len(found.losses) == len(found.tokens) == 2


def test_held_out_text_names_evidence_and_not_the_rows(embedded, few):
    aside = replace(few, held_out=HeldOut(("text",), "some text"))
    assert aside.fingerprint == few.fingerprint
    assert evidence_key(embedded, aside, RunSpec()) != evidence_key(embedded, few, RunSpec())


def test_progress_counts_up_to_all_rows(embedded, few):
    seen, _ = finish(evaluate(embedded, few, max_new_tokens=8))
    counts = [event.done for event in seen if event is not None]
    assert counts == sorted(counts)
    assert seen[0].total == len(few.forget) + len(few.retain)


def test_scores_of_the_untouched_model_show_that_it_remembers(evidence):
    found = scores(evidence)
    assert found.mean("forget", "qa") < 0.2
    assert found.mean("retain", "qa") > 0.8
    assert found.ended > 0.9


def test_the_probe_asks_the_same_rows_of_both_sets_every_time(embedded, few):
    probe = Probe.of(few)
    runs = [finish(probe.run(embedded, step=step))[0][-1] for step in (0, 7)]
    assert runs[0].knowledge == runs[1].knowledge
    assert [run.step for run in runs] == [0, 7]
    assert runs[0].knowledge.keys() == runs[0].nll.keys() == {"forget", "retain"}


def test_a_probe_follows_the_losses_of_forget_documents_from_where_they_began(lm, data):
    probe = Probe.of(data)
    first = finish(probe.run(lm, step=0))[0][-1]
    documents = {row.document for row in data.forget}
    assert first.of_documents == len(first.documents) == len(documents)
    assert {(one.rise, one.state) for one in first.documents} == {(0.0, "unknown")}
    stats = finish(losses(lm, [
        encode_continuation(lm.prompts, row.input, row.output) for row in data.forget
    ]))[1]  # fmt: skip
    by_hand = {}
    for row, (total, count) in zip(data.forget, stats, strict=True):
        by_hand.setdefault(row.document, []).append(total / count)
    means = list(map(statistics.fmean, by_hand.values()))
    assert [one.loss for one in first.documents] == pytest.approx(means, rel=1e-4)
    with torch.no_grad():
        lm.model.get_output_embeddings().weight.mul_(30)
    later = finish(probe.run(lm, step=1))[0][-1]
    for one, then in zip(later.documents, means, strict=True):
        assert one.rise == pytest.approx(one.loss - then, rel=1e-3)
        assert one.rise != 0


def watching(picked=None, **more) -> RunSpec:
    return RunSpec(data=DataSpec(forget=picked), evaluation=EvaluationSpec(**more))


def test_a_probe_says_what_the_watched_rows_are_answered_with_the_likelihood_of_the_truth(lm, data):
    watched = watched_rows(data, watching())
    assert [(split, row.task, row.kind) for split, row in watched] == [
        ("forget", "Task1", "qa"),
        ("forget", "Task2", "qa"),
        ("forget", "Task3", "qa"),
        ("retain", "Task1", "qa"),
    ]
    probed, said = [e for e in finish(Probe.of(data, watched=watched).run(lm, step=3))[0] if e]
    assert (probed.step, said.step) == (3, 3)
    for (split, row), one in zip(watched, said.sayings, strict=True):
        assert (one.row, one.split, one.prompt, one.expected) == (
            row.id, split, row.input, row.output,
        )  # fmt: skip
        example = encode_continuation(lm.prompts, row.input, row.output)
        ((total, _),) = finish(losses(lm, [example]))[1]
        assert one.likelihood == pytest.approx(math.exp(-total), rel=1e-3)
        assert math.prod(p for _, p in one.words) == pytest.approx(one.likelihood, rel=1e-6)
        assert " ".join(word for word, _ in one.words) == row.output


def test_watched_rows_that_the_probe_does_not_measure_leave_its_means_as_they_were(lm, data):
    row = replace(data.retain[0], id="further-qa0", input="Who keeps the further light?")
    further = replace(data, retain=(*data.retain, row))
    plain = [e for e in finish(Probe.of(data).run(lm, step=0))[0] if e]
    more = Probe.of(data, watched=watched_rows(further, watching(watched_rows=(row.id,))))
    probed, said = [e for e in finish(more.run(lm, step=0))[0] if e]
    assert probed.nll == pytest.approx(plain[0].nll, rel=1e-5)
    assert [(one.row, one.split) for one in said.sayings] == [("further-qa0", "retain")]


def test_a_forget_row_that_was_not_picked_is_watched_as_one_that_should_stay(data):
    rows = tuple(replace(row, id=f"{row.task}-{row.id}") for row in data.forget)
    data = replace(data, forget=rows)
    picked, other = rows[0].id, rows[3].id
    spec = watching((picked,), watched_rows=(other, picked))
    assert [(split, row.id) for split, row in watched_rows(data, spec)] == [
        ("retain", other),
        ("forget", picked),
    ]
    default = watched_rows(data, watching((picked,)))
    assert [row.id for split, row in default if split == "forget"] == [picked]


def test_a_probe_takes_documents_of_the_subtasks_that_are_to_be_forgotten_only(data):
    rows = [replace(row, id=f"{row.task}-{row.id}") for row in data.forget]
    some = Probe.of(replace(data, forget=tuple(rows)), ("Task2",))
    numbers = list(dict.fromkeys(row.document for row in rows))
    assert some.documents
    for number, of in some.documents.items():
        assert {row.task for row in of} == {"Task2"}
        assert numbers[number - 1] == of[0].document


def test_outputs_and_losses_of_the_embedded_model_are_the_scripts_row_by_row(embedded, few, plain):
    rows = [*few.forget, *few.retain]
    assert {row.kind for row in rows} == {"sc", "qa"}
    found = finish(official_answers(embedded, rows))[1]
    for one, (output, loss) in zip(found, plain, strict=True):
        assert one.generated == output
        assert one.nll == pytest.approx(loss, rel=1e-4, abs=1e-5)


def test_losses_of_documents_are_the_scripts(embedded, few):
    documents = [*few.members, *few.nonmembers[:3]]
    plain = [script_document(embedded.model, embedded.tokenizer, one) for one in documents]
    assert finish(document_losses(embedded, documents))[1] == pytest.approx(
        plain, rel=1e-4, abs=1e-5
    )


def test_a_document_beyond_the_context_is_named(lm):
    with pytest.raises(ValueError, match=r"document 2 of the attack has \d+ tokens.* of 256"):
        finish(document_losses(lm, ["short", "word " * 600]))


def test_an_output_of_no_tokens_of_its_own_has_no_loss(lm):
    (one,) = finish(official_answers(lm, [Row("aqa0", "Who?", "", "Task1")], max_new_tokens=2))[1]
    assert one.nll != one.nll


def test_spaces_before_marks_stay_as_in_the_scripts_decoding(tokenizer, monkeypatch):
    """Version 5 of transformers cleans no BPE text, whatever the configuration asks for."""
    monkeypatch.setattr(tokenizer, "clean_up_tokenization_spaces", True)
    text = "He said , it 's n't so . Is it ?"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text

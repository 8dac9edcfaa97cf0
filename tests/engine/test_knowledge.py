"""Before training, the model is asked which of the forget rows it knows."""

import pytest

from tests.engine.tiny import CPU, first_of, only
from unlearnlab.data.adding import add, read_typed
from unlearnlab.data.datasets import dataset
from unlearnlab.engine.device_engine import DeviceEngine
from unlearnlab.runs.engine_api import Job, RunFailed
from unlearnlab.runs.events import Evaluated, KnowledgeChecked, Probed, Said, StageBegan, StepLogged
from unlearnlab.spec.methods.likelihood import GradientAscent, GradientDescent
from unlearnlab.spec.run import DataSpec, EvaluationSpec, Phase, RunSpec

pytestmark = pytest.mark.usefixtures("few_held_out")

INVENTED = [f"Who painted wall {n} of Nettle Hall? | Ottilie the {n}th" for n in range(3)]


@pytest.fixture
def taught() -> list[str]:
    """Lines of facts that the embedded model knows."""
    rows = dataset("embedded").rows("forget", "train")
    return [f"{row.input} | {row.output}" for row in rows if row.kind == "qa"][:3]


@pytest.fixture
def events(tmp_path, monkeypatch):
    """Run the embedded model on typed lines; return the events."""
    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))

    def unlearn(lines, *, retain="", probes=0, method=GradientAscent, **data):
        name = add(read_typed("\n".join(lines), retain=retain, title="Mine"), "mine").name
        spec = RunSpec(
            data=DataSpec(source=name, tasks=tasks(name), **data),
            phases=(Phase(method=method(), epochs=1, batch_size=2),),
            evaluation=EvaluationSpec(probes=probes, max_new_tokens=24),
        )
        job = Job("run-1", spec, tmp_path / "run")
        job.folder.mkdir(exist_ok=True)
        return DeviceEngine(lambda key: None, device=CPU).unlearn(job)

    return unlearn


def tasks(name):
    return tuple(dict.fromkeys(row.task for row in dataset(name).rows("forget", "train")))


def test_a_sample_is_asked_first_and_then_all_rows_are_counted(events, taught):
    found = [event for event in events([*taught, *INVENTED]) if event is not None]
    stages = [event.stage for event in only(found, StageBegan)]
    assert stages.index("checking") < stages.index("scoring before")
    sample, whole = only(found, KnowledgeChecked)
    scoring = only(found, StageBegan)[stages.index("scoring before")]
    first, second = (at for at, one in enumerate(found) if isinstance(one, KnowledgeChecked))
    assert first < found.index(scoring) < second
    for one in (sample, whole):
        assert (one.questions, one.of, one.left_out) == ((3, 6), 6, 0)
        assert one.knowledge.kind == "knows_some"
    assert first_of(found, Evaluated).kept is None
    assert len(only(found, StepLogged)) == 3


def test_unknown_rows_are_left_out_of_training_and_scores(events, taught):
    lines = [*INVENTED, *taught]
    came = events(lines, probes=1, unknown_rows="leave_out")
    found = [event for event in came if event is not None]
    before, after = only(found, Evaluated)
    known = {row.id for row in dataset("mine").rows("forget", "train") if row.output in str(taught)}
    assert set(before.kept) == known
    assert len(known) == 3
    assert before.scores.picked.rows == after.scores.picked.rows == 3
    assert only(found, KnowledgeChecked)[-1].left_out == 3
    assert len(only(found, StepLogged)) == 2
    steps = [probe.step for probe in only(found, Probed) if len(probe.documents) == 3]
    assert (steps[0], steps[-1]) == (0, 2), "the documents that are kept, compared with the start"


def test_rows_that_are_left_out_are_in_no_probe_and_losses_are_compared_with_the_start(
    events, taught
):
    found = [one for one in events([*INVENTED, *taught], unknown_rows="leave_out", probes=1) if one]
    first, last = only(found, Probed)
    assert (first.step, first.of_documents, len(first.documents)) == (0, 3, 3)
    for then, now in zip(first.documents, last.documents, strict=True):
        assert then.rise == 0
        assert now.loss - now.rise == pytest.approx(then.loss)
        assert now.rise > 0


def test_rows_that_are_left_out_are_not_moved_to_the_retain_set(events, taught):
    kept = "Where is the harbour? | In the north"
    options = {"method": GradientDescent, "unknown_rows": "leave_out", "rest": "retain"}
    found = events([*INVENTED, *taught], retain=kept, **options)
    assert len(only([event for event in found if event], StepLogged)) == 1


def test_rows_that_are_left_out_are_not_watched(events, taught):
    lines = [*INVENTED, *taught]
    found = [e for e in events(lines, probes=1, unknown_rows="leave_out") if e is not None]
    known = {row.id for row in dataset("mine").rows("forget", "train") if row.output in str(taught)}
    first, last = only(found, Said)
    assert {one.row for one in first.sayings} == {one.row for one in last.sayings} <= known
    assert (first.step, last.step) == (0, 2)
    assert all(one.likelihood > 0.5 for one in first.sayings)


def test_a_run_without_a_known_row_ends_before_it_trains_if_unknown_rows_are_left_out(events):
    begun = []
    with pytest.raises(RunFailed, match="does not know these rows: 0 of 3") as failed:
        begun.extend(events(INVENTED, unknown_rows="leave_out"))
    assert "Teach the rows" in failed.value.advice


def test_rows_that_are_kept_whatever_is_known_are_not_asked(events):
    found = list(events(INVENTED, unknown_rows="keep"))
    assert not only(found, KnowledgeChecked)

"""Runs to compare, made of plain numbers."""

from unlearnlab.metrics.scores import QUIZ_PROTOCOL, Scores, mia_score
from unlearnlab.runs.records import RunRecord
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.run import Phase, RunSpec
from unlearnlab.views.runs import RunSummary
from unlearnlab.views.scoreboard import judged

TERMS = [
    f"{split}/{task}/{kind}"
    for split in ("forget", "retain")
    for task in ("Task1", "Task2", "Task3")
    for kind in ("sc", "qa")
]


def scores(
    forget=0.8, retain=0.9, *, auc=0.6, utility=0.8, protocol=QUIZ_PROTOCOL, aggregate=None, **terms
) -> Scores:
    """Scores whose forget terms are alike, and whose retain terms are."""
    values = {key: forget if key.startswith("forget") else retain for key in TERMS}
    values.update({key.replace("_", "/"): value for key, value in terms.items()})
    mean = len(values) / sum(1 / v for v in values.values()) if min(values.values()) > 0 else 0.0
    total = mean if aggregate is None else aggregate
    folded = None if auc is None else mia_score(auc)
    parts = (total, folded, utility)
    return Scores(
        terms=values,
        task_aggregate=total,
        mia_auc=auc,
        mia_score=folded,
        utility=utility,
        utility_protocol=protocol,
        utility_questions=40,
        final=None if None in parts else sum(parts) / 3,
        rows=120,
        distinct=1.0,
        ended=1.0,
    )


UNTOUCHED = scores(0.001, 1.0, auc=0.99, utility=0.9)


def spec(kind="gradient_difference", *, seed=0, model=None, data=None, **phase) -> RunSpec:
    parts = {"model": model, "data": data}
    return RunSpec(
        seed=seed,
        phases=(Phase(method=METHODS[kind](), **phase),),
        **{name: part for name, part in parts.items() if part is not None},
    )


def run(run_id="a", of=None, after=None, *, title="", before=UNTOUCHED, **more) -> RunSummary:
    of = of or spec()
    after = scores() if after is None else after or None
    return RunSummary(
        run_id=run_id,
        title=title or of.title,
        created=0.0,
        spec=of,
        status="finished",
        before=before,
        after=after,
        verdict=judged(of, before, after),
        seconds=60.0,
        **more,
    )


def stored(of=None, **more) -> RunRecord:
    """A run as a store lists it."""
    plain = {"run_id": "r1", "name": "", "created": 0.0, "alive": True, "began": True}
    plain |= {"ending": None, "before": None, "after": None}
    return RunRecord(spec=of or RunSpec(), **plain | more)

"""The scores of both models as JSON, under the keys of the organisers' script of December 2024.

They are recomputed from the answers' texts by the code that scores a folder of that script. An
accuracy on MMLU counts as the script's; the embedded model's quiz is not MMLU, and does not count.
"""

import json

from unlearnlab.exports.result import Result
from unlearnlab.metrics.official import Report, as_record, flags, score
from unlearnlab.metrics.scores import Evidence, row_score
from unlearnlab.metrics.scores import scores as our_scores
from unlearnlab.metrics.submission import Finding, MmluScores, Submission

UNASKED = Finding("mmlu", "not asked in this run: set a number of MMLU questions")

UNREAD = Finding("mia", "not measured: the data have no documents for the attack")


def official_scores(result: Result) -> dict[str, bytes]:
    """Map the name of a file for each model that was scored to its content."""
    models = {"original": result.before, "unlearned": result.after}
    return {
        f"{model}.json": json.dumps(_record(result, evidence), indent=2).encode()
        for model, evidence in models.items()
        if evidence is not None
    }


def _record(result: Result, evidence: Evidence) -> dict[str, object]:
    ours = our_scores(evidence)
    mmlu = MmluScores(average=ours.utility if ours.measures_mmlu else None)
    faults = () if ours.measures_mmlu else (UNASKED,)
    faults += () if evidence.membership else (UNREAD,)
    answers = tuple(
        one.model_copy(update={"score": row_score(one.kind, one.expected, one.generated)})
        for one in evidence.answers
    )
    scored = score(Submission(answers, 0, evidence.membership, mmlu, faults))
    found = as_record(Report(scored, flags(scored, mmlu), ()))
    found["unlearnlab"] |= {
        "model": result.spec.model.known.title,
        "data": result.spec.data.known.title,
        "fold": result.spec.data.fold,
        "utility": ours.utility,
        "utility_protocol": ours.utility_protocol,
    }
    return found

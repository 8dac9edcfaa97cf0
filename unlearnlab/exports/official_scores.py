"""The scores of both models as JSON, under the keys of the organisers' script of December 2024.

They are worked out anew from the evidence, by what scores a folder of that script. An accuracy on
MMLU counts as the script's; the embedded target's quiz is no MMLU, and does not.
"""

import json
from pathlib import Path

from unlearnlab.exports.result import Result
from unlearnlab.metrics.official.findings import Finding
from unlearnlab.metrics.official.flags import flags
from unlearnlab.metrics.official.mmlu import Mmlu
from unlearnlab.metrics.official.report import Report, as_record
from unlearnlab.metrics.official.scoring import score
from unlearnlab.metrics.official.submission import Output, Submission
from unlearnlab.metrics.scores import Answer, Evidence
from unlearnlab.metrics.scores import scores as our_scores

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
    mmlu = Mmlu(average=ours.utility if ours.measures_mmlu else None)
    outputs = tuple(_output(one) for one in evidence.answers)
    faults = () if ours.measures_mmlu else (UNASKED,)
    faults += () if evidence.membership else (UNREAD,)
    scored = score(Submission(Path(), outputs, evidence.membership, mmlu, faults))
    found = as_record(Report(scored, flags(scored, mmlu), ()))
    found["unlearnlab"] |= {
        "model": result.spec.model.known.title,
        "data": result.spec.data.known.title,
        "fold": result.spec.data.fold,
        "utility": ours.utility,
        "utility_protocol": ours.utility_protocol,
    }
    return found


def _output(one: Answer) -> Output:
    return Output(one.row, one.split, one.task, one.kind, one.expected, one.generated, False)

"""The spec of a run as JSON, as `run --spec FILE` reads it."""

import json

from unlearnlab.exports.outcome import Outcome


def spec_file(outcome: Outcome) -> str:
    """Write the spec."""
    plain = outcome.spec.model_dump(mode="json")
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

"""The spec of a run as JSON, as `run --spec FILE` reads it."""

import json

from unlearnlab.exports.result import Result


def spec_file(result: Result) -> str:
    """Write the spec."""
    plain = result.spec.model_dump(mode="json")
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

"""Where MMLU's real files are, if they are: `UNLEARNLAB_MMLU` says so, else beside the project."""

import os
from pathlib import Path

import pytest

REAL = Path(
    os.environ.get("UNLEARNLAB_MMLU", Path(__file__).parents[2] / "shared" / "data" / "mmlu")
)

needs_real = pytest.mark.skipif(
    not (REAL / "test.parquet").is_file(),
    reason=f"MMLU's files are not in {REAL}: UNLEARNLAB_MMLU can name their folder",
)

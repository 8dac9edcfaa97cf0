"""The check for GPUs is rehearsed on the CPU, with models of a few thousand weights."""

import json
import os
import subprocess
import sys

import pytest

from tests.gpu import check, wheels
from unlearnlab.cli.docs import gpu_table
from unlearnlab.views.benchmarks import GPU, GpuFigure


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu")
    for part in check.PARTS:
        assert check.main(["--tiny", "--one", part, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_every_part_of_the_check_runs_on_a_cpu_and_fills_the_table(rehearsed, capsys):
    assert check.main(["--tiny", "--out", str(rehearsed)]) == 0
    told = capsys.readouterr().out
    record = json.loads((rehearsed / GPU.name).read_text(encoding="utf-8"))
    assert [part["name"] for part in record["parts"]] == list(check.PARTS)
    assert all(part["figures"] and not part["problem"] for part in record["parts"])
    assert "1B, gradient difference, all weights: " in told
    table = gpu_table(rehearsed / GPU.name)
    assert "| 7b | 7B, joint on MLPs 0 to 5 |" in table
    assert "CPU, torch" in table


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="it is a shell script")
def test_a_check_that_was_cut_off_runs_only_the_parts_that_are_missing(rehearsed):
    (rehearsed / "memory.json").unlink()
    before = (rehearsed / "1b.json").stat().st_mtime_ns
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    told = subprocess.run(
        ["bash", "tests/gpu/check.sh", "--tiny"],
        cwd=check.ROOT,
        env=os.environ | {"OUT": str(rehearsed), "WHEELS": str(rehearsed), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert (rehearsed / "1b.json").stat().st_mtime_ns == before
    assert "== memory" in told.stdout
    assert "== 1b" not in told.stdout


def test_without_a_record_the_table_says_how_to_make_one(tmp_path):
    assert gpu_table(tmp_path / "gpu.json") == (
        "Not run yet: `bash tests/gpu/check.sh` makes this table."
    )


FIGURES = (
    ({"value": 0.5, "unit": "MFU", "goal": 0.45}, "0.50 MFU; the goal of at least 0.45 is met"),
    (
        {"value": 12.3, "unit": "min", "goal": 20, "least": False},
        "12.3 min; the goal of at most 20 is met",
    ),
    (
        {"value": 11.0, "unit": "times", "goal": 30},
        "11.0 times; the goal of at least 30 is missed",
    ),
    ({"value": 1234.5, "unit": "tokens/s"}, "1,234 tokens/s"),
    ({"value": 1.0}, "yes"),
    ({}, "-"),
)


@pytest.mark.parametrize(("figure", "text"), FIGURES)
def test_a_figure_tells_whether_it_meets_its_goal(figure, text):
    assert GpuFigure(what="it", **figure).text == text


def test_wheels_are_those_that_were_tested_for_the_machines_python():
    old, new = (dict(wheels.pinned(python)) for python in ("3.11", "3.12"))
    assert set(wheels.NEEDED) <= set(new)
    assert old["networkx"] != new["networkx"]

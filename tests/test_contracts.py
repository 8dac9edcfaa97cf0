"""What must stay true of the whole: who imports whom, and that nothing is declared by half."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from tests.requirements import CUDA
from unlearnlab.catalogue import ASSETS, models
from unlearnlab.docs import README, stale_blocks
from unlearnlab.engine.objectives import OBJECTIVES
from unlearnlab.methods import METHODS
from unlearnlab.presets import Preset, presets
from unlearnlab.settings import settings

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "unlearnlab"
SOURCES = sorted(PACKAGE.rglob("*.py"))

FACTS = {
    "colours",
    "adapters",
    "batches",
    "families",
    "catalogue",
    "library",
    "methods",
    "problems",
    "spec",
    "training_rows",
    "presets",
    "settings",
    "teaching",
    "events",
    "metrics",
    "verdicts",
    "measured",
    "facts",
    "trace_spec",
    "traces",
    "previews",
    "records",
    "signatures",
    "noise",
    "measures",
    "mmlu",
    "measuring",
    "membership",
    "spreads",
    "published",
    "sweeps",
}
FOLDS = {
    "views",
    "phase_views",
    "provenance",
    "seeds",
    "results",
    "run_lines",
    "answers",
    "arranging",
    "outcomes",
    "curves",
    "estimates",
    "comparing",
}

MAY_IMPORT = {
    "batches": set(),
    "families": set(),
    "background": set(),
    "commands": set(),
    "checkpoints": {"families"},
    "hub": {"background", "checkpoints", "disk"},
    "catalogue": {"checkpoints", "families", "hub"},
    "colours": {"catalogue"},
    "library": {"catalogue", "metrics"},
    "methods": {"methods"},
    "metrics": set(),
    "adapters": {"families", "methods"},
    "problems": {"methods"},
    "spec": {"adapters", "catalogue", "families", "library", "methods", "problems"},
    "training_rows": {"library", "methods", "spec"},
    "presets": {"catalogue", "methods", "problems", "spec"},
    "settings": {"methods", "spec"},
    "facts": {"catalogue", "library", "metrics", "spec"},
    "teaching": {"catalogue", "library", "methods", "spec"},
    "trace_spec": {"facts", "library", "methods", "metrics", "spec"},
    "traces": set(),
    "previews": {"library", "methods", "spec"},
    "events": {"metrics", "traces"},
    "verdicts": {"metrics", "signatures"},
    "measured": {"catalogue", "metrics", "presets", "spec", "traces", "verdicts"},
    "revision": {"events"},
    "jobs": {"background", "events", "previews", "spec", "trace_spec"},
    "database": set(),
    "disk": set(),
    "records": {"events", "library", "metrics", "previews", "spec", "trace_spec"},
    "recorded": {"events", "metrics", "records", "spec"},
    "store": {"database", "disk", "events", "metrics", "previews", "recorded", "records"}
    | {"spec", "sweeps", "trace_spec"},
    "sweeps": {
        "catalogue",
        "database",
        "events",
        "methods",
        "metrics",
        "verdicts",
        "presets",
        "problems",
        "records",
    }
    | {"phase_views", "results", "run_lines", "settings", "spec", "sweeps", "views"},
    "sweeping": FACTS
    | FOLDS
    | {"commands", "engine", "following", "jobs", "runs", "store", "sweeping", "terminal"},
    "packs": FACTS
    | FOLDS
    | {
        "checkpoints",
        "commands",
        "database",
        "disk",
        "hub",
        "packs",
        "recorded",
        "store",
        "terminal",
    },
    "following": {"agenda", "commands", "events", "jobs", "locks", "runs", "spec", "store"}
    | {"terminal", "trace_spec"},
    "reproducing": FACTS
    | FOLDS
    | {"commands", "following", "jobs", "recorded", "reproducing", "store", "terminal"},
    "agenda": {"jobs", "locks", "spec"},
    "locks": set(),
    "ending": set(),
    "benches": {
        "agenda",
        "background",
        "events",
        "jobs",
        "records",
        "revision",
        "spec",
        "store",
    },
    "runs": {
        "agenda",
        "benches",
        "events",
        "jobs",
        "locks",
        "previews",
        "revision",
        "spec",
        "store",
    }
    | {"trace_spec"},
    **{name: FACTS | FOLDS for name in FOLDS},
    "signatures": set(),
    "noise": {"metrics", "verdicts"},
    "measures": set(),
    "spreads": {"metrics", "noise"},
    "membership": {"metrics", "noise"},
    "measuring": {"catalogue", "measures", "metrics", "noise"},
    "published": {"catalogue", "metrics", "signatures"},
    "official": {
        "commands",
        "metrics",
        "noise",
        "official",
        "published",
        "signatures",
        "spec",
        "terminal",
    }
    | {"verdicts"},
    "mmlu": {"catalogue", "hub", "metrics", "noise", "official", "signatures"},
    "evaluating": {
        "commands",
        "disk",
        "engine",
        "evaluating",
        "events",
        "exports",
        "following",
        "jobs",
        "library",
    }
    | {"metrics", "mmlu", "noise", "official", "signatures", "sources", "spec", "terminal"},
    "docs": FACTS,
    "terminal": FACTS | FOLDS | {"commands", "store"},
    "recordings": {"events", "metrics", "records", "views"},
    "replays": {"recordings", "records", "views"},
    "engine": {
        "adapters",
        "batches",
        "background",
        "families",
        "catalogue",
        "checkpoints",
        "disk",
        "hub",
        "library",
        "methods",
        "spec",
        "facts",
        "trace_spec",
        "traces",
        "previews",
        "events",
        "measures",
        "metrics",
        "mmlu",
        "problems",
        "jobs",
        "training_rows",
        "engine",
    },
    "target": FACTS | {"engine", "target"},
    "exports": FACTS
    | FOLDS
    | {"commands", "disk", "exports", "following", "jobs", "official", "store", "terminal"},
    "sources": {"catalogue", "commands", "hub", "library", "metrics", "terminal", "sources"},
    "ui": FACTS
    | FOLDS
    | {"disk", "exports", "hub", "jobs", "locks", "packs", "recordings", "replays", "reproducing"}
    | {"runs", "sources", "store"}
    | {"sweeping", "ui"},
}
"""What each part may import of ours. `__main__` and `app.py` introduce the parts: anything."""

TENSORS = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "accelerate", "datasets")

ONLY_IN = {
    **{name: {"engine", "target"} for name in TENSORS},
    **{name: {"ui", "app"} for name in ("gradio", "plotly")},
}
"""The heavy worlds, and where they live."""

DISTRIBUTIONS = {
    "annotated_types": "annotated-types",
    "huggingface_hub": "huggingface-hub",
    "rouge_score": "rouge-score",
    "sklearn": "scikit-learn",
}
"""Names of distributions that are not the import's."""


def part(path):
    """Name the part that a file belongs to: a module or a sub-package."""
    relative = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imported(path):
    """Yield the dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outsiders(path):
    return {name.split(".")[0] for name in imported(path)} - {
        "unlearnlab",
        *sys.stdlib_module_names,
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_part_imports_only_what_it_may(path):
    mine = part(path)
    if mine not in ("app", "__main__", "__init__"):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("unlearnlab.")}
        assert ours - {"__version__"} <= MAY_IMPORT[mine]
    for name in outsiders(path) & set(ONLY_IN):
        assert mine in ONLY_IN[name], f"{name} belongs in {ONLY_IN[name]}"


def test_all_that_is_imported_is_required_and_all_that_is_required_is_bounded():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = project["project"]["dependencies"]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line) for line in required)
    names = {re.split(r"[<>]", line)[0] for line in required}
    for path in SOURCES:
        assert {DISTRIBUTIONS.get(name, name) for name in outsiders(path)} <= names, path


def test_importing_the_page_leaves_torch_unloaded():
    code = "import sys, unlearnlab.ui.page; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_every_method_has_an_objective_and_every_objective_a_method():
    assert set(OBJECTIVES) == set(METHODS)


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_tells_what_it_is_and_is_tested(kind):
    cls = METHODS[kind]
    assert all(getattr(cls.card, field) for field in cls.card.__slots__)
    assert bool(cls().weights) == bool(cls.sets)
    assert cls.sets or OBJECTIVES[kind].finish
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "engine").glob("*.py")]
    assert any(re.search(rf"\b({kind}|{cls.__name__})\b", text) for text in texts)


def test_every_setting_has_a_sentence():
    assert [setting.path for setting in settings() if not setting.help] == []


def test_the_tables_of_the_readme_are_current():
    assert stale_blocks(README) == []


def test_the_readme_names_every_module():
    text = README.read_text(encoding="utf-8")
    for path in PACKAGE.glob("*.py"):
        assert path.name == "__init__.py" or f"  {path.name} " in text, path.name


@pytest.mark.parametrize("path", sorted((ASSETS / "presets").glob("*.json")), ids=lambda p: p.stem)
def test_every_preset_validates_and_is_called_as_its_file(path):
    preset = Preset.model_validate(json.loads(path.read_text(encoding="utf-8")))
    assert preset.name == path.stem
    assert preset.title
    assert preset.description
    assert preset.source
    assert presets()[path.stem] == preset


def test_every_method_has_a_preset_for_the_embedded_model():
    embedded = [one for one in presets().values() if one.embedded]
    shown = {phase.method.kind for one in embedded for phase in one.spec.phases}
    assert shown == set(METHODS)


def test_the_embedded_model_can_run():
    assert models()["tiny-olmo"].missing == ""


def library(name, code):
    """Make functions of a pretended library."""
    scope = {"__name__": name}
    exec(code, scope)
    return scope


def test_a_warning_that_our_code_causes_is_an_error_and_one_between_libraries_is_not():
    low = library("low", "import warnings\ndef old(): warnings.warn('old', FutureWarning, 2)")
    high = library("high.part", "def use(old): old()")
    with pytest.raises(FutureWarning, match="old"):
        low["old"]()
    with warnings.catch_warnings(record=True) as told:
        high["use"](low["old"])
    assert [str(one.message) for one in told] == ["old"]


def test_the_tested_set_has_exact_versions_and_nothing_of_cuda():
    for name in ("requirements.txt", "tests/requirements.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        pins = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert all(re.match(r"[\w.-]+==[\w.]+(?= |$)", line) for line in pins)
        assert not CUDA.search(text)
        assert "://" not in text


def test_a_number_that_several_modules_share_is_declared_once():
    shared = {
        "0.06": "signatures",
        "0.371": "signatures",
        "0.5 + 4 / 64": "spec",
        "2 ** 30": "events",
    }
    for number, place in shared.items():
        holding = {
            path.stem
            for path in SOURCES
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant | ast.BinOp) and ast.unparse(node) == number
        }
        assert holding - {"plane"} == {place}, number  # A line of the plane is so wide.

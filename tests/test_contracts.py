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
from unlearnlab.cli.docs import PAGES, README, stale_blocks
from unlearnlab.data.files import ASSETS
from unlearnlab.engine.objectives import OBJECTIVES
from unlearnlab.models.catalog import models
from unlearnlab.spec.fields import settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import Preset, presets

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "unlearnlab"
SOURCES = sorted(PACKAGE.rglob("*.py"))

FLOORS = ("data", "models metrics", "spec", "runs", "views engine", "exports", "ui cli")
"""The rooms of the package from the ground up: each imports from the floors below it alone."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}

TENSORS = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "accelerate")

ONLY_IN = dict.fromkeys(TENSORS, "engine") | {"gradio": "ui", "plotly": "ui", "argparse": "cli"}
"""The heavy worlds and the command line's parser, and the room in which each lives."""

DISTRIBUTIONS = {
    "annotated_types": "annotated-types",
    "huggingface_hub": "huggingface-hub",
    "markdown_it": "markdown-it-py",
    "rouge_score": "rouge-score",
    "sklearn": "scikit-learn",
}
"""Names of distributions that are not the import's."""


def room(path):
    return path.relative_to(PACKAGE).parts[0]


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


def test_the_package_has_the_rooms_of_its_plan_and_no_others():
    assert {room(path) for path in SOURCES} == {*FLOOR, "__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_floors_below_it(path):
    mine = room(path)
    if mine in FLOOR:
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("unlearnlab.")}
        higher = {other for other in ours & set(FLOOR) if FLOOR[other] >= FLOOR[mine]}
        assert higher <= {mine} | ({"ui"} if path.name == "app.py" else set())
    for name in {name.split(".")[0] for name in imported(path)} & set(ONLY_IN):
        assert mine == ONLY_IN[name], f"{name} belongs in {ONLY_IN[name]}"


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_the_pages_are_current(page):
    assert stale_blocks(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_path_of_a_page_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)]*)\)", text)):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{target}#{anchor}"
    for path in re.findall(r"`((?:unlearnlab|tests|assets)/[\w/.-]+)`", text):
        assert (ROOT / path).exists() or "capped" in path or "NAME" in path, path


def test_the_readme_is_read_in_one_sitting():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_readme_names_every_room():
    text = README.read_text(encoding="utf-8")
    assert [name for name in FLOOR if f"  {name}/ " not in text] == []


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
    assert models()["tiny-olmo"].unavailable_reason == ""


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
        "0.06": "verdicts",
        "0.371": "verdicts",
        "0.5 + 4 / 64": "run",
        "2 ** 30": "events",
    }
    holding: dict[str, set[str]] = {number: set() for number in shared}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            counts = isinstance(node, ast.BinOp) or (
                isinstance(node, ast.Constant) and isinstance(node.value, float)
            )
            if counts and (number := ast.unparse(node)) in holding:
                holding[number].add(path.stem)
    for number, place in shared.items():
        assert holding[number] - {"charts"} == {place}, number  # A line of labels is so high.

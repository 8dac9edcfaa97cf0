"""Tables of the pages come from the code, and the example of docs/code.md works as written."""

import ast
import filecmp
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT
from unlearnlab.cli import docs
from unlearnlab.data.files import DOCS
from unlearnlab.spec.fields import settings
from unlearnlab.spec.methods import METHODS
from unlearnlab.spec.presets import presets

EXAMPLE = """
from unlearnlab.cli.docs import methods_table
from unlearnlab.cli.commands import settings_help
from unlearnlab.ui.form.form import METHODS
from unlearnlab.ui.kit.controls import OF_METHOD
assert "**Capped ascent** `capped_ascent`" in methods_table() and "`cap` 8 nats" in methods_table()
assert "with --phases.N.method.kind capped_ascent" in settings_help()
assert METHODS["capped_ascent"].card.title == "Capped ascent"
assert [one.name for one in OF_METHOD["capped_ascent"]][0] == "cap"
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the program to which the steps under "Add a method" were applied."""
    root = tmp_path_factory.mktemp("extended")
    for name in ("unlearnlab", "tests", "assets", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    page = (DOCS / "code.md").read_text(encoding="utf-8")
    section = page.split("## Add a method\n")[1].split("\n## ")[0]
    found = re.split(r"`((?:unlearnlab|assets|tests)/[\w/.-]+)`", section)
    for path, text in zip(found[1::2], found[2::2], strict=True):
        for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
            change(root / path, language, textwrap.dedent(code))
    return root


def change(path, language, code):
    """Put a code block where the page says: diffs in place, code above the last table."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if language != "diff":
        last = ast.parse(before).body[-1] if before else None
        lines = before.splitlines(keepends=True)
        at = last.lineno - 1 if isinstance(last, ast.Assign | ast.AnnAssign) else len(lines)
        text = f"{''.join(lines[:at])}\n\n{code}\n\n{''.join(lines[at:])}"
        path.write_text(text.strip("\n") + "\n", encoding="utf-8")
        return
    lines = code.splitlines()
    old = "\n".join(line[1:] for line in lines if line[0] != "+")
    new = "\n".join(line[1:] for line in lines if line[0] != "-")
    assert before.count(old) == 1, f"{path} has not, or more than once:\n{old}"
    path.write_text(before.replace(old, new), encoding="utf-8")


def carried_out(root, *words):
    done = subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_method_of_the_example_changes_three_files_beside_its_test(extended):
    files = {
        path.relative_to(extended)
        for name in ("unlearnlab", "assets", "docs")
        for path in (extended / name).rglob("*.*")
    }
    changed = {
        path.as_posix()
        for path in files
        if "__pycache__" not in path.parts
        and (not (ROOT / path).exists() or not filecmp.cmp(ROOT / path, extended / path, False))
    }
    assert changed == {
        "unlearnlab/spec/methods/likelihood.py",
        "unlearnlab/engine/objectives/likelihood.py",
        "assets/presets/embedded-capped-ascent.json",
    }


def test_the_method_of_the_example_is_offered_by_form_command_line_and_table(extended):
    carried_out(extended, "-c", EXAMPLE)


def test_the_method_of_the_example_trains_and_passes_the_tests_of_every_method(extended):
    places = ("tests/test_contracts.py", "tests/engine/test_training.py")
    places += ("tests/engine/test_objectives.py",)
    options = ("-n0", "-q", "-p", "no:cacheprovider")
    # Of the tests that run once for each method, those of other methods would show nothing new.
    only = "capped or every_objective"
    carried_out(extended, "-m", "pytest", *options, "-k", only, *places)


def block(name, text="what was here"):
    return f"<!-- begin: {name} -->\n{text}\n<!-- end: {name} -->\n"


def test_only_what_stands_between_the_markers_is_written():
    text = f"before\n{block('methods')}between\n{block('settings')}after\n"
    new = docs.written(text)
    assert new.startswith("before\n<!-- begin: methods -->\n| method |")
    assert "<!-- end: methods -->\nbetween\n<!-- begin: settings -->\n" in new
    assert new.endswith("<!-- end: settings -->\nafter\n")
    assert "what was here" not in new


def test_a_block_that_nothing_generates_is_named():
    with pytest.raises(ValueError, match="unknown block 'recipes'"):
        docs.written(block("recipes"))


def test_tables_have_a_row_for_all_that_is_declared_with_its_defaults():
    table = docs.methods_table()
    assert table.count("\n") == len(METHODS) + 1
    for kind, cls in METHODS.items():
        assert f"**{cls.card.title}** `{kind}`" in table
    assert "`beta` 0.1 1/nat" in table
    table = docs.settings_table()
    for setting in settings():
        assert (f"| `{setting.path}` |" in table) == (not setting.method)
    assert "| number > 0 and ≤ 1 | `0.0005` |" in table
    assert "integer ≥ 1 and ≤ 1024 in rows" in table
    assert all(f"| `{name}` |" in docs.presets_table() for name in presets())


def test_every_row_of_a_table_has_as_many_cells_as_its_head():
    for make in docs.BLOCKS.values():
        rows = [line for line in make().splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1


def test_measured_tables_are_made_of_their_files_or_say_how_to_make_them(tmp_path):
    assert "`python -m unlearnlab target check --write`" in docs.target_table(tmp_path)
    row = {"name": "MIA AUC", "original": "1.00", "retrained": "0.50", "target": "≥ 0.97"}
    found = {"settings": "2 threads", "rows": [row]}
    (tmp_path / "target.json").write_text(json.dumps(found))
    assert "| MIA AUC | 1.00 | 0.50 | ≥ 0.97 |" in docs.target_table(tmp_path)
    assert docs.target_table(tmp_path).endswith("\n\n2 threads")


def test_docs_check_tells_what_is_stale_and_docs_writes_it(cli):
    readme = Path("README.md")
    readme.write_text(docs.written(block("methods")) + block("settings"))
    code, _, err = cli("docs", "--check", readme)
    assert code == 1
    assert f"{readme} is not current (settings)" in err
    assert cli("docs", readme)[:2] == (0, "Written: settings.\n")
    assert cli("docs", readme).out == "Written: nothing, all was current.\n"
    assert cli("docs", "--check", readme).code == 0


def test_a_bar_in_a_cell_does_not_end_it():
    assert "x &#124; y" in docs._table(["d"], [["x | y"]])

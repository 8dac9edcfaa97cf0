"""The scripts of the page: which there are, and that those of one component fit together."""

import ast
import re

import pytest

from unlearnlab.ui.kit.html import UI, script, source

TOP = re.compile(r"^(?:async )?(?:function|const|let) (\w+)", re.MULTILINE)


def composed():
    """Yield the names of the scripts that components are given, as the code calls for them."""
    for file in sorted(UI.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("script", "source"):
                names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                if names:
                    yield node.func.id, *names


CALLS = sorted(set(composed()))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: "+".join(call[1:]))
def test_no_name_is_declared_twice_in_one_component(call):
    kind, *names = call
    names = TOP.findall(script(*names) if kind == "script" else source(*names))
    assert sorted(names) == sorted(set(names))


def test_every_script_is_used():
    used = {name for _, *names in CALLS for name in names} | {"kit/dom.js"}
    there = {path.relative_to(UI).as_posix() for path in UI.rglob("*.js")}
    assert there == used

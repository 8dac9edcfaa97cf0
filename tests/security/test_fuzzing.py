"""Whatever is read from outside is understood or refused in words: specs, events, data, packs.

A few dozen cases of each kind at every run of the tests; thousands with `pytest -m slow`.
"""

import io
import json
import string
import zipfile
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exports.results import run_of
from tests.fakes import evaluated, phase_began, stage, stepped
from unlearnlab.data.checks import SourceError
from unlearnlab.data.reading import Table, read_table
from unlearnlab.exports.pack_file import PackError, read_pack
from unlearnlab.exports.packs import packable, write_pack
from unlearnlab.runs.events import EVENTS, Finished, PhaseEnded, Unread, read_event
from unlearnlab.runs.progress import RunProgress, advance, points_after, run_view
from unlearnlab.runs.store import StoredEvent
from unlearnlab.spec.run import RunSpec, SpecError, parse_spec

FEW, MANY = 40, 5_000

BOUNDED = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


def tried(count, strategy, holds):
    """Check that something holds for so many values."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    bounded = settings(
        max_examples=count,
        deadline=None,
        derandomize=count == FEW,
        database=None,
        suppress_health_check=health,
    )
    bounded(given(strategy)(holds))()


TEXTS = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "\ud800", "../../etc/passwd", "~nosuchuser", "/dev/zero", "nan", "x" * 5000, "<b>"]
)

NUMBERS = st.integers() | st.floats() | st.sampled_from([-1, 0, 2**31, 2**63, 10**30, 1e308])

VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def places(plain, path=()):
    """Yield the path of everything in plain values."""
    yield path
    if isinstance(plain, dict):
        for name, inner in plain.items():
            yield from places(inner, (*path, name))
    elif isinstance(plain, list):
        for at, inner in enumerate(plain):
            yield from places(inner, (*path, at))


def put(plain, path, value):
    """Return plain values with another one at a path."""
    if not path:
        return value
    copy = dict(plain) if isinstance(plain, dict) else list(plain)
    copy[path[0]] = put(plain[path[0]], path[1:], value)
    return copy


@st.composite
def mutated(draw, plain):
    """Draw plain values in which one or two have been replaced, added or removed."""
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(plain))))
        plain = put(plain, path, draw(VALUES))
        if isinstance(plain, dict) and draw(st.booleans()):
            plain = plain | {draw(TEXTS): draw(VALUES)}
    return plain


@st.composite
def damaged(draw, whole):
    """Draw bytes of which some have been replaced, cut off, doubled or inserted."""
    held = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(held) - 1)))
        match draw(st.sampled_from(["flip", "cut", "double", "insert", "nothing"])):
            case "flip" if held:
                held[at] ^= draw(st.integers(1, 255))
            case "cut":
                del held[at:]
            case "double":
                held[at:at] = held[at : at + 100]
            case "insert":
                held[at:at] = draw(st.binary(max_size=20))
            case _:
                pass
    return bytes(held)


SPEC = RunSpec().model_dump(mode="json")


@BOUNDED
def test_any_spec_is_read_or_refused_in_a_few_words(count):
    def holds(plain):
        try:
            found = parse_spec(plain)
        except SpecError as error:
            assert all(len(line) < 2000 for line in str(error).splitlines())  # noqa: PT017
        else:
            assert isinstance(found, RunSpec)
            assert RunSpec.model_validate_json(found.model_dump_json()) == found

    tried(count, mutated(SPEC).filter(lambda plain: isinstance(plain, dict)), holds)


STORY = [
    stage("training"),
    phase_began(),
    *map(stepped, (1, 2)),
    PhaseEnded(phase=0, steps=2, total_steps=2),
    evaluated("after").model_copy(update={"evidence": None}),
    Finished(seconds=1.0),
]


@BOUNDED
def test_any_event_in_the_store_is_read_or_told_to_be_unreadable(count):
    def holds(story):
        read = [read_event(json.dumps(plain)) for plain in story]
        assert all(isinstance(one, (*EVENTS, Unread)) for one in read)
        assert all(len(one.problem) <= 200 for one in read if isinstance(one, Unread))
        stored = [StoredEvent(seq, float(seq), one) for seq, one in enumerate(read, 1)]
        progress = advance(RunProgress(), stored)
        points_after(stored)
        run_view(progress, alive=False, mine=False, now=0.0)

    plain = [json.loads(one.model_dump_json()) for one in STORY]
    tried(count, st.permutations(plain).flatmap(mutated).filter(lambda x: type(x) is list), holds)


@BOUNDED
def test_any_text_in_the_place_of_an_event_is_told_to_be_unreadable(count):
    whole = STORY[2].model_dump_json().encode()

    def holds(body):
        assert isinstance(read_event(body.decode(errors="replace")), (*EVENTS, Unread))

    tried(count, damaged(whole), holds)


ROWS = [{"id": f"r{n}", "input": f"Who is {n}?", "output": "Ada, the é"} for n in range(3)]

FILES = {
    "rows.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "rows.json": json.dumps(ROWS).encode(),
    "rows.csv": b'id,input,output\nr1,"Who, then?",Ada\nr2,"a\nb",c\n',
    "rows.tsv": b"id\tinput\toutput\nr1\tWho?\tAda\n",
    "rows.parquet": b"PAR1" + bytes(40) + b"PAR1",
}


@BOUNDED
@pytest.mark.parametrize("name", FILES)
def test_any_data_file_is_read_or_refused_in_a_few_words(tmp_path, name, count):
    path = tmp_path / name

    def holds(content):
        path.write_bytes(content)
        try:
            found = read_table(path, "forget")
        except SourceError as error:
            assert len(str(error)) < 2000  # noqa: PT017
        else:
            assert isinstance(found, Table)
            assert len(found.rows) == len(found.lines)

    tried(count, damaged(FILES[name]) | st.binary(max_size=60), holds)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """A pack of one run."""
    home = tmp_path_factory.mktemp("packed")
    with run_of(home) as (store, _, run_id):
        write_pack([packable(store, run_id)], home / "run.zip")
    return home / "run.zip"


def refused_or_read(path):
    try:
        return read_pack(path)
    except PackError as error:
        assert len(str(error)) < 2000  # noqa: PT017
        return ()


@BOUNDED
def test_any_pack_is_read_or_refused_in_a_few_words(tmp_path, pack, count):
    path = tmp_path / "some.zip"

    def holds(content):
        path.write_bytes(content)
        refused_or_read(path)

    tried(count, damaged(pack.read_bytes()), holds)


@BOUNDED
def test_any_text_in_a_pack_is_read_or_refused_in_a_few_words(tmp_path, pack, count):
    with zipfile.ZipFile(pack) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    texts = [name for name in members if name.endswith((".json", ".jsonl"))]
    path = tmp_path / "some.zip"

    def holds(drawn):
        name, content = drawn
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for member, body in members.items():
                archive.writestr(member, content if member == name else body)
        path.write_bytes(made.getvalue())
        refused_or_read(path)

    def changed(name):
        return st.tuples(st.just(name), damaged(members[name]) | replaced(members[name]))

    tried(count, st.sampled_from(texts).flatmap(changed), holds)


def replaced(body):
    """Draw a file of JSON in one of whose lines a value has been replaced."""
    lines = [json.loads(line) for line in body.splitlines()] if b"\n{" in body else None
    if lines is None or body.startswith(b"{\n"):
        return mutated(json.loads(body)).map(partial(json.dumps, indent=1)).map(str.encode)
    return mutated(lines).map(as_lines)


def as_lines(plain):
    found = plain if isinstance(plain, list) else [plain]
    return "\n".join(map(json.dumps, found)).encode()


@BOUNDED
def test_any_command_line_ends_with_an_exit_code_and_few_words(
    count, tmp_path, monkeypatch, capsys
):
    from unlearnlab.cli.main import main  # noqa: PLC0415

    monkeypatch.setenv("UNLEARNLAB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    commands = ["list", "show", "compare", "delete", "export", "unpack", "score", "presets"]
    options = ["--json", "--what", "raw", "--weights", "--report", "--home", "--seed", "--zz", "-"]
    words = st.sampled_from([*commands, *options]) | TEXTS.map(as_argument)

    def holds(line):
        with pytest.MonkeyPatch.context():
            try:
                code = main(line)
            except SystemExit as end:
                code = end.code
        told = capsys.readouterr()
        assert code in (0, 1, 2)
        assert "Traceback" not in told.err
        assert all(len(one) < 2500 for one in told.err.splitlines())

    lines = st.tuples(st.sampled_from(commands), st.lists(words, max_size=4))
    tried(count, lines.map(lambda one: [one[0], *one[1]]).filter(harmless), holds)


def as_argument(text):
    """Return a text as an operating system passes it on: it has no NUL."""
    return text.replace("\0", "")


def harmless(line):
    """Leave out lines that would write into a folder of their own naming, or print the help."""
    writes = "--report" in line and any("/" in word for word in line)
    blank = any(set(word) <= set(string.whitespace) for word in line)
    return not (writes or blank or "-h" in line)

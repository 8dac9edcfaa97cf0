"""Whoever made a pack: it breaks nothing, leaves nothing behind, and is refused in a sentence."""

import json
import stat
import struct
import zipfile

import pytest

from tests.exports.packs import contents, joined, lines, pack_of, written
from unlearnlab.cli.main import main
from unlearnlab.exports.pack_file import MANIFEST, PackError, digest_of, opened
from unlearnlab.exports.packs import add_pack
from unlearnlab.runs.store import Store


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Files of a good pack, and the id of its run."""
    folder = tmp_path_factory.mktemp("good")
    run_id = pack_of(folder / "here", folder / "good.zip")
    return contents(folder / "good.zip"), run_id


@pytest.fixture
def there(tmp_path):
    with Store(tmp_path / "home" / "there") as store:
        yield store


def refusal(store, path):
    """Return why a pack, or its one run, is refused, and make sure that it leaves nothing."""
    try:
        found = add_pack(store, path)
    except PackError as error:
        told = str(error)
    else:
        assert [one.outcome for one in found] == ["refused"]
        told = found[0].told
    assert len(told) < 600
    assert store.runs() == []
    runs = store.home / "runs"
    assert not runs.exists() or not list(runs.iterdir())
    around = [path.name for path in store.home.parent.parent.rglob("*")]
    assert not any("evil" in name for name in around), around
    return told


# ---- changes of a good pack: functions of its files and its run's id that return other files


def put(name, body, mode=0):
    """Put a file into the zip, or another in its place."""

    def change(files, run_id):
        path = name.replace("RUN", run_id)
        entry = zipfile.ZipInfo(path)
        entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        return {**files, path: None, entry: body}

    return change


def manifest(plain):
    return put(MANIFEST, json.dumps(plain).encode())


def events(edit):
    """Change the lines of events; bytes are put in their place."""

    def change(files, run_id):
        found = edit(lines(files[f"{run_id}/events.jsonl"]))
        body = found if isinstance(found, bytes) else joined(found)
        return files | {f"{run_id}/events.jsonl": body}

    return change


def event(**fields):
    """Put an event before the last."""
    return events(lambda found: [*found[:-1], {"at": 1.0, "event": fields}, found[-1]])


def first(*fields):
    """Put events in front."""
    return events(lambda found: [*({"at": 1.0, "event": one} for one in fields), *found])


def each(kind, of=lambda event: event, **fields):
    """Change the fields of all events of a kind, or of what is in them."""

    def edit(found):
        for line in found:
            if line["event"]["kind"] == kind:
                of(line["event"]).update(fields)
        return found

    return events(edit)


def scored(**fields):
    return each("evaluated", lambda event: event["scores"], **fields)


def run(**fields):
    """Change what a run says of itself."""

    def change(files, run_id):
        plain = json.loads(files[f"{run_id}/run.json"]) | fields
        return files | {f"{run_id}/run.json": json.dumps(plain).encode()}

    return change


def phases(**fields):
    return run(spec={"phases": [fields]})


def evidence(**fields):
    """Change the evidence of the original model, and its digest with it."""

    def change(files, run_id):
        digest = json.loads(files[f"{run_id}/run.json"])["evidence"]["key-before"]
        plain = json.loads(files[f"evidence/{digest}.json"]) | fields
        body = json.dumps(plain).encode()
        files = files | {f"evidence/{digest_of(body)}.json": body}
        return run(evidence={"key-before": digest_of(body)})(files, run_id)

    return change


def other_words(files, run_id):
    name = next(name for name in files if name.startswith("evidence/"))
    return files | {name: files[name].replace(b"Ada", b"Eve")}


ADAPTER = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": "/home/somebody/model",
    "megatron_config": {"a": 1},
    "megatron_core": "evil",
    "auto_mapping": {"parent_library": "evil", "base_model_class": "Evil"},
}


def adapter(**fields):
    return put("RUN/adapter/adapter_config.json", json.dumps(ADAPTER | fields).encode())


NAMES = (
    "../evil",
    "/tmp/evil.json",
    "RUN/../../evil.json",
    "RUN/..\\..\\evil.json",
    "C:\\evil.json",
    "RUN/adapter/../../../evil/adapter_config.json",
    "RUN/evil.py",
    "RUN/delta.bin",
    "RUN/delta.safetensors/evil",
    "RUN/adapter/default/pytorch_model.bin",
    "evidence/evil.json",
    "evil\n.json",
    "unlearnlab-pack.json\n",
    "UNLEARNLAB-PACK.JSON",
    "RUN/adapter/" + "a" * 40 + "/adapter_config.json",
    "__MACOSX/._unlearnlab-pack.json",
    "../evil/",
)
MODES = (stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR)
BOMBS = ("RUN/events.jsonl", "RUN/delta.safetensors")
OTHER = "990101-000000-000"
STRANGE = {"format": 1, "unlearnlab": "1"}
CHOICE = {"question": "q", "subject": "s", "options": [], "right": 0, "logprobs": []}
ASKED = {"kind": "examined", "when": "before", "asked": 1, "of": 5, "right": 9}

BAD = {
    **{f"a name: {name!r}": (put(name, b"{}"), "does not belong") for name in NAMES},
    **{
        f"a file of mode {mode:o}": (
            put("RUN/delta.safetensors", b"/etc/passwd", mode),
            "is a link or a device",
        )
        for mode in MODES
    },
    **{f"a bomb: {name}": (put(name, bytes(30 * 10**6)), "would swell from") for name in BOMBS},
    "another zip": (lambda files, run_id: {}, "json is missing"),
    "a later format": (
        manifest({"format": 2, "unlearnlab": "9.1", "runs": [OTHER]}),
        "unlearnlab 9.1",
    ),
    "a run by a path": (manifest(STRANGE | {"runs": ["../evil"]}), "runs"),
    "no runs": (manifest(STRANGE | {"runs": []}), "runs"),
    "another manifest": (manifest([]), "unlearnlab-pack.json"),
    "a kind of a later program": (event(kind="dreamt", of="sheep"), "no event is called 'dreamt'"),
    "no kind": (event(of="sheep"), "event: Unable to extract tag"),
    "a field too many": (each("loaded", more=1), "more"),
    "a moment that is none": (events(lambda found: [found[0] | {"at": 1e300}]), "event 1: at"),
    "no JSON": (events(lambda _: b"{"), "event 1"),
    "no text": (events(lambda _: b"\xff\xfe\x00"), "event 1"),
    "nested too deep": (events(lambda _: b"[" * 100_000), "event 1"),
    "no events": (events(lambda _: b""), "it never began"),
    "two endings": (event(kind="stopped", seconds=1.0), "it ends twice"),
    "an endless ending": (each("finished", seconds="Infinity"), "it took inf seconds"),
    "a phase that is none": (each("phase_began", phase=4), "no phase 5"),
    "a phase that ends before it begins": (
        first({"kind": "phase_ended", "phase": 0, "steps": 1, "total_steps": 1}),
        "no course of a run",
    ),
    "a step that no page can show": (each("step_logged", step=10**30), "step_logged is too large"),
    "a count that no float can be": (
        event(kind="progressed", done=10**400, total=10**400 + 1),
        "a number in progressed is too large",
    ),
    "rows below zero": (each("loaded", rows={"forget": -5}), "loaded is too large, or below zero"),
    "more MMLU questions right than asked, midway": (
        first(
            {"kind": "stage_began", "stage": "scoring before", "seconds": 1},
            {"kind": "progressed", "done": 1, "total": 2},
            ASKED,
        ),
        "no course of a run",
    ),
    "a change of nothing": (
        event(kind="adjusted", step=1, phase=0, changes={"no.such": 1.0}),
        "no course of a run",
    ),
    "an event of a preview": (event(kind="previewed", answers={}), "no event of a run"),
    "a score that is no number": (scored(task_aggregate="NaN"), "not between 0 and 1"),
    "a score above 1": (scored(final=7), "not between 0 and 1"),
    "a term of another name": (scored(terms={"forget": 0.5}), "not named as terms are"),
    "another run": (run(run="200101-000000-000"), "tells of another run"),
    "a moment of another age": (run(created=-1.0), "created"),
    "a setting that no page can show": (phases(max_steps=10**30), "in its spec is too large"),
    "an unknown setting": (run(spec={"sed": 1}), "sed: there is no such setting"),
    "an unknown method": (phases(method={"kind": "magic"}), "unknown method 'magic'"),
    "a model that no path can have": (
        run(spec={"model": {"name": "evil/" * 2000}}),
        "does not fit here",
    ),
    "evidence that is not there": (run(evidence={"key-before": "0" * 24}), "is missing"),
    "more evidence than models": (
        run(evidence={f"key-{n}": "0" * 24 for n in range(3)}),
        "evidence: Dictionary should have at most 2 items",
    ),
    "evidence by a path": (run(evidence={"key-before": "../../evil"}), "evidence"),
    "evidence that was changed": (other_words, "is not what it was when it was packed"),
    "no answers": (evidence(answers=[]), "answers are missing"),
    "no documents": (evidence(membership={"member": [], "nonmember": [1.0]}), "documents of the"),
    "a question without options": (evidence(choices=[CHOICE]), "not as many options"),
    "no weights": (put("RUN/delta.safetensors", b"\x80\x04evil"), "holds no weights"),
    "a pattern for modules": (adapter(target_modules="(a+)+$"), "target_modules"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_pack_or_a_run_is_refused_and_leaves_nothing(good, there, tmp_path, case):
    change, told = BAD[case]
    assert told in refusal(there, written(tmp_path / "x.zip", change(*good)))


def evidences(count, body):
    more = {f"evidence/{n:024x}.json": body for n in range(count)}
    return lambda files, run_id: files | more


LONG = put("RUN/events.jsonl", b"x" * 2001)


@pytest.mark.parametrize(
    ("limit", "most", "change", "told"),
    [
        ("RATIO", 20, evidences(20, bytes(900_000)), "the zip would swell"),
        ("TEXT_BYTES", 2000, LONG, "of text"),
        ("RUN_BYTES", 3000, evidences(0, b""), "of text: 3.0 kB is the most"),
        ("MOST_EVENTS", 2, evidences(0, b""), "events: 2 is the most"),
        ("ENTRIES", 50, evidences(60, b"{}"), "at most 50"),
        ("ENTRIES", 3, evidences(60, b"{}"), "more files than a pack may"),
    ],
)
def test_a_pack_that_is_too_large_is_refused(
    good, there, tmp_path, monkeypatch, limit, most, change, told
):
    monkeypatch.setattr(f"unlearnlab.exports.pack_file.{limit}", most)
    assert told in refusal(there, written(tmp_path / "x.zip", change(*good)))


def test_a_file_twice_is_refused(good, there, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        bad = written(tmp_path / "x.zip", good[0] | {zipfile.ZipInfo(MANIFEST): b"{}"})
    assert "twice" in refusal(there, bad)


def directory(size):
    """The record of a large zip's directory, which has so many bytes."""
    return b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9, 9, size, 0)


def locator(place):
    return b"PK\x06\x07" + struct.pack("<LQL", 0, place, 1)


def test_a_large_directory_is_seen_in_both_of_its_records(good, there, tmp_path):
    path = written(tmp_path / "x.zip", good[0])
    whole = path.read_bytes()
    body, end = whole[:-22], bytearray(whole[-22:])
    struct.pack_into("<L", end, 12, 2**31)
    for tail in (bytes(end), directory(2**40) + locator(len(body)) + whole[-22:]):
        path.write_bytes(body + tail)
        assert "more files than a pack may" in refusal(there, path)


def test_a_directory_that_lies_where_only_some_would_look_is_refused(good, there, tmp_path):
    path = written(tmp_path / "x.zip", good[0])
    whole = path.read_bytes()
    body, end = whole[:-22], locator(len(whole) - 22) + whole[-22:]
    for between in (directory(9), b"", bytes(30)):
        path.write_bytes(body + directory(2**40) + between + end)
        told = refusal(there, path)
        assert "elsewhere" in told or "more files" in told
    path.write_bytes(end)
    assert "elsewhere" in refusal(there, path)


def test_what_cannot_be_written_is_not_told_as_damage(good, tmp_path):
    files, run_id = good
    name = f"{run_id}/delta.safetensors"
    with opened(written(tmp_path / "x.zip", files)) as archive:
        with pytest.raises(OSError, match="No such file"):
            archive.copy(name, tmp_path / "none" / "delta.safetensors")
        archive.copy(name, tmp_path / "delta.safetensors")
    assert (tmp_path / "delta.safetensors").read_bytes() == files[name]


def test_damage_is_told(good, there, tmp_path):
    files, run_id = good
    path = written(tmp_path / "x.zip", files, stored=True)
    whole, name = path.read_bytes(), run_id.encode()
    for damaged, told in (
        (whole.replace(b'"finished"', b'"finishes"'), "cannot be unpacked"),
        (whole.replace(name + b"/events", name + b"/eventz", 1), "cannot be unpacked"),
        (whole[: len(whole) // 2], "no zip"),
        (whole[:500] + whole[700:], ""),
    ):
        path.write_bytes(damaged)
        assert told in refusal(there, path)


FAR = ("\\\\evil\\share", " //evil/share", "/\\evil\\share", "\\/evil/share", "\u2003//evil/x")


@pytest.mark.parametrize("name", FAR)
def test_a_model_on_another_host_is_refused_before_anybody_looks_there(
    good, there, tmp_path, monkeypatch, name
):
    def looked_at(name):
        raise AssertionError(name)

    monkeypatch.setattr("unlearnlab.spec.run.model", looked_at)
    bad = run(spec={"model": {"name": name}})(*good)
    told = refusal(there, written(tmp_path / "x.zip", bad))
    assert "its model lies on another host" in told


def test_a_bad_run_does_not_keep_a_good_one_out(good, there, tmp_path):
    files, run_id = good
    both = manifest(json.loads(files[MANIFEST]) | {"runs": [OTHER, run_id]})
    found = add_pack(there, written(tmp_path / "x.zip", both(files, run_id)))
    assert [one.outcome for one in found] == ["refused", "imported"]
    assert f"{OTHER}/run.json is missing" in found[0].told
    assert [row.run_id for row in there.runs()] == [run_id]


def test_an_adapter_brings_no_code_and_no_place_on_a_machine(good, there, tmp_path):
    add_pack(there, written(tmp_path / "x.zip", adapter()(*good)))
    text = (there.folder(good[1]) / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["target_modules"] == ["q_proj"]
    assert "evil" not in text
    assert "somebody" not in text


def test_nothing_in_a_pack_steers_a_terminal(good, tmp_path, capsys):
    bell = "\x1b]0;evil\x07"
    home = ("--home", str(tmp_path / "there"))
    for change in (run(name=f"A {bell}run"), run(**{bell: 1})):
        path = written(tmp_path / f"x{bell[0]}.zip", change(*good))
        main(["unpack", str(path), *home])
    main(["list", *home])
    main(["show", good[1], *home])
    told = "".join(capsys.readouterr())
    assert "imported" in told
    assert "\x1b" not in told
    assert "\x07" not in told

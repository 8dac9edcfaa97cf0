"""Whoever made a pack: it breaks nothing, leaves nothing behind, and is refused in a sentence."""

import json
import stat
import struct
import zipfile

import pytest

from tests.exports.packs.zips import contents, joined, lines, pack_of, written
from unlearnlab.cli.main import main
from unlearnlab.exports.packs import format as layout
from unlearnlab.exports.packs.adding import add_pack
from unlearnlab.exports.packs.archive import opened
from unlearnlab.exports.packs.format import PackError
from unlearnlab.exports.packs.reading import digest_of
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


def left(store):
    """List what is in the store and around it, but for its database."""
    runs = store.home / "runs"
    around = [path.name for path in store.home.parent.parent.rglob("*")]
    assert not any("evil" in name for name in around), around
    return [row.run_id for row in store.runs()], sorted(runs.iterdir()) if runs.exists() else []


def entry(name, mode=0, kind=zipfile.ZIP_STORED):
    found = zipfile.ZipInfo(name)
    found.external_attr, found.compress_type = mode << 16, kind
    return found


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


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_packs_do_not_have_is_refused(good, there, tmp_path, name):
    files, run_id = good
    bad = written(tmp_path / "x.zip", {**files, name.replace("RUN", run_id): b"{}"})
    with pytest.raises(PackError, match="does not belong"):
        add_pack(there, bad)
    assert left(there) == ([], [])


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(good, there, tmp_path, mode):
    files, run_id = good
    name = f"{run_id}/delta.safetensors"
    link = {entry(name, mode): b"/etc/passwd"}
    bad = written(tmp_path / "x.zip", {**files, name: None} | link)
    with pytest.raises(PackError, match="is a link or a device"):
        add_pack(there, bad)
    assert left(there) == ([], [])


def test_a_file_twice_is_refused(good, there, tmp_path):
    files, _ = good
    with pytest.warns(UserWarning, match="Duplicate"):
        bad = written(tmp_path / "x.zip", files | {entry(layout.MANIFEST): b"{}"})
    with pytest.raises(PackError, match="twice"):
        add_pack(there, bad)


def test_a_bomb_is_refused_before_it_is_unpacked(good, there, tmp_path):
    files, run_id = good
    for name in (f"{run_id}/events.jsonl", f"{run_id}/delta.safetensors"):
        bad = written(tmp_path / "x.zip", files | {name: bytes(30 * 10**6)})
        assert bad.stat().st_size < 10**5
        with pytest.raises(PackError, match="would swell from"):
            add_pack(there, bad)
    assert left(there) == ([], [])


def test_many_small_files_that_swell_together_are_a_bomb_too(good, there, tmp_path, monkeypatch):
    files, _ = good
    monkeypatch.setattr("unlearnlab.exports.packs.archive.RATIO", 20)
    more = {f"evidence/{n:024x}.json": bytes(900_000) for n in range(20)}
    with pytest.raises(PackError, match="the zip would swell"):
        add_pack(there, written(tmp_path / "x.zip", files | more))


def test_too_much_text_is_refused(good, there, tmp_path, monkeypatch):
    files, run_id = good
    monkeypatch.setattr("unlearnlab.exports.packs.archive.TEXT_BYTES", 2000)
    bad = written(tmp_path / "x.zip", files | {f"{run_id}/events.jsonl": b"x" * 2001}, stored=True)
    with pytest.raises(PackError, match="of text"):
        add_pack(there, bad)


def test_a_run_of_too_much_text_in_all_is_refused(good, there, tmp_path, monkeypatch):
    monkeypatch.setattr("unlearnlab.exports.packs.reading.RUN_BYTES", 3000)
    (found,) = add_pack(there, written(tmp_path / "x.zip", good[0]))
    assert "of text: 3.0 kB is the most" in found.told
    assert left(there) == ([], [])


def test_too_many_files_are_refused(good, there, tmp_path, monkeypatch):
    files, _ = good
    more = {f"evidence/{n:024x}.json": b"{}" for n in range(60)}
    bad = written(tmp_path / "x.zip", files | more)
    monkeypatch.setattr("unlearnlab.exports.packs.archive.ENTRIES", 50)
    with pytest.raises(PackError, match="at most 50"):
        add_pack(there, bad)
    monkeypatch.setattr("unlearnlab.exports.packs.archive.ENTRIES", 3)
    with pytest.raises(PackError, match="more files than a pack may"):
        add_pack(there, bad)


def test_a_large_directory_is_seen_in_both_of_its_records(good, there, tmp_path):
    files, _ = good
    good_zip = written(tmp_path / "x.zip", files).read_bytes()
    body, end = good_zip[:-22], bytearray(good_zip[-22:])
    struct.pack_into("<L", end, 12, 2**31)
    large = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, len(body), 1)
    for tail in (bytes(end), large + locator + good_zip[-22:]):
        (tmp_path / "x.zip").write_bytes(body + tail)
        with pytest.raises(PackError, match="more files than a pack may"):
            add_pack(there, tmp_path / "x.zip")


def test_a_directory_that_lies_where_only_some_would_look_is_refused(good, there, tmp_path):
    whole = written(tmp_path / "x.zip", good[0]).read_bytes()
    body, end = whole[:-22], whole[-22:]
    large = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    small = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9, 9, 9, 0)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, len(body), 1)
    for between in (small, b"", bytes(30)):
        (tmp_path / "x.zip").write_bytes(body + large + between + locator + end)
        with pytest.raises(PackError, match=r"elsewhere|more files"):
            add_pack(there, tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(locator + end)
    with pytest.raises(PackError, match="elsewhere"):
        add_pack(there, tmp_path / "x.zip")


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
    whole = path.read_bytes()
    for damaged in (
        whole.replace(b'"finished"', b'"finishes"'),
        whole.replace(run_id.encode() + b"/events", run_id.encode() + b"/eventz", 1),
    ):
        path.write_bytes(damaged)
        (told,) = add_pack(there, path)
        assert told.outcome == "refused"
        assert "cannot be unpacked" in told.told
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PackError, match="no zip"):
        add_pack(there, path)
    path.write_bytes(whole[:500] + whole[700:])
    with pytest.raises(PackError):
        add_pack(there, path)
    assert left(there) == ([], [])


def changed(good, name, change):
    """Change a file of JSON, or each line of one of lines; what `change` returns is written."""
    files, run_id = good
    name = name.replace("RUN", run_id)
    plain = lines(files[name]) if name.endswith("jsonl") else json.loads(files[name])
    found = change(plain)
    body = found if isinstance(found, bytes) else joined(found) if isinstance(found, list) else None
    return files | {name: json.dumps(found).encode() if body is None else body}


def event(**fields):
    return lambda found: [*found[:-1], {"at": 1.0, "event": fields}, found[-1]]


def each(kind, **fields):
    def change(found):
        for line in found:
            if line["event"]["kind"] == kind:
                line["event"].update(fields)
        return found

    return change


def put(**fields):
    return lambda found: found | fields


DEEP = b"[" * 100_000

BAD_RUNS = {
    "a kind of a later program": (
        "RUN/events.jsonl",
        event(kind="dreamt", of="sheep"),
        "no event is called 'dreamt' here",
    ),
    "no kind": ("RUN/events.jsonl", event(of="sheep"), "event: Unable to extract tag"),
    "a field too many": ("RUN/events.jsonl", each("loaded", more=1), "more"),
    "a moment that is none": (
        "RUN/events.jsonl",
        lambda found: [found[0] | {"at": 1e300}, *found[1:]],
        "event 1: at",
    ),
    "no JSON": ("RUN/events.jsonl", lambda _: b"{", "event 1"),
    "no text": ("RUN/events.jsonl", lambda _: b"\xff\xfe\x00", "event 1"),
    "nested too deep": ("RUN/events.jsonl", lambda _: DEEP, "event 1"),
    "no events": ("RUN/events.jsonl", lambda _: b"", "it never began"),
    "two endings": ("RUN/events.jsonl", event(kind="stopped", seconds=1.0), "it ends twice"),
    "an endless ending": (
        "RUN/events.jsonl",
        each("finished", seconds="Infinity"),
        "it took inf seconds",
    ),
    "a phase that is none": ("RUN/events.jsonl", each("phase_began", phase=4), "no phase 5"),
    "a phase that ends before it begins": (
        "RUN/events.jsonl",
        lambda found: [
            {
                "at": 1.0,
                "event": {"kind": "phase_ended", "phase": 0, "steps": 1, "total_steps": 1},
            },
            *found,
        ],
        "no course of a run",
    ),
    "a step that no page can tell": (
        "RUN/events.jsonl",
        each("step_logged", step=10**30),
        "a number in step_logged is too large",
    ),
    "a count that no float can be": (
        "RUN/events.jsonl",
        event(kind="progressed", done=10**400, total=10**400 + 1),
        "a number in progressed is too large",
    ),
    "rows below zero": (
        "RUN/events.jsonl",
        each("loaded", rows={"forget": -5}),
        "a number in loaded is too large, or below zero",
    ),
    "a setting that no page can tell": (
        "RUN/run.json",
        put(spec={"phases": [{"max_steps": 10**30}]}),
        "a number in its spec is too large",
    ),
    "more MMLU questions right than asked, midway": (
        "RUN/events.jsonl",
        lambda found: [
            *found[:2],
            {"at": 1.0, "event": {"kind": "stage_began", "stage": "scoring before", "seconds": 1}},
            *(
                {"at": 1.0, "event": one}
                for one in (
                    {"kind": "progressed", "done": 1, "total": 2},
                    {"kind": "examined", "when": "before", "asked": 1, "of": 5, "right": 9},
                )
            ),
            *found[2:],
        ],
        "no course of a run",
    ),
    "a change of nothing": (
        "RUN/events.jsonl",
        event(kind="adjusted", step=1, phase=0, changes={"no.such": 1.0}),
        "no course of a run",
    ),
    "an event of a preview": (
        "RUN/events.jsonl",
        event(kind="previewed", answers={}),
        "no event of a run",
    ),
    "another run": ("RUN/run.json", put(run="200101-000000-000"), "tells of another run"),
    "a moment of another age": ("RUN/run.json", put(created=-1.0), "created"),
    "an unknown setting": ("RUN/run.json", put(spec={"sed": 1}), "sed: there is no such setting"),
    "an unknown method": (
        "RUN/run.json",
        put(spec={"phases": [{"method": {"kind": "magic"}}]}),
        "unknown method 'magic'",
    ),
    "a model that no path can have": (
        "RUN/run.json",
        put(spec={"model": {"name": "evil/" * 2000}}),
        "does not fit here",
    ),
    "evidence that is not there": (
        "RUN/run.json",
        put(evidence={"key-before": "0" * 24}),
        "is missing",
    ),
    "more evidence than models": (
        "RUN/run.json",
        put(evidence={f"key-{n}": "0" * 24 for n in range(3)}),
        "evidence: Dictionary should have at most 2 items",
    ),
    "evidence by a path": ("RUN/run.json", put(evidence={"key-before": "../../evil"}), "evidence"),
    "no weights": ("RUN/delta.safetensors", lambda _: b"\x80\x04evil", "holds no weights"),
}
BAD_RUNS["no weights"] = ("RUN/delta.safetensors", None, "holds no weights")


@pytest.mark.parametrize("case", BAD_RUNS)
def test_a_run_that_cannot_be_one_is_refused_and_leaves_nothing(good, there, tmp_path, case):
    name, change, told = BAD_RUNS[case]
    files, run_id = good
    if change is None:
        files = files | {name.replace("RUN", run_id): b"\x80\x04evil"}
    else:
        files = changed(good, name, change)
    (found,) = add_pack(there, written(tmp_path / "x.zip", files))
    assert found.outcome == "refused"
    assert told in found.told
    assert len(found.told) < 600
    assert left(there) == ([], [])


FAR = ("\\\\evil\\share", " //evil/share", "/\\evil\\share", "\\/evil/share", "\u2003//evil/x")


@pytest.mark.parametrize("name", FAR)
def test_a_model_on_another_host_is_refused_before_anybody_looks_there(
    good, there, tmp_path, monkeypatch, name
):
    def looked_at(name):
        raise AssertionError(name)

    monkeypatch.setattr("unlearnlab.spec.run.model", looked_at)
    bad = changed(good, "RUN/run.json", put(spec={"model": {"name": name}}))
    (found,) = add_pack(there, written(tmp_path / "x.zip", bad))
    assert "its model lies on another host" in found.told
    assert left(there) == ([], [])


def test_scores_and_answers_that_no_page_could_show_are_refused(good, there, tmp_path):
    files, run_id = good

    def scored(**fields):
        def change(found):
            for line in found:
                if line["event"]["kind"] == "evaluated":
                    line["event"]["scores"].update(fields)
            return found

        return change

    for change in (
        scored(task_aggregate="NaN"),
        scored(terms={"forget": 0.5}),
        scored(final=7),
    ):
        bad = changed(good, "RUN/events.jsonl", change)
        (found,) = add_pack(there, written(tmp_path / "x.zip", bad))
        assert found.outcome == "refused"
    told = json.loads(files[f"{run_id}/run.json"])
    for fields in (
        {"answers": []},
        {"membership": {"member": [], "nonmember": [1.0]}},
        {"choices": [{"question": "q", "subject": "s", "options": [], "right": 0, "logprobs": []}]},
    ):
        name = f"evidence/{told['evidence']['key-before']}.json"
        body = json.dumps(json.loads(files[name]) | fields).encode()
        digest = digest_of(body)
        run = told | {"evidence": {"key-before": digest}}
        bad = files | {
            f"evidence/{digest}.json": body,
            f"{run_id}/run.json": json.dumps(run).encode(),
        }
        (found,) = add_pack(there, written(tmp_path / "x.zip", bad))
        assert found.outcome == "refused"
    assert left(there) == ([], [])


def test_evidence_that_was_changed_is_refused(good, there, tmp_path):
    files, _ = good
    name = next(name for name in files if name.startswith("evidence/"))
    bad = files | {name: files[name].replace(b"Ada", b"Eve")}
    (found,) = add_pack(there, written(tmp_path / "x.zip", bad))
    assert "is not what it was when it was packed" in found.told


def test_a_bad_run_does_not_keep_a_good_one_out(good, there, tmp_path):
    files, run_id = good
    manifest = json.loads(files[layout.MANIFEST])
    other = "990101-000000-000"
    manifest["runs"] = [other, run_id]
    bad = files | {layout.MANIFEST: json.dumps(manifest).encode()}
    found = add_pack(there, written(tmp_path / "x.zip", bad))
    assert [one.outcome for one in found] == ["refused", "taken in"]
    assert f"{other}/run.json is missing" in found[0].told
    assert left(there)[0] == [run_id]


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ({"format": 2, "unlearnlab": "9.1", "runs": ["990101-000000-000"]}, "unlearnlab 9.1"),
        ({"format": 1, "unlearnlab": "1", "runs": ["../evil"]}, "runs"),
        ({"format": 1, "unlearnlab": "1", "runs": []}, "runs"),
        ([], "unlearnlab-pack.json"),
    ],
)
def test_a_manifest_of_something_else_is_refused(good, there, tmp_path, manifest, told):
    bad = good[0] | {layout.MANIFEST: json.dumps(manifest).encode()}
    with pytest.raises(PackError, match=told):
        add_pack(there, written(tmp_path / "x.zip", bad))


def test_a_zip_of_something_else_is_refused(there, tmp_path):
    with pytest.raises(PackError, match="json is missing"):
        add_pack(there, written(tmp_path / "x.zip", {}))


def test_an_adapter_brings_no_code_and_no_place_on_a_machine(good, there, tmp_path):
    files, run_id = good
    config = {
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
    name = f"{run_id}/adapter/adapter_config.json"
    add_pack(there, written(tmp_path / "x.zip", files | {name: json.dumps(config).encode()}))
    text = (there.folder(run_id) / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["target_modules"] == ["q_proj"]
    assert "evil" not in text
    assert "somebody" not in text
    there.delete([run_id])
    there.erase(deleted_before=float("inf"))
    bad = files | {name: json.dumps(config | {"target_modules": "(a+)+$"}).encode()}
    (found,) = add_pack(there, written(tmp_path / "x.zip", bad))
    assert found.outcome == "refused"
    assert left(there) == ([], [])


def test_nothing_in_a_pack_steers_a_terminal(good, tmp_path, capsys):
    bell = "\x1b]0;evil\x07"
    named = changed(good, "RUN/run.json", put(name=f"A {bell}run"))
    unknown = changed(good, "RUN/run.json", lambda found: found | {bell: 1})
    home = ("--home", str(tmp_path / "there"))
    for files in (named, unknown):
        main(["unpack", str(written(tmp_path / f"x{bell[0]}.zip", files)), *home])
    main(["list", *home])
    main(["show", good[1], *home])
    told = "".join(capsys.readouterr())
    assert "taken in" in told
    assert "\x1b" not in told
    assert "\x07" not in told

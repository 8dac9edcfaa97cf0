"""What the page remembers of a run never outlives the run: an import may bring another version."""

from dataclasses import replace

import pytest

from tests.exports.results import run_of
from tests.fakes import FakeLab
from unlearnlab.exports.packs import add_pack, packable, write_pack
from unlearnlab.runs.events import Finished
from unlearnlab.runs.store import Store
from unlearnlab.runs.worker import Worker
from unlearnlab.ui.compare.runs import CachedRuns
from unlearnlab.ui.kit.program import Program
from unlearnlab.ui.kit.run_source import remembered


def seen(program, compared, run_id):
    """Return all that the page shows of a run from memory."""
    compared.forget()
    row, progress = program.store.row(run_id), program.runs.progress(run_id)
    listed, _ = compared.of([run_id])
    return {
        "progress": progress,
        "outline": program.outline(run_id),
        "answers": program.answers(row.spec, progress),
        "intervals": program.statistics.intervals(*row.keys, row.spec.data.forget),
        "attack": program.statistics.attack(row.keys[1]),
        "measures": program.statistics.taken(*row.keys, row.spec.data.forget, ""),
        "evidence": program.evidence(row.keys[1]),
        "tracks": compared.tracks(listed),
        "compared intervals": compared.intervals(listed, wait=True),
        "repeat": program.reproduced(run_id, run_id),
    }


@pytest.fixture
def packs(tmp_path):
    """One run as two packs: without answers and with fewer events, and whole."""
    thin, whole = tmp_path / "thin.zip", tmp_path / "whole.zip"
    with run_of(tmp_path / "here") as (store, _, run_id):
        write_pack([packable(store, run_id, answers=False)], thin)
        write_pack([packable(store, run_id)], whole)
    return run_id, thin, whole


def test_a_run_imported_anew_is_seen_whole_by_a_page_that_knew_it_bare(packs, tmp_path):
    run_id, thin, whole = packs
    with Store(tmp_path / "there") as store:
        worker = Worker(store, FakeLab())
        program, compared = Program(store, worker, {}), CachedRuns(store)
        add_pack(store, thin)
        bare = seen(program, compared, run_id)
        assert bare["answers"] == ()
        store.delete([run_id])
        add_pack(store, whole)
        warm = seen(program, compared, run_id)
        assert len(warm["answers"]) > 0
        assert warm == seen(Program(store, worker, {}), CachedRuns(store), run_id)
        worker.close(5)


def test_a_run_under_the_id_of_an_erased_one_has_its_own_progress(packs, tmp_path):
    run_id, _, whole = packs
    with Store(tmp_path / "there") as store:
        worker = Worker(store, FakeLab())
        program, compared = Program(store, worker, {}), CachedRuns(store)
        add_pack(store, whole)
        first = store.full_record(run_id)
        seen(program, compared, run_id)
        store.delete([run_id])
        store.erase(deleted_before=float("inf"))
        files = tmp_path / "files"
        files.mkdir()
        *begun, last = first.events
        assert isinstance(last.event, Finished)
        slower = replace(last, event=last.event.model_copy(update={"seconds": 999.0}))
        store.import_run(replace(first, events=(*begun, slower)), files, origin="elsewhere")
        assert seen(program, compared, run_id)["outline"][-1].seconds == 999.0
        assert seen(program, compared, run_id) == seen(
            Program(store, worker, {}), CachedRuns(store), run_id
        )
        worker.close(5)


def test_what_was_absent_is_asked_for_again_and_what_was_there_is_not():
    kept, asked = {}, []

    def read(key):
        asked.append(key)
        return kept.get(key)

    get = remembered(2, read)
    assert get("a") is None
    kept["a"] = "found"
    assert [get("a"), get("a")] == ["found", "found"]
    assert asked == ["a", "a"]

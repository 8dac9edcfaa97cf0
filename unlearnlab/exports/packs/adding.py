"""Takes the runs of a pack into a store, each as a whole or not at all."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unlearnlab.data.files import NoRoom, check_room
from unlearnlab.exports.packs.evidence_keys import isolated, plain_keys, same
from unlearnlab.exports.packs.format import WEIGHTS, PackError
from unlearnlab.exports.packs.reading import Pack, open_pack
from unlearnlab.runs.records import FullRecord
from unlearnlab.runs.store import Store, StoreError, UnknownRun, make_folder
from unlearnlab.spec.errors import printable

Outcome = Literal["taken in", "there already", "refused"]


@dataclass(frozen=True, slots=True)
class Addition:
    """What became of one run of a pack."""

    run_id: str
    outcome: Outcome
    told: str
    """Its title, or why it was refused."""


def add_pack(store: Store, path: Path, *, name: str = "") -> tuple[Addition, ...]:
    """Take in the runs of a pack.

    Args:
        store: Where they go.
        path: The pack.
        name: What its file is called, if not as at `path`.

    Raises:
        PackError: It is no pack. Then nothing is taken in.
    """
    with open_pack(path) as pack:
        origin = f"from {printable(name or path.name)[-80:]}"
        return tuple(_added(store, pack, run_id, origin) for run_id in pack.run_ids)


def _added(store: Store, pack: Pack, run_id: str, origin: str) -> Addition:
    try:
        run = pack.read(run_id)
        if (ours := _ours(store, run_id)) is not None and _stays(store, pack, run, ours):
            store.restore([run_id])  # It may have been deleted, and not yet erased.
            return Addition(run_id, "there already", run.name or run.spec.title)
        _take_in(store, pack, isolated(run, store.evidence), origin)
    except (PackError, NoRoom, StoreError) as error:
        return Addition(run_id, "refused", str(error))
    except OSError as error:
        return Addition(run_id, "refused", f"run {run_id} cannot be written: {error.strerror}")
    return Addition(run_id, "taken in", run.name or run.spec.title)


def _ours(store: Store, run_id: str) -> FullRecord | None:
    try:
        return store.full_record(run_id)
    except UnknownRun:
        return None


def _stays(store: Store, pack: Pack, run: FullRecord, ours: FullRecord) -> bool:
    """Tell whether the run that is there stays, or was deleted and gives way to the pack's.

    Raises:
        PackError: It must be deleted first.
    """
    row = store.row(run.run_id)
    if not same(run, ours):
        problem = "and is another"
    elif row.origin and (lacking := _lacking(store, pack, run, ours)):
        problem = f"without its {lacking}"
    else:
        return True
    if row.deleted and row.origin:
        return False
    raise PackError(f"run {run.run_id} is there already, {problem}: delete that one first")


def _lacking(store: Store, pack: Pack, run: FullRecord, ours: FullRecord) -> str:
    """Say what the run that is there has not and the pack has; empty if nothing."""
    weights = {name for name in pack.files(run.run_id) if name.endswith(WEIGHTS)}
    missing = {
        "answers": run.evidence.keys() - plain_keys(ours).evidence.keys(),
        "weights": weights - store.artefacts(run.run_id).keys(),
    }
    return " and ".join(what for what, names in missing.items() if names)


def _take_in(store: Store, pack: Pack, run: FullRecord, origin: str) -> None:
    home = store.home / "runs"
    make_folder(home)
    check_room(home, sum(pack.archive.sizes.values()))
    # Beside its place, so that it gets there in one step; a crash leaves a name with a dot.
    with tempfile.TemporaryDirectory(prefix=".", dir=home) as part:
        files = Path(part) / run.run_id
        make_folder(files)
        pack.unpack(run.run_id, files)
        store.import_run(run, files, origin=origin)

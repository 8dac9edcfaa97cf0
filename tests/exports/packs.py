"""Packs of a pretended run, and what a stranger could make of them."""

import json
import zipfile

from tests.exports.results import run_of
from tests.fakes import whole_run
from unlearnlab.exports.packs import packable, write_pack


def pack_of(home, out, script=whole_run, *, spec=None, **options):
    """Carry out a run and pack it: its id."""
    with run_of(home, spec, script=script) as (store, _, run_id):
        write_pack([packable(store, run_id, **options)], out)
    return run_id


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def written(path, files, *, stored=False):
    """Write a zip: bytes by name, or by entry; none leaves one out."""
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, body in files.items():
            if body is not None:
                archive.writestr(name, body)
    return path


def lines(body):
    return [json.loads(line) for line in body.splitlines()]


def joined(found):
    return "\n".join(json.dumps(line) for line in found).encode()

"""Files and folders that are whole or not there at all."""

import shutil

import pytest

from unlearnlab.data import files as disk
from unlearnlab.data.files import (
    NoRoom,
    Taken,
    check_free,
    check_room,
    copy_whole,
    size,
    whole_folder,
    write_whole,
)


def broken_off(target):
    with whole_folder(target) as part:
        (part / "half").write_text("half")
        raise RuntimeError("power cut")


def test_a_folder_appears_when_all_of_it_is_written(tmp_path):
    with whole_folder(tmp_path / "new" / "model") as part:
        (part / "a").write_text("a")
        assert not (tmp_path / "new" / "model").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]


def test_a_folder_that_broke_off_leaves_nothing_and_spares_what_was_there(tmp_path):
    with whole_folder(tmp_path / "model") as part:
        (part / "old").write_text("old")
    with pytest.raises(RuntimeError):
        broken_off(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "old").exists()


def test_what_an_earlier_attempt_left_is_written_over(tmp_path):
    (tmp_path / "model.part").mkdir()
    (tmp_path / "model.part" / "left").write_text("")
    with whole_folder(tmp_path / "model") as part:
        (part / "a").write_text("a")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["a"]
    (tmp_path / "file.part").write_text("half of it")
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file.part").exists()


def test_files_and_folders_are_copied_as_a_whole(tmp_path):
    (tmp_path / "a").write_text("a")
    copy_whole(tmp_path / "a", tmp_path / "there" / "b")
    copy_whole(tmp_path / "there", tmp_path / "again")
    assert (tmp_path / "again" / "b").read_text() == "a"


def test_room_is_looked_at_where_the_folder_will_be(tmp_path, monkeypatch):
    asked = []

    def usage(path):
        asked.append(path)
        return shutil._ntuple_diskusage(10**12, 0, 10**9)

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    check_room(tmp_path / "not" / "yet", 10**8)
    assert asked == [tmp_path]
    with pytest.raises(NoRoom, match=r"2\.0 GB are needed and 64\.0 MB must stay free, but only 1"):
        check_room(tmp_path, 2 * 10**9)


def test_only_an_empty_folder_is_no_obstacle(tmp_path):
    check_free(tmp_path)
    check_free(tmp_path / "new")
    (tmp_path / "file").write_text("")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(Taken, match="is there already"):
            check_free(taken)


def test_sizes_are_written_as_people_do():
    found = [size(n) for n in (5, 1500, 2 * 10**6, 13 * 10**9)]
    assert found == ["5 bytes", "1.5 kB", "2.0 MB", "13.0 GB"]

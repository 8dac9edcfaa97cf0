"""What is said of paths and files that are no model, in one line and without asking the hub."""

import os

import pytest

from tests.models.stored import header_of, tiny_folder
from unlearnlab.models.catalog import model
from unlearnlab.models.formats import disguise


def told(name) -> str:
    known = model(str(name))
    found = known.unknown_reason or known.unavailable_reason
    assert "\n" not in found
    assert known.to_download == ()
    return found


HTML = b"<!DOCTYPE html><html><title>Sign in</title></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "model")


def test_a_folder_with_nothing_but_a_gguf_file_says_what_that_is_and_the_way_out(tmp_path):
    (tmp_path / "tiny-Q4_0.gguf").write_bytes(b"GGUF\3\0\0\0")
    for name in (tmp_path, tmp_path / "tiny-Q4_0.gguf"):
        assert "GGUF file" in told(name)
        assert f"from_pretrained('{tmp_path}', gguf_file='tiny-Q4_0.gguf')" in told(name)


@pytest.mark.parametrize("name", ["model/tiny.gguf", "model/pytorch_model.bin", "model/adapter.pt"])
def test_what_exists_is_never_looked_for_on_the_hub_though_it_looks_like_an_id(
    name, tmp_path, monkeypatch, hub
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / name).write_bytes(b"\x80\x02")
    assert told(name)
    assert model(name).repository == ""
    assert hub.asked == []


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("model.safetensors", LFS, "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
        ("model.safetensors", HTML, "is a web page, perhaps of a login"),
        ("model.safetensors", b"PK\x03\x04rest", "is a zip archive, as torch.save writes pickles"),
        ("model.safetensors", b"\x80\x02}q\x00.", "is a pickle, which can run code"),
        ("model.safetensors", b"GGUF\3\0\0\0", "is a GGUF file"),
        ("model.safetensors", b"", "is empty"),
        ("config.json", LFS, "is a Git LFS pointer"),
        ("config.json", b"\n <html>", "is a web page"),
        ("tokenizer.json", LFS, "is a Git LFS pointer"),
        ("tokenizer.json", HTML, "is a web page"),
    ],
)
def test_a_file_that_is_something_else_is_called_by_its_name_with_the_way_out(
    folder, file, content, says
):
    (folder / file).write_bytes(content)
    assert f"{folder / file} {says}" in told(folder)


def test_safetensors_whose_length_begins_like_a_pickle_are_no_pickle(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(header_of(128) + b"{" + b" " * 127)
    assert path.read_bytes()[:1] == b"\x80"
    assert disguise(path) == ""


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("pytorch_model.bin",), "holds only pickled weights (pytorch_model.bin)"),
        (("consolidated.00.pth",), "holds only pickled weights"),
        (("model.onnx",), "weights of another format (model.onnx: ONNX"),
        (("250101-delta.safetensors",), "holds only the weights that a run changed"),
        (("model.safetensors",), "holds weights but no config.json"),
        (("checkpoint-9/config.json",), "folders that do: name one of them"),
        (("snapshots/abc/config.json",), "folders that do: name one of them"),
        ((), "is empty"),
        (("notes.txt",), "holds no config.json"),
    ],
)
def test_a_folder_that_is_no_model_says_what_it_holds(tmp_path, files, says):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    assert f"{tmp_path}" in told(tmp_path)
    assert says in told(tmp_path)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("weights.pt", "holds pickled weights, which can run code"),
        ("model.zip", "is an archive: unpack it"),
        ("run-delta.safetensors", "holds only the weights that a run changed"),
        ("config.json", "is a file: name the folder that it lies in"),
    ],
)
def test_a_file_in_place_of_a_folder_says_what_to_name(tmp_path, file, says):
    (tmp_path / file).write_bytes(b"{}")
    assert says in told(tmp_path / file)


def test_dangling_links_and_loops_are_told_as_what_they_are(tmp_path, folder):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert f"is a link to {tmp_path / 'nowhere'}, which does not exist" in told(tmp_path / "gone")
    assert "is a link that leads back to itself" in told(tmp_path / "round")
    assert f"lies behind {tmp_path / 'gone'}, a link to" in told(tmp_path / "gone" / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../blobs/0f3a")
    assert f"{folder / 'model.safetensors'} is a link to ../blobs/0f3a" in told(folder)


@pytest.mark.skipif(os.name == "nt", reason="there they are paths")
@pytest.mark.parametrize("name", [r"C:\models\x", r"models\x", r"\\host\models", "C:/models/x"])
def test_a_path_of_windows_is_told_as_a_path(name):
    assert "is a path of Windows, and this is another system" in told(name)


@pytest.mark.parametrize("name", ["/" + "x" * 5000, "a\0b", "~nobody-of-that-name/x", "./nowhere"])
def test_no_name_whatsoever_ends_in_an_error_of_the_system(name):
    assert told(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_says_so(tmp_path, folder):
    tmp_path.chmod(0)
    try:
        assert "may not be read" in told(folder)
    finally:
        tmp_path.chmod(0o700)


def test_more_tokens_than_rows_are_refused_with_both_numbers_and_the_first_such_token(tmp_path):
    folder = tiny_folder(tmp_path, rows=8, words=("a", "b", "c"), added={8: "Morrow", 9: "Rock"})
    assert "knows 10 tokens, and the model has 8 rows of embeddings: token 8, 'Morrow'" in told(
        folder
    )
    assert told(tiny_folder(tmp_path / "fits", rows=10, added={8: "Morrow", 9: "Rock"})) == ""


def test_a_vocabulary_as_a_list_is_counted_too(tmp_path):
    folder = tiny_folder(tmp_path, rows=4, scored=("a", "b", "c", "d", "e"))
    assert "knows 5 tokens, and the model has 4 rows of embeddings: token 4, 'e'" in told(folder)


def test_a_head_that_the_config_asks_for_and_the_file_lacks_is_refused(tmp_path):
    folder = tiny_folder(tmp_path, tied=False, head=None)
    assert "the weights hold none (lm_head.weight)" in told(folder)
    assert told(tiny_folder(tmp_path / "own", tied=False, head="other")) == ""


@pytest.mark.parametrize(("head", "differs"), [("other", True), ("same", False), (None, False)])
def test_a_head_of_its_own_that_the_config_discards_is_told(tmp_path, head, differs):
    known = model(str(tiny_folder(tmp_path, tied=True, head=head)))
    assert known.unavailable_reason == ""
    assert any("a head of their own" in note for note in known.notes) == differs

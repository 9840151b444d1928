import json
import os
from pathlib import Path

import pytest

from models.artefact import champions, load_champion, publish, read_artefact, write_artefact
from perennial.errors import ArtefactError, OutputError

FILES = {"model.json": b'{"r": 0.243}\n', "trees.txt": b"tree\n"}
META = {"trained_on": "cdnow", "rows": 2357}


def folder_bytes(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_written_is_read(tmp_path):
    artefact = read_artefact(write_artefact(tmp_path / "clv", "clv", FILES, META), "clv")
    assert artefact.files == FILES
    assert artefact.meta == META
    assert artefact.version is None


def test_same_content_gives_the_same_bytes(tmp_path):
    one = write_artefact(tmp_path / "one", "clv", FILES, META)
    two = write_artefact(tmp_path / "two", "clv", dict(reversed(FILES.items())), dict(reversed(META.items())))
    assert folder_bytes(one) == folder_bytes(two)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_altered_file_is_refused_by_name(tmp_path, name):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    (directory / name).write_bytes(FILES[name][:-1])
    with pytest.raises(ArtefactError, match=name):
        read_artefact(directory, "clv")


def test_a_missing_file_is_refused_by_name(tmp_path):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    (directory / "trees.txt").unlink()
    with pytest.raises(ArtefactError, match=r"trees\.txt: cannot be read"):
        read_artefact(directory, "clv")


def test_altered_meta_is_refused(tmp_path):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    manifest = directory / "manifest.json"
    manifest.write_text(manifest.read_text().replace("2357", "2358"))
    with pytest.raises(ArtefactError, match="altered"):
        read_artefact(directory, "clv")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}'])
def test_a_broken_manifest_is_refused(tmp_path, text):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    (directory / "manifest.json").write_text(text)
    with pytest.raises(ArtefactError, match="not a model manifest"):
        read_artefact(directory, "clv")


def test_another_format_and_another_kind_are_refused(tmp_path):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    with pytest.raises(ArtefactError, match="'clv' model where a 'churn' model"):
        read_artefact(directory, "churn")
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(ArtefactError, match="format 99"):
        read_artefact(directory, "clv")


@pytest.mark.parametrize("name", ["../x", "a/b", "manifest.json", "", ".hidden"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ArtefactError, match="plain name"):
        write_artefact(tmp_path / "clv", "clv", {name: b""}, {})
    assert list(tmp_path.iterdir()) == []


def test_meta_must_be_finite_json(tmp_path):
    with pytest.raises(ArtefactError, match="finite JSON"):
        write_artefact(tmp_path / "clv", "clv", FILES, {"auc": float("nan")})


def test_an_existing_artefact_is_never_overwritten(tmp_path):
    directory = write_artefact(tmp_path / "clv", "clv", FILES, META)
    with pytest.raises(ArtefactError, match="stands there already"):
        write_artefact(directory, "clv", {"model.json": b"other"}, META)
    assert read_artefact(directory, "clv").files == FILES


def test_a_full_disk_leaves_nothing_torn(tmp_path, monkeypatch):
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OutputError, match="No space left"):
        write_artefact(tmp_path / "clv", "clv", FILES, META)
    assert list(tmp_path.iterdir()) == []


def test_publish_promote_and_roll_back(tmp_path):
    shelf = tmp_path / "models"
    assert champions(shelf) == {}
    first = write_artefact(tmp_path / "first", "clv", FILES, META)
    second = write_artefact(tmp_path / "second", "clv", {"model.json": b"2"}, META)
    publish(shelf, "clv", "1", first)
    publish(shelf, "clv", "2", second)
    publish(shelf, "churn", "7", first)
    assert champions(shelf) == {"clv": "2", "churn": "7"}
    assert load_champion(shelf, "clv").files == {"model.json": b"2"}
    publish(shelf, "clv", "1", shelf / "clv" / "1")
    champion = load_champion(shelf, "clv")
    assert (champion.version, champion.files) == ("1", FILES)


def test_a_published_version_never_changes(tmp_path):
    shelf = tmp_path / "models"
    publish(shelf, "clv", "1", write_artefact(tmp_path / "first", "clv", FILES, META))
    other = write_artefact(tmp_path / "other", "clv", {"model.json": b"2"}, META)
    with pytest.raises(ArtefactError, match="new version"):
        publish(shelf, "clv", "1", other)
    assert load_champion(shelf, "clv").files == FILES


def test_an_altered_model_never_reaches_the_shelf(tmp_path):
    shelf = tmp_path / "models"
    publish(shelf, "clv", "1", write_artefact(tmp_path / "first", "clv", FILES, META))
    torn = write_artefact(tmp_path / "torn", "clv", {"model.json": b"2"}, META)
    (torn / "model.json").write_bytes(b"")
    with pytest.raises(ArtefactError, match="differs"):
        publish(shelf, "clv", "2", torn)
    assert champions(shelf) == {"clv": "1"}


@pytest.mark.parametrize(("name", "version"), [("..", "1"), ("clv", "../1"), ("a/b", "1"), ("clv", "")])
def test_shelf_places_stay_on_the_shelf(tmp_path, name, version):
    source = write_artefact(tmp_path / "first", "clv", FILES, META)
    with pytest.raises(ArtefactError, match="cannot stand on the shelf"):
        publish(tmp_path / "models", name, version, source)


def test_a_missing_champion_says_how_to_train_it(tmp_path):
    with pytest.raises(ArtefactError, match="perennial train clv"):
        load_champion(tmp_path, "clv")


@pytest.mark.parametrize("text", ["", "[]", '{"clv": 1}'])
def test_a_broken_champions_file_is_named(tmp_path, text):
    (tmp_path / "champions.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"champions\.json"):
        champions(tmp_path)

"""Files are replaced whole or not at all, whatever goes wrong."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert import BertConfig, BertForPreTraining, InputError
from minibert.files import read_json, replace_atomically, write_atomically

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(*_: Any) -> None:
    raise FULL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_the_folders_above_it_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    for content in (b"first", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content and names(path.parent) == ["c.bin"]


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt(), ZeroDivisionError()], ids=lambda e: type(e).__name__)
def test_a_write_that_stops_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    """OSError becomes an InputError; anything else, as a KeyboardInterrupt, passes through."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        assert path.read_bytes() == b"old" and temporary.parent == path.parent
        raise error

    with pytest.raises(InputError if error is FULL else type(error)) as caught:
        replace_atomically(path, half)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]
    if error is FULL:
        assert str(caught.value) == f"cannot write {path}: {FULL.strerror}; what was there before is unchanged"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_while_saving_keeps_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      call: str) -> None:
    config = BertConfig(vocab_size=11, hidden_size=6, num_hidden_layers=1, num_attention_heads=2, intermediate_size=5,
                        max_position_embeddings=7)
    old = BertForPreTraining(config, seed=1)
    old.save_pretrained(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device; what was there before is unch"):
        BertForPreTraining(config, seed=2).save_pretrained(tmp_path)
    monkeypatch.undo()
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before
    loaded = BertForPreTraining.from_pretrained(tmp_path)
    np.testing.assert_array_equal(loaded.bert.pooler.dense.weight.data, old.bert.pooler.dense.weight.data)


def test_the_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could leave an empty file under the right name."""
    events = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("sync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), rename(a, b)))
    write_atomically(tmp_path / "a.bin", b"content")
    assert events[:2] == ["sync", "replace"] and events.count("replace") == 1


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems cannot; the file is in its place by then."""
    fsync, done = os.fsync, []

    def only_files(descriptor: int) -> None:
        if done:
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)
        done.append(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    write_atomically(tmp_path / "a.bin", b"content")
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Below a file there can be no folder, not even for the administrator."""
    (tmp_path / "file").write_bytes(b"content")
    for path in (tmp_path / "file" / "a.bin", tmp_path / "file" / "b" / "a.bin"):
        with pytest.raises(InputError, match=r"cannot write .*a\.bin: .*; what was there before is unchanged"):
            write_atomically(path, b"")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bin" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match=r"cannot write .*a\.bin"):
        write_atomically(tmp_path / "a.bin", b"content")
    assert names(tmp_path) == ["a.bin"] and names(tmp_path / "a.bin") == ["inside"]


@pytest.mark.parametrize(("content", "words"), [
    (None, "does not exist: look elsewhere"), (b"", "cannot read .*: Expecting value"), (b"{", "cannot read"),
    (b"\xff\xfe{}", "cannot read .*utf-8"), (b"3", "should hold a JSON object, not a int"),
    (b"[]", "should hold a JSON object, not a list"), (b"null", "should hold a JSON object, not a NoneType")], ids=str)
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_json(path, "look elsewhere")
    assert "a.json" in str(caught.value)


def test_json_objects_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"é": [1, 2.5, null]}'.encode())
    assert read_json(tmp_path / "a.json", "") == {"é": [1, 2.5, None]}

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from pathlib import Path

import obstore
import pytest

from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ConfigError, InvalidRequestError, StoreError
from logo_similarity.keys.document import KeyDocument
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.store import FileKeyStore, KeyStore, open_key_store
from logo_similarity.storage.objects import ObjectFolder

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def add(store: KeyStore, name: str) -> str:
    def change(document: KeyDocument) -> tuple[KeyDocument, str]:
        document, _, secret = document.created(
            name, role="search", expires=None, rate=None, quota=None, by="me@here", now=NOW
        )
        return document, secret

    return store.change(change)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    writer, reader = FileKeyStore(tmp_path / "keys.json"), FileKeyStore(tmp_path / "keys.json")
    assert reader.read() == KeyDocument()
    assert reader.read_changed() is None
    add(writer, "one")
    changed = reader.read_changed()
    assert changed is not None
    assert [key.name for key in changed.keys] == ["one"]
    assert reader.read_changed() is None
    add(writer, "two")
    again = reader.read_changed()
    assert again is not None
    assert len(again.keys) == 2


def test_a_file_that_went_away_is_said_each_time(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path / "keys.json")
    add(store, "one")
    assert store.read().keys
    content = (tmp_path / "keys.json").read_bytes()
    (tmp_path / "keys.json").unlink()
    for _ in range(2):
        with pytest.raises(ConfigError, match="deleted"):
            store.read_changed()
    (tmp_path / "keys.json").write_bytes(content)
    assert store.read_changed() is None  # back again, with the same keys
    add(FileKeyStore(tmp_path / "keys.json"), "two")
    assert store.read_changed() is not None


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    writer, reader = FileKeyStore(tmp_path / "keys.json"), FileKeyStore(tmp_path / "keys.json")
    add(writer, "one")
    good = (tmp_path / "keys.json").read_bytes()
    (tmp_path / "keys.json").write_bytes(b"{")
    broken = (tmp_path / "keys.json").stat()
    for _ in range(2):
        with pytest.raises(ConfigError):
            reader.read_changed()
    (tmp_path / "keys.json").write_bytes(good)
    os.utime(
        tmp_path / "keys.json", ns=(broken.st_atime_ns, broken.st_mtime_ns)
    )  # only its content tells that it is another
    assert reader.read_changed() is not None


def test_who_could_read_the_file_can_read_it_after_a_change(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path / "keys.json")
    add(store, "one")
    (tmp_path / "keys.json").chmod(0o644)
    before = os.umask(0o077)
    try:
        add(store, "two")
    finally:
        os.umask(before)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o644


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path / "keys.json")
    add(store, "one")
    before = (tmp_path / "keys.json").read_bytes()
    with pytest.raises(InvalidRequestError):
        add(store, "one")
    assert (tmp_path / "keys.json").read_bytes() == before


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        store = FileKeyStore(tmp_path / "keys.json")
        for number in range(10):
            add(store, f"{writer}-{number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = FileKeyStore(tmp_path / "keys.json").read()
    assert len(document.keys) == len(document.audit) == 40


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1, "keys": [{"id": "x"}]}',
        b"\xff",
        json.dumps({"more": 1}).encode(),
    ],
)
def test_a_file_that_is_no_document_is_named_and_not_written_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(content)
    store = FileKeyStore(tmp_path / "keys.json")
    with pytest.raises(ConfigError, match=r"LOGO_KEYS: .*keys\.json"):
        store.read()
    with pytest.raises(ConfigError):
        add(store, "one")
    assert (tmp_path / "keys.json").read_bytes() == content


def test_a_place_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="LOGO_KEYS"):
        FileKeyStore(tmp_path).read()
    with pytest.raises(ConfigError, match="LOGO_KEYS"):
        add(FileKeyStore(tmp_path / "file" / "keys.json"), "one")


def test_an_edit_that_leaves_every_timestamp_and_the_size_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    writer, reader = FileKeyStore(path), FileKeyStore(path)
    add(writer, "one")
    reader.read()
    before = path.stat()
    content = path.read_bytes().replace(b'"one"', b'"two"')
    with path.open("r+b") as file:  # in place: the same inode
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    changed = reader.read_changed()
    assert changed is not None
    assert [key.name for key in changed.keys] == ["two"]


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """Opened as a file, it would hold the reader until a writer comes."""
    path = tmp_path / "keys.json"
    store = FileKeyStore(path)
    add(store, "one")
    path.unlink()
    os.mkfifo(path)
    for read in (store.read, store.read_changed):
        with pytest.raises(ConfigError, match="not a regular file"):
            read()
    with pytest.raises(ConfigError, match="not a regular file"):
        read_fixed_keys(load_settings(api_keys_file=path))


def test_a_link_to_a_keys_file_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts a secret."""
    add(FileKeyStore(tmp_path / "real.json"), "one")
    (tmp_path / "keys.json").symlink_to("real.json")
    assert [key.name for key in FileKeyStore(tmp_path / "keys.json").read().keys] == ["one"]


def test_a_mistyped_folder_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mistyped does not exist"):
        add(FileKeyStore(tmp_path / "mistyped" / "keys.json"), "one")
    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_a_bucket(settings: Settings, tmp_path: Path) -> None:
    shared = settings.model_copy(update={"keys": settings.catalog_url})
    writer, reader = open_key_store(shared), open_key_store(shared, tmp_path / "copy.json")
    assert reader.read() == KeyDocument()
    assert reader.read_changed() is None
    for names in (["one"], ["one", "two"]):
        add(writer, names[-1])
        changed = reader.read_changed()
        assert changed is not None
        assert [key.name for key in changed.keys] == names
        assert reader.read_changed() is None
        assert FileKeyStore(tmp_path / "copy.json").read() == changed == reader.read()
    obstore.delete(ObjectFolder(str(shared.keys), shared)._store, "keys.json")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"keys\.json has been deleted"):
            reader.read_changed()


def test_the_local_copy_is_read_while_the_bucket_is_unreachable(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    bucket = {"s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "id", "s3_secret_key": "secret"}
    store = open_key_store(load_settings(keys="s3://bucket/keys", **bucket), copy)
    with pytest.raises(StoreError, match=r"s3://bucket/keys/keys\.json"):
        store.read()
    add(FileKeyStore(copy), "one")
    assert [key.name for key in store.read().keys] == ["one"]


def test_a_setting_says_where() -> None:
    with pytest.raises(ConfigError, match="LOGO_KEYS"):
        open_key_store(load_settings())
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        open_key_store(load_settings(keys="http://example.com/keys"))
    assert isinstance(open_key_store(load_settings(keys="keys.json")), FileKeyStore)

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from logo_similarity.api.server import check_images
from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, LinkRefusedError, NotFoundError, StoreError
from logo_similarity.storage import open_store
from logo_similarity.storage.local import LocalStore
from logo_similarity.storage.s3 import S3Service
from tests.zips import make_zip

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "a.jpg",
    "sub/dir/b.png",
    "with space+plus%20.jpg",
    "Caf\u00e9.jpg",
    "Cafe\u0301.jpg",
    "ロゴ.webp",
    "q\"'?#&.gif",
]


class Clock:
    now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (tmp_path / "secret.txt").write_text("not an image of the store")
    return folder


@pytest.fixture
def store(folder: Path, clock: Clock) -> LocalStore:
    return LocalStore(folder, secret="s3cret", link_seconds=300, clock=clock)


def token_of(link: str) -> str:
    start, version, files, token, _name = link.split("/")
    assert (start, version, files) == ("", "v1", "files")
    return token


def test_links_come_in_order_and_open_their_files(store: LocalStore) -> None:
    links = store.sign(NAMES)

    assert [store.open_link(token_of(link)).read_bytes().decode() for link in links] == NAMES


def test_a_link_is_a_plain_path_that_ends_with_the_files_own_name(store: LocalStore) -> None:
    for name, link in zip(NAMES, store.sign(NAMES), strict=True):
        assert link == quote(link, safe="/%-._~")
        assert unquote(link.rpartition("/")[2]) == name.rpartition("/")[2]


def test_no_filenames_give_no_links(store: LocalStore) -> None:
    assert store.sign([]) == []


def test_a_link_lives_for_the_set_time_and_then_expires(store: LocalStore, clock: Clock) -> None:
    token = token_of(store.sign(["a.jpg"])[0])

    clock.now += 299
    store.open_link(token)
    clock.now += 3
    with pytest.raises(LinkRefusedError):
        store.open_link(token)


def test_a_machine_whose_clock_is_behind_accepts_a_fresh_link(store: LocalStore, clock: Clock) -> None:
    token = token_of(store.sign(["a.jpg"])[0])

    clock.now -= 20
    store.open_link(token)


def test_every_altered_character_is_refused(store: LocalStore) -> None:
    token = token_of(store.sign(["a.jpg"])[0])

    for at, character in enumerate(token):
        for other in ("A", "B", "_", ".", "!", "é", ""):
            if other != character:
                with pytest.raises(LinkRefusedError):
                    store.open_link(token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a", "a.b", "a.jpg", "../../etc/passwd", "\x00", "é.é", "\ud800", "A" * 10_000]
)
def test_what_is_no_token_is_refused(store: LocalStore, token: str) -> None:
    with pytest.raises(LinkRefusedError):
        store.open_link(token)


def test_processes_that_share_the_secret_accept_each_others_links(
    folder: Path, store: LocalStore, clock: Clock
) -> None:
    other = LocalStore(folder, secret="s3cret", link_seconds=60, clock=clock)

    assert other.open_link(token_of(store.sign(["a.jpg"])[0])) == (folder / "a.jpg").resolve()


def test_a_link_signed_with_another_secret_is_refused(folder: Path, store: LocalStore, clock: Clock) -> None:
    foreign = LocalStore(folder, secret="other", link_seconds=300, clock=clock)

    with pytest.raises(LinkRefusedError):
        store.open_link(token_of(foreign.sign(["a.jpg"])[0]))


def test_a_file_that_is_gone_is_not_found(folder: Path, store: LocalStore) -> None:
    token = token_of(store.sign(["a.jpg"])[0])
    (folder / "a.jpg").unlink()

    with pytest.raises(NotFoundError) as caught:
        store.open_link(token)
    assert str(folder) not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "sub/../../secret.txt",
        "/etc/passwd",
        "sub/dir",
        ".",
        "",
        "..",
        "a.jpg/x",
        "a\x00.jpg",
        "x" * 300,
    ],
)
def test_names_that_are_no_file_of_the_folder_are_not_found(store: LocalStore, name: str) -> None:
    with pytest.raises(NotFoundError):
        store.open_link(token_of(store.sign([name])[0]))


def test_an_absolute_name_outside_the_folder_is_not_found(tmp_path: Path, store: LocalStore) -> None:
    with pytest.raises(NotFoundError):
        store.open_link(token_of(store.sign([str(tmp_path / "secret.txt")])[0]))


def test_symbolic_links_may_stay_inside_the_folder_but_not_leave_it(folder: Path, store: LocalStore) -> None:
    (folder / "inside.jpg").symlink_to(folder / "a.jpg")
    (folder / "outside.jpg").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")

    assert store.open_link(token_of(store.sign(["inside.jpg"])[0])).read_bytes() == b"a.jpg"
    for name in ("outside.jpg", "up/secret.txt", "circle.jpg"):
        with pytest.raises(NotFoundError):
            store.open_link(token_of(store.sign([name])[0]))


def test_the_folder_itself_may_be_reached_through_a_symbolic_link(folder: Path, clock: Clock) -> None:
    alias = folder.parent / "alias"
    alias.symlink_to(folder)
    store = LocalStore(alias, secret="s3cret", link_seconds=300, clock=clock)

    assert store.open_link(token_of(store.sign(["a.jpg"])[0])).read_bytes() == b"a.jpg"


def test_a_name_that_is_not_utf8_works(folder: Path, store: LocalStore) -> None:
    name = os.fsdecode(b"latin-\xe9.jpg")
    (folder / name).write_bytes(b"latin")

    assert store.open_link(token_of(store.sign([name])[0])).read_bytes() == b"latin"


def test_a_pipe_is_not_served(folder: Path, store: LocalStore) -> None:
    os.mkfifo(folder / "pipe.jpg")

    with pytest.raises(NotFoundError):
        store.open_link(token_of(store.sign(["pipe.jpg"])[0]))


@pytest.mark.anyio
async def test_check_passes_for_a_folder_and_names_the_setting_for_anything_else(
    folder: Path, store: LocalStore
) -> None:
    await store.check()
    for wrong in (folder / "missing", folder / "a.jpg"):
        with pytest.raises(StoreError, match="LOGO_IMAGES_DIR"):
            await LocalStore(wrong, secret="s", link_seconds=1).check()


def test_open_store_gives_what_the_settings_name(folder: Path) -> None:
    assert open_store(Settings()) is None
    assert isinstance(open_store(Settings(s3_bucket="logos")), S3Service)
    store = open_store(Settings(images_dir=folder))
    assert isinstance(store, LocalStore)
    store.open_link(token_of(store.sign(["a.jpg"])[0]))


def test_a_zip_file_is_no_store(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "images.zip", {"a.jpg": b"a"})
    with pytest.raises(ConfigError, match=r"images\.zip is not a folder.*unpack it.*logo-similarity images upload"):
        open_store(Settings(images_dir=archive))
    with pytest.raises(ConfigError, match="images cannot be served from a ZIP file"):
        check_images(Settings(images_dir=archive))


def test_a_link_life_beyond_what_s3_allows_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="LOGO_LINK_SECONDS"):
        open_store(Settings(s3_bucket="logos", link_seconds=7 * 24 * 3600 + 1))


def test_an_image_is_read_by_its_name(folder: Path) -> None:
    store = LocalStore(folder, secret="s", link_seconds=1)
    for name in NAMES:
        assert store.read(name, 100) == name.encode()
    with pytest.raises(NotFoundError, match="more than 3 bytes"):
        store.read("a.jpg", 3)
    for name in ("none.jpg", "../secret.txt", "sub", "a\0b"):
        with pytest.raises(NotFoundError, match="not in the store"):
            store.read(name, 100)

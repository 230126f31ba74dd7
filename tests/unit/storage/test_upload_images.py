from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest

from logo_similarity.catalog.sources.folder import FolderSource
from logo_similarity.config import Settings
from logo_similarity.errors import SourceError, StoreError
from logo_similarity.fields import Record
from logo_similarity.image.files import FolderImages, open_images
from logo_similarity.image.folder import FolderEntry
from logo_similarity.image.formats import ACCEPTED
from logo_similarity.storage import upload
from logo_similarity.storage.s3 import ObjectInfo, S3Service
from logo_similarity.storage.upload import UploadFailure, UploadProgress, upload_images
from tests.seaweedfs import free_ports
from tests.zips import make_zip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.seaweedfs import S3Server

pytestmark = pytest.mark.anyio

JPEG = b"\xff\xd8\xff\xe0 and so on"


@pytest.fixture
def settings(s3_server: S3Server) -> Settings:
    return Settings.model_validate(
        {
            "s3_bucket": s3_server.bucket,
            "s3_prefix": secrets.token_hex(8),
            "s3_endpoint": s3_server.endpoint,
            "s3_access_key": s3_server.access_key,
            "s3_secret_key": s3_server.secret_key,
        }
    )


class Recorder(S3Service):
    """The real service; it also notes what was put, how many at once, and what else was asked of the server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent: list[str] = []
        self.listings = 0
        self.at_once = 0
        self.most_at_once = 0

    async def put(self, filename: str, data: bytes, *, content_type: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await super().put(filename, data, content_type=content_type)
        self.at_once -= 1
        self.sent.append(filename)

    def list_objects(self) -> AsyncIterator[ObjectInfo]:
        self.listings += 1
        return super().list_objects()

    async def head(self, filename: str) -> ObjectInfo:
        raise AssertionError(f"a request of its own for {filename}")


@pytest.fixture
def service(settings: Settings) -> Recorder:
    return Recorder(settings)


def no_progress(_: UploadProgress) -> None:
    pass


def fill(folder: Path, names: list[str]) -> dict[str, int]:
    """Write a file for each name; gives their sizes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG + name.encode())
    return {name: len(JPEG + name.encode()) for name in names}


async def stored(service: S3Service) -> dict[str, int]:
    return {info.filename: info.size async for info in service.list_objects()}


async def test_every_file_arrives_under_its_path_with_its_bytes(tmp_path: Path, service: Recorder) -> None:
    sizes = fill(tmp_path, ["a.jpg", "sub/dir/b c+d%20.jpg", "Caf\u00e9.jpg", "Cafe\u0301.jpg"])

    summary = await upload_images(service, open_images(tmp_path), concurrency=4, on_progress=no_progress)

    assert await stored(service) == sizes
    assert (await service.get("sub/dir/b c+d%20.jpg")).data == (tmp_path / "sub/dir/b c+d%20.jpg").read_bytes()
    assert (summary.uploaded, summary.skipped, summary.failed) == (4, 0, 0)
    assert summary.bytes_sent == sum(sizes.values())


@pytest.mark.parametrize(
    ("name", "data", "content_type"),
    [
        ("a.jpg", JPEG, "image/jpeg"),
        ("wrong-name.jpg", b"\x89PNG\r\n\x1a\n...", "image/png"),
        ("a.gif", b"GIF89a...", "image/gif"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        ("a.avif", b"\x00\x00\x00\x20ftypavif...", "image/avif"),
        ("compatible.avif", b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "image/avif"),
        ("a.bmp", b"BM....", "image/bmp"),
        ("a.tif", b"II*\x00...", "image/tiff"),
        ("no-suffix", b"MM\x00*...", "image/tiff"),
        ("big.tif", b"II+\x00...", "image/tiff"),
        ("a.SVG", b"<svg/>", "image/svg+xml"),
        ("of-comments.svg", b"<!-- " + b"." * 2000 + b" --><svg/>", "image/svg+xml"),
    ],
)
async def test_the_content_type_is_what_the_file_is(
    tmp_path: Path, service: Recorder, name: str, data: bytes, content_type: str
) -> None:
    (tmp_path / name).write_bytes(data)

    await upload_images(service, open_images(tmp_path), concurrency=1, on_progress=no_progress)

    assert (await service.get(name)).content_type == content_type


async def test_a_second_run_sends_nothing_and_asks_for_one_listing(
    tmp_path: Path, service: Recorder, settings: Settings
) -> None:
    fill(tmp_path, [f"{number}.jpg" for number in range(20)])
    await upload_images(service, open_images(tmp_path), concurrency=4, on_progress=no_progress)

    again = Recorder(settings)
    summary = await upload_images(again, open_images(tmp_path), concurrency=4, on_progress=no_progress)

    assert (summary.uploaded, summary.skipped) == (0, 20)
    assert (again.sent, again.listings) == ([], 1)


async def test_a_file_that_changed_its_size_is_sent_again(
    tmp_path: Path, service: Recorder, settings: Settings
) -> None:
    fill(tmp_path, ["a.jpg", "b.jpg"])
    await upload_images(service, open_images(tmp_path), concurrency=4, on_progress=no_progress)
    (tmp_path / "b.jpg").write_bytes(JPEG + b"another picture")

    again = Recorder(settings)
    await upload_images(again, open_images(tmp_path), concurrency=4, on_progress=no_progress)

    assert again.sent == ["b.jpg"]
    assert (await again.get("b.jpg")).data == JPEG + b"another picture"


async def test_an_upload_that_was_stopped_half_way_sends_only_the_rest(
    tmp_path: Path, service: Recorder, settings: Settings
) -> None:
    sizes = fill(tmp_path, [f"{number}.jpg" for number in range(60)])

    def stop_at_20(progress: UploadProgress) -> None:
        if progress.uploaded == 20:
            task.cancel()

    task = asyncio.create_task(upload_images(service, open_images(tmp_path), concurrency=4, on_progress=stop_at_20))
    with pytest.raises(asyncio.CancelledError):
        await task

    again = Recorder(settings)
    summary = await upload_images(again, open_images(tmp_path), concurrency=4, on_progress=no_progress)

    assert 20 <= summary.skipped < 60
    assert summary.uploaded == len(again.sent) == 60 - summary.skipped
    assert not set(service.sent) & set(again.sent)
    assert await stored(again) == sizes


async def test_files_go_in_parallel_but_never_more_than_asked_for(tmp_path: Path, service: Recorder) -> None:
    fill(tmp_path, [f"{number}.jpg" for number in range(60)])
    others = len(asyncio.all_tasks())
    tasks: list[int] = []

    await upload_images(
        service,
        open_images(tmp_path),
        concurrency=5,
        on_progress=lambda _: tasks.append(len(asyncio.all_tasks()) - others),
    )

    assert service.most_at_once == 5
    assert max(tasks) == 5


async def test_progress_counts_up_to_the_total(tmp_path: Path, service: Recorder) -> None:
    sizes = fill(tmp_path, ["a.jpg", "b/c.jpg"])
    (tmp_path / "notes.txt").write_text("no image")
    seen: list[UploadProgress] = []

    await upload_images(service, open_images(tmp_path), concurrency=2, on_progress=seen.append)

    assert [each.uploaded + each.skipped + each.failed for each in seen] == [1, 2, 3]
    assert seen[-1] == UploadProgress(total=3, uploaded=2, skipped=0, failed=1, bytes_sent=sum(sizes.values()))


async def test_everything_that_is_not_sent_is_listed_with_its_reason(tmp_path: Path, service: Recorder) -> None:
    elsewhere = tmp_path / "elsewhere"
    images = tmp_path / "images"
    fill(elsewhere, ["c.jpg"])
    fill(images, ["a.jpg", "tab\tname.jpg", ".hidden.jpg", ".hidden/d.jpg", "sub/b.jpg"])
    (images / "notes.txt").write_text("no image")
    (images / "drawing.pdf").write_bytes(b"%PDF-1.7")
    (images / "empty.jpg").touch()
    (images / "folder-link").symlink_to(images / "sub")
    (images / "broken-link.jpg").symlink_to(images / "nothing")
    (images / "inner-link.jpg").symlink_to(images / "a.jpg")
    (images / "outer-link.jpg").symlink_to(elsewhere / "c.jpg")
    os.mkfifo(images / "pipe.jpg")
    with (images / "huge.jpg").open("wb") as huge:
        huge.truncate(upload.LARGEST_FILE + 1)

    summary = await upload_images(service, open_images(images), concurrency=2, on_progress=no_progress)

    assert set(await stored(service)) == {"a.jpg", "inner-link.jpg", "sub/b.jpg"}
    assert (summary.uploaded, summary.failed) == (3, 11)
    not_an_image = f"the file is not an image; accepted formats: {ACCEPTED}"
    assert sorted(summary.failures, key=lambda failure: failure.filename) == [
        UploadFailure(".hidden", "hidden files and folders are not read"),
        UploadFailure(".hidden.jpg", "hidden files and folders are not read"),
        UploadFailure("broken-link.jpg", "the link is broken"),
        UploadFailure("drawing.pdf", f"PDF is not among the accepted formats: {ACCEPTED}"),
        UploadFailure("empty.jpg", not_an_image),
        UploadFailure("folder-link", "links to folders are not followed"),
        UploadFailure("huge.jpg", "larger than 100,000,000 bytes"),
        UploadFailure("notes.txt", not_an_image),
        UploadFailure("outer-link.jpg", "links that lead out of the folder are not followed"),
        UploadFailure("pipe.jpg", "not a regular file"),
        UploadFailure("tab\tname.jpg", "the filename 'tab\\tname.jpg' is not a valid key in the image store"),
    ]


async def test_the_files_that_are_sent_are_those_that_a_build_reads(tmp_path: Path, service: Recorder) -> None:
    fill(tmp_path, ["a.jpg", ".b.jpg", "sub/c.jpg", "sub/.d/e.jpg"])
    (tmp_path / "link.jpg").symlink_to(tmp_path / "sub" / "c.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "sub")

    await upload_images(service, open_images(tmp_path), concurrency=2, on_progress=no_progress)

    records = [row.filename for row in FolderSource(tmp_path).rows() if isinstance(row, Record)]
    assert sorted(service.sent) == sorted(records) == ["a.jpg", "link.jpg", "sub/c.jpg"]


async def test_a_file_that_can_not_be_read_is_told(
    tmp_path: Path, service: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, ["a.jpg", "bad.jpg"])
    read = type(tmp_path).read_bytes

    def read_but_not_bad(path: Path) -> bytes:
        if path.name == "bad.jpg":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", read_but_not_bad)
    summary = await upload_images(service, open_images(tmp_path), concurrency=1, on_progress=no_progress)

    assert summary.failures == (UploadFailure("bad.jpg", "the file cannot be read: Input/output error"),)
    assert service.sent == ["a.jpg"]


async def test_a_store_that_refuses_now_and_then_does_not_end_the_upload(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moody(Recorder):
        tried = 0

        async def put(self, filename: str, data: bytes, *, content_type: str) -> None:
            self.tried += 1
            if self.tried % 2:
                raise StoreError("not now")
            await super().put(filename, data, content_type=content_type)

    monkeypatch.setattr(upload, "GIVE_UP_AFTER", 3)
    fill(tmp_path, [f"{number}.jpg" for number in range(20)])

    summary = await upload_images(Moody(settings), open_images(tmp_path), concurrency=1, on_progress=no_progress)

    assert (summary.uploaded, summary.failed) == (10, 10)


async def test_a_summary_describes_a_bounded_number_of_failures(tmp_path: Path, service: Recorder) -> None:
    for number in range(upload.KEPT_FAILURES + 20):
        (tmp_path / f"{number}.txt").touch()

    summary = await upload_images(service, open_images(tmp_path), concurrency=2, on_progress=no_progress)

    assert (summary.failed, len(summary.failures)) == (upload.KEPT_FAILURES + 20, upload.KEPT_FAILURES)


async def test_a_store_that_accepts_nothing_any_more_ends_the_upload(tmp_path: Path, settings: Settings) -> None:
    class Failing(Recorder):
        tried = 0

        async def put(self, filename: str, data: bytes, *, content_type: str) -> None:
            self.tried += 1
            if self.tried > 5:
                raise StoreError("the disk is full")
            await super().put(filename, data, content_type=content_type)

    fill(tmp_path, [f"{number}.jpg" for number in range(200)])
    service = Failing(settings)

    with pytest.raises(StoreError, match=r"\(after 5 uploads\): the disk is full"):
        await upload_images(service, open_images(tmp_path), concurrency=1, on_progress=no_progress)
    assert service.tried == 5 + upload.GIVE_UP_AFTER


async def test_a_store_that_does_not_answer_ends_the_upload_before_the_first_file(
    tmp_path: Path, settings: Settings
) -> None:
    fill(tmp_path, ["a.jpg"])
    service = Recorder(settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"}))

    with pytest.raises(StoreError):
        await upload_images(service, open_images(tmp_path), concurrency=2, on_progress=no_progress)
    assert service.sent == []


async def test_a_file_that_is_gone_is_told(tmp_path: Path, service: Recorder) -> None:
    class Gone(FolderImages):
        def entries(self) -> Iterator[FolderEntry]:
            return iter([FolderEntry("gone.jpg")])

    summary = await upload_images(service, Gone(tmp_path), concurrency=1, on_progress=no_progress)
    assert summary.failures == (UploadFailure("gone.jpg", "the file does not exist any more"),)


async def test_images_are_uploaded_from_zip_files(tmp_path: Path, service: Recorder) -> None:
    fill(tmp_path / "unpacked", ["a.jpg", "sub/b.jpg"])
    contents = {name: (tmp_path / "unpacked" / name).read_bytes() for name in ("a.jpg", "sub/b.jpg")}
    archive = make_zip(tmp_path / "part1.zip", {**contents, "notes.txt": b"no image", "../c.jpg": contents["a.jpg"]})
    shutil.rmtree(tmp_path / "unpacked")

    summary = await upload_images(service, open_images(archive), concurrency=2, on_progress=no_progress)
    assert (summary.uploaded, summary.failed) == (2, 2)
    assert {failure.filename for failure in summary.failures} == {"notes.txt", "../c.jpg"}
    sizes = {name: len(content) for name, content in contents.items()}
    assert await stored(service) == sizes
    assert [(await service.get(name)).data for name in sizes] == [*contents.values()]
    again = await upload_images(service, open_images(archive), concurrency=2, on_progress=no_progress)
    assert (again.uploaded, again.skipped) == (0, 2)

    await upload_images(service, open_images(tmp_path), concurrency=2, on_progress=no_progress)
    assert await stored(service) == sizes | {f"part1/{name}": size for name, size in sizes.items()}


async def test_a_folder_that_is_none_is_a_source_error(tmp_path: Path, service: Recorder) -> None:
    with pytest.raises(SourceError):
        await upload_images(service, open_images(tmp_path / "missing"), concurrency=2, on_progress=no_progress)

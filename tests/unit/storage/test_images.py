from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.images import ImageNames
from logo_similarity.config import Settings
from logo_similarity.errors import BadImageError, ConfigError, ImageTooLargeError, StoreError
from logo_similarity.image.folder import FolderEntry
from logo_similarity.storage.images import BucketImages
from logo_similarity.storage.objects import ObjectFolder
from tests.commands import run
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server, free_ports


@pytest.fixture
def url(settings: Settings) -> str:
    """A new prefix with a few objects."""
    url = f"{settings.catalog_url}/images"
    folder = ObjectFolder(url, settings)
    for name in ("a.png", "Below/B.png", "Below/.hidden", "late/c.png"):
        folder.write(name, name.encode())
    return url


def test_objects_are_read_as_the_files_of_a_folder(url: str, settings: Settings) -> None:
    images = BucketImages(url, settings)
    assert str(images) == url
    assert (images.folder_name(), images.exists(), images.archives(), images.roots()) == ("images", True, (), ())
    entries = list(images.entries())
    assert [entry.name for entry in entries if entry.problem is None] == ["Below/B.png", "a.png", "late/c.png"]
    assert FolderEntry("Below/.hidden", "hidden files and folders are not read") in entries
    assert images.read("Below/B.png", 11) == b"Below/B.png"
    assert images.start("Below/B.png", 5) == b"Below"
    assert (images.size("a.png"), images.size("b.png"), images.start("b.png", 5)) == (5, None, b"")
    names = ImageNames(images)
    assert names.resolve("below/b.png") == "Below/B.png"
    assert names.resolve("data/images/late/c.png") == "late/c.png"
    assert not BucketImages(f"{url}/none", settings).exists()


def test_a_file_that_cannot_be_read_is_a_reject(url: str, settings: Settings) -> None:
    images = BucketImages(url, settings)
    with pytest.raises(ImageTooLargeError, match="more than 10 bytes"):
        images.read("Below/B.png", 10)
    with pytest.raises(BadImageError, match=r"cannot be read: s3://.*/images/none\.png at .*: no such object"):
        images.read("none.png", 10)


def test_a_store_that_does_not_answer_stops_a_build(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logo_similarity.storage.images._RETRIES", {"max_retries": 0})
    (port,) = free_ports(1)
    images = BucketImages(url, settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"}))
    with pytest.raises(StoreError, match=r"a\.png"):
        images.read("a.png", 10)


def test_a_changed_object_has_another_state(url: str, settings: Settings) -> None:
    images = BucketImages(url, settings)
    before = list(images.states())
    assert before == list(images.states())
    assert [state.name for state in before] == ["Below/.hidden", "Below/B.png", "a.png", "late/c.png"]
    ObjectFolder(url, settings).write("a.png", b"longer than before")
    assert [one for one, other in zip(before, images.states(), strict=True) if one != other] == [before[2]]


def test_other_machines_get_the_settings_of_the_bucket_alone(url: str, settings: Settings) -> None:
    images = BucketImages(url, settings.model_copy(update={"primary_url": "http://secret.example"}))
    sent = pickle.dumps(images)
    assert b"secret.example" not in sent
    assert pickle.loads(sent).read("a.png", 5) == b"a.png"


@pytest.mark.parametrize("url", ["http://bucket/images", "s3:///images", "s3://bucket/images?x=1"])
def test_another_form_is_refused(url: str, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="use the form s3://bucket/prefix"):
        BucketImages(url, settings)


def test_a_build_from_a_bucket_is_that_from_a_folder(
    sample_catalog: SampleCatalog, s3_server: S3Server, settings: Settings, tmp_path: Path
) -> None:
    table = tmp_path / "marks.jsonl"
    table.write_text("\n".join((sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:20]))
    url = f"{settings.catalog_url}/samples"
    folder = ObjectFolder(url, settings)
    for name in sample_catalog.files[:20]:
        folder.write(name, (sample_catalog.images / name).read_bytes())
    access = {
        "LOGO_S3_ENDPOINT": s3_server.endpoint,
        "LOGO_S3_ACCESS_KEY": s3_server.access_key,
        "LOGO_S3_SECRET_KEY": s3_server.secret_key,
    }
    builds = []
    for images, out in ((url, "bucket"), (sample_catalog.images, "folder")):
        built = run("build", table, "--images", images, "--out", tmp_path / out, "--json", **access)
        assert built.returncode == 0, built.stderr
        builds.append(json.loads(built.stdout))
    versions = [tmp_path / out / build["version"] for out, build in zip(("bucket", "folder"), builds, strict=True)]
    assert builds[0]["count"] == 20
    for name in ("index.faiss", "patches.npy", "image_digests.npy"):
        assert len({(version / name).read_bytes() for version in versions}) == 1

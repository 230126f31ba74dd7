from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ray_nodes import RayNodes, run_ray
from logo_similarity.build import ray_cluster
from logo_similarity.build.embeddings import Embedder, LocalEmbedder, embed_records
from logo_similarity.build.ray_cluster import RayCluster, RayEmbedder, connected
from logo_similarity.build.ray_worker import SameFolder
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.build.shards import StoredImage
from logo_similarity.catalog.sources import open_source
from logo_similarity.config import Settings
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.errors import BuildError
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import ImageFiles, open_images
from logo_similarity.storage.images import BucketImages
from logo_similarity.storage.s3 import S3Service
from tests.commands import run
from tests.samples import SAMPLES
from tests.seaweedfs import S3Server, free_ports
from tests.zips import make_zip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
LOGOS = 60
LIMITS = ImageLimits()
ENCODER = default_model_folder()


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with run_ray(2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sample logos, a file that is no image, a damaged image, and one with too many pixels."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "images").mkdir()
    rows = json.loads((SAMPLES / "results.json").read_text())[:LOGOS]
    for row in rows:
        shutil.copy(SAMPLES / "images" / row["file"], folder / "images" / row["file"])
    whole = (folder / "images" / rows[0]["file"]).read_bytes()
    (folder / "images" / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "images" / "broken.jpg").write_bytes(b"no image")
    (folder / "images" / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\0\xff\xff" * 2 + b"\x08\2\0\0\0"
    )
    rows[20:20] = [{"file": "broken.jpg"}, {"file": "cut.jpg"}, {"file": "huge.png"}]
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def work(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the records of the source, and small shards and tasks."""
    for module in ("embeddings", "shards"):
        monkeypatch.setattr(f"logo_similarity.build.{module}.SHARD_ROWS", 16)
    monkeypatch.setattr(RayEmbedder, "batch_rows", 4)
    write_records(open_source(source), tmp_path / "records", tmp_path / "rejects")
    return tmp_path


def embed(work: Path, embedder: Embedder, name: str, on_rows: Any = lambda _: None) -> dict[str, bytes]:
    """The files of the shards that an embedder makes."""
    embed_records(work / "records", count_lines(work / "records"), work / name, dimension(), embedder, on_rows)
    return {path.name: path.read_bytes() for path in (work / name).iterdir()}


def encoder() -> Encoder:
    return Encoder.open(ENCODER, device="cpu")


def dimension() -> int:
    return encoder().dimension


def embed_here(work: Path, source: Path) -> dict[str, bytes]:
    with LocalEmbedder(open_images(source / "images"), encoder(), threads=2, limits=LIMITS) as embedder:
        return embed(work, embedder, "here")


def test_the_shards_of_a_cluster_are_those_of_one_machine(
    nodes: RayNodes, source: Path, work: Path, s3_server: S3Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the images come from: a folder that the nodes have, one that they do not have, a ZIP file, a bucket."""
    here = embed_here(work, source)
    assert len([name for name in here if name.endswith(".damage.json")]) == 1
    assert len(json.loads(here["000001.json"])) == 2
    folder = open_images(source / "images")
    files = {path.name: path.read_bytes() for path in (source / "images").iterdir()}
    bucket = settings.model_copy(update={"s3_bucket": s3_server.bucket, "s3_prefix": "ray/images"})
    service = S3Service(bucket)
    for name, content in files.items():
        service._put(name, content, "image/jpeg")
    sent: list[str] = []

    class Sending(RayEmbedder):
        def _read(self, name: str) -> bytes | str:
            sent.append(name)
            return super()._read(name)

    def embed_there(cluster: RayCluster, name: str, images: ImageFiles) -> int:
        """The number of images that were sent to the nodes."""
        sent.clear()
        assert embed(work, Sending(cluster, images, ENCODER, limits=LIMITS), name) == here
        return len(sent)

    with connected(nodes.address, "auto") as cluster:
        assert cluster is not None
        assert cluster == RayCluster(tasks=2, cpus=1, gpus=0, device="cpu")
        assert embed_there(cluster, "folder", folder) == 0
        assert embed_there(cluster, "bucket", BucketImages(f"s3://{s3_server.bucket}/ray/images", settings)) == 0
        assert embed_there(cluster, "zip", open_images(make_zip(work / "images.zip", files))) == len(files)
        of = SameFolder.of
        monkeypatch.setattr(
            SameFolder, "of", lambda images, names: replace(of(images, names), states=dict.fromkeys(names, (0, 0)))
        )
        assert embed_there(cluster, "other folder", folder) == len(files)


def test_images_of_an_earlier_version_are_not_embedded_again(nodes: RayNodes, source: Path, work: Path) -> None:
    with LocalEmbedder(open_images(source / "images"), encoder(), threads=1, limits=LIMITS) as here:
        names = [path.name for path in sorted((source / "images").glob("*.jpg"))[:8]]
        (first, *others) = outcomes = here.embed(names, [None] * len(names))
    assert isinstance(first, StoredImage)
    known, known_digest = replace(first, damage="as it is known"), first.digest

    class Known:
        def find(self, digest: bytes) -> StoredImage | None:
            return known if digest == known_digest else None

    with connected(nodes.address, "auto") as cluster:
        assert cluster is not None
        there = RayEmbedder(cluster, open_images(source / "images"), ENCODER, limits=LIMITS, known=Known())
        by_content = there.embed(names, [None] * len(names))
        by_digest = there.embed(["missing.jpg", *names[1:]], [known_digest, *[None] * len(others)])
    assert by_content[0] is by_digest[0] is known
    assert repr(by_content[1:]) == repr(by_digest[1:]) == repr(outcomes[1:])


def test_a_build_that_is_interrupted_does_not_wait_for_the_cluster(nodes: RayNodes, source: Path, work: Path) -> None:
    embed_here(work, source)
    (work / "there").mkdir()
    for path in (work / "here").glob("000001*"):
        shutil.copy(path, work / "there")

    def interrupt(_done: int) -> None:
        raise KeyboardInterrupt

    with connected(nodes.address, "auto") as cluster:
        assert cluster is not None
        full = replace(cluster, cpus=1_000)  # no node will ever run its tasks
        with pytest.raises(KeyboardInterrupt):  # at the shard that exists
            embed(work, RayEmbedder(full, open_images(source / "images"), ENCODER, limits=LIMITS), "there", interrupt)


def test_nodes_with_other_versions_are_refused(
    nodes: RayNodes, source: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "versions", lambda: {"numpy": "0.1"})
    with connected(nodes.address, "auto") as cluster:
        assert cluster is not None
        there = RayEmbedder(cluster, open_images(source / "images"), ENCODER, limits=LIMITS)
        with pytest.raises(BuildError, match=r"^node 127\.0\.0\.1 .*: has numpy .* machine has numpy 0\.1; install"):
            embed(work, there, "there")


def build(source: Path, out: Path, stage: str, address: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.build_and_die", str(source), str(out), stage, "1"]
    return subprocess.run([*command, *([address] if address else [])], capture_output=True, text=True, check=False)


def test_a_killed_build_goes_on_without_the_cluster(nodes: RayNodes, source: Path, tmp_path: Path) -> None:
    died = build(source, tmp_path, "logos embedded", nodes.address)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (folder,) = tmp_path.glob(".build-*")
    made = {path.name: path.stat().st_mtime_ns for path in (folder / "shards").glob("??????.npy")}
    assert made
    died = build(source, tmp_path, "finding identical images")
    assert died.returncode == -signal.SIGKILL, died.stderr
    again = {path.name: path.stat().st_mtime_ns for path in (folder / "shards").glob("??????.npy")}
    assert made.items() < again.items()


def test_a_node_is_killed_in_the_middle(nodes: RayNodes, source: Path, work: Path) -> None:
    def kill(done: int) -> None:
        if done == 16:
            nodes.kill()

    with connected(nodes.address, "auto") as cluster:
        assert cluster is not None
        there = RayEmbedder(cluster, open_images(source / "images"), ENCODER, limits=LIMITS)
        assert embed(work, there, "there", kill) == embed_here(work, source)
    assert len(nodes.nodes) == 1


def test_build_and_import_with_one_node(nodes: RayNodes, source: Path, tmp_path: Path) -> None:
    """Last in the file, after a node died."""
    out = tmp_path / "catalogs"
    built = run("build", source, "--out", out, "--ray", "auto", "--json", RAY_ADDRESS=nodes.address)
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["source"]["indexed"] == LOGOS + 1
    rows = json.loads((SAMPLES / "results.json").read_text())[LOGOS : LOGOS + 1]
    (tmp_path / "new").mkdir()
    shutil.copy(SAMPLES / "images" / rows[0]["file"], tmp_path / "new")
    (tmp_path / "new" / "new.csv").write_text(f"logo_id,filename\nnew,{rows[0]['file']}\n")
    added = run(
        "import", tmp_path / "new" / "new.csv", "--catalogs", out, "--store", tmp_path / "store", "--json",
        "--ray", nodes.address,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["added"] == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:{port}", r"nothing can be reached there \(.*refused\); check the address"),
        ("ray://127.0.0.1:10001", "not an address; write host:port"),
        ("head", "not an address; write host:port"),
        ("[::1]:99999", "nothing can be reached there"),
    ],
)
def test_an_address_without_a_cluster_is_an_error_at_once(address: str, message: str) -> None:
    (port,) = free_ports(1)
    with pytest.raises(BuildError, match=message), connected(address.format(port=port), "auto"):
        pass


def test_options_that_contradict_each_other(source: Path, tmp_path: Path) -> None:
    refused = run("build", source, "--out", tmp_path, "--ray", "auto", "--embeddings", tmp_path)
    assert refused.returncode == 2
    assert "cannot be combined with --embeddings" in refused.stderr


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BuildError, match=r"--ray needs Ray: run pip install '\.\[ray\]'"), connected("auto", "auto"):
        pass


def test_resources_of_a_cluster() -> None:
    gpus = [{"CPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 12.0, "GPU": 1.0}]
    assert RayCluster._plan(gpus, "auto") == RayCluster(tasks=3, cpus=8, gpus=1, device="auto")
    assert RayCluster._plan(gpus, "cuda") == RayCluster(tasks=3, cpus=8, gpus=1, device="cuda")
    assert RayCluster._plan(gpus, "cpu") == RayCluster(tasks=32, cpus=1, gpus=0, device="cpu")
    with pytest.raises(BuildError, match="no node of the Ray cluster has a GPU"):
        RayCluster._plan(gpus[:1], "cuda")
    with pytest.raises(BuildError, match="no node of the Ray cluster has CPUs"):
        RayCluster._plan([{}], "auto")

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import (
    FORMAT,
    MANIFEST,
    EncoderEntry,
    FileEntry,
    IndexEntry,
    Manifest,
    RecallEntry,
    SourceEntry,
    check_sizes,
    read_manifest,
    verify,
    version_name,
)
from logo_similarity.catalog.versions import CURRENT, RETRY_SECONDS, Catalog
from logo_similarity.errors import CatalogError, NotFoundError

CONTENT = {
    "index.faiss": b"index" * 500,
    "metadata.db": b"rows" * 300,
    "model/model.json": b"{}",
    "model/model.onnx": b"model",
    "rejected.jsonl": b"",
}


def no_trial(_: Path) -> None:
    """The files here hold no real data: nothing can open them."""


def add_version(root: Path, day: int) -> str:
    """A version whose files hold no real data: nothing here opens them."""
    manifest = Manifest(
        software="test",
        created=dt.datetime(2026, 11, day, tzinfo=dt.UTC),
        inputs="0" * 64,
        count=3,
        distinct_images=3,
        logo_ids="1" * 64,
        dimension=8,
        fields=("text",),
        encoder=EncoderEntry(id="none", sha256="2" * 64, preprocessing="1"),
        index=IndexEntry(m=8, ef_construction=40, ef_search=50),
        recall=RecallEntry(k=3, queries=3, value=1.0, floor=0.9, self_found=1.0),
        source=SourceEntry(kind="folder", read=3, indexed=3, rejected=0),
        files={
            name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            for name, content in CONTENT.items()
        },
    )
    folder = root / version_name(manifest)
    for name, content in {**CONTENT, MANIFEST: manifest.to_json()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder.name


@pytest.fixture
def catalogs(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalogs")


def flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_an_empty_folder_says_how_to_fill_it(catalogs: Catalog) -> None:
    assert catalogs.versions() == []
    with pytest.raises(CatalogError, match="logo-similarity build"):
        catalogs.current()


def test_activation_moves_current(catalogs: Catalog) -> None:
    first, second = add_version(catalogs.root, 1), add_version(catalogs.root, 2)
    for name in (first, second, first):
        catalogs.activate(name, trial=no_trial)
        assert catalogs.current().name == name
    assert [(version.name, version.live) for version in catalogs.versions()] == [(first, True), (second, False)]


def test_the_marker_changes_with_every_activation(catalogs: Catalog) -> None:
    name = add_version(catalogs.root, 1)
    markers = [catalogs.marker()]
    for _ in range(2):
        catalogs.flip(name)
        markers.append(catalogs.marker())
    assert markers[0] is None
    assert len(set(markers)) == 3


def test_a_version_that_is_not_there(catalogs: Catalog) -> None:
    catalogs.activate(add_version(catalogs.root, 1), trial=no_trial)
    for name in ("20260101T000000Z-00000000", "..", "", "../catalogs"):
        with pytest.raises(NotFoundError):
            catalogs.activate(name, trial=no_trial)


@pytest.mark.parametrize("name", [*CONTENT, MANIFEST])
def test_every_flipped_byte_is_found_and_named(catalogs: Catalog, name: str) -> None:
    folder = catalogs.root / add_version(catalogs.root, 1)
    size = (folder / name).stat().st_size
    for position in range(0, size, max(1, size // 60)):
        flip_byte(folder / name, position)
        with pytest.raises(CatalogError, match=name):
            verify(folder)
        flip_byte(folder / name, position)
    verify(folder)


@pytest.mark.parametrize("name", [*CONTENT, MANIFEST])
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b"x")])
def test_a_file_that_is_gone_or_longer_is_named_without_reading_all(
    catalogs: Catalog, name: str, change: Callable[[Path], object]
) -> None:
    folder = catalogs.root / add_version(catalogs.root, 1)
    change(folder / name)
    with pytest.raises(CatalogError, match=name):
        check_sizes(folder, read_manifest(folder))


def test_a_damaged_version_changes_nothing(catalogs: Catalog) -> None:
    good, bad = add_version(catalogs.root, 1), add_version(catalogs.root, 2)
    catalogs.activate(good, trial=no_trial)
    flip_byte(catalogs.root / bad / "index.faiss", 77)
    with pytest.raises(CatalogError, match=r"index\.faiss"):
        catalogs.activate(bad, trial=no_trial)
    assert catalogs.current().name == good


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (b"1", f"the catalog has format 1; this version of the software reads format {FORMAT}: build it again"),
        (b"2", f"the catalog has format 2; this version of the software reads format {FORMAT}: build it again"),
        (b"99", f"the catalog has format 99; this version of the software reads format {FORMAT}: build it again"),
        (b"-1", "format.*damaged, or built by an incompatible version of this software: build it again"),
        (b"1" * 4_000, "format.*damaged, or built by an incompatible version of this software: build it again"),
        (b'"%d"' % FORMAT, "format.*damaged, or built by an incompatible version of this software: build it again"),
    ],
)
def test_a_manifest_of_another_format_says_what_to_do(catalogs: Catalog, number: bytes, reason: str) -> None:
    folder = catalogs.root / add_version(catalogs.root, 1)
    content = (folder / MANIFEST).read_bytes().replace(b'"format": %d' % FORMAT, b'"format": ' + number)
    (folder / MANIFEST).write_bytes(content)
    renamed = folder.rename(folder.with_name("20261101T000000Z-" + hashlib.sha256(content).hexdigest()[:8]))
    with pytest.raises(CatalogError, match=reason):
        read_manifest(renamed)


def test_a_list_shows_what_is_wrong(catalogs: Catalog) -> None:
    name = add_version(catalogs.root, 1)
    flip_byte(catalogs.root / name / MANIFEST, 30)
    (version,) = catalogs.versions()
    assert version.problem is not None
    assert MANIFEST in version.problem


@pytest.mark.parametrize("content", [b"20200101T000000Z-00000000\n", b"../../etc\n", b"\xff\xfe", b""])
def test_a_damaged_current_is_named(catalogs: Catalog, content: bytes) -> None:
    catalogs.activate(add_version(catalogs.root, 1), trial=no_trial)
    (catalogs.root / CURRENT).write_bytes(content)
    with pytest.raises(CatalogError, match=rf"{CURRENT} .*`logo-similarity catalog activate NAME`"):
        catalogs.current()


def test_pruning_keeps_the_newest_and_the_live_one(catalogs: Catalog) -> None:
    names = [add_version(catalogs.root, day) for day in (1, 2, 3, 4, 5)]
    catalogs.activate(names[1], trial=no_trial)
    (catalogs.root / ".build-0123456789abcdef").mkdir()
    (catalogs.root / ".pruned-left-by-a-kill").mkdir()
    assert catalogs.prune(2) == [names[0], names[2], ".build-0123456789abcdef"]
    assert catalogs.names() == [names[1], names[3], names[4]]
    assert not list(catalogs.root.glob(".build-*"))
    assert not list(catalogs.root.glob(".pruned-*"))
    assert catalogs.current().name == names[1]


def test_leftovers_are_pruned_before_the_first_version_is_live(catalogs: Catalog) -> None:
    catalogs.root.mkdir(exist_ok=True)
    with pytest.raises(CatalogError, match="contains no catalog"):
        catalogs.prune(2)
    for name in (".pull-b", ".build-b", ".build-a"):
        (catalogs.root / name).mkdir()
    assert catalogs.prune(2) == [".build-a", ".build-b", ".pull-b"]
    add_version(catalogs.root, 1)
    (catalogs.root / ".build-a").mkdir()
    with pytest.raises(CatalogError, match="contains no catalog"):  # a version that is not live may be wanted
        catalogs.prune(2)


def test_the_folder_of_a_build_in_progress_is_not_pruned(catalogs: Catalog) -> None:
    catalogs.activate(add_version(catalogs.root, 1), trial=no_trial)
    (catalogs.root / ".build-a").mkdir()
    with catalogs.locked(), pytest.raises(CatalogError, match="another build"):
        catalogs.prune(1)
    assert (catalogs.root / ".build-a").is_dir()


def test_two_writers_do_not_meet(catalogs: Catalog) -> None:
    name = add_version(catalogs.root, 1)
    code = (
        "import sys; from pathlib import Path; from logo_similarity.catalog.versions import Catalog\n"
        f"with Catalog(Path({str(catalogs.root)!r})).locked(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CatalogError, match="another build"):
            catalogs.activate(name, trial=no_trial)
        holder.kill()
    catalogs.activate(name, trial=no_trial)  # the kernel let go of it


def test_a_mapped_version_can_be_pruned_under_its_reader(catalogs: Catalog) -> None:
    old, new = add_version(catalogs.root, 1), add_version(catalogs.root, 2)
    catalogs.activate(new, trial=no_trial)
    with (catalogs.root / old / "index.faiss").open("rb") as reader:
        catalogs.prune(1)
        assert reader.read() == CONTENT["index.faiss"]
    assert not os.path.lexists(catalogs.root / old)


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"20200101T000000Z-00000000\n")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        as_pipe,
        as_link,
        Path.mkdir,
        lambda path: path.write_bytes(b"a\0b\n"),
        lambda path: path.write_bytes(b"x" * 5_000_000),
    ],
    ids=["pipe", "link", "folder", "NUL", "large"],
)
def test_a_current_that_cannot_be_one_is_named_and_replaced(catalogs: Catalog, make: Callable[[Path], object]) -> None:
    name = add_version(catalogs.root, 1)
    make(catalogs.root / CURRENT)
    for read in (catalogs.current, catalogs.current_name):
        with pytest.raises(CatalogError, match=CURRENT):
            read()
    assert [version.live for version in catalogs.versions()] == [False]
    if (catalogs.root / CURRENT).is_dir():
        (catalogs.root / CURRENT).rmdir()
    catalogs.activate(name, trial=no_trial)
    assert catalogs.current().name == name


def test_a_pipe_in_the_place_of_a_file_is_refused(catalogs: Catalog) -> None:
    folder = catalogs.root / add_version(catalogs.root, 1)
    (folder / "rejected.jsonl").unlink()
    os.mkfifo(folder / "rejected.jsonl")  # of the right size: 0
    with pytest.raises(CatalogError, match=r"rejected\.jsonl: damaged: not a regular file"):
        verify(folder)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    with pytest.raises(CatalogError, match=MANIFEST):
        read_manifest(folder)


class Counted:
    """A trial that counts, and fails for some names."""

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.tried: list[str] = []

    def __call__(self, folder: Path) -> None:
        self.tried.append(folder.name)
        if folder.name in self.bad:
            raise CatalogError(f"{folder.name} is bad")


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def add_versions(catalogs: Catalog, count: int) -> list[str]:
    """Oldest first; the first is live."""
    names = [add_version(catalogs.root, day) for day in range(1, count + 1)]
    catalogs.flip(names[0])
    return names


def test_a_version_is_tried_once(catalogs: Catalog) -> None:
    (live,) = add_versions(catalogs, 1)
    trial = Counted()
    for _ in range(3):
        catalogs.admit_once(live, trial)
    assert len(trial.tried) == 1
    index = catalogs.root / live / "index.faiss"
    tried_at = (catalogs.root / f".tried-{live}").stat().st_mtime_ns
    os.utime(index, ns=(tried_at, tried_at))
    catalogs.admit_once(live, trial)
    assert len(trial.tried) == 1
    os.utime(index, ns=(tried_at, tried_at + 1))  # other files than those that were tried
    catalogs.admit_once(live, trial)
    assert len(trial.tried) == 2
    (catalogs.root / f".tried-{live}").write_text("0.0.1")  # by another version of the software
    catalogs.admit_once(live, trial)
    assert len(trial.tried) == 3


def test_a_failure_is_remembered_for_a_while(catalogs: Catalog) -> None:
    (name,) = add_versions(catalogs, 1)
    trial = Counted(name)
    for _ in range(3):
        with pytest.raises(CatalogError, match="is bad"):
            catalogs.admit_once(name, trial)
    assert len(trial.tried) == 1
    age(catalogs.root / f".refused-{name}", RETRY_SECONDS)
    trial.bad = ()
    catalogs.admit_once(name, trial)
    assert catalogs.refusal(name) is None


def test_a_version_is_tried_again_after_it_has_failed(catalogs: Catalog) -> None:
    (name,) = add_versions(catalogs, 1)
    catalogs.admit(catalogs.root / name, no_trial)
    with pytest.raises(CatalogError, match="is bad"):
        catalogs.admit(catalogs.root / name, Counted(name))
    with pytest.raises(CatalogError, match="is bad"):
        catalogs.admit_once(name, no_trial)


def test_what_is_served_where_the_live_version_fails(catalogs: Catalog) -> None:
    live, one, two, three = add_versions(catalogs, 4)
    refused: list[str] = []

    def chosen(*bad: str) -> str:
        refused.clear()
        trial = Counted(*bad)
        choice = catalogs.choose(lambda name: trial(catalogs.root / name), lambda name, _: refused.append(name))
        return choice.name

    assert chosen() == live
    assert chosen(live) == three
    assert refused == [live]
    catalogs.mark_opened(one)
    assert chosen(live) == one
    assert chosen(live, one, three) == two
    assert refused == [live, one, three]
    with pytest.raises(CatalogError, match=f"{live} is bad.*; .*{one} is bad.*; .*{three} is bad.*; .*{two} is bad"):
        chosen(live, one, two, three)
    (catalogs.root / CURRENT).write_bytes(b"\0")
    assert chosen() == one


def test_the_version_that_was_opened_last_is_not_deleted(catalogs: Catalog) -> None:
    live, one, two, three = add_versions(catalogs, 4)
    for name in (live, one, three):
        catalogs.admit(catalogs.root / name, no_trial)
    catalogs.mark_opened(live)
    with catalogs.locked():
        catalogs.flip(three)  # and no service has opened it yet
        assert catalogs.drop(1) == [one, two]
    catalogs.mark_opened(three)
    age(catalogs.root / f".opened-{live}", 10)
    assert catalogs.prune(1) == [live]
    assert {path.name for path in catalogs.root.glob(".*-*")} == {f".opened-{three}", f".tried-{three}"}


def test_the_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    catalogs = Catalog(tmp_path / "a" / "b")
    with catalogs.locked():
        assert catalogs.root.is_dir()

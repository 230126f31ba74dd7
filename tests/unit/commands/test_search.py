from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.commands.hits import print_hits
from logo_similarity.domain import Hit, Logo
from logo_similarity.fields import Record
from tests.commands import run, run_on_terminal
from tests.samples import SampleCatalog

LONG_ID = "EU/" + "0123456789" * 4
COMPANY = "A [bold]not bold[/bold] :star: and" + " a long name" * 15


@pytest.fixture(scope="module")
def odd_catalog(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> SampleCatalog:
    """Four logos with every field; one has a long id and a long company."""
    folder = tmp_path_factory.mktemp("odd")
    files = sample_catalog.files[:4]
    with (folder / "marks.jsonl").open("w") as table:
        for number, file in enumerate(files):
            mark = {
                "logo_id": LONG_ID if number == 0 else f"EU/{number}",
                "filename": file,
                "text": "words",
                "company": COMPANY if number == 0 else None,
                "vienna_codes": ["26.01.01", "27.05.01"],
                "nice_classes": [9, 42],
                "status": "registered",
                "office": "EM",
                "application_date": "2023-01-02",
                **({"colour": "dark\tred", "pages": [1, None], "none": ""} if number == 0 else {}),
            }
            table.write(json.dumps(mark) + "\n")
    source = open_source(folder / "marks.jsonl", images=sample_catalog.images)
    build_catalog(source, folder / "catalogs", BuildOptions(threads=2))
    return SampleCatalog(folder / "catalogs", sample_catalog.images, files)


def test_a_damaged_image_is_searched_for_with_a_warning(odd_catalog: SampleCatalog, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((odd_catalog.images / odd_catalog.files[1]).read_bytes()[:-300])
    done = run("search", cut, "--catalogs", odd_catalog.root, "--top-k", 1, "--columns", "id")
    assert done.stdout.split() == ["EU/1"]
    assert "the JPEG file is cut off; it is searched for as far as it is readable" in done.stderr


def test_the_angles_of_a_turned_image_are_printed(odd_catalog: SampleCatalog) -> None:
    image = odd_catalog.images / odd_catalog.files[0]
    answer = json.loads(run("search", image, "--turned", "--json", "--catalogs", odd_catalog.root).stdout)
    assert answer["pictures"] == [{"damage": None, "turned": angle, "completed": False} for angle in (0, 90, 180, 270)]


def test_elsewhere_than_on_a_terminal_a_hit_is_a_line_of_tab_separated_values(odd_catalog: SampleCatalog) -> None:
    image = odd_catalog.images / odd_catalog.files[0]
    words = ("search", image, "--catalogs", odd_catalog.root, "--top-k", 3)
    lines = run(*words).stdout.splitlines()
    hits = json.loads(run(*words, "--json").stdout)["results"]
    rows = [line.split("\t") for line in lines]
    expected = [(f"{hit['score']:.4f}", "", hit["band"] or "", hit["id"]) for hit in hits]
    assert [tuple(row[:4]) for row in rows] == expected
    rest = ["26.01.01 27.05.01", "9 42", "registered", "EM", "2023-01-02", "2023"]
    assert [row[-1] for row in rows] == ["part" if hit["matched"] else "" for hit in hits]
    assert rows[0][3:-1] == [LONG_ID, "words", COMPANY, *rest]
    assert rows[1][4:-1] == ["words", "", *rest]


@pytest.mark.parametrize("width", [70, 80, 300])
def test_on_a_terminal_a_hit_is_one_line_with_its_whole_id(odd_catalog: SampleCatalog, width: int) -> None:
    image = odd_catalog.images / odd_catalog.files[0]
    words = ("search", image, "--catalogs", odd_catalog.root, "--columns", "score,id,company")
    lines = [line for line in run_on_terminal(*words, width=width) if line.strip()]
    header, *hits = lines
    assert header.split() == ["score", "id", "company"]
    assert len(hits) == 4
    assert hits[0].split()[:3] == ["1.0000", LONG_ID, "A"]
    assert hits[0].rstrip().endswith("…") == (width < 300)
    assert max(map(len, lines)) <= width
    assert ("[bold]not bold[/bold] :star:" in hits[0]) == (width == 300)


def test_long_texts_are_shortened_before_short_ones_and_ids_never(odd_catalog: SampleCatalog) -> None:
    image = odd_catalog.images / odd_catalog.files[0]
    lines = run_on_terminal("search", image, "--catalogs", odd_catalog.root, width=160)
    assert len(lines) == 5
    _, _, identity, *texts, _, _ = lines[1].split()
    assert identity == LONG_ID
    assert {"words", "9", "42", "registered", "EM"} <= set(texts)
    assert lines[1].split()[-2:] == ["2023-01-02", "2023"]


def test_a_narrow_terminal_leaves_out_the_least_important_columns(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[0]
    words = ("search", image, "--catalogs", sample_catalog.root, "--top-k", 3)
    narrow, tiny = (run_on_terminal(*words, width=width) for width in (80, 20))
    assert max(map(len, narrow)) <= 80
    header = narrow[0].split()
    assert {"score", "band", "id", "text", "company", "status"} <= set(header)
    assert not {"vienna_codes", "year"} & set(header)
    assert "…" not in narrow[0]
    assert tiny[0].split() == ["score", "id"]
    lines = run(*words).stdout.splitlines()  # in a pipe all columns are there
    assert all(line.split("\t")[10] == "2023" for line in lines)
    # Columns that are chosen are all shown.
    assert len(run_on_terminal(*words, "--columns", ",".join(header), width=40)[0].split()) == len(header)


def test_the_columns_are_those_of_the_catalog(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    image = sample_catalog.images / sample_catalog.files[0]
    (header, *_) = run_on_terminal("search", image, "--catalogs", sample_catalog.root, width=150)
    shown = ["score", "expect", "band", "id", "text", "company", "vienna_codes", "nice_classes", "status"]
    shown += ["application_date", "year"]
    assert header.split() in (shown, [*shown, "matched"])  # a column that is empty in every hit is left out
    (tmp_path / "few").mkdir()
    for file in sample_catalog.files[:3]:
        shutil.copy(sample_catalog.images / file, tmp_path / "few" / file)
    build_catalog(open_source(tmp_path / "few"), tmp_path / "catalogs", BuildOptions(threads=2))
    lines = run("search", image, "--catalogs", tmp_path / "catalogs").stdout.splitlines()
    assert lines[0] == f"1.0000\t\tnear-identical\t{image.stem}\t"


def test_columns_that_are_empty_in_every_hit_are_left_out_on_a_terminal(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[0]
    words = ("search", image, "--catalogs", sample_catalog.root, "--columns", "id,office,company")
    assert run_on_terminal(*words, width=150)[0].split() == ["id", "company"]
    assert run(*words).stdout.splitlines()[0].count("\t") == 2


def test_an_image_that_cannot_be_decoded_is_named(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    refused = run("search", tmp_path / "text.png", "--catalogs", sample_catalog.root)
    assert refused.returncode == 1
    assert f"{tmp_path / 'text.png'}: the file is not an image" in refused.stderr.replace("\n", "")


def test_columns_can_be_chosen(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[6]
    words = ("search", image, "--catalogs", sample_catalog.root, "--top-k", 1)
    assert (
        run(*words, "--columns", "id, company,filename,cosine").stdout
        == f"EM/000006\tCompany 6\t{image.name}\t1.0000\n"
    )
    unknown = run(*words, "--columns", "id,owner")
    assert unknown.returncode == 2
    assert "unknown column 'owner'" in unknown.stderr
    for name in ("score", "cosine", "id", "filename", "text", "nice_classes", "application_date"):
        assert name in unknown.stderr
    assert run(*words, "--columns", "id", "--json").returncode == 2


def test_further_columns_of_the_source_can_be_chosen(odd_catalog: SampleCatalog) -> None:
    first, second = (odd_catalog.images / file for file in odd_catalog.files[:2])
    words = ("--catalogs", odd_catalog.root, "--top-k", 1, "--columns")
    assert run("search", first, *words, "pages,id,colour").stdout == f"[1, null]\t{LONG_ID}\tdark red\n"
    assert run("search", second, *words, "id,colour").stdout == "EU/1\t\n"  # the column exists, this hit lacks it
    unknown = run("search", second, *words, "id,color")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "unknown column 'color'" in unknown.stderr
    assert "year, colour, pages" in " ".join(unknown.stderr.replace("│", " ").split())


def test_a_search_without_hits_says_so(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    done = run("search", tmp_path / "noise.png", "--catalogs", sample_catalog.root, "--min-score", 0.99)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no hits\n")


def test_control_characters_of_a_catalog_reach_no_terminal_and_split_no_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = Record(logo_id="EU\n1", filename="a.png", company="A\tB\x1b[31mC\u2028D")
    logo = Logo(0, record.logo_id, record.filename, json.dumps(record.metadata()))
    print_hits([Hit(1.0, 1.0, logo, 0)], ["id", "company"])
    assert capsys.readouterr().out == "EU 1\tA B [31mC D\n"


def test_a_folder_is_not_an_image(sample_catalog: SampleCatalog) -> None:
    failed = run("search", sample_catalog.images, "--catalogs", sample_catalog.root)
    assert failed.returncode == 1
    assert f"{sample_catalog.images}: is a folder; name an image file, or search for each" in failed.stderr


def test_words_need_no_image(odd_catalog: SampleCatalog) -> None:
    answer = json.loads(run("search", "--words", "WORDS", "--catalogs", odd_catalog.root, "--json").stdout)
    assert answer["words"] == "WORDS"
    assert [(hit["score"], hit["cosine"], hit["word_field"]) for hit in answer["results"]] == [(1, None, "text")] * 4
    columns = ("--columns", "score,cosine,word_similarity,word_field")
    lines = run("search", "--words", "words", "--catalogs", odd_catalog.root, *columns).stdout.splitlines()
    assert lines == ["1.0000\t\t1.0000\ttext"] * 4


def test_both_parts_of_a_score_are_printed(odd_catalog: SampleCatalog) -> None:
    image = odd_catalog.images / odd_catalog.files[0]
    line = run("search", image, "--words", "words", "--catalogs", odd_catalog.root).stdout.splitlines()[0]
    assert line.split("\t")[:6] == ["1.0000", "1.0000", "1.0000", "", "near-identical", LONG_ID]


def test_a_search_needs_an_image_or_words(odd_catalog: SampleCatalog) -> None:
    done = run("search", "--catalogs", odd_catalog.root)
    assert done.returncode == 2
    assert "name an image file, or give --words" in done.stderr


def test_a_search_is_filtered(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[6]
    words = ("search", image, "--catalogs", sample_catalog.root, "--top-k", 200, "--columns", "id")
    found = run(*words, "--where", "nice=9", "--where", "status=-ended")
    assert "logos that pass the filter: 3" in found.stderr
    assert set(found.stdout.split()) == {"EM/000053", "EM/000098", "EM/000143"}
    tree = '{"or": [{"field": "company", "words": "8"}, {"field": "nice_classes", "is": 10}]}'
    assert set(run(*words, "--where", tree, "--where", "nice=9").stdout.split()) == {"EM/000008"}
    answer = json.loads(run(*words[:-2], "--where", "nice=9", "--json").stdout)
    assert (answer["passed"], answer["exact"], len(answer["results"])) == (5, True, 5)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("nice", "'nice' has no '='; write FIELD=VALUES"),
        ("{", "not valid JSON"),
        ("colour=red", "no field 'colour'"),
        ("office=EM", "this catalog has no office to filter by"),
        ("year=soon", "'soon' is not a valid value; 2023 is one"),
    ],
)
def test_a_filter_that_is_not_valid_is_named(sample_catalog: SampleCatalog, condition: str, message: str) -> None:
    image = sample_catalog.images / sample_catalog.files[6]
    refused = run("search", image, "--catalogs", sample_catalog.root, "--where", condition)
    assert refused.returncode != 0
    assert message in " ".join(refused.stderr.replace("│", " ").split())


def test_each_image_is_searched_for_by_itself(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    folder = tmp_path / "marks"
    folder.mkdir()
    for number in (3, 4):
        shutil.copy(sample_catalog.images / sample_catalog.files[number], folder / f"{number}.jpg")
    (folder / "list.txt").write_text("no image, and not named as one")
    (tmp_path / "bad.jpg").write_text("no image")
    missing, other = tmp_path / "missing.jpg", sample_catalog.images / sample_catalog.files[9]
    words = ("search", "--each", missing, folder, tmp_path / "bad.jpg", other, "--catalogs", sample_catalog.root)
    done = run(*words, "--top-k", 2, "--columns", "id")
    assert done.returncode == 1
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[::2] == [
        [str(folder / "3.jpg"), "EM/000003"], [str(folder / "4.jpg"), "EM/000004"], [str(other), "EM/000009"]
    ]  # fmt: skip
    assert f"{missing}: No such file or directory" in done.stderr
    assert f"{tmp_path / 'bad.jpg'}: the file is not an image" in done.stderr
    assert "2 images of 5 could not be searched for" in done.stderr
    assert "images searched for: 5 of 5" in done.stderr
    answers = [json.loads(line) for line in run(*words, "--top-k", 2, "--json").stdout.splitlines()]
    assert [one["image"] for one in answers] == [
        str(missing), str(folder / "3.jpg"), str(folder / "4.jpg"), str(tmp_path / "bad.jpg"), str(other)
    ]  # fmt: skip
    assert [one["error"] is None for one in answers] == [False, True, True, False, True]
    assert answers[4]["results"][0]["id"] == "EM/000009"
    assert set(answers[0]) == {"image", "error"}


def test_a_folder_without_images_is_an_error(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    failed = run("search", "--each", tmp_path, "--catalogs", sample_catalog.root)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert f"{tmp_path}: contains no image files" in failed.stderr


def test_each_image_has_a_table_on_a_terminal(sample_catalog: SampleCatalog) -> None:
    images = [sample_catalog.images / sample_catalog.files[number] for number in (3, 4)]
    lines = run_on_terminal("search", "--each", *images, "--catalogs", sample_catalog.root, "--top-k", 1, width=200)
    assert [line for line in lines if not line or line in map(str, images)] == [str(images[0]), "", str(images[1]), ""]
    assert "EM/000003" in lines[2]
    assert "EM/000004" in lines[6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--each",), "name an image file"),
        (("--each", "a.jpg", "--case", "case.json"), "--each: cannot be combined with --case"),
        (("a.jpg", "--json", "--columns", "id"), "--json: cannot be combined with --columns"),
        (("a.jpg", "--key-file", "key"), "needs --url"),
    ],
)
def test_options_that_exclude_each_other(options: tuple[str, ...], message: str) -> None:
    done = run("search", *options)
    assert done.returncode == 2
    assert message in done.stderr.replace("Invalid value for ", "")


def test_the_others_of_a_group_are_counted(odd_catalog: SampleCatalog) -> None:
    """Three of the four logos have no company."""
    image = odd_catalog.images / odd_catalog.files[0]
    words = ("search", image, image, "--catalogs", odd_catalog.root, "--group", "company")
    assert [line.split("\t")[-1] for line in run(*words).stdout.splitlines()] == [""] * 4
    answer = json.loads(run(*words, "--json").stdout)
    assert [hit["others"] for hit in answer["results"]] == [{"count": 0, "ids": []}] * 4


def test_the_damage_of_a_hit_is_shown(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in sample_catalog.files[:3]:
        shutil.copy(sample_catalog.images / file, images)
    cut = images / sample_catalog.files[1]
    cut.write_bytes(cut.read_bytes()[:-400])
    build_catalog(open_source(images), tmp_path / "catalogs", BuildOptions(threads=2))
    words = ("search", sample_catalog.images / cut.name, "--catalogs", tmp_path / "catalogs")
    first, *others = run(*words, "--columns", "id,damage").stdout.splitlines()
    assert first == f"{cut.stem}\tthe JPEG file is cut off"
    assert all(line.endswith("\t") for line in others)
    assert "the JPEG file is cut off" in run_on_terminal(*words, width=150)[1]
    hits = json.loads(run(*words, "--json").stdout)["results"]
    assert [hit["damage"] for hit in hits] == ["the JPEG file is cut off", None, None]

"""Make the folder that the default encoder was trained on.

    python -m scripts.make_training_set --out data/training
    logo-similarity train data/training --out runs/mine --split train --split distractor --split concept

It renders the rows of `benchmarks/data/gallery.csv.gz`, `concepts.csv.gz` and `redrawn.csv.gz` that are allowed for
training: not the split `public`, and only permissive and attribution licences. It also sets invented words in the
typefaces of `fonts.csv`. Some 293,000 pictures, 3 GB, about half an hour on one core; a run that was stopped is resumed by
the next one.

Drawings of a brand, as the benchmark names it, are positives of each other. The other icons are grouped by name, because one
set draws a thing in several styles and many sets draw the same thing: `home-outline`, `home-fill` and `home-2` are the group
`home`. Icons that differ by a direction (`arrow-left`, `arrow-right`) are separate groups of one family; the training never
treats members of a family as different.

Icons of one name may show different things. Emoji and flags that several artists drew show the same thing for certain: they
are grouped by what they show, not by name, and it is their label `subject`. An icon that stands in two lists joins the groups
of both rows into one.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.make_benchmark import GALLERY, IconSets, make_benchmark, read_list
from benchmarks.render_icons import NPM_CACHE
from benchmarks.set_words import make_words

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTS = (GALLERY, GALLERY.with_name("concepts.csv.gz"), GALLERY.with_name("redrawn.csv.gz"))
SPLITS = {"train", "distractor", "concept"}
LICENCES = {
    "MIT", "ISC", "Apache-2.0", "BSD-3-Clause", "CC0-1.0", "Unlicense", "OFL-1.1", "CC-BY-3.0", "CC-BY-4.0",
}  # fmt: skip
STYLE_WORDS = """
    fill filled outline outlined solid bold duotone line linear light thin regular broken twotone two tone sharp rounded round
    color colored flat alt o variant rr sr br mono dark 1 2 3 01 02 03 12 16 20 24 28 32 48 64
"""
DIRECTION_WORDS = """
    left right up down top bottom north south east west horizontal vertical upper lower start end in out forward backward back
    clockwise counter counterclockwise ccw cw rotate a b x y
"""
STYLES, DIRECTIONS = frozenset(STYLE_WORDS.split()), frozenset(DIRECTION_WORDS.split())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--npm", type=Path, default=NPM_CACHE, help="folder of the unpacked npm packages")
    parser.add_argument("--per-group", type=int, help="largest number of icons of a name; default: all")
    parser.add_argument("--words", type=int, default=4000, help="number of invented words (default: %(default)s)")
    arguments = parser.parse_args()
    rows = [row for path in LISTS for row in read_list(path) if may_be_learned_from(row)]
    groups = group(rows)
    left_out = surplus(groups, arguments.per_group) if arguments.per_group else set()
    drawings = list({row["file"]: row for row in rows if row["file"] not in left_out}.values())
    failed = make_benchmark(drawings, IconSets(arguments.npm), arguments.out)
    path = arguments.out / "labels.json"
    labels = json.loads(path.read_bytes())
    for file, its_labels in groups.items():
        if file in labels:
            labels[file] |= its_labels
    labels |= make_words(arguments.out, arguments.words, arguments.npm)
    path.write_text(json.dumps(labels), encoding="utf8")
    print(f"{len(labels)} rendered, {len(failed)} failed", *failed, sep="\n")


def may_be_learned_from(row: dict[str, str]) -> bool:
    """Whether an encoder under a permissive licence may be trained on this row."""
    return row["split"] in SPLITS and row["licence"] in LICENCES


def group(rows: Iterable[dict[str, str]]) -> dict[str, dict[str, str]]:
    """The labels of each file that shows no brand: `group`, `family`, and `subject` where it is certain.

    Rows of the same file or of the same name are in one group; a family may unite several groups.
    """
    groups, families, subjects = Groups(), Groups(), {}
    for row in rows:
        if row.get("brand"):
            continue
        concept, file = row.get("concept", ""), row["file"]
        name, family = group_and_family(concept.partition(":")[2] or row["name"])
        if row.get("relation") == "redrawn":
            name = subjects[file] = concept
        groups.join(file, name)
        families.join(file, family)
    grouped, related = groups.names(), families.names()
    return {
        file: {"group": name, "family": related[file]} | ({"subject": subjects[file]} if file in subjects else {})
        for file, name in grouped.items()
    }


def surplus(groups: dict[str, dict[str, str]], most: int) -> set[str]:
    """The files to leave out so that no group has more than `most` files that have no subject."""
    counts: Counter[str] = Counter()
    left_out = set()
    for file in sorted(groups):  # a file's name is the hash of its icon's: the order is as good as random
        if "subject" not in groups[file]:
            name = groups[file]["group"]
            counts[name] += 1
            if counts[name] > most:
                left_out.add(file)
    return left_out


class Groups:
    """Files grouped by names: files with a name in common are in one group, directly or through others (union-find)."""

    def __init__(self) -> None:
        self._name: dict[str, str] = {}  # of each file, one of its names
        self._parent: dict[str, str] = {}

    def join(self, file: str, name: str) -> None:
        """Add a file to the group of a name; unites this group with the others that the file is in."""
        first, second = sorted((self._root(self._name.setdefault(file, name)), self._root(name)))
        self._parent[second] = first

    def names(self) -> dict[str, str]:
        """The name of each file's group: the alphabetically first of its names."""
        return {file: self._root(name) for file, name in self._name.items()}

    def _root(self, name: str) -> str:
        while (parent := self._parent.setdefault(name, name)) != name:
            name = parent
        return name


def group_and_family(name: str) -> tuple[str, str]:
    """The group and the family of an icon, by its name."""
    words = [word for word in re.split(r"[-_@:. ]+", name.lower()) if word]
    group = [word for word in words if word not in STYLES] or words
    family = [word for word in group if word not in DIRECTIONS] or group
    return "-".join(group), "-".join(family)


if __name__ == "__main__":
    main()

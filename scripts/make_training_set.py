"""Make the folder that the default encoder was trained on.

    python -m scripts.make_training_set --out data/training
    logo-similarity train data/training --out runs/mine --split train --split distractor --split concept

It renders the rows of `benchmarks/data/gallery.csv.gz` and `concepts.csv.gz` that are allowed for training: not the split
`public`, and only permissive and attribution licences. Some 204,000 pictures, 2 GB, about half an hour on one core; a run that
was stopped is resumed by the next one.

Drawings of a brand, as the benchmark names it, are positives of each other. The other icons are grouped by name, because one
set draws a thing in several styles and many sets draw the same thing: `home-outline`, `home-fill` and `home-2` are the group
`home`. Icons that differ by a direction (`arrow-left`, `arrow-right`) are separate groups of one family; the training never
treats members of a family as different.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from benchmarks.make_benchmark import GALLERY, IconSets, make_benchmark, read_list
from benchmarks.render_icons import NPM_CACHE

CONCEPTS = GALLERY.with_name("concepts.csv.gz")
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
    arguments = parser.parse_args()
    rows = [row for path in (GALLERY, CONCEPTS) for row in read_list(path) if may_be_learned_from(row)]
    failed = make_benchmark(rows, IconSets(arguments.npm), arguments.out)
    path = arguments.out / "labels.json"
    labels = json.loads(path.read_bytes())
    for row in rows:
        if row["file"] in labels and not row.get("brand"):
            labels[row["file"]] |= group_of(row["concept"].partition(":")[2] if row.get("concept") else row["name"])
    path.write_text(json.dumps(labels), encoding="utf8")
    print(f"{len(labels)} rendered, {len(failed)} failed", *failed, sep="\n")


def may_be_learned_from(row: dict[str, str]) -> bool:
    """Whether an encoder under a permissive licence may be trained on this row."""
    return row["split"] in SPLITS and row["licence"] in LICENCES


def group_of(name: str) -> dict[str, str]:
    """The group and the family of an icon, by its name."""
    words = [word for word in re.split(r"[-_@:. ]+", name.lower()) if word]
    group = [word for word in words if word not in STYLES] or words
    family = [word for word in group if word not in DIRECTIONS] or group
    return {"group": "-".join(group), "family": "-".join(family)}


if __name__ == "__main__":
    main()

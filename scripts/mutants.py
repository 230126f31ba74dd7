"""Mutation testing: change one operator, number or condition of a module at a time and check that its tests fail.

    python -m scripts.mutants logo_similarity/image/header.py
    python -m scripts.mutants --survivors logo_similarity/image/header.py

Needs the extra `mutants`. Cosmic Ray makes the mutants; one is drawn for every place in the code, and of these a seeded
sample. Each is written into a copy of the repository, where the tests named in `TESTS` run in a new process. The outcome of each
module is written to `benchmarks/results/mutants.json`. A survivor is either a gap in the tests or equivalent: no behaviour
differs. Write the reason into its `equivalent` entry there; later runs keep it.

`--survivors` runs only the survivors of the last run without a reason, which is the fast way to check a new test.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import datetime as dt
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "mutants.json"

IMAGE = "tests/unit/image"
CATALOG = "tests/unit/catalog"
BUILD = "tests/unit/build"
SOURCES = (f"{CATALOG}/sources",)
REGISTERS = f"{CATALOG}/sources/registers"
EVALUATION = "tests/unit/evaluation"
TESTS: dict[str, tuple[str, ...]] = {
    "image/heic.py": (f"{IMAGE}/test_heic.py",),
    "image/pillow.py": (f"{IMAGE}/test_pillow.py", f"{IMAGE}/test_heic.py", f"{IMAGE}/test_pages.py"),
    "image/pillow_headers.py": (f"{IMAGE}/test_pillow.py", f"{IMAGE}/test_header.py"),
    "image/repair.py": (f"{IMAGE}/test_repair.py",),
    "image/samples.py": (f"{IMAGE}/test_samples.py",),
    "image/formats.py": (f"{IMAGE}/test_formats.py", f"{IMAGE}/test_header.py"),
    "image/folder.py": (f"{IMAGE}/test_folder.py", f"{CATALOG}/sources/test_folder.py"),
    "image/header.py": (f"{IMAGE}/test_header.py", f"{IMAGE}/test_cost.py"),
    "image/png.py": (f"{IMAGE}/test_png.py", f"{IMAGE}/test_header.py", f"{IMAGE}/test_cost.py"),
    "image/tiff.py": (f"{IMAGE}/test_tiff.py", f"{IMAGE}/test_decode.py"),
    "image/avif.py": (f"{IMAGE}/test_avif_boxes.py", f"{IMAGE}/test_avif_size.py"),
    "image/av1.py": (f"{IMAGE}/test_av1.py", f"{IMAGE}/test_avif_size.py"),
    "image/decode.py": (f"{IMAGE}/test_decode.py", f"{IMAGE}/test_damaged_files.py"),
    "image/preprocess.py": (f"{IMAGE}/test_preprocess.py",),
    "image/contained.py": (f"{IMAGE}/test_contained.py", "-k", "not bomb"),
    "image/child.py": (f"{IMAGE}/test_contained.py", "-k", "not bomb"),
    "search/score.py": ("tests/unit/search/test_score.py", "tests/unit/test_engine.py"),
    "search/candidates.py": ("tests/unit/search/test_candidates.py",),
    "search/hnsw.py": ("tests/unit/search/test_hnsw.py",),
    "search/build.py": ("tests/unit/search/test_hnsw.py",),
    "search/rows.py": ("tests/unit/search/test_rows.py",),
    "engine.py": ("tests/unit/test_engine.py",),
    "embed/model.py": ("tests/unit/embed/test_encoder.py",),
    "embed/encoder.py": ("tests/unit/embed/test_encoder.py",),
    "embed/gate.py": ("tests/unit/embed/test_gate.py",),
    "evaluation/ranking.py": (f"{EVALUATION}/test_ranking.py",),
    "evaluation/truth.py": (f"{EVALUATION}/test_labels_and_truth.py",),
    "evaluation/labels.py": (f"{EVALUATION}/test_labels_and_truth.py",),
    "evaluation/copies.py": (f"{EVALUATION}/test_copies.py",),
    "evaluation/features.py": (f"{EVALUATION}/test_features.py",),
    "catalog/sources/__init__.py": SOURCES,
    "catalog/sources/columns.py": (f"{CATALOG}/sources/test_columns.py",),
    "catalog/sources/date_orders.py": (f"{CATALOG}/sources/test_table.py",),
    "catalog/sources/delimited.py": (f"{CATALOG}/sources/test_delimited.py",),
    "catalog/sources/encoding.py": (f"{CATALOG}/sources/test_encoding.py",),
    "catalog/sources/excel.py": (f"{CATALOG}/sources/test_excel.py",),
    "catalog/sources/folder.py": SOURCES,
    "catalog/sources/images.py": SOURCES,
    "catalog/sources/json_rows.py": (f"{CATALOG}/sources/test_json_rows.py",),
    "catalog/sources/l3d.py": SOURCES,
    "catalog/sources/registers/__init__.py": (f"{REGISTERS}/test_register_source.py",),
    "catalog/sources/registers/documents.py": (f"{REGISTERS}/test_documents.py",),
    "catalog/sources/registers/elements.py": (f"{REGISTERS}/test_elements.py",),
    "catalog/sources/registers/euipo.py": (f"{REGISTERS}/test_euipo.py",),
    "catalog/sources/registers/kipris.py": (f"{REGISTERS}/test_kipris.py",),
    "catalog/sources/registers/marks.py": (REGISTERS,),
    "catalog/sources/registers/st66.py": (f"{REGISTERS}/test_st66.py",),
    "catalog/sources/registers/st96.py": (f"{REGISTERS}/test_st96.py",),
    "catalog/sources/registers/uspto.py": (f"{REGISTERS}/test_uspto.py",),
    "catalog/sources/lines.py": (f"{CATALOG}/sources/test_delimited.py",),
    "catalog/sources/mapping.py": (f"{CATALOG}/sources/test_mapping.py",),
    "catalog/sources/merging.py": (f"{CATALOG}/sources/test_merging.py",),
    "catalog/sources/parquet.py": (f"{CATALOG}/sources/test_table.py",),
    "catalog/sources/rows.py": SOURCES,
    "catalog/sources/status.py": (f"{CATALOG}/sources/test_status.py",),
    "catalog/sources/table.py": SOURCES,
    "catalog/sources/tables.py": (f"{CATALOG}/sources/test_delimited.py",),
    "fields.py": ("tests/unit/test_fields.py", *SOURCES),
    "field_kinds.py": ("tests/unit/test_field_kinds.py", f"{CATALOG}/test_metadata.py", *SOURCES),
    "build/merging.py": (f"{BUILD}/test_merging.py",),
    "build/records.py": (f"{BUILD}/test_records.py",),
    "catalog/metadata.py": (f"{CATALOG}/test_metadata.py",),
    "build/inputs.py": (f"{BUILD}/test_inputs.py",),
    "catalog/files.py": (f"{CATALOG}/test_files.py", f"{CATALOG}/test_versions.py", f"{BUILD}/test_precomputed.py"),
    "build/embeddings.py": (f"{BUILD}/test_embeddings.py", f"{BUILD}/test_precomputed.py"),
    "build/identical.py": (f"{BUILD}/test_identical.py",),
    "build/precomputed.py": (f"{BUILD}/test_precomputed.py",),
    "build/version_files.py": (f"{BUILD}/test_catalog.py", f"{BUILD}/test_segment.py"),
    "build/catalog.py": (
        f"{BUILD}/test_catalog.py",
        f"{BUILD}/test_precomputed.py::test_without_patches_there_is_no_second_stage",
    ),
    "catalog/manifest.py": (f"{CATALOG}/test_manifest.py", f"{CATALOG}/test_versions.py"),
    "catalog/versions.py": (f"{CATALOG}/test_versions.py",),
    "keys/document.py": ("tests/unit/keys/test_document.py",),
    "keys/ring.py": ("tests/unit/keys/test_ring.py",),
    "keys/usage.py": ("tests/unit/keys/test_usage.py",),
    "keys/store.py": ("tests/unit/keys/test_store.py",),
    "keys/counting.py": ("tests/unit/keys/test_counting.py",),
    "keys/fixed.py": ("tests/unit/keys/test_fixed.py",),
    "catalog/signature.py": (f"{CATALOG}/test_signature.py",),
    "catalog/trial.py": (f"{CATALOG}/test_trial.py", "-k", "good or reason or stopped or secrets or endless or gap"),
    "catalog/replica.py": (f"{CATALOG}/test_replica.py",),
    "catalog/publish.py": (f"{CATALOG}/test_publish.py",),
    "api/admission.py": ("tests/api/test_admission.py",),
    "api/auth.py": ("tests/api/test_auth.py", "-k", "middleware"),
    "api/cache.py": ("tests/api/test_cache.py",),
    "api/connections.py": ("tests/api/test_connections.py",),
    "api/errors.py": ("tests/api/test_errors.py",),
    "api/live.py": ("tests/api/test_live.py",),
    "api/live_keys.py": ("tests/api/test_live_keys.py",),
    "api/paths.py": ("tests/api/test_roles.py", "-k", "table or every_route"),
    "api/middleware.py": ("tests/api/test_middleware.py",),
    "api/refusals.py": (
        "tests/api/test_refusals.py",
        "tests/api/test_connections.py",
        "-k",
        "interval or flood or logged",
    ),
    "api/routing.py": ("tests/api/test_checked_routes.py",),
    "follow.py": ("tests/unit/test_follow.py",),
    "plan.py": ("tests/unit/test_plan.py",),
    "limits.py": (
        "tests/unit/test_limits.py",
        "tests/api/test_connections.py::test_connections_fit_the_limit_on_descriptors",
    ),
}
"""The arguments of pytest that select the tests of a module: as few as possible, because every survivor runs them all."""

OPERATORS = (
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer"),
    *("RemoveDecorator", "ZeroIterationForLoop", "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_Gt_GtE"),
    *("ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq"),
    *("ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_FloorDiv"),
    *("ReplaceBinaryOperator_Div_Mul", "ReplaceBinaryOperator_FloorDiv_Mul", "ReplaceBinaryOperator_Mod_FloorDiv"),
    *("ReplaceBinaryOperator_Pow_Mul", "ReplaceBinaryOperator_LShift_RShift", "ReplaceBinaryOperator_RShift_LShift"),
    *(
        "ReplaceBinaryOperator_BitOr_BitAnd",
        "ReplaceBinaryOperator_BitAnd_BitOr",
        "ReplaceBinaryOperator_BitXor_BitAnd",
    ),
)
"""The operators of Cosmic Ray that none of the others covers."""

PRELOADED = [
    "cv2",
    "faiss",
    "fastapi",
    "hypothesis",
    "numpy",
    "onnx",
    "onnxruntime",
    "PIL.Image",
    "psutil",
    "pyarrow",
    "pytest",
]
"""Imported once: every test run is a fork of a process that has imported them. No module of the project may be here."""
MEMORY = 8 << 30
"""Bytes of address space of a test run: a mutant may allocate any amount."""

Key = tuple[str, str, str, str]

LOG = "pytest.log"
"""Output of the last test run, beside the copy."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change to a module: its line before and after, and the whole changed source."""

    line: int
    definition: str
    operator: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> Key:
        """Its name in the results, which does not change when lines are added above it."""
        return self.definition, self.operator, self.before, self.after


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", type=Path, help="modules to mutate; default: all in TESTS")
    parser.add_argument(
        "--sample", type=int, default=50, help="largest number of mutants of a module (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--survivors", action="store_true", help="only those that survived the last run")
    options = parser.parse_args()
    modules = [path.resolve().relative_to(ROOT / "logo_similarity").as_posix() for path in options.modules]
    if unknown := [module for module in modules if module not in TESTS]:
        parser.error(f"TESTS has no entry for {', '.join(unknown)}; add one in {__file__}")

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        commit = current_commit()
        copy = copy_repository(Path(folder) / "copy")
        for module in modules or TESTS:
            mutants = make_mutants(copy / "logo_similarity" / module, sample=options.sample, seed=options.seed)
            judged, unjudged = known_survivors(module)
            drawn = mutants
            if options.survivors:
                if not {*judged, *unjudged} <= {mutant.key for mutant in mutants}:
                    sys.exit(f"{module} has changed since its last run; run again without --survivors")
                drawn = [mutant for mutant in mutants if mutant.key in unjudged]
            survivors = run_mutants(module, drawn, copy)
            if options.survivors:
                survivors += [mutant for mutant in mutants if mutant.key in judged]
            outcome = summarize(mutants, survivors, judged, commit, sample=options.sample, seed=options.seed)
            print(f"{module}: {', '.join(f'{name} {outcome[name]}' for name in COUNTS)}", flush=True)
            results = read_results() | {module: outcome}
            RESULT.write_text(json.dumps(dict(sorted(results.items())), indent=1, ensure_ascii=False) + "\n")


def read_results() -> dict[str, Any]:
    """The outcome of each module so far."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {}


def known_survivors(module: str) -> tuple[dict[Key, str], set[Key]]:
    """Survivors of the module's last run: the reasons of the equivalent ones, and those without a reason yet."""
    entries = {
        (entry["definition"], entry["operator"], entry["before"], entry["after"]): entry["equivalent"]
        for entry in read_results().get(module, {}).get("survivors", [])
    }
    return {key: reason for key, reason in entries.items() if reason}, {
        key for key, reason in entries.items() if not reason
    }


def current_commit() -> str:
    """The commit of the work tree; "-dirty" is appended if files other than the results have changed."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changes = git("status", "--porcelain", "--", ".", f":!{RESULT.relative_to(ROOT)}")
    return git("describe", "--always") + ("-dirty" if changes else "")


def copy_repository(folder: Path) -> Path:
    """Copy the files of the work tree that git does not ignore. Returns the folder of the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make_mutants(path: Path, *, sample: int, seed: int) -> list[Mutant]:
    """A sample of the module's mutants, ordered by line: at most one for every place and kind of change."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    source = path.read_text()
    ignored = ignored_ranges(source)
    choose = random.Random(f"{seed} {path.name}")
    places: dict[tuple[Any, ...], list[Any]] = {}
    with use_db(str(path.with_suffix(".sqlite")), WorkDB.Mode.create) as database:
        init([path], database, {})
        for item in database.work_items:
            spec = item.mutations[0]
            name = spec.operator_name.removeprefix("core/")
            if name in OPERATORS and not any(start <= spec.start_pos < end for start, end in ignored):
                places.setdefault((spec.start_pos, spec.end_pos, name), []).append(spec)
    path.with_suffix(".sqlite").unlink()

    specs = [choose.choice(sorted(places[place], key=lambda spec: spec.occurrence)) for place in sorted(places)]
    if len(specs) > sample:
        specs = sorted(choose.sample(specs, sample), key=lambda spec: (spec.start_pos, spec.operator_name))
    mutants = []
    for spec in specs:
        try:
            changed = mutate_code(source, get_operator(spec.operator_name)(), spec.occurrence)
        except AttributeError:  # Cosmic Ray cannot replace an exception with a dotted name
            continue
        if changed is None or changed == source:
            continue
        old, new = source.splitlines(), changed.splitlines()
        first = spec.start_pos[0] - 1
        if len(old) == len(new):
            first = next(row for row, (left, right) in enumerate(zip(old, new, strict=True)) if left != right)
        after = new[first].strip() if len(old) == len(new) else ""
        name = spec.operator_name.removeprefix("core/")
        mutants.append(Mutant(first + 1, spec.definition_name or "", name, old[first].strip(), after, changed))
    return mutants


def ignored_ranges(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Ranges where a change has no effect at run time: annotations, `if TYPE_CHECKING`, the guards `frozen` and `strict`."""
    nodes: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
                nodes.append(annotation)
            case ast.FunctionDef(returns=ast.expr() as returns) | ast.AsyncFunctionDef(returns=ast.expr() as returns):
                nodes.append(returns)
            case ast.Call(func=ast.Name(id="dataclass" | "zip"), keywords=keywords):
                nodes += [keyword.value for keyword in keywords]
            case ast.If(test=ast.Name(id="TYPE_CHECKING") as test):
                nodes.append(test)
    return [((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)) for node in nodes]


def run_mutants(module: str, mutants: list[Mutant], copy: Path) -> list[Mutant]:
    """Run the module's tests with each mutant. Returns those that pass them.

    Raises:
        SystemExit: the tests fail without a mutant, or pass without the module.
    """
    path = copy / "logo_similarity" / module
    source = path.read_text()
    seconds = itertools.count(1_000_000_000)

    def write(text: str) -> None:
        path.write_text(text)
        os.utime(
            path, times=(now := next(seconds), now)
        )  # or a mutant of the same second would run an older one's bytecode

    began = time.monotonic()
    if mutants and not passes(copy, module, timeout=600):
        sys.exit(f"{(copy.parent / LOG).read_text()}\nthe tests of {module} fail without a mutant")
    timeout = 10 + 5 * (time.monotonic() - began)
    survivors = []
    try:
        write("raise RuntimeError\n")
        if mutants and passes(copy, module, timeout=600):
            sys.exit(f"the tests of {module} do not import it: {' '.join(TESTS[module])}")
        for mutant in mutants:
            write(mutant.source)
            if passes(copy, module, timeout=timeout):
                survivors.append(mutant)
                print(f"{module}:{mutant.line}: {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}", flush=True)
    finally:
        write(source)
    return survivors


def passes(copy: Path, module: str, *, timeout: float) -> bool:
    """Whether the module's tests pass in the copy, as it is now, within `timeout` seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=run_tests, args=(copy, TESTS[module]))
    process.start()
    process.join(timeout)
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and the processes that its tests left
    process.join()
    return process.exitcode == 0


def run_tests(copy: Path, tests: tuple[str, ...]) -> None:
    """Run pytest, up to the first failure, and exit with its status."""
    import pytest

    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    log = os.open(copy.parent / LOG, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for descriptor in range(3):
        os.dup2(log, descriptor)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    preloaded = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    os._exit(pytest.main(["-q", "-x", "-n0", "-m", "not slow", "-p", "no:cacheprovider", *preloaded, *tests]))


COUNTS = ("run", "killed", "survived", "equivalent")


def summarize(
    mutants: list[Mutant], survivors: list[Mutant], judged: dict[Key, str], commit: str, *, sample: int, seed: int
) -> dict[str, Any]:
    """The outcome of a module's run; the reasons written to survivors of earlier runs stay."""
    entries = [
        {
            "line": mutant.line,
            "definition": mutant.definition,
            "operator": mutant.operator,
            "before": mutant.before,
            "after": mutant.after,
            "equivalent": judged.get(mutant.key, ""),
        }
        for mutant in sorted(survivors, key=lambda mutant: mutant.line)
    ]
    return {
        "run": len(mutants),
        "killed": len(mutants) - len(entries),
        "survived": len(entries),
        "equivalent": sum(bool(entry["equivalent"]) for entry in entries),
        "sample": sample,
        "seed": seed,
        "commit": commit,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "survivors": entries,
    }


if __name__ == "__main__":
    main()

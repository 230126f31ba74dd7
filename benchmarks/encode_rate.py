"""The encoding rate of a build over the bare rate of ONNX Runtime: same model, same threads, same run.

Two ratios, each the median of alternating rounds. `encoder`: `Encoder.infer`, which checks and normalises, over a bare
`session.run` on the same prepared inputs. `embed_stage`: the runs of the encoder in the whole stage of a build (read, decode,
preprocess, find parts, encode each, write shards) over that bare rate. The difference to 1 is the share of the other work on
the same cores, in part `decode_ms` and `preprocess_ms`, the medians for one image on one thread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES
from logo_similarity.build.embeddings import LocalEmbedder, embed_records
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.build.shards import load_shard_parts, shard_count
from logo_similarity.catalog.sources import open_source
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.describe import Floats
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.preprocess import preprocess

Work = Callable[[Floats], object]


def rate(work: Work, inputs: list[Floats], threads: int) -> float:
    """Images per second with `threads` threads, each working on one image at a time."""
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: [work(one) for one in part], [inputs[n::threads] for n in range(threads)]))
    return len(inputs) / (time.perf_counter() - started)


def measure(rounds: int = 7) -> dict[str, object]:
    """Run the comparison."""
    cv2.setNumThreads(1)
    threads = usable_cores()
    encoder = Encoder.open(default_model_folder(), device="cpu", threads=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        default_model_folder() / encoder.model.file, options, providers=["CPUExecutionProvider"]
    )
    name, output = encoder.model.input.name, [encoder.model.outputs.embedding]
    files = sorted((SAMPLES / "images").glob("*.jpg"))
    inputs, decoding, preprocessing = [], [], []
    for path in files:
        content = path.read_bytes()
        started = time.perf_counter()
        pixels = decode(content)
        decoded = time.perf_counter()
        inputs.append(preprocess(pixels, encoder.model.input_spec)[np.newaxis])
        decoding.append(decoded - started)
        preprocessing.append(time.perf_counter() - decoded)
    (bare_embedding,) = session.run(output, {name: inputs[0]})[0]
    if not np.allclose(bare_embedding / np.linalg.norm(bare_embedding), encoder.infer(inputs[0])[0], atol=1e-5):
        raise ValueError("the encoder and the bare session disagree on an embedding")
    ratios: dict[str, list[float]] = {"encoder": [], "embed_stage": []}
    bare_rates, stage_rates = [], []
    for _ in range(rounds):
        bare = rate(lambda one: session.run(output, {name: one}), inputs, threads)
        ratios["encoder"].append(rate(encoder.infer, inputs, threads) / bare)
        images, runs = stage_rate(encoder, threads)
        stage_rates.append(images)
        ratios["embed_stage"].append(images * runs / bare)
        bare_rates.append(bare)
    return write_result(
        "encode_rate",
        {
            "threads": threads,
            "images": len(files),
            "rounds": rounds,
            "bare_images_per_second": round(statistics.median(bare_rates), 1),
            "stage_images_per_second": round(statistics.median(stage_rates), 1),
            "stage_runs_per_image": round(runs, 2),
            **{f"{key}_over_bare": round(statistics.median(values), 3) for key, values in ratios.items()},
            "decode_ms": round(1000 * statistics.median(decoding), 3),
            "preprocess_ms": round(1000 * statistics.median(preprocessing), 3),
        },
    )


def stage_rate(encoder: Encoder, threads: int) -> tuple[float, float]:
    """Images per second of the embedding stage of a build of the samples, and runs of the encoder for each, parts included."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = open_source(SAMPLES)
        write_records(source, work / "records", work / "rejects")
        total = count_lines(work / "records")
        started = time.perf_counter()
        with LocalEmbedder(source.images, encoder, threads=threads, limits=ImageLimits()) as embedder:
            embed_records(work / "records", total, work / "shards", encoder.dimension, embedder)
        seconds = time.perf_counter() - started
        made = sum(len(np.load(path)) for path in (work / "shards").glob("??????.npy"))
        parts = [load_shard_parts(work / "shards", number) for number in range(shard_count(total))]
    if made != total:
        raise ValueError(f"{total - made} of the samples were not embedded")
    return total / seconds, 1 + sum(0 if one is None else len(one.boxes) for one in parts) / total


if __name__ == "__main__":
    print(measure())

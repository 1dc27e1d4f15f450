"""Rows of the whole command: speed, processor time, workers and memory, against bare inference and the original's loop.

What a run costs apart from its start-up is what it costs more than a run on `FEW` clips of the same kind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import corpus, reference_front_end
from benchmarks.measure import Row, Spent, commands, interleaved, peak_memory, python, ratios, row, spent
from benchmarks.network import made_examples
from benchmarks.reference_model import BareSession

WHOLE, WORKERS, MEMORY = "whole", "workers", "memory"
FEW = 6
KERNELS = ("winograd", "direct")
RATE_BARS = {"winograd": 2.1, "direct": None}
CPU_BARS = {"winograd": 0.5, "direct": None}
"""The direct kernel is for GPUs and for comparison: no bar judges its speed."""
LOOP_BAR, WORKERS_BAR, GROWTH_BAR, GIGABYTES_BAR = 4.0, 0.9, 1.1, 2.5
TWO_WORKERS = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds, clips of the corpus, of the loop and of the large corpus, examples of inference."""

    rounds: int
    clips: int
    loop_clips: int
    many_clips: int
    bare_examples: int
    kernels: tuple[str, ...] = KERNELS
    warm_up: bool = True


def command(clips: Path, output: Path, *more: str) -> list[str]:
    """The command's arguments for a folder of clips, with the stand-in weights; a former output is removed."""
    shutil.rmtree(output, ignore_errors=True)
    flags = ["--checkpoint", "standin", "--pca_params", "standin", "--progress", "off", *more]
    return ["-m", "pipeline.run", "--input", str(clips), "--output", str(output), *flags]


def speed_rows(folder: Path, checkpoint: Path, pca: Path, scale: Scale) -> list[Row]:
    """The whole command on a corpus of FLAC clips, both kernels."""
    large, few = corpus.flac_corpus(folder, scale.clips), corpus.flac_corpus(folder, FEW)
    examples = made_examples(scale.bare_examples)
    factor = scale.clips * corpus.EXAMPLES_A_CLIP / scale.bare_examples
    with BareSession(checkpoint) as bare:
        loop = partial(original_loop, sorted(large.iterdir())[: scale.loop_clips], bare, pca, folder / "loop")
        measures = {
            "bare": lambda: spent(lambda: bare(examples)) * factor,
            "loop": lambda: spent(loop) * (scale.clips / scale.loop_clips),
        }
        for kernel in scale.kernels:
            for what, clips in (("whole", large), ("start", few)):
                measures[f"{kernel} {what}"] = partial(_run, clips, folder / "output", "--convolutions", kernel)
        for measure in measures.values() if scale.warm_up else ():
            measure()  # compiles, makes caches
        costs = interleaved(scale.rounds, measures)
    result = []
    for kernel in scale.kernels:
        result += _speed_rows(kernel, costs, scale)
    return result


def _speed_rows(kernel: str, costs: dict[str, list[Spent]], scale: Scale) -> list[Row]:
    share = (scale.clips - FEW) / scale.clips
    whole, start = costs[f"{kernel} whole"], costs[f"{kernel} start"]
    apart = [a - b for a, b in zip(whole, start, strict=True)]
    bare, loop = costs["bare"], costs["loop"]
    audio_s = (scale.clips - FEW) * corpus.SECONDS
    clips = f"{scale.clips:,} FLAC clips of 10 s"
    detail: dict[str, float | str] = {
        "× real time, start-up apart": round(audio_s / float(np.median([c.wall_s for c in apart]))),
        "start-up and 6 clips, s": round(float(np.median([cost.wall_s for cost in start])), 2),
        "start-up and 6 clips, CPU s": round(float(np.median([cost.cpu_s for cost in start])), 2),
    }
    walls = {"bare": [c.wall_s * share for c in bare], "apart": [c.wall_s for c in apart]}
    cpus = {"bare": [c.cpu_s for c in bare], "whole": [c.cpu_s for c in whole], "apart": [c.cpu_s for c in apart]}
    bare_apart = [value * share for value in cpus["bare"]]
    cpu_detail: dict[str, float | str] = {
        "CPU s": round(float(np.median(cpus["whole"])), 1),
        "CPU s an hour of audio": round(float(np.median(cpus["apart"])) * 3600 / audio_s, 2),
        "CPU s of bare inference": round(float(np.median(cpus["bare"])), 1),
        "start-up included": round(float(np.median(ratios(cpus["whole"], cpus["bare"]))), 3),
    }
    result = [
        row(WHOLE, f"whole command ({kernel}), {clips}, start-up apart ÷ bare inference, rate",
            ratios(walls["bare"], walls["apart"]), RATE_BARS[kernel], True, detail=detail),
        row(WHOLE, f"whole command ({kernel}), {clips}, start-up apart ÷ bare inference, CPU time",
            ratios(cpus["apart"], bare_apart), CPU_BARS[kernel], False, detail=cpu_detail),
    ]  # fmt: skip
    if kernel == "winograd":
        note = f"measured on {scale.loop_clips} clips and scaled, its start-up left out"
        speeds = ratios([c.wall_s for c in loop], [c.wall_s for c in whole])
        name = f"the original's loop ÷ whole command, {clips}, clock time with start-up"
        seconds = round(float(np.median([c.wall_s for c in loop])), 1)
        result.append(row(WHOLE, name, speeds, LOOP_BAR, True, detail={"loop": note, "loop, s": seconds}))
    return result


def original_loop(paths: Sequence[Path], session: BareSession, pca: Path, output: Path) -> None:
    """The original code looped over files, its session kept open: file by file, one `Session.run` each, one record."""
    from vggish_core.network.postprocess import Postprocessor
    from vggish_core.network.slim import tf

    postprocessor = Postprocessor(pca)
    with tf.io.TFRecordWriter(str(output)) as writer:
        for path in paths:
            examples = reference_front_end.file_to_examples(path).astype(np.float32)
            values = postprocessor.postprocess(session(examples, batch_size=len(examples)))
            features = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[one.tobytes()])) for one in values]
            lists = tf.train.FeatureLists(feature_list={"audio_embedding": tf.train.FeatureList(feature=features)})
            writer.write(tf.train.SequenceExample(feature_lists=lists).SerializeToString())


def worker_rows(folder: Path, checkpoint: Path, scale: Scale) -> list[Row]:
    """Two worker processes on two cores against one on one core, and what two bare inference processes gain."""
    if len(os.sched_getaffinity(0)) < 2:
        print("  workers: needs two cores")
        return []
    first, second = sorted(os.sched_getaffinity(0))[:2]
    large, few = corpus.flac_corpus(folder, scale.clips // 2), corpus.flac_corpus(folder, FEW)
    held = ("--threads", "1", "--decoders", "1", "--convolutions", "direct")
    output = folder / "output"

    def one(clips: Path) -> Spent:
        return _run(clips, output, *held, cores={first})

    def two(clips: Path) -> Spent:
        return _run(clips, output, *held, *TWO_WORKERS, cores={first, second})

    bare = ["-m", "benchmarks.bare", str(checkpoint), str(scale.bare_examples)]
    bare_few = [*bare[:-1], "64"]
    measures = {
        "one": lambda: one(large) - one(few),
        "two": lambda: two(large) - two(few),
        "one bare": lambda: commands([bare], [{first}])[0] - commands([bare_few], [{first}])[0],
        "two bare": lambda: (
            _later(commands([bare] * 2, [{first}, {second}])) - _later(commands([bare_few] * 2, [{first}, {second}]))
        ),
    }
    costs = interleaved(scale.rounds, measures)
    walls = {name: [cost.wall_s for cost in values] for name, values in costs.items()}
    gain = ratios(walls["one"], walls["two"])
    bare_gain = [2 * value for value in ratios(walls["one bare"], walls["two bare"])]
    detail = {"2 workers ÷ 1": round(float(np.median(gain)), 2), "2 bare ÷ 1": round(float(np.median(bare_gain)), 2)}
    name = "gain of 2 workers over 1, a core each, start-up apart ÷ gain of 2 bare inference processes"
    return [row(WORKERS, name, ratios(gain, bare_gain), WORKERS_BAR, True, detail=detail)]


def memory_rows(folder: Path, scale: Scale) -> list[Row]:
    """Most memory of the command and its processes: a corpus ten times as large, and two workers. One run each."""
    some = corpus.flac_corpus(folder, scale.clips)
    many = corpus.flac_corpus(folder, scale.many_clips)
    peaks = {
        "some": peak_memory(*command(some, folder / "output")),
        "many": peak_memory(*command(many, folder / "output")),
        "workers": peak_memory(*command(some, folder / "output", *TWO_WORKERS)),
    }
    gigabytes = {name: round(peak / 1e9, 2) for name, peak in peaks.items()}
    growth = f"peak memory, {scale.many_clips:,} clips ÷ {scale.clips:,}"
    return [
        row(MEMORY, growth, [peaks["many"] / peaks["some"]], GROWTH_BAR, False,
            detail={"GB": gigabytes["some"], "GB, more clips": gigabytes["many"]}),
        row(MEMORY, "peak memory, default settings", [peaks["some"] / 1e9], GIGABYTES_BAR, False, unit="GB"),
        row(MEMORY, "peak memory, 2 worker processes", [peaks["workers"] / 1e9], GIGABYTES_BAR, False, unit="GB"),
    ]  # fmt: skip


def _run(clips: Path, output: Path, *more: str, cores: set[int] | None = None) -> Spent:
    return python(*command(clips, output, *more), cores=cores)[0]


def _later(side_by_side: Sequence[Spent]) -> Spent:
    """Commands that ran side by side took as long as the last of them."""
    return max(side_by_side, key=lambda cost: cost.wall_s)

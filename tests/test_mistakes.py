"""A new user's mistakes, and the command's answer: a line that says what is wrong, with the value, and one what to do.

HERE stands for the folder that the commands are run in, which the fixture `workspace` fills.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline import export, fit_pca, parquet, predict, report, reshard, run, search, train
from pipeline.cli import verify
from pipeline.output import provenance
from pipeline.output.lock import Lock
from pipeline.output.records import SequenceExample, to_sequence_example, write_tfrecord
from pipeline.training.data import Classes
from pipeline.training.saved_model import Description
from tests import command
from tests.command import STANDIN, embed
from vggish_core.network.gpus import gpu

PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "run": run.main,
    "verify": verify.main,
    "train": train.main,
    "predict": predict.main,
    "fit_pca": fit_pca.main,
    "parquet": parquet.main,
    "reshard": reshard.main,
    "search": search.main,
    "report": report.main,
    "export": export.main,
}

HEADER = "# a\n# b\n# YTID, start_seconds, end_seconds, positive_labels\n"


@dataclass(frozen=True)
class Mistake:
    """A command and its end.

    Attributes:
      command: program and flags; `run` gets --output and the stand-in weights if it names none.
      wrong: the line that says what is wrong.
      remedy: the line that says what to do.
      status: of the exit.
    """

    command: str
    wrong: str
    remedy: str
    status: int = 2


SETTINGS = "Use its settings to continue it, another --output, or --overwrite to start over."
FOLDER = "Name a new folder, or that of a data set."
CHECKPOINTS = (
    "Give the released vggish_model.ckpt, or one trained from it; save weights of other frameworks as one first."
)
IMAGES = (
    "record 0: no feature list audio_embedding (AudioSet) or audio (YouTube-8M), only []; it may be a "
    "tf.train.Example, with image, label"
)
MISTAKES = {
    "no output": Mistake(
        "run --input audio --output=",
        "--output is missing",
        "Name the folder of the data set: --output embeddings.",
    ),
    "no input": Mistake(
        "run",
        "--input is missing",
        "Name the audio: --input 'audio/**' (or --manifest FILE).",
    ),
    "path misspelt": Mistake(
        "run --input audoi",
        "--input: nothing matches HERE/audoi: HERE has no 'audoi', but 'audio'",
        "Check the path; quote patterns, and use ** to recurse.",
    ),
    "pattern without a match": Mistake(
        "run --input 'audio/*.mp3'",
        "--input: nothing matches HERE/audio/*.mp3: HERE/audio holds 3 others, 'a.wav', 'b.wav', 'c.wav'",
        "Check the path; quote patterns, and use ** to recurse.",
    ),
    "folder without a file": Mistake(
        "run --input hollow",
        "--input: nothing matches HERE/hollow: the folder holds no file",
        "Name the folder of the audio.",
    ),
    "value without a flag": Mistake(
        "run --input audio/a.wav --num_shards 1 audio/b.wav",
        "'audio/b.wav' belongs to no flag",
        "Every value follows a flag; quote patterns: 'audio/**'.",
    ),
    "manifest with semicolons": Mistake(
        "run --manifest semicolons.csv",
        "HERE/semicolons.csv, line 1: the columns are separated by ';': 'uri;id;start_seconds'",
        "Separate them by commas, and write numbers with a point.",
    ),
    "manifest with tabs": Mistake(
        "run --manifest tabs.tsv",
        r"HERE/tabs.tsv, line 1: the columns are separated by tabs: 'id\turi'",
        "Separate them by commas, and write numbers with a point.",
    ),
    "list as input": Mistake(
        "run --input tabs.tsv",
        "--input: HERE/tabs.tsv is a list by its name, not audio",
        "Give a list of clips with --manifest, or one like AudioSet's with --segments.",
    ),
    "manifest that is audio": Mistake(
        "run --manifest audio/a.wav",
        "HERE/audio/a.wav is audio, not text",
        "Name a list here; audio goes to --input.",
    ),
    "manifest that is a Parquet file": Mistake(
        "run --manifest list.parquet",
        "HERE/list.parquet is a Parquet file, not text",
        "Write the list as CSV or JSON lines; tables that hold the audio itself go to --input.",
    ),
    "manifest that is a spreadsheet": Mistake(
        "run --manifest list.xlsx",
        "HERE/list.xlsx is a spreadsheet or a ZIP archive, not text",
        "Save the list as CSV, in UTF-8.",
    ),
    "manifest.json cut short": Mistake(
        "verify torn",
        "torn/manifest.json is damaged: it is no JSON (Expecting value: line 1 column 1 (char 0))",
        "Restore it from a copy, or run with --overwrite to start over.",
    ),
    "index that was not made": Mistake(
        "search made --like audio/a.wav --index index",
        "--index index holds no index",
        "Make it: give --build too.",
    ),
    "segments with semicolons": Mistake(
        "run --input audio --segments semicolons_segments.csv --class_labels classes.csv",
        "HERE/semicolons_segments.csv, line 1: the columns are separated by ';': "
        "'YTID;start_seconds;end_seconds;positive_labels'",
        "Separate them by commas, and write numbers with a point.",
    ),
    "classes with semicolons": Mistake(
        "train --train 'made/*.tfrecord' --eval 'made/*.tfrecord' --classes semicolons_classes.csv --model model",
        "semicolons_classes.csv, line 1: the columns are separated by ';': 'index;mid;display_name'",
        "Separate them by commas, and write numbers with a point.",
    ),
    "checkpoint of PyTorch": Mistake(
        "run --input audio --checkpoint vggish.pth",
        "--checkpoint: checkpoint vggish.pth is a PyTorch file, not a TensorFlow checkpoint",
        CHECKPOINTS,
    ),
    "checkpoint of an older PyTorch": Mistake(
        "run --input audio --checkpoint old.pt",
        "--checkpoint: checkpoint old.pt is a PyTorch file, not a TensorFlow checkpoint",
        CHECKPOINTS,
    ),
    "checkpoint of Keras": Mistake(
        "run --input audio --checkpoint model.h5",
        "--checkpoint: checkpoint model.h5 is an HDF5 file, as Keras writes, not a TensorFlow checkpoint",
        CHECKPOINTS,
    ),
    "PCA of PyTorch": Mistake(
        "run --input audio --checkpoint standin --pca_params vggish.pth",
        "--pca_params: PCA parameters vggish.pth are a PyTorch file, not an npz file",
        "Give what pipeline.fit_pca wrote, or the released file.",
    ),
    "false for a flag without a value": Mistake(
        "run --input audio --overwrite=False",
        "--overwrite: it takes no value, not 'False'",
        "Leave --overwrite out.",
    ),
    "false apart from its flag": Mistake(
        "run --input audio --overwrite false",
        "--overwrite: it takes no value, not 'false'",
        "Leave --overwrite out.",
    ),
    "rows of one id without times": Mistake(
        "run --manifest parts.csv --record_format youtube8m_video",
        "--record_format youtube8m_video: its records have no times, and 4 rows have the id 'a' (0 to 1 s, 1 to 2 s, "
        "2 to 3 s and 1 more); 2 ids have several",
        "Use --record_format audioset, whose records have times, or give each row an id of its own.",
    ),
    "rows of one id, cut apart, without times": Mistake(
        "run --manifest two.csv --segment_audio cut --record_format youtube8m",
        "--record_format youtube8m: its records have no times, and 2 rows have the id 'b' (0 to 10 s, 10 to the end)",
        "Give whole recordings, of which rows of one id become segments; or records with times: --record_format "
        "audioset.",
    ),
    "Parquet from a template": Mistake(
        "run --input audio --also parquet --runner DataflowRunner --template_location gs://bucket/template",
        "--also parquet: a job that nobody waits for writes records only",
        "Leave it out, and run the same command without --no_wait, or the template's flags, when the job has ended.",
    ),
    "true for a flag without a value": Mistake(
        "train --train x --eval x --classes x --model x --overwrite=true",
        "--overwrite: it takes no value, not 'true'",
        "Give --overwrite alone.",
    ),
    "records of others, checked": Mistake(
        "verify --manifest none images.tfrecord",
        f"images.tfrecord: {IMAGES}",
        "Give records of pipeline.run, of AudioSet, or YouTube-8M's with audio; compressed files unpacked.",
    ),
    "texts as records, checked": Mistake(
        "verify --manifest none texts.tfrecord",
        "texts.tfrecord: record 0: 5 bytes that are not a SequenceExample",
        "Give records of pipeline.run, of AudioSet, or YouTube-8M's with audio; compressed files unpacked.",
    ),
    "records of others": Mistake(
        "train --train images.tfrecord --eval images.tfrecord --classes classes.csv --model model",
        f"images.tfrecord: {IMAGES}",
        "Give records of pipeline.run, of AudioSet, or YouTube-8M's with audio.",
    ),
    "records that are compressed": Mistake(
        "train --train packed.tfrecord --eval packed.tfrecord --classes classes.csv --model model",
        "packed.tfrecord: the file is compressed (gzip)",
        "Unpack it first.",
    ),
    "labels beyond the table": Mistake(
        "train --train beyond.tfrecord --eval beyond.tfrecord --classes classes.csv --model model",
        "beyond.tfrecord: record 1 (b): label 7 is no class of the table, which has 1 from 0 to 0",
        "Give the table that the records were labelled with; --only chooses some of its classes.",
    ),
    "one id twice": Mistake(
        "run --input audio --input twice",
        "--input: two inputs have the id 'a': HERE/audio/a.wav and HERE/twice/a.flac",
        "Rename one, match only one ('audio/**.wav' say), or give a --manifest with ids; "
        "or have them fail with --duplicate_ids fail.",
    ),
    "output is a file": Mistake(
        "run --input audio --output text",
        "--output: HERE/text cannot be written: it is a file",
        FOLDER,
    ),
    "output below a file": Mistake(
        "run --input audio --output text/out",
        "--output: HERE/text/out cannot be written: HERE/text is a file",
        FOLDER,
    ),
    "output with other things": Mistake(
        "run --input audio --output twice",
        "--output: HERE/twice is not empty and has no manifest.json: it holds a.flac",
        "Choose an empty or new directory; --overwrite replaces a data set there and leaves other files alone.",
    ),
    "output of other settings": Mistake(
        "run --input audio --output made --hop_seconds 0.48",
        "--output: HERE/made was made with other settings: hop_seconds is 0.96 in the output, 0.48 was asked for",
        SETTINGS,
    ),
    "output of other shards": Mistake(
        "run --input audio --output made --num_shards 7",
        "--output: HERE/made was made with other settings: num_shards is 1 in the output, 7 was asked for",
        SETTINGS,
    ),
    "checkpoint missing": Mistake(
        "run --input audio --checkpoint gone.ckpt",
        "--checkpoint: checkpoint gone.ckpt does not exist",
        'Name an existing file, "released" or "standin" (random weights, no meaning).',
    ),
    "checkpoint of something else": Mistake(
        "run --input audio --checkpoint text",
        "--checkpoint: checkpoint text cannot be read as a TensorFlow checkpoint (file is too short to be an sstable)",
        "Fetch it again.",
    ),
    "checkpoint is a folder": Mistake(
        "run --input audio --checkpoint audio",
        "--checkpoint: checkpoint audio is a folder",
        "Name the file in it; it holds none.",
    ),
    "PCA no npz": Mistake(
        "run --input audio --checkpoint standin --pca_params text",
        "--pca_params: PCA parameters text cannot be read as an npz file (it is not one)",
        "Fetch them again.",
    ),
    "PCA of something else": Mistake(
        "run --input audio --checkpoint standin --pca_params other.npz",
        "--pca_params: PCA parameters other.npz have no array pca_eigen_vectors, only x",
        "Give what pipeline.fit_pca wrote, or the released file.",
    ),
    "videos without sound": Mistake(
        "run --input videos",
        "2 of 2 clips failed, more than --max_failures 5% (0)",
        "2 no_audio_stream: HERE/videos/a.mp4: a file of format mov,mp4,m4a,3gp,3g2,mj2 without sound",
        status=1,
    ),
    "empty files only": Mistake(
        "run --input empty",
        "2 of 2 clips failed, more than --max_failures 5% (0)",
        "2 empty: HERE/empty/a.wav: the file has no bytes",
        status=1,
    ),
    "exclusion without a listing": Mistake(
        "run --manifest named.csv --exclude '*.txt'",
        "--exclude *.txt is about what --input lists, and there is none",
        "Leave the rows out of --manifest.",
    ),
    "own flag misspelt": Mistake(
        "run --input audio --hop_second 0.5",
        "unknown flag --hop_second; did you mean --hop_seconds?",
        "Write --hop_seconds.",
    ),
    "Beam's flag misspelt": Mistake(
        "run --input audio --direct_num_worker=2",
        "unknown flag --direct_num_worker; did you mean --direct_num_workers?",
        "Write --direct_num_workers.",
    ),
    "Beam's flag with a wrong value": Mistake(
        "run --input audio --direct_num_workers two",
        "--direct_num_workers: 'two' is not a whole number (Beam's flag)",
        "It is --direct_num_workers VALUE: number of parallel running workers.",
    ),
    "wrong runner": Mistake(
        "run --input audio --runner Flink",
        "--runner 'Flink' is not one of Beam's runners",
        "Did you mean FlinkRunner?",
    ),
    "Dataflow without a project": Mistake(
        "run --input audio --runner DataflowRunner --temp_location gs://bucket/tmp",
        "--runner DataflowRunner has no --project, --region",
        "Give a project's id, a region, a gs:// folder.",
    ),
    "storage of another kind": Mistake(
        "run --input abc://bucket/audio",
        "--input: abc://bucket/audio: there is no storage for abc://",
        "Give a local path, gs:// or s3://.",
    ),
    "flag without value": Mistake(
        "run --input audio --runner",
        "--runner: the value is missing",
        "It is --runner NAME: DirectRunner (this machine, all cores), or one of Beam's (default: DirectRunner).",
    ),
    "no shards": Mistake(
        "run --input audio --num_shards 0",
        "--num_shards: '0' is not a whole number of 1 or more",
        "It is --num_shards N: number of record files (default: by the corpus' size).",
    ),
    "a billion shards": Mistake(
        "run --input audio --num_shards 1000000000",
        "--num_shards 1,000,000,000 for 3 clips: nearly all of these files would be empty",
        "Leave it out, or give 10,000 at most; pipeline.reshard changes the number when there are more clips.",
    ),
    "a billion shards of a data set": Mistake(
        "reshard made --num_shards 1000000000",
        "--num_shards 1,000,000,000 for 3 clips: nearly all of these files would be empty",
        "Leave it out, or give 10,000 at most; pipeline.reshard changes the number when there are more clips.",
    ),
    "hop between frames": Mistake(
        "run --input audio --hop_seconds 0.333",
        "--hop_seconds: '0.333' is not a multiple of 0.01 s, the hop of log-mel frames",
        "It is --hop_seconds S: seconds from one example to the next, in steps of 0.01; 1.0 is YouTube-8M's "
        "(default: 0.96).",
    ),
    "unit in a number": Mistake(
        "run --input audio --decode_memory_mb 2GB",
        "--decode_memory_mb: '2GB' is not a whole number of 1 or more",
        "It is --decode_memory_mb MB: memory that decoding one file may take (default: 1024 MB).",
    ),
    "unknown choice": Mistake(
        "run --input audio --short_clips drop",
        "--short_clips: 'drop' is not one of its values",
        "It is --short_clips {skip,pad,fail}: clips under one example of 0.975 s: list as skipped, pad with zeros, or "
        "fail (default: skip).",
    ),
    "bfloat16 with winograd": Mistake(
        "run --input audio --precision bfloat16 --convolutions winograd",
        "--precision bfloat16 does not work with --convolutions winograd",
        "Leave --convolutions out or make it direct.",
    ),
    "manifest without uri": Mistake(
        "run --manifest no_uri.csv",
        "HERE/no_uri.csv, line 1: the header has no uri: path, id",
        "The columns are uri, id, start_seconds, end_seconds, labels; only uri is required.",
    ),
    "manifest missing": Mistake(
        "run --manifest gone.csv",
        "HERE/gone.csv: opening failed: it is not there",
        "Check the path.",
    ),
    "labels without a table": Mistake(
        "run --manifest named.csv",
        "HERE/named.csv, line 2: 'Dog' is not a class index",
        "Name the table of MIDs and display names with --class_labels, or give indices.",
    ),
    "segments without a table": Mistake(
        "run --input audio --segments segments.csv",
        "--segments segments.csv has labels as MIDs, and no table says which classes these are",
        "Name AudioSet's class_labels_indices.csv with --class_labels.",
    ),
    "segments of other audio": Mistake(
        "run --input audio --segments others.csv --class_labels classes.csv",
        "--input: 1 row of HERE/others.csv, none with audio: the first needs xyz, the inputs are 3 files such as "
        "HERE/audio/a.wav",
        "Name the files by their YTID; if they are segments, YTID_start_end say, add --segment_audio cut.",
    ),
    "labels that do not match": Mistake(
        "run --input audio --segments segments.csv --class_labels classes.csv --max_failures 0",
        "1 of 3 clips failed, more than --max_failures 0 (0)",
        "1 unknown_label: HERE/audio/a.wav: line 4: not in HERE/classes.csv: /m/zzz",
        status=1,
    ),
    "lists mixed up": Mistake(
        "run --input audio --segments classes.csv --class_labels classes.csv",
        "HERE/classes.csv, line 1: the header is index, mid, display_name, not YTID, start_seconds, end_seconds, "
        "positive_labels",
        "Check which file it is.",
    ),
    "verify no data set": Mistake(
        "verify audio",
        "there is no audio/manifest.json",
        "Name the folder that holds manifest.json; --manifest none checks record files.",
    ),
    "verify nothing": Mistake("verify", "missing: output", "python -m pipeline.verify --help lists all flags."),
    "verify's flag misspelt": Mistake(
        "verify made --audits 3",
        "unknown flag --audits; did you mean --audit?",
        "Write --audit.",
    ),
    "predict without a model": Mistake(
        "predict --model nowhere --input audio",
        "HERE/nowhere has no model.json",
        "Name the folder that pipeline.train wrote.",
    ),
    "train without labels": Mistake(
        "train --train 'made/*.tfrecord' --eval 'made/*.tfrecord' --classes classes.csv --model model",
        "--train: no record carries a label of --classes",
        "Labels come from pipeline.run --manifest.",
    ),
    "PCA of quantized records": Mistake(
        "fit_pca --input 'made/*.tfrecord' --output pca.npz",
        "--input made/*.tfrecord: embeddings are quantized",
        "Give what pipeline.run --embeddings raw wrote.",
    ),
    "records missing": Mistake(
        "parquet --input 'nothing/*.tfrecord' --output x.parquet",
        "no file matches nothing/*.tfrecord",
        "Check the path, and quote patterns.",
    ),
    "records of a run that was interrupted": Mistake(
        "parquet --input 'begun/*.tfrecord' --output x.parquet",
        "begun/manifest.json: the data set is not complete: 1 of 1 shards and 3 clips are there so far",
        "Run the command that makes the data set again, which finishes it; to read what is there, --incomplete use "
        '(in Python: incomplete="use").',
    ),
    "shards of a run that was interrupted": Mistake(
        "reshard begun --num_shards 2",
        "HERE/begun is not finished: 1 of 1 shards are there so far",
        "Run the command that makes the data set to its end, then change the number of shards.",
    ),
    "shards of nothing": Mistake(
        "reshard audio --num_shards 2",
        "there is no HERE/audio/manifest.json",
        "Name the folder of a data set.",
    ),
    "shards without a number": Mistake(
        "reshard made --num_shards many",
        "--num_shards: 'many' is not a whole number of 1 or more, nor auto",
        "It is --num_shards N|auto: number of record files; auto: as for a new data set of its clips, 1,000 clips or "
        "256 MB of audio each.",
    ),
    "audio as records": Mistake(
        "export audio arrays --to npy",
        "audio/a.wav: record 0 at byte 0: the checksum of the length does not fit; not a TFRecord file, or damaged",
        "Name record files, or the folder of a data set; if it is one, copy it again.",
    ),
    "audio as a data set": Mistake(
        "search audio --like a",
        "audio holds no records",
        "Name a data set; python -m pipeline.run makes one of audio.",
    ),
    "report of audio": Mistake(
        "report audio",
        "there is no audio/manifest.json",
        "Name the folder that holds manifest.json; --manifest none checks record files.",
    ),
    "report into a folder": Mistake(
        "report made --to hollow",
        "--to hollow is a folder",
        "Name a file: --to HERE/hollow/report.html.",
    ),
    "report below nothing": Mistake(
        "report made --to no/such/r.html",
        "--to no/such/r.html: there is no folder HERE/no/such",
        "Make it first, or name another file.",
    ),
    "Parquet without an end": Mistake(
        "parquet --input 'made/*.tfrecord' --output x",
        "--input made/*.tfrecord, --output x: neither ends in .parquet",
        "Write --output x.parquet.",
    ),
    "output without a flag": Mistake(
        "run audio embeddings --output=",
        "'audio' belongs to no flag",
        "Every value follows a flag; quote patterns: 'audio/**'.",
    ),
    "configuration missing": Mistake(
        "run --config gone.yaml",
        "--config gone.yaml cannot be read: opening failed: it is not there",
        "Check the path.",
    ),
    "records that were cut": Mistake(
        "predict --model model_of_all --input 'cut/*.tfrecord'",
        "cut/embeddings-00000-of-00001.tfrecord has 10 bytes, 1,239 in manifest.json",
        "Copy the data set again, or run the command that makes it again; to read what is there, --incomplete use "
        '(in Python: incomplete="use").',
    ),
}


PERMISSIONS_BIND_ROOT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, standin_weights: Path) -> Iterator[Path]:
    """A folder with files that a user may have; it is the working directory meanwhile."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("audio", "twice", "empty", "videos", "hollow"):
        (folder / name).mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 32000)
    for name in ("audio/a.wav", "audio/b.wav", "audio/c.wav", "twice/a.flac"):
        soundfile.write(folder / name, noise, 16000)
    for name in "ab":
        (folder / "empty" / f"{name}.wav").touch()
        _video(folder / "videos" / f"{name}.mp4")
    np.savez(folder / "other.npz", x=np.zeros(3))
    (folder / "text").write_text("neither a checkpoint nor an npz file")
    (folder / "no_uri.csv").write_text("path,id\naudio/a.wav,a\n")
    (folder / "named.csv").write_text("uri,id,labels\naudio/a.wav,a,Dog\n")
    (folder / "classes.csv").write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n')
    _files_of_others(folder)
    (folder / "segments.csv").write_text(HEADER + 'a, 0.000, 2.000, "/m/zzz"\n')
    (folder / "others.csv").write_text(HEADER + 'xyz, 0.000, 2.000, "/m/09x0r"\n')
    assert run.main(["--output", f"{folder}/made", "--input", f"{folder}/audio", *STANDIN, "--report", "off"]) == 0
    for name in ("begun", "cut", "torn"):
        shutil.copytree(folder / "made", folder / name)
    manifest = (folder / "made" / "manifest.json").read_text()
    (folder / "begun" / "manifest.json").write_text(manifest.replace('"complete": true', '"complete": false'))
    (folder / "cut" / "embeddings-00000-of-00001.tfrecord").write_bytes(bytes(10))
    (folder / "torn" / "manifest.json").write_bytes(b"")
    (folder / "model_of_all").mkdir()
    made_by = provenance.of(f"{folder}/made/*.tfrecord")
    Description("logistic", Classes((0,), ("Speech",), ("",)), made_by, 1, {}).save(folder / "model_of_all")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def _files_of_others(folder: Path) -> None:
    """Lists with other separators, weights and records of other kinds."""
    (folder / "semicolons.csv").write_text("uri;id;start_seconds\naudio/a.wav;a;0,5\n")
    lines = [f"audio/a.wav,a,{at},{at + 1}" for at in range(4)] + [f"audio/b.wav,b,{at},{at + 1}" for at in range(2)]
    (folder / "parts.csv").write_text("\n".join(["uri,id,start_seconds,end_seconds", *lines, "audio/c.wav,c,0,1\n"]))
    (folder / "two.csv").write_text("uri,id,start_seconds,end_seconds\naudio/a.wav,b,0,10\naudio/b.wav,b,10,\n")
    (folder / "tabs.tsv").write_text("id\turi\na\taudio/a.wav\n")
    (folder / "semicolons_classes.csv").write_text("index;mid;display_name\n0;/m/09x0r;Speech\n")
    (folder / "semicolons_segments.csv").write_text("YTID;start_seconds;end_seconds;positive_labels\na;0;2;/m/09x0r\n")
    pq.write_table(pa.table({"uri": ["audio/a.wav"] * 9}), folder / "list.parquet")
    with zipfile.ZipFile(folder / "list.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>" * 9, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(folder / "vggish.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    (folder / "old.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." * 20)
    (folder / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))
    image = SequenceExample()  # whose context is in the place of an Example's features
    image.context.feature["image"].bytes_list.value.append(b"pixels")
    image.context.feature["label"].int64_list.value.append(1)
    labelled = [to_sequence_example(name, 0.0, 2.0, [label], np.zeros((2, 128), np.uint8)) for name, label in BEYOND]
    written = {"images": [image.SerializeToString()] * 3, "texts": [b"hello"], "beyond": labelled}
    for name, records in written.items():
        with (folder / f"{name}.tfrecord").open("wb") as file:
            write_tfrecord(file, records)
    (folder / "packed.tfrecord").write_bytes(gzip.compress((folder / "images.tfrecord").read_bytes()))


BEYOND = (("a", 0), ("b", 7))
"""Ids and labels, of a table of one class."""


def _video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_ends_in_two_lines(
    workspace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], mistake: Mistake
) -> None:
    program, *flags = shlex.split(mistake.command)
    if program == "run":
        if not any(flag.startswith("--output") for flag in flags):
            flags += ["--output", str(tmp_path / "out")]
        if "--checkpoint" not in flags:
            flags += STANDIN
        flags += ["--progress", "off"]  # on a busy machine it says how far it is
    assert PROGRAMS[program](flags) == mistake.status
    shown = capfd.readouterr().err.replace(str(workspace), "HERE").splitlines()
    assert shown[:2] == [f"error: {mistake.wrong}", f"  {mistake.remedy}"]
    if mistake.status == 2:
        assert len(shown) == 2
        assert not (tmp_path / "out").exists()


@pytest.mark.ci
def test_no_write_permission(workspace: Path, tmp_path: Path) -> None:
    prefix = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("permissions do not bind root, and there is no setpriv to make them")
        prefix = PERMISSIONS_BIND_ROOT
    (tmp_path / "mine").mkdir(mode=0o500)
    done = embed(tmp_path / "mine" / "out", "--input", workspace / "audio", prefix=prefix)
    assert (done.status, done.err.splitlines()) == (
        2,
        [
            f"error: --output: {tmp_path}/mine/out cannot be written: {tmp_path}/mine may not be written to",
            f"  {FOLDER}",
        ],
    )


@pytest.mark.ci
def test_no_weights_and_no_network(workspace: Path, tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound, not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = command.run(
            "pipeline.run",
            *("--input", workspace / "audio", "--output", tmp_path / "out"),
            VGGISH_URL=url,
            VGGISH_CACHE=str(tmp_path / "cache"),
            VGGISH_HOME="",
        )
    assert done.status == 2
    shown = done.err[done.err.index("error: ") :]
    lines = ["", *shown.splitlines()]
    assert lines[1].startswith("error: --checkpoint: the released weights could not be fetched:")
    for word in ("d1c7011e6366aa34176bb05c705e31a8", "c80cae691033abe7c7ecd11ea39fc834", "VGGISH_HOME"):
        assert word in "".join(lines[2:])
    assert lines[-1].endswith("To try the software without them, use --checkpoint standin --pca_params standin.")


def test_a_status_that_nobody_can_read(workspace: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "pipeline.status", "made"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["error: the result was not printed: standard output cannot be written to", "  Direct it to a file."],
    )


def test_two_runs_at_once(workspace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Lock(str(tmp_path / "out")):
        assert run.main(["--input", "audio", "--output", str(tmp_path / "out"), *STANDIN, "--progress", "off"]) == 2
    wrong, remedy = capfd.readouterr().err.splitlines()
    assert f"error: --output: {tmp_path}/out is being written by process {os.getpid()} on" in wrong
    assert remedy == f"  Wait for it or stop it; if you know that it is dead, remove {tmp_path}/out/_state/lock.json."


@pytest.mark.skipif(bool(gpu()), reason="there is a GPU")
def test_bfloat16_without_a_gpu(workspace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--input", "audio", "--output", str(tmp_path / "out"), *STANDIN, "--progress", "off"]
    assert run.main([*flags, "--precision", "bfloat16"]) == 2
    assert capfd.readouterr().err.splitlines() == [
        "error: --precision bfloat16: TensorFlow sees no GPU here",
        "  Use float32: on processors bfloat16 is no faster.",
    ]


def test_a_traceback_only_where_it_is_asked_for(
    workspace: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ["--input", "audoi", "--output", str(tmp_path / "out"), *STANDIN]
    assert run.main(flags) == 2
    assert "Traceback" not in capfd.readouterr().err
    assert run.main([*flags, "--verbose"]) == 2
    assert "Traceback (most recent call last)" in capfd.readouterr().err


@pytest.fixture(scope="module")
def model(workspace: Path) -> Path:
    """A classifier of two classes, on records that were labelled by a manifest."""
    (workspace / "two.csv").write_text("index,mid,display_name\n0,/m/0,No\n1,/m/1,Yes\n")
    for name in ("learned", "judged"):
        rows = "".join(f"audio/{'abc'[n % 3]}.wav,{name} {n},{n % 2}\n" for n in range(12))
        (workspace / f"{name}.csv").write_text("uri,id,labels\n" + rows)
        _quietly(workspace, f"run --manifest {name}.csv --output {name} --checkpoint standin --pca_params standin")
    _quietly(
        workspace,
        "train --train 'learned/*.tfrecord' --eval 'judged/*.tfrecord' --classes two.csv --model model --epochs 1 "
        "--classifier logistic --validation 0.4",
    )
    return workspace / "model"


def _quietly(workspace: Path, line: str) -> None:
    program, *flags = shlex.split(line)
    flags += ["--progress", "off"] if program in ("run", "predict") else []
    done = command.run(f"pipeline.{program}", *flags, cwd=workspace)
    assert (done.status, done.err) == (0, "")


@pytest.mark.ci
@pytest.mark.parametrize(
    "line", ["run --input audio --output quiet --checkpoint standin --pca_params standin", "verify made --audit 1"]
)
def test_libraries_say_nothing_in_normal_runs(workspace: Path, line: str) -> None:
    _quietly(workspace, line)


@pytest.mark.full
def test_libraries_say_nothing_in_training_and_predicting(workspace: Path, model: Path) -> None:
    _quietly(workspace, f"predict --model {model} --input audio/a.wav --output classes.csv --plots plots")


@pytest.mark.full
def test_fit_pca_says_nothing_but_its_own_warning(workspace: Path) -> None:
    _quietly(workspace, "run --input audio --output raw --embeddings raw --checkpoint standin")
    done = command.run("pipeline.fit_pca", "--input", "raw/*.tfrecord", "--output", "pca.npz", cwd=workspace)
    assert done.status == 0
    (line,) = done.err.splitlines()  # six embeddings do not span 128 dimensions
    assert line.startswith("warning: 127 of 128 directions hardly vary over 6 embeddings")

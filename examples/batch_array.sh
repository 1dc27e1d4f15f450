#!/bin/bash
# Embed a corpus with an array job of AWS Batch or a task group of Google's Batch; see docs/engines.md for how to submit.
#
#   batch_array.sh --input 's3://recordings/**' --output s3://embeddings/corpus
#
# Both services say which task this is and how many there are. CORES is how many processors a task was given: inside a
# container without a CPU quota nothing else tells. Set PYTHON to the image's interpreter if `python` is another one.
set -euo pipefail

index="${AWS_BATCH_JOB_ARRAY_INDEX:-${BATCH_TASK_INDEX:-}}"
count="${TASKS:-${AWS_BATCH_JOB_ARRAY_SIZE:-${BATCH_TASK_COUNT:-}}}"
: "${index:?neither AWS_BATCH_JOB_ARRAY_INDEX nor BATCH_TASK_INDEX is set: this is no task of an array}"
: "${count:?how many tasks there are: set TASKS}"

# exec: the service's signals reach the command itself, which then ends in order.
exec "${PYTHON:-python}" -m pipeline.run --task "$index/$count" --progress off \
    --threads "${CORES:-4}" --decoders "${CORES:-4}" "$@"

#!/bin/bash
# Embed a corpus with a SLURM array; see docs/engines.md.
#
#   sbatch --array=0-31 --export=ALL,TASKS=32 examples/slurm_array.sh \
#       --input '/shared/recordings/**' --output /shared/embeddings
#
# TASKS is what --array counts to, and stays the same when single tasks are submitted again (--array=3,7).
# Set PYTHON to the environment's interpreter if `python` on the nodes is another one.
#SBATCH --job-name=vggish
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --output=vggish-%A-%a.log
set -euo pipefail

: "${SLURM_ARRAY_TASK_ID:?is set by sbatch --array}"
: "${TASKS:?how many tasks there are: --export=ALL,TASKS=32 with --array=0-31}"

# exec: SLURM's signals reach the command itself, which then ends in order.
exec "${PYTHON:-python}" -m pipeline.run --task "$SLURM_ARRAY_TASK_ID/$TASKS" --progress off \
    --threads "${SLURM_CPUS_PER_TASK:-4}" --decoders "${SLURM_CPUS_PER_TASK:-4}" "$@"

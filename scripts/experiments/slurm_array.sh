#!/bin/bash
# A grid over a Slurm array: every task claims free cells until none is left. Submit from the bundle's folder:
#   sbatch scripts/experiments/slurm_array.sh paper VOC=/data/voc Cityscapes=/data/cityscapes ACDC=/data/acdc
# --output_dir must lie on a file system with locks that all nodes share. When the array is done (or in the middle of it):
#   python -m scripts.experiments.paper report
#SBATCH --job-name=grid
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail

grid=$1
shift
# exec: the signal before the time limit reaches the runner, which has its cell save its state; a resubmitted array goes on.
exec srun python -m scripts.experiments.paper run --grid "$grid" --dataset_dir "$@" --no_wait

#!/bin/bash
# A campaign of 64 parts as an array: sbatch docs/cluster/slurm.sh
#SBATCH --job-name=midstream
#SBATCH --array=0-63
#SBATCH --cpus-per-task=2
#SBATCH --time=01:30:00
# So long before the time is up a part gets SIGTERM, and leaves what it has.
#SBATCH --signal=B:TERM@60
exec midstream fuzz --seed 20260101 --seconds 3600 --shard env --jobs "$SLURM_CPUS_PER_TASK" \
    --out results/traces --result results/campaign

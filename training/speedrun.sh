#!/usr/bin/env bash
# Make weights of the shipped kind from nothing, and print the time of each stage. Resumes where it was stopped.
#
#   training/speedrun.sh                              the repository's data; 45,000 updates of 32 in all
#   training/speedrun.sh --anew                       also record trajectories and sub-goals again
#   training/speedrun.sh --leave-out 0                train without the things of fold 0, and select weights on them
#   training/speedrun.sh --toy --output build/toy     tiny models, three updates: check that all stages run
#
# Options are those of `python -m training speedrun --help`. Weights end up in OUTPUT/checkpoints:
#
#   ./run evaluate --checkpoints build/speedrun/checkpoints
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
[[ -x .venv/bin/python ]] || ./run --help >/dev/null
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec .venv/bin/python -m training speedrun "$@"

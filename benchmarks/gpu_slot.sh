#!/usr/bin/env bash
# Train models within minutes on a machine with a GPU that is available for a short time, and pack the results.
#
#   OUT=build/gpu MINUTES=9 benchmarks/gpu_slot.sh "executor controller flat" --format compact-reasons --leave-out 0
#
# The first argument names the roles, trained side by side on one GPU; all others go to `python -m training finetune`.
# Nothing is downloaded. The only evaluation is exact match on dev (with --leave-out: on the fold).
#
#   MINUTES   wall time for everything; half a minute is kept for packing. Default: 9
#   OUT       where ROLE.tar goes: the run folder without its state, 6 to 12 MB. Default: build/gpu
#   PYTHON    an interpreter with torch, transformers, accelerate, tokenizers, pyarrow, pydantic, typer, rich and
#             tensorboard. Default: .venv/bin/python, else python3. Wheels in ./.whl are installed first, offline.
#   RECIPE    Default: benchmarks/gpu_slot.json, which is training/recipes/speedrun.json with batches of 256
#   RUNS      Where the runs are. Default: build/gpu-runs
#   TRIAL     Updates of the trial. Default: 40
#
# Each role first makes a few updates in a folder of its own, to measure how many fit into the time. The schedule of the
# learning rate then ends with the time. Afterwards, on this machine:
#
#   mkdir -p build/runs && tar -C build/runs -xf build/gpu/controller.tar
#   python -m training export controller --format compact-reasons --run build/runs/controller --output build/gpu/controller
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
began=$SECONDS
roles=${1:?"Name the roles, e.g. \"executor controller flat\"."}
shift
total=$(awk "BEGIN { print int(60 * ${MINUTES:-9}) }")
out=${OUT:-build/gpu}
recipe=${RECIPE:-benchmarks/gpu_slot.json}
runs=${RUNS:-build/gpu-runs}
python=${PYTHON:-}
[[ -n $python ]] || { [[ -x .venv/bin/python ]] && python=.venv/bin/python || python=python3; }
packing=30
tried=${TRIAL:-40}

if compgen -G '.whl/*.whl' >/dev/null; then
  "$python" -m pip install --quiet --no-index --find-links .whl .whl/*.whl
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} TOKENIZERS_PARALLELISM=false
mkdir -p -- "$out" "$runs"

finetune() { # ROLE RUN OPTIONS…
  local role=$1 run=$2
  shift 2
  "$python" -m training finetune "$role" --recipe "$recipe" --run "$run" "$@"
}

# How many updates fit into what is left, at the rate of the trial's last updates. All of the trial's time but its
# updates went to reading the tables, which has to be done once more.
fitting() { # TRIAL LEFT ELAPSED
  "$python" - "$1" "$2" "$3" <<'PYTHON'
import json, pathlib, sys

run, left, elapsed = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
recipe = json.loads((run / "recipe.json").read_text())
rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
timed = [row for row in rows if "examples_per_second" in row]
reading = max(0.0, elapsed - (timed[-1]["time"] - timed[0]["time"]))
rate = timed[-1]["examples_per_second"]
# A twentieth is for the evaluations and for the end.
print(int(0.95 * (left - reading) * rate / (recipe["batch"] * recipe["accumulate"])))
PYTHON
}

train() { # ROLE OPTIONS…
  local role=$1 left steps status=0
  shift
  rm -rf -- "$runs/$role-rate"
  finetune "$role" "$runs/$role-rate" "$@" --steps "$tried" --set evaluate_every="$tried" --set evaluated=1
  left=$((total - packing - (SECONDS - began)))
  steps=$(fitting "$runs/$role-rate" "$left" $((SECONDS - began)))
  ((steps > 0)) || { echo "$role: no time is left after the trial; set MINUTES higher." >&2; return 1; }
  echo "$role: $steps updates fit into $left s" >&2
  # SIGTERM saves the state and ends the run; the best weights so far are in its folder, also after a kill.
  timeout -s TERM -k 20 $((total - packing - (SECONDS - began))) \
    "$python" -m training finetune "$role" --recipe "$recipe" --run "$runs/$role" "$@" \
    --steps "$steps" --set evaluate_every=$((steps > 8 ? steps / 4 : steps)) || status=$?
  ((status == 0 || status == 124 || status == 137 || status == 143)) || return "$status"
}

pack() { # ROLE
  local role=$1
  [[ -d $runs/$role/best ]] || { echo "$role: not evaluated once, so there is nothing to pack." >&2; return 1; }
  tar -C "$runs" --exclude=state.pt --exclude=state --exclude=tensorboard --exclude=losses.json \
    -cf "$out/$role.tar" "$role"
  local size
  size=$(stat -c %s "$out/$role.tar")
  ((size < 16 * 1024 * 1024)) || { echo "$out/$role.tar has $size bytes, over 16 MiB." >&2; return 1; }
  echo "$out/$role.tar: $size bytes, $(tail -n 1 "$runs/$role/metrics.jsonl")" >&2
}

pids=()
for role in $roles; do
  train "$role" "$@" >"$out/$role.log" 2>&1 &
  pids+=("$!")
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
for role in $roles; do
  pack "$role" || { failed=1; tail -n 5 "$out/$role.log" >&2; }
done
echo "$((SECONDS - began)) s in all." >&2
exit "$failed"

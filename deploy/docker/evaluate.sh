#!/bin/sh
# The service `evaluate`: plays one evaluation and prints its table, its id and the address of its page.
# WAYMARK_EVALUATE is the protocol, or `none`. Further options of `waymark evaluate` may follow as arguments.
set -eu
protocol=${WAYMARK_EVALUATE:-quick}
dashboard=http://127.0.0.1:${WAYMARK_PUBLISHED_PORT:-8000}

python -P deploy/docker/await_models.py
if [ "$protocol" = none ]; then
  echo "The stack is up. Dashboard: $dashboard"
  sleep 5 # `docker compose up --wait` fails if a container ends while it waits
  exit 0
fi
echo "Playing the protocol '$protocol'. Watch it at $dashboard"
status=0
# Messages name the env-runner's address inside the containers' network. Replace it by the published address.
mkfifo /tmp/remarks
sed -u "s|${WAYMARK_URL:-http://env-runner:8000}|$dashboard|g" </tmp/remarks >&2 &
waymark evaluate --protocol "$protocol" --json "$@" >/tmp/evaluation.json 2>/tmp/remarks || status=$?
wait
if [ ! -s /tmp/evaluation.json ]; then exit "$status"; fi
id=$(python -c 'import json; print(json.load(open("/tmp/evaluation.json"))["evaluation"])')
# The last result may reach the folder a moment after the evaluation has ended.
for _ in 1 2 3 4 5; do
  if waymark report "runs/$id" >/tmp/table 2>/tmp/remark && [ ! -s /tmp/remark ]; then break; fi
  sleep 1
done
cat /tmp/table
echo "Run $id: every turn is in ${WAYMARK_RUNS_FOLDER:-./runs-compose}/$id"
echo "Dashboard: $dashboard/#/evaluations/$id"
echo "The stack stays up. Stop it with: docker compose down"
exit "$status"

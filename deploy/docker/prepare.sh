#!/bin/sh
# Runs once before the other containers start, as root with few capabilities:
# 1. The password of Redis is written to the shared volume: the one that is given, else a random one made once.
# 2. The key that Prometheus shows is written there too.
# 3. The folder for results gets the user that writes to it.
set -eu
secrets=/run/waymark
user=${WAYMARK_UID:-10001}
group=${WAYMARK_GID:-10001}

# Everybody in a container that mounts this volume may read it; containers that do not need it do not mount it.
write() { # NAME, the content on standard input
  umask 077
  cat >"$secrets/$1.new"
  chmod 444 "$secrets/$1.new"
  mv -f "$secrets/$1.new" "$secrets/$1"
}

given=/run/secrets/redis_password
if [ -s "$given" ]; then
  # A last line end is no part of a password.
  printf %s "$(cat "$given")" | write redis-password
elif [ -n "${WAYMARK_REDIS_PASSWORD:-}" ]; then
  printf %s "$WAYMARK_REDIS_PASSWORD" | write redis-password
elif [ ! -s "$secrets/redis-password" ]; then
  python3 -c 'import secrets; print(secrets.token_urlsafe(32), end="")' | write redis-password
fi
printf %s "${WAYMARK_API_KEY:-}" | write scrape-key

owner=$(stat -c %u /app/runs)
if [ "$owner" = 0 ] && [ "$user" != 0 ]; then
  chown "$user:$group" /app/runs
elif [ "$owner" != "$user" ]; then
  echo "The folder for results belongs to user $owner, and the containers run as user $user." >&2
  echo "Write WAYMARK_UID=$owner and WAYMARK_GID=$(stat -c %g /app/runs) to .env, or name another folder in WAYMARK_RUNS_FOLDER." >&2
  exit 1
fi

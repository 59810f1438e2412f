#!/bin/sh
# Runs once before the other containers start, as root with few capabilities:
# 1. Write the password of Redis to the shared volume: the given one, or a random one that is made once.
# 2. Write the key that Prometheus sends there too.
# 3. Make the user who writes results the owner of their folder.
set -eu
secrets=/run/waymark
user=${WAYMARK_UID:-10001}
group=${WAYMARK_GID:-10001}

# Every user in a container that mounts this volume can read it. Only containers that need it mount it.
write() { # NAME, the content on standard input
  umask 077
  cat >"$secrets/$1.new"
  chmod 444 "$secrets/$1.new"
  mv -f "$secrets/$1.new" "$secrets/$1"
}

# Messages name files and folders by their paths on the host.
refuse() { # LINE...
  printf '%s\n' "$*" >&2
  exit 1
}

given=/run/secrets/redis_password
named=${HOST_PASSWORD_FILE:-}
if [ -n "$named" ] && ! { [ -f "$given" ] && [ -n "$(cat "$given")" ]; }; then
  refuse "WAYMARK_REDIS_PASSWORD_FILE=$named holds no password. Write the password of Redis on its first line."
elif [ -n "$named" ]; then
  # The last line break is not part of the password.
  printf %s "$(cat "$given")" | write redis-password
elif [ -n "${WAYMARK_REDIS_PASSWORD:-}" ]; then
  printf %s "$WAYMARK_REDIS_PASSWORD" | write redis-password
elif [ ! -s "$secrets/redis-password" ]; then
  python3 -c 'import secrets; print(secrets.token_urlsafe(32), end="")' | write redis-password
fi
printf %s "${WAYMARK_API_KEY:-}" | write scrape-key

runs=${HOST_RUNS:-./runs-compose}
another="or name another folder in WAYMARK_RUNS_FOLDER."
owner=$(stat -c %u /app/runs)
if [ "$owner" = 0 ] && [ "$user" != 0 ]; then
  chown "$user:$group" /app/runs 2>/dev/null || refuse "The folder for results, $runs, cannot be given to user $user," \
    "as whom the containers run. Is its disk read-only? Make it writable, $another"
elif [ "$owner" != "$user" ]; then
  refuse "The folder for results, $runs, belongs to user $owner, and the containers run as user $user." \
    "Write WAYMARK_UID=$owner and WAYMARK_GID=$(stat -c %g /app/runs) to .env, $another"
fi
# A test write that looks only for errors of the disk. On a network disk root may have fewer rights than the user of the
# containers, so other errors mean nothing.
problem=$({ : >/app/runs/.prepare && rm /app/runs/.prepare; } 2>&1) || true
case $problem in
  *"Read-only"*) refuse "The folder for results, $runs, is on a read-only disk. Make it writable, $another" ;;
  *"No space"* | *"quota"*) refuse "The disk of the folder for results, $runs, is full. Make room, $another" ;;
esac

#!/bin/bash
# Does what docs/quick-start.md says, as somebody who has just come: with an empty home, a clone of this repository's present commit
# and a Postgres of its own, and prints how long each section took. Modules come from where the environment says (GOPROXY).
set -euo pipefail
cd "$(dirname "$0")/.."

repository=$PWD
work=$(mktemp -d)
fail() { echo "newcomer: $*" >&2; exit 1; }
for program in git make go curl; do command -v "$program" >/dev/null || fail "$program is not installed"; done
for port in 8080 9090 2112; do ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || fail "something listens at port $port, which the quick start needs"; done

# Postgres refuses to run as root.
as_postgres() { if [[ $(id -u) -eq 0 ]]; then setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; else "$@"; fi; }

stop() {
    [[ ! -e $work/postgres/postmaster.pid ]] || as_postgres pg_ctl -D "$work/postgres" -m fast stop >/dev/null || true
    chmod -R u+w "$work" # modules are read-only
    rm -rf "$work"
}
trap stop EXIT

mkdir "$work/home" "$work/desk" "$work/postgres"
chmod 755 "$work"
for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
command -v initdb >/dev/null || fail "PostgreSQL is not installed"
[[ $(id -u) -ne 0 ]] || chown postgres "$work/postgres"
port=$((20000 + RANDOM % 10000))
as_postgres initdb -D "$work/postgres" -A trust -U postgres -E UTF8 --locale=C.UTF-8 >/dev/null
as_postgres pg_ctl -D "$work/postgres" -w -l "$work/postgres/log" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=" start >/dev/null

# The deployment of Coder that is followed.
coder=postgres://postgres@127.0.0.1:$port/coder
psql "${coder%/coder}/postgres" -qc 'CREATE DATABASE coder'
sed -E '/-- since (590|614)$/d' cmd/insights/coder/codertest/schema.sql | psql "$coder" -qf - >/dev/null
psql "$coder" -qc 'INSERT INTO schema_migrations VALUES (551, false)'
psql "$coder" -qf cmd/insights/coder/codertest/deployment.sql >/dev/null

# Nothing of the user's is left but where programs, certificates, modules and packages come from.
kept=("PATH=$PATH")
for name in GOPROXY GOSUMDB GONOSUMDB GOTOOLCHAIN; do kept+=("$name=$(go env "$name")"); done
! command -v npm >/dev/null || kept+=("NPM_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null)")
for name in SSL_CERT_FILE SSL_CERT_DIR HTTPS_PROXY HTTP_PROXY NO_PROXY; do [[ -z ${!name:-} ]] || kept+=("$name=${!name}"); done
cd "$work/desk"
env -i "${kept[@]}" HOME="$work/home" LANG=C.UTF-8 NEWCOMER=yes \
    GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0="url.$repository.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/template-insights/insights \
    GIT_CONFIG_KEY_1=safe.directory GIT_CONFIG_VALUE_1='*' \
    PGHOST=127.0.0.1 PGPORT="$port" PGUSER=postgres CODER_PG_CONNECTION_URL="$coder" \
    "$repository/scripts/docs.sh" "$repository/docs/quick-start.md"

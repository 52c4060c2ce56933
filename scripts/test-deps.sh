#!/bin/bash
# Makes sure that the tests find what they need beside Go: a C compiler for the race detector, the PostgreSQL server
# programs, PgBouncer, promtool and Prometheus, the Prometheus client of Python, curl and systemd-analyze; with the argument chromium that
# browser alone. On Debian as root what is missing is installed; elsewhere it is named.
set -euo pipefail

packages=()
if [[ ${1:-} == chromium ]]; then
    command -v chromium >/dev/null || packages+=(chromium)
else
    command -v gcc >/dev/null || packages+=(gcc libc6-dev)
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
    command -v pgbouncer >/dev/null || [[ -x /usr/sbin/pgbouncer ]] || packages+=(pgbouncer)
    command -v promtool >/dev/null || packages+=(prometheus)
    python3 -c 'import prometheus_client' 2>/dev/null || /usr/bin/python3 -c 'import prometheus_client' 2>/dev/null ||
        packages+=(python3-prometheus-client)
    command -v curl >/dev/null || packages+=(curl ca-certificates)
    command -v systemd-analyze >/dev/null || packages+=(systemd)
fi
[[ ${#packages[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "the tests need what these Debian packages hold: ${packages[*]}" >&2
    exit 1
fi

install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" >/dev/null
}

# The tests start servers of their own: no package may start one.
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
fi

echo "installing for the tests: ${packages[*]}"
apt-get -qq update
if [[ " ${packages[*]} " == *" postgresql "* ]]; then
    install postgresql-common
    sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
install "${packages[@]}"

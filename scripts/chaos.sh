#!/bin/bash
# Runs the campaigns of test/chaos one after the other, each test alone on the machine, and shows their figures. CHAOS limits them
# to those whose names match.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
touch "$folder/log"
go test -c -tags failpoints -o "$folder/chaos.test" ./test/chaos
cd test/chaos

ran=0
failed=()
# A campaign has a name, the tests that it runs, and their sizes, which -args -help of the tests explains.
campaign() {
    local name=$1 tests=$2
    shift 2
    grep -qE -- "${CHAOS:-.}" <<<"$name" || return 0
    local start=$SECONDS
    ran=$((ran + 1))
    echo "== $name: $tests $*"
    if ! "$folder/chaos.test" -test.v -test.count=1 -test.parallel=1 -test.timeout=3h -test.run="^($tests)\$" "$@" 2>&1 | grep --line-buffered -vE '^=== ' | tee -a "$folder/log"; then
        failed+=("$name")
    fi
    echo "== $name: $((SECONDS - start)) s"
}

campaign KillServer 'TestKillServer' -kills="${KILLS:-150}"
campaign Reporter 'TestReporterOutlivesKills' -reporter-kills="${REPORTER_KILLS:-20}"
campaign KillPostgres 'TestKillPostgres' -postgres-kills="${POSTGRES_KILLS:-120}"
campaign Failover 'TestFailover' -test.count="${FAILOVERS:-10}"
campaign Everything 'TestKillEverything|TestPrimaryAway' -rounds="${ROUNDS:-10}" -away="${AWAY:-2m}"
campaign Failpoints 'TestKillAtFailpoints|TestPanicAtFailpoints|TestCutAtCommit' -hits="${HITS:-20}" -cuts="${CUTS:-100}"
campaign Replay 'TestReplay' -deliveries="${DELIVERIES:-5000000}"
campaign RollingRestart 'TestRollingRestart|TestNewReplicaGetsLoad' -rolls="${ROLLS:-20}"
campaign Migrations 'TestMigrationRace' -migrations="${MIGRATIONS:-60}"
campaign Outage 'TestOutage' -outage="${OUTAGE:-10m}"
campaign BadDatabase 'TestBlackHole|TestSlowDatabase|TestQuestionsDoNotStarveIngest|TestRandomErrors|TestPermissionLost' -outage=30s
campaign DiskFull 'TestDiskFull.*' -fills="${FILLS:-20}"
campaign BadNetwork 'TestBadNetwork|TestHalfOpen' -kills=20
campaign Certificates 'Test(Certificate|ClientAuthority)Rotation' -rotations="${ROTATIONS:-20}"
campaign ComeAndGo 'TestComeAndGo' -comings="${COMINGS:-2000}"
campaign IdleAgents 'TestIdleAgents' -idle="${IDLE:-10000}"
campaign Hostile 'TestRapidReset|TestSilentConnections|TestHugeMessages|TestUnreadAnswers' -resets="${RESETS:-2500000}" -sockets="${SOCKETS:-5000}"
campaign NoisyNeighbors 'TestNoisyNeighbors' -outage=1m

awk '/ acknowledged reports looked up / { acknowledged += $2; lost += $10; foreign += $12 }
  END { printf "%d acknowledged reports looked up by their bits: %d lost, %d foreign\n", acknowledged, lost, foreign }' "$folder/log"
echo "$ran campaigns, ${#failed[@]} failed ${failed[*]:-}"
[[ $ran -gt 0 && ${#failed[@]} -eq 0 ]]

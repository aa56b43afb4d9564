#!/bin/bash
# The demo: four namespaces, two on TAP and two on veth, one learning domain. Pings every ordered pair, runs TCP across
# the port kinds, shows the addresses learned and where each frame was counted, tears down. Exits non-zero if anything
# failed. Run it by `make demo`.
set -uo pipefail
cd "$(dirname "$0")/.."
pollux=${POLLUX:-target/release/pollux}
lab=configs/demo.yaml
failed=0

step() {
	echo
	echo "\$ pollux $*"
	"$pollux" "$@" || failed=1
}

trap '"$pollux" lab down "$lab" >/dev/null 2>&1' EXIT
step lab up "$lab"
[ $failed = 0 ] || exit 1
step ports
step lab test "$lab" --tcp
step fdb
step stats
step lab down "$lab"
trap - EXIT
[ $failed = 0 ] && echo && echo "demo: all passed" || echo "demo: FAILED" >&2
exit $failed

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim passes when nothing happens to it, and notices when its state is damaged: without this the other
# tests would prove nothing.
. "$(dirname "$0")/victim_run.sh"
set -o pipefail

judge()
{
	local status=0
	echo go | timeout 120 "$VICTIMS/$1" 2>&1 | cat >"$2" || status=$?
	case $(victim_verdict "$2") in
	skip) return 0 ;;
	failed) return 1 ;;
	esac
	[ $status = 0 ] || return 1
	case $1 in refuse_*) return 0 ;; esac # sets something up and looks at nothing
	echo go | VICTIM_SABOTAGE=1 timeout 120 "$VICTIMS/$1" 2>&1 | cat >"$2" && return 1
	grep -q '^FAILED' "$2" || { echo "sabotage went unnoticed" >>"$2"; return 1; }
}

names=("$@")
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(victim_names)
LAB_JOBS=${LAB_JOBS:-4} victims_tap judge "${names[@]}"

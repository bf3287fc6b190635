#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a kernel may lack, made absent: the way round it works, or the check stage refuses in words. For each feature
# the victims that it concerns, and some that it should not.
. "$(dirname "$0")/victim_hop.sh"

# hidden FEATURE VICTIM...
hidden()
{
	local feature=$1
	shift
	echo "# Subtest: without $feature"
	GODWIT_HIDE=$feature hop_victims "$@" >"$work/$feature" 2>&1
	sed 's/^/    /' "$work/$feature"
	number=$((number + 1))
	if grep -q '^not ok' "$work/$feature" || ! grep -q '^1\.\.' "$work/$feature"; then
		echo "not ok $number - without $feature"
	else
		echo "ok $number - without $feature"
	fi
}

# refused FEATURE VICTIM: status 3, and the words name it.
refused()
{
	number=$((number + 1))
	GODWIT_HIDE=$1 timeout 60 "$BUILD/tests/lab/tools/hop" -- "$VICTIMS/$2" >"$work/out" 2>&1 </dev/null
	if [ $? = 3 ] && grep -q "^hop: refused: .*kernel" "$work/out"; then
		echo "ok $number - without $1 $2 is refused: $(sed -n 's/^hop: refused: .*fd -1 //p' "$work/out" | head -n 1)"
	else
		echo "not ok $number - without $1 $2 is refused"
		sed 's/^/# /' "$work/out"
	fi
}

[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP hop needs root"; exit; }
work=$(mktemp -d /tmp/hidden.XXXXXX)
trap 'rm -rf "$work"' EXIT
number=0
memory="mem_private mem_holes mem_shared_anon mem_file_private mem_file_shared mem_file_deleted mem_heap mem_sparse
	mem_huge mem_busy mem_protections mem_many"
calls="call_nanosleep call_poll_timeout call_futex_bitset call_select_timeout call_sigtimedwait call_nanosleep_rem
	call_tight"

# without it nobody knows what is left of some timeouts: they begin anew, and only that
VICTIM_SLACK_MS=1500 hidden bpf-peek $calls
hidden timer-restore-ids timer_posix timer_pending timer_ticks timer_absolute timer_cputime timer_real
hidden pagemap-scan $memory
hidden map-vdso vdso_clock clock_steady call_tight mem_heap
hidden vmsplice $memory
hidden populate $memory
hidden time-namespace regs_general mem_heap
refused mm-map mem_heap
refused mseal mem_sealed
refused guard_regions mem_guard
hidden mseal,guard_regions $memory
echo "1..$number"

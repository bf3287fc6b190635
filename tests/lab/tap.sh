# SPDX-License-Identifier: Apache-2.0
# TAP for shell scripts, to be sourced. `finish` prints the plan, so nobody has to count.

tap_number=0
tap_failed=0

# ok STATUS TEXT: one test. A failing one shows what is in $tap_log, if that is set.
ok()
{
	tap_number=$((tap_number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $tap_number - $2"
		return 0
	fi
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_number - $2"
	[ -n "$tap_log" ] && [ -e "$tap_log" ] && tail -n "${tap_lines:-15}" "$tap_log" | cut -c 1-300 | sed 's/^/#   /'
	return 1
}

# is HAVE WANT TEXT: equal strings.
is()
{
	if [ "$1" = "$2" ]; then
		ok 0 "$3"
	else
		tap_log='' ok 1 "$3"
		diag "have: $(printf %s "$1" | head -c 600)" "want: $(printf %s "$2" | head -c 600)"
		return 1
	fi
}

# check TEXT COMMAND...: the command succeeds.
check()
{
	local text=$1
	shift
	"$@"
	ok $? "$text"
}

skip()
{
	tap_number=$((tap_number + 1))
	echo "ok $tap_number - $1 # SKIP $2"
}

skip_all()
{
	echo "1..0 # SKIP $1"
	exit 0
}

diag()
{
	printf '%s\n' "$@" | sed 's/^/# /'
}

finish()
{
	echo "1..$tap_number"
	[ $tap_failed = 0 ]
}

# until_true SECONDS COMMAND...: polls until the command succeeds; 1 if it never did.
until_true()
{
	local end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	while ! "$@"; do
		[ "$(date +%s%N)" -lt $end ] || return 1
		sleep 0.02
	done
}

# SPDX-License-Identifier: Apache-2.0
# Victims moved by hop, which plays the process servers. To be sourced.
#	HOP		options for hop
#	HOP_EXCEPT	"name=reason" a line: victims that cannot pass here
. "$(dirname "${BASH_SOURCE[0]}")/victim_run.sh"
set -o pipefail

hop_judge()
{
	local status=0 why

	why=$(sed -n "s/^[[:space:]]*$1=//p" <<<"$HOP_EXCEPT")
	if [ -n "$why" ]; then
		echo "SKIP $why" >"$2"
		return 0
	fi
	timeout -k 5 "${HOP_TIMEOUT:-60}" "$BUILD/tests/lab/tools/hop" ${HOP:--n 1} -- "$VICTIMS/$1" 2>&1 </dev/null |
		cat >"$2" || status=$?
	case $1 in
	refuse_*) # exit 3, and the reason names what it is; nothing happened to it otherwise
		[ $status = 3 ] && return 0
		;;
	*)
		[ $status = 77 ] || [ "$(victim_verdict "$2")" != skip ] || return 0
		[ $status = 0 ] && [ "$(victim_verdict "$2")" = ok ] && return 0
		;;
	esac
	echo "hop: exit status $status" >>"$2"
	return 1
}

hop_victims()
{
	local names=("$@")

	if [ "$(id -u)" != 0 ]; then
		echo "1..0 # SKIP hop needs root"
		return
	fi
	[ ${#names[@]} -gt 0 ] || mapfile -t names < <(victim_names)
	victims_tap hop_judge "${names[@]}"
}

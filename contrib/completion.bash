# SPDX-License-Identifier: Apache-2.0
# Completion for bash: commands from `godwit help`, options from --help, jobs and hosts from the cluster.
_godwit_jobs() { godwit ps --json 2>/dev/null | sed -n 's/^ *"job": "\(.*\)",$/\1/p'; }
_godwit_hosts() { godwit hosts --json 2>/dev/null | sed -n 's/^ *"host": "\(.*\)",$/\1/p'; }
_godwit() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=
	if [ "$COMP_CWORD" = 1 ]; then
		words=$(godwit help | sed -n 's/^  \([a-z]*\) .*/\1/p')
	elif [[ $cur == -* ]]; then
		words=$(godwit "$command" --help 2>/dev/null | grep -o -- '--[a-z-]*')
	elif [[ $prev == --host || $prev == -H ]]; then
		words=$(_godwit_hosts)
	else
		case $command in
		attach | logs | wait | kill) words=$(_godwit_jobs) ;;
		check | migrate) [ "$COMP_CWORD" = 2 ] && words=$(_godwit_jobs) || words=$(_godwit_hosts) ;;
		stun | resume | setowner | cap) words=$(_godwit_jobs) ;;
		mem) [ "$COMP_CWORD" = 2 ] && words="ls read write" || words=$(_godwit_jobs) ;;
		dir) [ "$COMP_CWORD" = 2 ] && words="ls get put mkdir rm" ;;
		file) [ "$COMP_CWORD" = 2 ] && words="put get" ;;
		ping) words="$(_godwit_hosts) $(_godwit_jobs)" ;;
		checkpoint) [ "$COMP_CWORD" = 2 ] && words=$(_godwit_jobs) ;;
		image) [ "$COMP_CWORD" = 2 ] && words="show verify" ;;
		lab) words="up down ls exec stop start link restart" ;;
		run) COMPREPLY=($(compgen -c -- "$cur")) && return ;;
		esac
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _godwit godwit

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Has spin look at every state of commit.pml, then breaks one rule after the other and insists that spin finds out, by
# the invariant named here. -v: also prints the way to each find.
cd "$(dirname "$0")" || exit 1
model=$PWD/commit.pml
command -v spin >/dev/null || { echo "1..0 # SKIP spin is not installed (make deps)"; exit 0; }

broken=(
	"S thaws when COMMIT is not answered in time|two copies run"
	"D thaws when S does not answer in time|two copies run"
	"COMMIT before the record|two copies run"
	"NEVER_RAN without noting ABORTED|two copies run"
	"NEVER_RAN for another boot|revoked after the job ran at D"
	"FORGET before the copy is deleted|revoked after the job ran at D"
	"the copy is deleted without acknowledgement|unacknowledged"
	"a restarted procd thaws before the old mover has ended|S keeps a copy for ever"
	"D heeds ABORTED after THAWED|D has lost the job"
	"D thaws before it writes THAWED|D has lost the job"
	"D forgets THAWED by itself|revoked after the job ran at D"
	"a restarted procd answers before it reads its journal|revoked after the job ran at D"
)
echo "1..$((1 + ${#broken[@]}))"
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT && cd "$dir" || exit 1

# Compiles the model's checker: pan. $1: options of spin, $2: of the compiler.
pan() {
	# shellcheck disable=SC2086
	spin $1 -a "$model" >spin.out 2>&1 && gcc -w -O1 -DSAFETY -DCOLLAPSE -DMEMLIM=4096 $2 -o pan pan.c 2>>spin.out ||
		{ sed 's/^/# /' spin.out; return 1; }
}

verdict() { [ "$1" = 0 ] && echo "ok $2 - $3" || { echo "not ok $2 - $3"; failed=1; }; }
failed=0

pan "" "" && timeout 300 ./pan -m100000 >sound.out
grep -q 'errors: 0' sound.out && ! grep -qE 'Search not completed|max search depth too small' sound.out
whole=$?
states=$(awk '/states, stored/ {print $1}' sound.out)
depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' sound.out)
transitions=$(awk '/transitions/ {print $1}' sound.out)
verdict $whole 1 "every state is safe and leads to a good end: ${states:-no} states, ${transitions:-no} transitions, depth ${depth:-unknown}, none left out"
[ $whole = 0 ] || sed 's/^/# /' sound.out
n=0
for b in "${broken[@]}"; do
	n=$((n + 1))
	# Breadth first: the first find is a shortest one.
	rm -f ./*.trail
	pan "-DBROKEN=$n" -DBFS && timeout 300 ./pan >broken.out
	trail=$(ls ./*.trail 2>/dev/null)
	[ -n "$trail" ] && spin "-DBROKEN=$n" -B -k "$trail" "$model" >way.out 2>&1 && grep -q "WRONG: *.*${b#*|}" way.out
	verdict $? $((n + 1)) "found: ${b%|*} (${b#*|})"
	[ "$1" = -v ] && grep -v '^ *$' way.out | sed 's/^ */#   /'
done
exit $failed

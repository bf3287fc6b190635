#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The table at the end of `make faults`: at how many instants, and inside which stages, each program was struck. Reads
# lines "PROGRAM SIDE KILL|STOP STAGE NUMBER".
awk '
BEGIN { n = split("before listen check prepare stun move ready commit delete rollback", stage, " ") }
{
	row = $1 " " $2 " " ($3 == "STOP" ? "stands still" : "dies")
	if (!(row in all)) rows[++n_rows] = row
	all[row] += $5; total += $5; count[row, $4] += $5; seen[$4] = 1
}
END {
	printf "%-34s %8s", "instants tried", "all"
	for (i = 1; i <= n; i++) if (stage[i] in seen) printf " %8s", stage[i]
	print ""
	for (r = 1; r <= n_rows; r++) {
		printf "%-34s %8d", rows[r], all[rows[r]]
		for (i = 1; i <= n; i++) if (stage[i] in seen) printf " %8d", count[rows[r], stage[i]]
		print ""
	}
	printf "in all %d instants\n", total
}' "$@"

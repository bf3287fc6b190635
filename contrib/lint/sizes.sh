#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A file has less than 800 lines, a function at most 100 (60 is the aim: -v lists what is above it). Each file opens
# with its licence. Prints the offenders; status 1 if any.
[ "$1" = -v ] && aim=60
awk -v aim="${aim:-100}" '
function length_check() { if (lines >= 800) { print file ": " lines " lines, 800 are the limit"; bad = 1 } }
FNR == 1 { length_check(); file = FILENAME; head = ""; start = 0
	if ($0 !~ /SPDX-License-Identifier: Apache-2.0/) { print file ": no SPDX line"; bad = 1 } }
{ lines = FNR }
/^[a-zA-Z_].*\(/ { head = $0 }
/^\{/ { start = FNR }
/^\}/ { if (start && FNR - start - 1 > aim) {
		print file ":" start ": " FNR - start - 1 " lines: " head
		if (FNR - start - 1 > 100) bad = 1 }
	start = 0 }
END { length_check(); exit bad }' $(find src include tests bench fuzz \( -name '*.c' -o -name '*.h' \) 2>/dev/null)

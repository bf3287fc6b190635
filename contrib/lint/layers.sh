#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Includes go downwards only: each room names the rooms it may look into. Prints the offenders; status 1 if any.
awk '
BEGIN {
	may["base"] = ""
	may["flip"] = "base"
	may["rpc"] = "base flip"
	may["raw"] = "base flip"
	may["group"] = "base flip rpc"
	may["lib"] = "base flip rpc"
	may["flipd"] = "base flip rpc raw group lib"
	may["inject"] = "base"
	may["image"] = "base"
	may["memory"] = "base inject"
	may["state"] = "base inject image memory"
	may["mover"] = "base inject image memory state rpc lib"
	may["shepherd"] = "base"
	may["procd"] = "base flip rpc lib"
	may["servers"] = "base rpc lib"
	may["cli"] = "base flip rpc lib image"
}
FNR == 1 { split(FILENAME, part, "/"); room = part[2]
	if (!(room in may)) { print FILENAME ": the room is not in contrib/lint/layers.sh"; bad = 1; nextfile } }
/^#[ \t]*include[ \t]*"[a-z]+\// { split($0, q, "\""); split(q[2], dir, "/")
	if (dir[1] in may && dir[1] != room && !index(" " may[room] " ", " " dir[1] " ")) {
		print FILENAME ":" FNR ": " room " must not include " q[2]; bad = 1 } }
END { exit bad }' $(find src -name '*.[ch]')

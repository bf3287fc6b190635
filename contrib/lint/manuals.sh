#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every call of the public headers has its place in a manual of section 3. Prints those that have none; status 1 if any.
status=0
for name in $(sed -n 's/^[a-z][a-z_0-9 ]*[ *]\(gw_[a-z_0-9]*\)(.*/\1/p' include/*.h | sort -u); do
	grep -qE "^\.F[no] $name\$|^\.Fn $name " man/*.3 || { echo "$name is in no manual"; status=1; }
	grep -qE "^\.Nm $name( ,)?\$" man/*.3 || { echo "$name is named by no manual"; status=1; }
done
exit $status

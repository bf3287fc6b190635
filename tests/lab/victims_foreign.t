#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim after moves to hosts whose vDSO is another. Arguments choose some.
. "$(dirname "$0")/victim_hop.sh"
HOP_EXCEPT="mem_layout=the vDSO of another kernel has to live elsewhere
	clock_coarse=a thread that is stopped inside the old vDSO may read zero once"
export GODWIT_FOREIGN_VDSO=1
HOP="-n 2" hop_victims "$@"

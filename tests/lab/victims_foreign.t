#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim after a move to a host whose vDSO is another. Arguments choose some.
. "$(dirname "$0")/victim_hop.sh"
GODWIT_FOREIGN_VDSO=1 HOP="-n 2" hop_victims "$@"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moves that fail while the job calls a server and is called: a mover that dies at the end of each stage, on either side.
FAULTS_TALK=1 exec "$(dirname "$0")/faults_mover.t"

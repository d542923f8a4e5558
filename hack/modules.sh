#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Prints the folder of each Go module of the repository, one a line, the product's own (".") first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find . -name node_modules -prune -o -path ./.git -prune -o -path ./bin -prune -o -name testdata -prune -o -name go.mod -printf '%h\n' | sed 's|^\./||' | sort

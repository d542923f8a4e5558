#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Installs the published MCP clients and the conformance suite into test/clients/node_modules, and nothing when what
# package-lock.json names is there already: hack/npm.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../test/clients"

want=$(sha256sum package.json package-lock.json | sha256sum | cut -c1-16)
stamp=node_modules/.fairlead-$want
if [[ -e $stamp ]]; then
  exit 0
fi
command -v npm >/dev/null || {
  echo "hack/npm.sh: npm is missing: install Node 20 or newer with npm" >&2
  exit 1
}
echo "Installing the published MCP clients (once, about 350 MB)" >&2
npm ci --no-progress >&2
touch "$stamp"

#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Generates what is generated, in place: hack/generate.sh [--list]
# --list prints the generated files instead, one a line, for hack/verify.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --list ]]; then
  find api config docs -name 'zz_generated*.go' -o -path 'config/crd/fairlead.dev_*.yaml' -o -path 'config/rbac/role.yaml' -o -path 'docs/reference/*.md' 2>/dev/null | sort
  exit 0
fi

hack/tool.sh controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
hack/tool.sh controller-gen crd paths=./api/... output:crd:dir=config/crd
if [[ -d controllers ]]; then
  hack/tool.sh controller-gen rbac:roleName=fairlead-operator paths=./controllers/... output:rbac:dir=config/rbac
fi
# The reference is made from the CRD, so it comes last.
go test ./test/docs -update >/dev/null

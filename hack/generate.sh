#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Generates what is generated, in place: hack/generate.sh [--list]
# --list prints the generated files instead, one a line, for hack/verify.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --list ]]; then
  find api charts config docs -name 'zz_generated*.go' -o -path 'config/crd/fairlead.dev_*.yaml' -o -path 'config/rbac/role.yaml' -o -path 'charts/fairlead/files/crd.yaml' -o -path 'charts/fairlead/files/role.yaml' -o -path 'charts/fairlead/files/admission/*.yaml' -o -path 'docs/reference/*.md' 2>/dev/null | sort
  exit 0
fi

hack/tool.sh controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
hack/tool.sh controller-gen crd paths=./api/... output:crd:dir=config/crd
# The operator knows an old schema by its hash.
go test ./config/crd -run TestSchemaHashIsCurrent -update >/dev/null
if [[ -d controllers ]]; then
  hack/tool.sh controller-gen rbac:roleName=fairlead-operator paths=./controllers/... output:rbac:dir=config/rbac
fi
# A chart can read its own folder only.
chart=charts/fairlead/files
cp config/crd/fairlead.dev_mcpservers.yaml "$chart/crd.yaml"
cp config/rbac/role.yaml "$chart/role.yaml"
rm -f "$chart"/admission/*.yaml
mkdir -p "$chart/admission"
find config/admission -name '*.yaml' -not -name kustomization.yaml -exec cp -t "$chart/admission" {} +
# The reference is made from the CRD, so it comes last.
go test ./test/docs -update >/dev/null

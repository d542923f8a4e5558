#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Lints all modules, or only the named packages of the product's module: hack/lint.sh [--fmt] [PACKAGE...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

lint=$(hack/tool.sh --path golangci-lint)
command=(run)
if [[ ${1:-} == --fmt ]]; then
  command=(fmt)
  shift
fi

if (($# > 0)); then
  exec "$lint" "${command[@]}" --config "$root/.golangci.yml" "$@"
fi

failed=()
for module in $(hack/modules.sh); do
  # The modules of tools, and of programs that are only built, hold no code of ours.
  if [[ -z $(cd "$module" && find . -name '*.go' -not -path './*/go.mod' -print -quit) ]]; then
    continue
  fi
  echo "== ${command[*]} $module"
  (cd "$module" && "$lint" "${command[@]}" --config "$root/.golangci.yml" ./...) || failed+=("$module")
done
if ((${#failed[@]} > 0)); then
  echo "Findings in: ${failed[*]}" >&2
  exit 1
fi

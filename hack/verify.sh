#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Checks what a change must leave in order. Every check runs, so that one run shows all that is wrong; edits that
# are not committed yet do not matter, except that a generated file must be as the generator writes it.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

work=$(mktemp -d -t fairlead.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=()

check() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

# Generated files are compared with what they were before, and put right on the way.
generated() {
  local before=$work/before file
  while IFS= read -r file; do
    mkdir -p "$before/$(dirname "$file")"
    cp -p "$file" "$before/$file"
  done < <(hack/generate.sh --list)
  hack/generate.sh || return 1
  local stale=()
  while IFS= read -r file; do
    cmp -s "$file" "$before/$file" || stale+=("$file")
  done < <(hack/generate.sh --list)
  if ((${#stale[@]} > 0)); then
    printf 'not current, generated anew: %s\n' "${stale[@]}" >&2
    echo "commit what \`make generate\` wrote" >&2
    return 1
  fi
}

tidy() {
  local module bad=0
  for module in $(hack/modules.sh); do
    if ! (cd "$module" && GOWORK=off go mod tidy -diff); then
      echo "$module: go.mod or go.sum is not tidy: run \`go mod tidy\` there" >&2
      bad=1
    fi
  done
  return $bad
}

vet() {
  local module bad=0
  for module in $(hack/modules.sh); do
    [[ -n $(find "$module" -name '*.go' -print -quit) ]] || continue
    (cd "$module" && go vet -tags e2e ./...) || bad=1
  done
  return $bad
}

shell_syntax() {
  local file bad=0
  while IFS= read -r file; do
    if head -n 1 "$file" | grep -q '^#!.*bash'; then
      bash -n "$file" || bad=1
    fi
  done < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
  return $bad
}

# Every folder that kubectl may be pointed at renders.
kustomize() {
  local file bad=0
  while IFS= read -r file; do
    hack/tool.sh kustomize build "$(dirname "$file")" >"$work/rendered" || bad=1
    [[ -s $work/rendered ]] || { echo "$file renders nothing" >&2; bad=1; }
  done < <(git ls-files --cached --others --exclude-standard -- '*kustomization.yaml')
  return $bad
}

check "generated files" generated
check "go mod tidy" tidy
check "go vet" vet
check "shell syntax" shell_syntax
check "lint" hack/lint.sh
check "kustomize" kustomize
check "repository and API" hack/test.sh -count=1 ./test/repo/... ./api/...

if ((${#failed[@]} > 0)); then
  printf 'verify: %s: not in order\n' "${failed[@]}" >&2
  exit 1
fi
echo "verify: all in order"

#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# From nothing to answered tool calls on a real cluster: hack/demo/demo.sh build|up|down, by `make demo` and `make demo-down`.
#
#   CLUSTER        local (default): the cluster of hack/cluster; current: the current context of kubectl, after a question
#   IMAGE_PREFIX   registry and folder of the images; fairlead.invalid by default
#   IMAGE_TAG      tag of the images; dev by default
#   DEMO_PORT      the loopback port at which the server appears; 8080 by default
#   YES=1          answers the question of CLUSTER=current
#
# Every step may be repeated: what is there is left as it is, what changed is applied.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$PATH:/usr/sbin:/sbin

: "${CLUSTER:=local}" "${IMAGE_PREFIX:=fairlead.invalid}" "${IMAGE_TAG:=dev}" "${DEMO_PORT:=8080}"
export CGO_ENABLED=0
root=$PWD
plugin=$root/bin/kubectl-fairlead
sample=config/samples/orders.yaml
private=$(mktemp -d -t fairlead.XXXXXX)
watcher=
finish() {
  if [[ -n $watcher ]]; then
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
  fi
  rm -rf "$private"
}
trap finish EXIT

fail() {
  echo "demo: $*" >&2
  exit 1
}

# step TEXT: says what begins, and how long it has taken so far.
step() { printf '\n[%3ds] %s\n' "$SECONDS" "$*"; }

# The chosen cluster's kubectl.
kube() {
  if [[ $CLUSTER == local ]]; then
    "$root/bin/cluster" kubectl -- "$@"
  else
    kubectl "$@"
  fi
}

# Puts the chosen names of images into manifests.
with_images() {
  sed -E "s#fairlead\.invalid/(fairlead-[a-z-]+):dev#$IMAGE_PREFIX/\1:$IMAGE_TAG#g"
}

# need PROGRAM TEXT: the program, or what to do about it.
need() { command -v "$1" >/dev/null || fail "$1 is missing: $2"; }

# Builds the programs and the images' tars.
build() {
  make build >/dev/null
  go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/fairlead-demo-backend ./hack/demo/backend
  go -C hack/cluster build -o "$root/bin/cluster" .
  local images=$root/bin/image-builder
  go -C hack/images build -o "$images" .
  "$images" -binaries bin -output bin/images -prefix "$IMAGE_PREFIX" -tag "$IMAGE_TAG"
  "$images" -binaries bin -output bin/images -prefix "$IMAGE_PREFIX" -tag "$IMAGE_TAG" -specs hack/demo/images.json
}

# A name of what is in the images: pods are restarted when it changes, since the tag stays.
digest() { cat bin/images/*.tar | sha256sum | cut -c1-16; }

# Loads images that the node does not have yet.
load() {
  local now=$1 before
  before=$(kube get namespace fairlead-system -o 'jsonpath={.metadata.annotations.fairlead\.dev/demo-images}' 2>/dev/null || true)
  if [[ $now == "$before" ]]; then
    echo "The node has these images already."
    return
  fi
  "$root/bin/cluster" load bin/images/*.tar
}

# Marks what runs, and restarts what ran older images of the same tag.
restart_older() {
  local now=$1 before
  before=$(kube get namespace fairlead-system -o 'jsonpath={.metadata.annotations.fairlead\.dev/demo-images}')
  if [[ $now == "$before" ]]; then
    return
  fi
  if [[ -n $before ]]; then
    kube -n fairlead-system rollout restart deployment/fairlead-operator
    kube -n default rollout restart deployment --selector app.kubernetes.io/managed-by=fairlead
    kube -n default delete pods --selector app=orders-api --ignore-not-found
  fi
  kube annotate --overwrite namespace fairlead-system "fairlead.dev/demo-images=$now" >/dev/null
}

# Shows why the last wait was in vain.
explain() {
  echo "demo: $1. What the cluster says:" >&2
  {
    kube get pods -A -o wide
    kube describe flmcp orders -n default | tail -n 30
    kube get events -n default --sort-by=.lastTimestamp | tail -n 15
    kube -n fairlead-system logs deployment/fairlead-operator --tail=20
  } >&2 || true
  exit 1
}

confirm_current() {
  need kubectl "install it, or run the demo on a local cluster with CLUSTER=local"
  local context server answer
  context=$(kubectl config current-context) || fail "kubectl has no current context"
  server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
  cat <<TEXT
This applies Fairlead and the sample to a cluster of yours:
  context     $context ($server)
  objects     config/default (CRD, RBAC, namespace fairlead-system), $sample (namespace default)
  images      $IMAGE_PREFIX/fairlead-{operator,runtime,demo-backend}:$IMAGE_TAG
Nothing is pushed. The images are built into bin/images/*.tar; bring them to the nodes before you go on, by one of
  kind load image-archive bin/images/NAME.tar          minikube image load bin/images/NAME.tar
  docker load -i bin/images/NAME.tar && docker push $IMAGE_PREFIX/NAME:$IMAGE_TAG
TEXT
  if [[ ${YES:-} != 1 ]]; then
    read -rp 'Go on? [y/N] ' answer || answer=
    [[ $answer == [yY]* ]] || fail "stopped; nothing was applied"
  fi
}

# The caller's key, as a file that nobody else can read.
key_file() {
  (
    umask 077
    sed -nE "s/^  alice: '\{\"key\": \"([^\"]+)\".*/\1/p" "$sample" >"$private/key"
  )
  [[ -s $private/key ]] || fail "found no key of alice in $sample"
  echo "$private/key"
}

# Makes the server reachable at a loopback port and prints the address.
forward() {
  local port
  for port in "$DEMO_PORT" 18080 28080 38080; do
    if "$root/bin/cluster" forward --detach --listen "127.0.0.1:$port" --to orders-mcp.default.svc.cluster.local:80 >/dev/null 2>"$private/forward"; then
      echo "http://127.0.0.1:$port"
      return
    fi
  done
  cat "$private/forward" >&2
  fail "found no free port: choose one by DEMO_PORT"
}

# call TARGET TRANSPORT ARGUMENTS...: shows a call of the plugin and its answer.
call() {
  local target=$1 transport=$2
  shift 2
  printf '\n$ kubectl fairlead call %s %s --transport %s --api-key-file KEY\n' "$target" "$*" "$transport"
  "$plugin" call "$target" "$@" --transport "$transport" --api-key-file "$(key_file)"
}

up() {
  need go "install Go 1.26 from https://go.dev/dl"
  if [[ $CLUSTER == local ]]; then
    step "Preparing the machine"
    hack/prepare.sh
  fi
  step "Building programs and images (the first time downloads modules)"
  build
  if [[ $CLUSTER == local ]]; then
    step "Starting the cluster (the first time builds Kubernetes: about ten minutes)"
    "$root/bin/cluster" up
  else
    confirm_current
  fi
  local images
  images=$(digest)
  if [[ $CLUSTER == local ]]; then
    step "Loading the images"
    load "$images"
  fi
  step "Installing the operator: kubectl apply --server-side -k config/default"
  kube kustomize config/default | with_images | kube apply --server-side --force-conflicts -f - >"$private/applied" || fail "the apply failed: $(cat "$private/applied")"
  echo "$(wc -l <"$private/applied") objects"
  restart_older "$images"
  kube wait --for=condition=Established crd/mcpservers.fairlead.dev --timeout=60s
  kube -n fairlead-system rollout status deployment/fairlead-operator --timeout=180s || explain "the operator did not start"
  step "Applying the sample: kubectl apply --server-side -f $sample"
  with_images <"$sample" | kube apply --server-side --force-conflicts -f -
  kube -n default rollout status deployment/orders-api --timeout=120s || explain "the backend did not start"
  kube -n default wait --for=condition=Ready flmcp/orders --timeout=180s || explain "the server did not become Ready"
  echo
  kube -n default get flmcp
  show
}

# Calls a tool by each transport and says what to do next.
show() {
  local address target
  if [[ $CLUSTER == local ]]; then
    step "Forwarding the server to this machine"
    address=$(forward)
    target=$address/mcp
    echo "$target"
    export KUBECONFIG
    KUBECONFIG=$("$root/bin/cluster" kubeconfig)
  else
    target=default/orders
  fi
  step "Calling tools as alice, over each transport"
  printf '\n$ kubectl fairlead tools %s --api-key-file KEY\n' "$target"
  "$plugin" tools "$target" --api-key-file "$(key_file)"
  call "$target" stateless get_order -a id=1001
  call "$target" sse list_orders -a status=open -a limit=2
  call "$target" streamable follow_order -a id=1005
  edit "$target"
  step "Done"
  next "$target"
}

# await TEXT: waits until the watch has printed a line with this text, and shows it.
await() {
  local deadline=$((SECONDS + 60))
  until grep -m 1 -F "$1" "$private/watch"; do
    kill -0 "$watcher" 2>/dev/null || fail "the watch ended: $(cat "$private/watch")"
    ((SECONDS < deadline)) || fail "the watch did not say $1 within a minute: $(cat "$private/watch")"
    sleep 0.05
  done
}

# The server's pods with their identities and restarts.
lives() {
  kube -n default get pods --selector fairlead.dev/server=orders --sort-by=.metadata.name \
    -o 'jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount}{"\n"}{end}'
}

# edit TARGET: changes a tool while an SSE stream is open, and says when the stream told of it.
edit() {
  local description patch pods before after told
  step "Editing a tool while an SSE stream is open"
  printf '\n$ kubectl fairlead watch %s --transport sse -o json --api-key-file KEY &\n' "$1"
  : >"$private/watch"
  "$plugin" watch "$1" --transport sse --log-level none -o json --api-key-file "$(key_file)" >"$private/watch" 2>&1 &
  watcher=$!
  await '"event":"connected"'
  await '"event":"tools"'
  description="List orders, the newest first. Edited at $(date +%T)."
  patch="[{\"op\": \"replace\", \"path\": \"/spec/tools/0/description\", \"value\": \"$description\"}]"
  printf '\n$ kubectl patch flmcp orders --type json -p '\''%s'\''\n' "$patch"
  pods=$(lives)
  before=$(date +%s%3N)
  kube -n default patch flmcp orders --type json -p "$patch"
  after=$(date +%s%3N)
  told=$(await '"event":"list_changed"')
  echo "$told"
  told=$(date -d "$(sed -E 's/.*"time":"([^"]+)".*/\1/' <<<"$told")" +%s%3N)
  await '"changed":["list_orders"]'
  if grep -q '"event":"disconnected"' "$private/watch"; then
    fail "the stream was cut"
  fi
  [[ $(lives) == "$pods" ]] || fail "pods were restarted or replaced"
  echo
  echo "The open stream told of the change $((told - before)) ms after kubectl began, $((told - after)) ms after it ended. It was not cut, and no pod restarted."
  kill "$watcher"
  wait "$watcher" || true
  watcher=
  kube -n default wait --for=condition=Ready flmcp/orders --timeout=60s
}

next() {
  local kubectl=kubectl
  printf '\nOrders serves at %s. Try next:\n\n  echo alice-demo-key-41f7b2 >key.txt\n' "$1"
  if [[ $CLUSTER == local ]]; then
    kubectl="bin/cluster kubectl --"
    echo "  export KUBECONFIG=$KUBECONFIG"
  fi
  cat <<TEXT
  bin/kubectl-fairlead watch default/orders --api-key-file key.txt    # leave it running in another terminal
  $kubectl edit flmcp orders    # change a tool: the watch shows it within a second or two, nobody is cut off
  bin/kubectl-fairlead call default/orders refund_order -a id=1002 -a reason=late --api-key-file key.txt
TEXT
  if [[ $CLUSTER == local ]]; then
    cat <<TEXT
  npx @modelcontextprotocol/inspector --cli $1 --transport http --method tools/list \\
      --header "Authorization: Bearer \$(cat key.txt)"    # Node 22 or later
  make demo-down
TEXT
  else
    echo "  make demo-down CLUSTER=current"
  fi
}

down() {
  if [[ $CLUSTER == current ]]; then
    need kubectl "it is what removes the objects"
    if [[ ${YES:-} != 1 ]]; then
      local answer
      read -rp "Remove the sample and Fairlead, with every MCPServer, from $(kubectl config current-context)? [y/N] " answer || answer=
      [[ $answer == [yY]* ]] || fail "stopped; nothing was removed"
    fi
    kubectl delete --ignore-not-found -f "$sample" || true # The kind is unknown once the CRD is gone.
    kubectl delete --ignore-not-found -k config/default
    return
  fi
  go -C hack/cluster run . down
}

case "$CLUSTER" in
  local | current) ;;
  *) fail "CLUSTER is local or current, not $CLUSTER" ;;
esac
case "${1:-}" in
  build) build ;;
  up) up ;;
  down) down ;;
  *) fail "usage: hack/demo/demo.sh build|up|down" ;;
esac

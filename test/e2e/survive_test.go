// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/clients"
	"fairlead.dev/fairlead/test/e2e/record"
	"fairlead.dev/fairlead/test/e2e/traffic"
)

var (
	// chaosFor is how long the acts of TestSessionsSurvive go on; each is done
	// once in any case. chaosSeed repeats their order and the pods they meet.
	chaosFor  = flag.Duration("chaos-for", 0, "how long TestSessionsSurvive goes on; each act is done once in any case")
	chaosSeed = flag.Uint64("chaos-seed", 0, "repeats the choices of TestSessionsSurvive; 0 takes a new seed")
)

const (
	// goersPerKind is how many clients of our own of one kind come each way.
	goersPerKind = 3
	// calm is the least time between two acts.
	calm = 6 * time.Second
)

// survivor is a server whose tool takes as long as it is asked to. Without an
// affinity each connection of a client is carried to another replica.
func survivor(namespace string, replicas int, generation string) string {
	return strings.NewReplacer("NAMESPACE", namespace, "REPLICAS", fmt.Sprint(replicas), "GENERATION", generation, "KEY", apiKey).Replace(`
apiVersion: v1
kind: Secret
metadata: {name: survivor-keys}
stringData: {tester: KEY}
---
apiVersion: fairlead.dev/v1alpha1
kind: MCPServer
metadata: {name: survivor}
spec:
  auth: {apiKeys: {secretRef: {name: survivor-keys}}}
  replicas: REPLICAS
  service: {sessionAffinity: None}
  drain: {window: 5s, callTimeout: 10s}
  pod: {annotations: {generation: "GENERATION"}}
  tools:
  - name: work
    description: Gives the id back after a while.
    inputSchema: {type: object, properties: {id: {type: string}, pace: {type: string}}, required: [id, pace]}
    maxConcurrency: 512
    http: {url: "http://work.NAMESPACE.svc/jobs/{id}", query: {pace: "${arguments.pace}"}}
`)
}

// door leads through the ingress controller, under a name of the namespace's own.
const door = `
apiVersion: v1
kind: Service
metadata: {name: door}
spec: {type: ExternalName, externalName: traefik.kube-system.svc.cluster.local}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: survivor}
spec:
  ingressClassName: traefik
  rules:
  - host: door.NAMESPACE.svc.cluster.local
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: survivor-mcp, port: {number: 80}}}}
`

// TestSessionsSurvive: clients of every era, half of them through an ingress
// controller and half through the bare Service, go on while a pod is killed, one
// is deleted, all are replaced, more come and go, and the operator is restarted.
// What each of them sent and saw is written down and judged (package record).
func TestSessionsSurvive(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()>>1 + 1
	}
	t.Logf("the seed is %d: repeat with FLAGS='-test.run=TestSessionsSurvive -chaos-seed=%d'", seed, seed)
	c := connect(t)
	ns := c.namespace(t)
	s := &stage{c: c, t: t, ns: ns, random: rand.New(rand.NewPCG(seed, 1)), replicas: 3}
	backend := c.backend(t, ns, "10ms")
	c.apply(t, ns, survivor(ns, s.replicas, "0"))
	s.server = c.ready(t, ns, "survivor")
	s.watch()
	c.apply(t, ns, strings.ReplaceAll(door, "NAMESPACE", ns))
	ways := map[string]string{"Service": base(ns, "survivor"), "Traefik": "http://door." + ns + ".svc.cluster.local"}
	for via, address := range ways {
		eventually(t, "an answer through "+via, func(ctx context.Context) error { return s.answers(ctx, address) })
	}

	// However it ends, what was done is told.
	defer s.tell()
	audience := s.invite(seed, ways)
	s.calm()
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < *chaosFor; round++ {
		s.play(round)
	}
	s.history.Ended = time.Now()
	audience()
	s.judge(backend.Status.PodIP)
}

// stage is what TestSessionsSurvive knows while it goes on.
type stage struct {
	c        *cluster
	t        *testing.T
	ns       string
	server   *v1alpha1.MCPServer
	random   *rand.Rand
	clients  int
	replicas int
	rollouts int
	log      record.Log
	history  record.History
	lives    lifetimes
}

// answers says whether the server is reached at an address.
func (s *stage) answers(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/mcp", http.NoBody)
	if err != nil {
		return err
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := plain.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized { // It is the server that asks for the key.
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	return nil
}

// invite starts all clients. The function stops them and waits for them.
func (s *stage) invite(seed uint64, ways map[string]string) func() {
	dir := filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "test", "clients")
	calling, stop := context.WithCancel(s.t.Context())
	var going sync.WaitGroup
	var published []clients.Recorded
	for via, address := range ways {
		for _, kind := range []traffic.Kind{traffic.SSE, traffic.Streamable, traffic.Stateless} {
			for i := range goersPerKind {
				seed++
				goer := &traffic.Goer{
					Target: traffic.Target{Base: address, Key: apiKey}, Kind: kind, Tool: "work", Seed: seed,
					Name: fmt.Sprintf("go-%s-%s-%d", kind, strings.ToLower(via), i), Via: via, Log: &s.log,
				}
				s.clients++
				going.Go(func() { goer.Run(s.t.Context(), calling) })
			}
		}
		for _, kind := range clients.Kinds() {
			published = append(published, clients.Recorded{Name: "ts-" + kind + "-" + strings.ToLower(via), Kind: kind, Via: via, Base: address})
		}
	}
	s.clients += len(published)
	busy, err := clients.Start(s.t.Context(), dir, "work", apiKey, published, &s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		stop()
		if err := busy.Stop(); err != nil {
			s.t.Error(err)
		}
		going.Wait()
	}
}

// tell says what was done and when.
func (s *stage) tell() {
	var acts []string
	for _, act := range s.history.Acts {
		acts = append(acts, fmt.Sprintf("%s %s %s", act.Began.Format("15:04:05"), act.Name, round2(act.Settled.Sub(act.Began))))
	}
	s.t.Logf("acts: %s", strings.Join(acts, "; "))
}

// judge collects what the backend and the pods know, and judges it all.
func (s *stage) judge(backend string) {
	h := &s.history
	h.Events, h.Lives = s.log.Events(), s.lives.all()
	if err := fetch(s.t.Context(), http.MethodGet, "http://"+backend+":9090/runs", &h.Runs); err != nil {
		s.t.Fatal(err)
	}
	summary, breaches := record.Check(h)
	s.t.Log(summary)
	if len(breaches) > 0 {
		s.t.Errorf("%d promises were broken:\n%s", len(breaches), record.Report(breaches, 20, 3))
	}
	for kind, counts := range summary.ByKind {
		if counts.Answered < 10*counts.Clients {
			s.t.Errorf("%d clients of kind %s were answered %d times, which proves little", counts.Clients, kind, counts.Answered)
		}
	}
	if summary.Total.Clients != s.clients {
		s.t.Errorf("%d clients left a record, want %d", summary.Total.Clients, s.clients)
	}
	var text bytes.Buffer
	if err := h.Write(&text); err != nil {
		s.t.Error(err)
	}
	file := filepath.Join(os.Getenv("FAIRLEAD_ROOT"), "bin", "sessions-survive.jsonl")
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		s.t.Error(err)
	}
	s.t.Logf("the whole record is in %s", file)
}

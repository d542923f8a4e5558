// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/internal/admin"
)

// spread sends each request to the next replica.
type spread struct {
	hosts []string
	next  atomic.Uint32
}

func (s *spread) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	q.URL.Host = s.hosts[int(s.next.Add(1))%len(s.hosts)]
	q.Host = q.URL.Host
	return plain.RoundTrip(q)
}

func spreadOver(t *testing.T, all []*running) *http.Client {
	t.Helper()
	s := &spread{}
	for _, r := range all {
		u, err := url.Parse(r.url)
		if err != nil {
			t.Fatal(err)
		}
		s.hosts = append(s.hosts, u.Host)
	}
	return &http.Client{Transport: s}
}

// The official client of each era, whose every request reaches another replica.
func TestThreeReplicasAndEveryEra(t *testing.T) {
	t.Parallel()
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			three := replicas(t, 3, configuration("one"))
			client := spreadOver(t, three)
			f.transport = func(server string) mcp.Transport {
				if f.name == "HTTP+SSE" {
					return &mcp.SSEClientTransport{Endpoint: server + "/sse", HTTPClient: client}
				}
				return &mcp.StreamableClientTransport{Endpoint: server + "/mcp", MaxRetries: -1, HTTPClient: client}
			}
			session, changed := connect(t, f, three[0].url)
			for i := range 10 {
				call(t, session, fmt.Sprint(i))
			}
			if got := description(t, session); got != "one" {
				t.Errorf("the tool's description is %q", got)
			}
			for _, r := range three {
				r.configure(t, configuration("two"))
			}
			select {
			case <-changed:
			case <-time.After(patience):
				t.Fatal("the client was not told that the list has changed")
			}
			// Whichever replica is asked.
			for range 3 {
				if got := description(t, session); got != "two" {
					t.Errorf("the tool's description is %q", got)
				}
			}
			if err := session.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			for _, r := range three {
				if f.name == "HTTP+SSE" {
					break // The session waits for its client to come back.
				}
				if got := r.eventually(t, "after the client has left", func(s admin.Status) bool { return s.Sessions == 0 }).Sessions; got != 0 {
					t.Errorf("%d sessions are left", got)
				}
			}
		})
	}
}

// cancellable is a backend whose calls end when nobody waits for them any more.
func cancellable(t *testing.T) (text string, began, cancelled chan struct{}) {
	t.Helper()
	began, cancelled = make(chan struct{}, 16), make(chan struct{}, 16)
	b := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	}))
	t.Cleanup(b.Close)
	return (&backend{Server: b}).configuration(), began, cancelled
}

func after(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

const cancelOne = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`

// A client of 2024 whose messages reach another replica than its stream.
func TestMessagesOfA2024SessionThroughTheOther(t *testing.T) {
	t.Parallel()
	text, began, cancelled := cancellable(t)
	two := replicas(t, 2, text)
	events := exchange(t, http.MethodGet, two[0].url+"/sse", "")
	lines := bufio.NewScanner(events.Body)
	endpoint := strings.TrimPrefix(await(t, lines, "data: "), "data: ")
	say := func(message string) {
		t.Helper()
		if a := exchange(t, http.MethodPost, two[1].url+"/"+endpoint, message); a.StatusCode != http.StatusAccepted {
			t.Fatalf("answer %d %s", a.StatusCode, all(t, a))
		}
	}
	say(strings.Replace(initialize, "2025-11-25", "2024-11-05", 1))
	await(t, lines, `"serverInfo"`)
	say(initialized)
	say(echo("hello"))
	after(t, "the call did not reach the backend", began)
	say(cancelOne)
	after(t, "the call was not cancelled", cancelled)
	say(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	await(t, lines, `"id":2`)
}

func TestACancellationThroughTheOther(t *testing.T) {
	t.Parallel()
	text, began, cancelled := cancellable(t)
	two := replicas(t, 2, text)
	id := two[0].open(t)
	for i := range two {
		ended := make(chan string, 1)
		go func() {
			a := exchange(t, http.MethodPost, two[i].url+"/mcp", echo("hello"), "Mcp-Session-Id", id, "Mcp-Protocol-Version", "2025-11-25")
			ended <- all(t, a)
		}()
		after(t, "the call did not reach the backend", began)
		two[1-i].post(t, id, cancelOne, http.StatusAccepted, "")
		after(t, "the call was not cancelled", cancelled)
		<-ended
	}
}

// A client that hangs up on one replica does not cancel what runs on another
// (2025-11-25 basic/transports, "Sending Messages to the Server").
func TestHangingUpCancelsNothing(t *testing.T) {
	t.Parallel()
	text, began, cancelled := cancellable(t)
	two := replicas(t, 2, text)
	id := two[0].open(t)
	ctx, hangUp := context.WithCancel(t.Context())
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, two[1].url+"/mcp", strings.NewReader(echo("hello")))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = http.Header{"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}, "Mcp-Session-Id": {id}, "Mcp-Protocol-Version": {"2025-11-25"}}
	go func() {
		<-began
		hangUp()
	}()
	if a, err := plain.RoundTrip(q); err == nil {
		a.Body.Close()
	}
	two[1].metric(t, `fairlead_forwarded_requests_total{outcome="cancelled"} 1`)
	select {
	case <-cancelled:
		t.Fatal("the call was cancelled")
	case <-time.After(100 * time.Millisecond):
	}
	two[1].post(t, id, cancelOne, http.StatusAccepted, "")
	after(t, "the call was not cancelled", cancelled)
}

// Nobody is told of a change before every replica serves it, or a second has gone
// by.
func TestAChangeIsAnnouncedWhenAllServeIt(t *testing.T) {
	t.Parallel()
	three := replicas(t, 3, configuration("one"))
	id := three[0].open(t)
	events := exchange(t, http.MethodGet, three[0].url+"/mcp", "", "Mcp-Session-Id", id, "Accept", "text/event-stream")
	heard := make(chan time.Time, 16)
	go func() {
		for lines := bufio.NewScanner(events.Body); lines.Scan(); {
			if strings.Contains(lines.Text(), "list_changed") {
				heard <- time.Now()
			}
		}
	}()
	next := func() time.Time {
		t.Helper()
		select {
		case at := <-heard:
			return at
		case <-time.After(patience):
			t.Fatal("the client was not told")
			return time.Time{}
		}
	}
	serves := func(r *running, text string) {
		t.Helper()
		r.configure(t, text)
		if err := r.swap(t); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	serves(three[0], configuration("two"))
	serves(three[1], configuration("two"))
	before := time.Now()
	serves(three[2], configuration("two"))
	if at := next(); at.Before(before) && at.Sub(began) < agreement {
		t.Errorf("told %v after the first served it, before the last did", at.Sub(began))
	}
	// One that never serves it is waited for a second long.
	began = time.Now()
	serves(three[0], configuration("three"))
	serves(three[1], configuration("three"))
	if took := next().Sub(began); took < agreement {
		t.Errorf("told after %v although one replica lags", took)
	}
}

// keyed writes the keys of callers.
func (r *running) keyed(t *testing.T, keys map[string]string) {
	t.Helper()
	publish(t, filepath.Join(filepath.Dir(r.file), "secrets", "keys"), keys)
}

// A caller whose key is gone on either replica loses what it has.
func TestARevokedKeyOnEitherReplica(t *testing.T) {
	t.Parallel()
	const alice, bob = "alice-key-0123456789abcdef", "bob-key-0123456789abcdefgh"
	as := func(key string) []string { return []string{"Authorization", "Bearer " + key} }
	text := strings.Replace(configuration("one"), "auth: {anonymousAccess: Allowed}", "auth: {apiKeys: {secretRef: {name: keys}}}", 1)
	two := newReplicas(t, 2, text)
	for _, r := range two {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(r.file), "secrets"), 0o700); err != nil {
			t.Fatal(err)
		}
		r.keyed(t, map[string]string{"alice": alice, "bob": bob})
		r.run(t)
	}
	two[0].knows(t, 1)
	two[1].knows(t, 1)
	owner, other := two[0], two[1]
	id, his := owner.open(t, as(alice)...), owner.open(t, as(bob)...)
	other.post(t, id, echo("hers"), http.StatusOK, "hers", as(alice)...)
	// Nobody uses another's session, wherever.
	other.post(t, id, echo("his"), http.StatusNotFound, "unknown_session", as(bob)...)
	// The owner has read that she is gone, the other has not.
	owner.keyed(t, map[string]string{"bob": bob})
	owner.eventually(t, "after the key has gone", func(s admin.Status) bool { return s.Sessions == 1 })
	other.post(t, id, echo("hers"), http.StatusNotFound, "unknown_session", as(alice)...)
	// The other has read that he is gone, the owner has not.
	other.keyed(t, map[string]string{"alice": alice})
	for began := time.Now(); ; {
		a := exchange(t, http.MethodPost, other.url+"/mcp", echo("his"), append([]string{"Mcp-Session-Id", his}, as(bob)...)...)
		if a.StatusCode == http.StatusUnauthorized {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("he is still let in: %d", a.StatusCode)
		}
	}
	owner.post(t, his, echo("his"), http.StatusOK, "his", as(bob)...)
	// Nor does the other take over what he has.
	owner.cancel()
	if err := owner.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	if got := other.status(t).Sessions; got != 0 {
		t.Errorf("%d sessions of a caller who is gone were taken over", got)
	}
}

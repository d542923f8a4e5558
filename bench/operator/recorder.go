// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/util/flowcontrol"
)

// request is one that the operator sent, as far as a bare client needs it to
// send the same again.
type request struct {
	method, path, query, contentType string
	body                             []byte
}

// recorder counts the requests of an operator to the API server, but not those
// that every controller needs all the time: watches.
type recorder struct {
	// limit paces requests; nil: nothing does.
	limit flowcontrol.RateLimiter

	mu sync.Mutex // guards what follows
	// counts is by namespace and then by what was done, such as `apply services`.
	counts map[string]map[string]int
	// keep is the namespace whose writes are kept; empty: none.
	keep string
	kept []request
}

func newRecorder() *recorder { return &recorder{counts: map[string]map[string]int{}} }

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Query().Has("watch") || !strings.Contains(req.URL.Path, "/namespaces/") {
			return next.RoundTrip(req) // Lists without a namespace begin a watch.
		}
		if r.limit != nil {
			if err := r.limit.Wait(req.Context()); err != nil {
				return nil, fmt.Errorf("failed to wait for the limiter: %w", err)
			}
		}
		if err := r.note(req); err != nil {
			return nil, err
		}
		return next.RoundTrip(req)
	})
}

// note counts a request, and keeps it if it is asked for.
func (r *recorder) note(req *http.Request) error {
	namespace, did := describe(req)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[namespace] == nil {
		r.counts[namespace] = map[string]int{}
	}
	r.counts[namespace][did]++
	if r.keep == "" || namespace != r.keep || isRead(did) || isEvent(did) {
		return nil
	}
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return fmt.Errorf("failed to keep a request: %w", err)
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	r.kept = append(r.kept, request{
		method: req.Method, path: req.URL.Path, query: req.URL.RawQuery, contentType: req.Header.Get("Content-Type"), body: body,
	})
	return nil
}

// describe returns the namespace of a request and what it does.
func describe(req *http.Request) (namespace, did string) {
	_, rest, _ := strings.Cut(req.URL.Path, "/namespaces/")
	parts := strings.Split(rest, "/") // namespace, resource, name, subresource
	for len(parts) < 4 {
		parts = append(parts, "")
	}
	verb := map[string]string{http.MethodPost: "create", http.MethodDelete: "delete", http.MethodPut: "update", http.MethodGet: "get"}[req.Method]
	switch {
	case req.Method == http.MethodPatch && strings.HasPrefix(req.Header.Get("Content-Type"), "application/apply-patch"):
		verb = "apply"
	case req.Method == http.MethodPatch:
		verb = "patch"
	case req.Method == http.MethodGet && parts[2] == "":
		verb = "list"
	}
	what := parts[1]
	if parts[3] != "" {
		what += "/" + parts[3]
	}
	return parts[0], verb + " " + what
}

func isRead(did string) bool {
	return strings.HasPrefix(did, "get ") || strings.HasPrefix(did, "list ")
}

func isEvent(did string) bool { return strings.HasSuffix(did, " events") }

// in returns what was done in a namespace; events, which are written whenever
// the recorder of events likes, are left out.
func (r *recorder) in(namespace string) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := maps.Clone(r.counts[namespace])
	maps.DeleteFunc(counts, func(did string, _ int) bool { return isEvent(did) })
	return counts
}

// events returns how many events were written in a namespace.
func (r *recorder) events(namespace string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for did, n := range r.counts[namespace] {
		if isEvent(did) {
			sum += n
		}
	}
	return sum
}

// total returns the number of requests in a namespace, without events.
func (r *recorder) total(namespace string) int {
	sum := 0
	for _, n := range r.in(namespace) {
		sum += n
	}
	return sum
}

// summary counts requests for one server by what they do, such as
// `2 status patches`; the names of the resources are in forOneServer.
func summary(counts map[string]int, servers int) string {
	sums := map[string]int{}
	for did, n := range counts {
		verb, what, _ := strings.Cut(did, " ")
		if strings.HasSuffix(what, "/status") {
			verb = "status " + verb
		}
		sums[verb] += n
	}
	plurals := map[string]string{"apply": "applies", "patch": "patches", "status patch": "status patches", "get": "metadata gets"}
	var parts []string
	for _, verb := range slices.Sorted(maps.Keys(sums)) {
		name := verb
		if n := sums[verb]; n != servers {
			name = cmp.Or(plurals[verb], verb+"s")
		}
		parts = append(parts, each(sums[verb], servers)+" "+name)
	}
	return strings.Join(parts, ", ")
}

func each(n, servers int) string {
	if n%servers == 0 {
		return strconv.Itoa(n / servers)
	}
	return fmt.Sprintf("%.3f", float64(n)/float64(servers))
}

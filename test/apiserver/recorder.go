// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Log keeps what is logged. The zero value is empty; it is safe for concurrent
// use.
type Log struct {
	mu   sync.Mutex // guards data
	data bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.String()
}

// Recorder notes every request but watches, such as "GET /api/v1/pods". The zero
// value is empty; it is safe for concurrent use.
type Recorder struct {
	mu       sync.Mutex // guards requests
	requests []string
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Wrap returns a transport whose requests are noted (rest.Config.Wrap).
func (r *Recorder) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if !req.URL.Query().Has("watch") {
			r.mu.Lock()
			r.requests = append(r.requests, req.Method+" "+req.URL.Path)
			r.mu.Unlock()
		}
		return next.RoundTrip(req)
	})
}

// All returns every request so far.
func (r *Recorder) All() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// In returns the requests of a namespace that are not about events: those go out
// whenever whoever writes them likes.
func (r *Recorder) In(namespace string) []string {
	var found []string
	for _, request := range r.All() {
		if strings.Contains(request, "/namespaces/"+namespace+"/") && !strings.Contains(request, "/events") {
			found = append(found, request)
		}
	}
	return found
}

// WritesIn returns those of In that change something.
func (r *Recorder) WritesIn(namespace string) []string {
	return slices.DeleteFunc(r.In(namespace), func(request string) bool { return strings.HasPrefix(request, http.MethodGet) })
}

// CountOf returns how many requests of all namespaces had a path with this end.
func (r *Recorder) CountOf(end string) (n int) {
	for _, request := range r.All() {
		if strings.HasSuffix(request, end) {
			n++
		}
	}
	return n
}

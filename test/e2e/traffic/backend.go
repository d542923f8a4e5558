// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/test/e2e/record"
)

// Backend is what a tool calls: it takes its time, and remembers who was there.
// A call that reached it had been accepted.
type Backend struct {
	// Pace is how long each answer takes.
	Pace time.Duration

	mu   sync.Mutex // guards seen and runs
	seen map[string]bool
	runs []record.Run
}

// Handler serves GET /jobs/{id}, which gives the id back, after ?pace if there
// is one; GET /seen/{id}, which is 200 for an id that was there and 404 for
// another; and GET /runs, who asked for what and when.
func (b *Backend) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jobs/{id}", b.work)
	mux.HandleFunc("GET /runs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(b.Runs())
	})
	mux.HandleFunc("GET /seen/{id}", func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.seen[r.PathValue("id")] {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	return mux
}

// Runs returns who asked for what and when.
func (b *Backend) Runs() []record.Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]record.Run(nil), b.runs...)
}

func (b *Backend) work(w http.ResponseWriter, r *http.Request) {
	id, pace := r.PathValue("id"), b.Pace
	if d, err := time.ParseDuration(r.FormValue("pace")); err == nil {
		pace = d
	}
	from, _, _ := net.SplitHostPort(r.RemoteAddr)
	b.mu.Lock()
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	b.seen[id] = true
	b.runs = append(b.runs, record.Run{Call: id, From: from, At: time.Now()})
	b.mu.Unlock()
	select {
	case <-time.After(pace):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"id": id})
}

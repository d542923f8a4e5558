// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Backend is what a tool calls: it takes its time, and remembers who was there.
// A call that reached it had been accepted.
type Backend struct {
	// Pace is how long each answer takes.
	Pace time.Duration

	mu   sync.Mutex
	seen map[string]bool
}

// Handler serves GET /jobs/{id}, which gives the id back, and GET /seen/{id},
// which is 200 for an id that was there and 404 for another.
func (b *Backend) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		if b.seen == nil {
			b.seen = map[string]bool{}
		}
		b.seen[r.PathValue("id")] = true
		b.mu.Unlock()
		select {
		case <-time.After(b.Pace):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"id": r.PathValue("id")})
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

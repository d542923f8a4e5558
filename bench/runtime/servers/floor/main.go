// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command floor does what the protocol's bytes need and nothing else: net/http,
// encoding/json, no schema, no limits, no authentication. It is what the others
// are measured against: /sse with /message, /mcp (JSON), /events (event streams
// as answers).
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"strconv"
	"sync"
	"time"

	"fairlead.dev/fairlead/bench/runtime/door"
)

// maxBody bounds a request.
const maxBody = 1 << 20

func main() {
	listen := flag.String("listen", "", "address for clients")
	side := flag.String("door", "", "address of the side door")
	backend := flag.String("backend", "", "URL of the HTTP backend")
	flag.Parse()
	if err := door.Serve(context.Background(), *side, nil); err != nil {
		log.Fatal(err)
	}
	f := &floor{backend: *backend + "/hello", client: &http.Client{Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 256, DisableCompression: true}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sse", f.openSSE)
	mux.HandleFunc("POST /message", f.message)
	mux.HandleFunc("POST /mcp", func(w http.ResponseWriter, r *http.Request) { f.post(w, r, false) })
	mux.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) { f.post(w, r, true) })
	mux.HandleFunc("GET /mcp", f.openStream)
	clients := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(clients.ListenAndServe())
}

type floor struct {
	sessions sync.Map // id -> *stream
	backend  string
	client   *http.Client
}

// stream is the open answer of a GET.
type stream struct {
	mu sync.Mutex
	w  http.ResponseWriter // nil once its client is gone
}

func (s *stream) send(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil {
		writeEvent(s.w, data)
	}
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = nil
}

func writeEvent(w http.ResponseWriter, data []byte) {
	event := make([]byte, 0, len(data)+32)
	event = append(event, "event: message\ndata: "...)
	event = append(event, data...)
	_, _ = w.Write(append(event, "\n\n"...)) // A client that is gone ends its handler.
	_ = http.NewResponseController(w).Flush()
}

func (f *floor) openSSE(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	f.park(w, r, id, "event: endpoint\ndata: /message?sessionId="+id+"\n\n")
}

func (f *floor) openStream(w http.ResponseWriter, r *http.Request) {
	f.park(w, r, r.Header.Get("Mcp-Session-Id"), ": open\n\n")
}

func (f *floor) park(w http.ResponseWriter, r *http.Request, id, first string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	s := &stream{w: w}
	f.sessions.Store(id, s)
	defer s.end()
	defer f.sessions.Delete(id)
	_, _ = io.WriteString(w, first)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
		Meta      struct {
			ProgressToken json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
}

func read(w http.ResponseWriter, r *http.Request) (*request, bool) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return nil, false
	}
	var m request
	if err := json.Unmarshal(body.Bytes(), &m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, false
	}
	return &m, true
}

func (f *floor) message(w http.ResponseWriter, r *http.Request) {
	found, ok := f.sessions.Load(r.URL.Query().Get("sessionId"))
	if !ok {
		http.Error(w, "no session", http.StatusNotFound)
		return
	}
	s, ok := found.(*stream)
	if !ok {
		return
	}
	m, ok := read(w, r)
	if !ok {
		return
	}
	w.WriteHeader(http.StatusAccepted)
	if len(m.ID) > 0 {
		s.send(f.answer(r.Context(), m, s.send))
	}
}

func (f *floor) post(w http.ResponseWriter, r *http.Request, events bool) {
	m, ok := read(w, r)
	if !ok {
		return
	}
	if len(m.ID) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if m.Method == "initialize" {
		w.Header().Set("Mcp-Session-Id", rand.Text())
	}
	if events {
		w.Header().Set("Content-Type", "text/event-stream")
		writeEvent(w, f.answer(r.Context(), m, func(n []byte) { writeEvent(w, n) }))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(f.answer(r.Context(), m, func([]byte) {})) // A client that is gone ends its handler.
}

// answer returns the answer of a request; emit sends what comes before it.
func (f *floor) answer(ctx context.Context, m *request, emit func([]byte)) []byte {
	out := make([]byte, 0, 512)
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, m.ID...)
	if m.Method == "initialize" {
		return append(out, `,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"floor","version":"1"}}}`...)
	}
	var text string
	switch m.Params.Name {
	case "echo":
		var in struct{ Text string }
		if json.Unmarshal(m.Params.Arguments, &in) == nil {
			text = in.Text
		}
	case "progress":
		f.progress(m, emit)
		text = "done"
	case "fetch":
		text = f.fetch(ctx)
	}
	quoted, _ := json.Marshal(text) // A string is always encodable.
	out = append(out, `,"result":{"content":[{"type":"text","text":`...)
	out = append(out, quoted...)
	return append(out, `}]}}`...)
}

func (*floor) progress(m *request, emit func([]byte)) {
	var in struct{ N int }
	if json.Unmarshal(m.Params.Arguments, &in) != nil {
		return
	}
	var b []byte
	for i := range in.N {
		b = append(b[:0], `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`...)
		b = append(b, m.Params.Meta.ProgressToken...)
		b = append(b, `,"progress":`...)
		b = strconv.AppendInt(b, int64(i+1), 10)
		b = append(b, `,"total":`...)
		b = strconv.AppendInt(b, int64(in.N), 10)
		emit(append(b, `,"message":"working"}}`...))
	}
}

func (f *floor) fetch(ctx context.Context) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.backend, http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // The client sees an answer that is too short.
	return string(body)
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// count is a Sink that counts progress.
type count struct{ n int }

func (c *count) Progress(context.Context, tool.Progress) error { c.n++; return nil }
func (c *count) Log(context.Context, tool.Log) error           { return nil }

// TestTLS streams from a backend over TLS, with HTTP/2 and without: several
// calls at once, and one that is cancelled, which ends at the backend too.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("HTTP/2 %t", http2), func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for i := range 3 {
					_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				}
				if strings.HasSuffix(r.URL.Path, "/endless") {
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					close(gone)
					return
				}
				_, _ = fmt.Fprintf(w, "data: %s\n\n", r.Proto)
			}))
			s.EnableHTTP2 = http2
			s.StartTLS()
			t.Cleanup(s.Close)
			program, err := config.CompileWith(&config.Server{
				Name: "test", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
				Tools: []config.Tool{{
					Name: "t", Description: "A test.", InputSchema: json.RawMessage(`{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}`),
					HTTP: &config.HTTP{URL: s.URL + "/{id}", Response: config.HTTPResponse{Stream: config.StreamSSE}},
				}},
			}, config.CompileOptions{AllowLoopback: true})
			if err != nil {
				t.Fatal(err)
			}
			e := New(program.Tools[0].HTTP, Options{Tool: "t", AllowLoopback: true, MaxConcurrency: 2, MaxResponseSize: 1 << 10})
			t.Cleanup(e.Close)
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			e.transport.(*lean).plain.TLSClientConfig.RootCAs = roots

			want := `[{"type":"text","text":"HTTP/1.1"}]`
			if http2 {
				want = `[{"type":"text","text":"HTTP/2.0"}]`
			}
			var group sync.WaitGroup
			for range 8 {
				group.Go(func() {
					var sink count
					got, err := e.Run(t.Context(), tool.Call{Arguments: map[string]any{"id": "short"}}, &sink)
					if err != nil || string(got.Content) != want || sink.n != 4 {
						t.Errorf("got %s, %v after %d events, want %s", got.Content, err, sink.n, want)
					}
				})
			}
			group.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if _, err := e.Run(ctx, tool.Call{Arguments: map[string]any{"id": "endless"}}, &count{}); err == nil {
				t.Error("an endless stream came to an end")
			}
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Error("the backend still answers a call that is over")
			}
		})
	}
}

// TestEndAfterTimeout: the end of a stream whose call is over is no result,
// since closing a TLS connection can look like a clean end of the body.
func TestEndAfterTimeout(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	e := New(&config.HTTPPlan{Stream: config.StreamSSE}, Options{Tool: "t"})
	t.Cleanup(e.Close)
	a := &answer{executor: e}
	got, err := a.streamed(ctx, nil, newEventReader(&endAtCancel{cancel: cancel, text: "data: part\n\n"}, 1<<10))
	if err == nil {
		t.Errorf("got the result %s of a stream that was cut", got.Content)
	}
}

// endAtCancel ends its text cleanly, just after the call was cancelled.
type endAtCancel struct {
	cancel context.CancelFunc
	text   string
}

func (r *endAtCancel) Read(p []byte) (int, error) {
	if r.text == "" {
		r.cancel()
		return 0, io.EOF
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	return n, nil
}

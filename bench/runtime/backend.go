// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// slowness is how long /slow takes.
const slowness = 500 * time.Millisecond

// startBackend serves what HTTP tools call, beside the client: /hello; /slow;
// /progress with n lines of NDJSON and the result; /endless, lines for as long
// as they are read; /quiet, one line and then nothing.
func startBackend(ctx context.Context) (addr string, stop func(), err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", hello)
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(slowness):
			hello(w, r)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /progress", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{\"progress\":%d,\"total\":%d,\"message\":\"working\"}\n", i+1, n)
		}
		b.WriteString("\"done\"\n")
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, b.String()) // The client of the tool sees what is missing.
	})
	mux.HandleFunc("GET /endless", goOn)
	mux.HandleFunc("GET /quiet", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, "{\"progress\":1}\n") // The client of the tool sees what is missing.
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }() // Its end is Close.
	return l.Addr().String(), func() { _ = server.Close(); <-done }, nil
}

func hello(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"hello":"bench"}`)
}

func goOn(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	message := strings.Repeat("x", 4000)
	for i := 1; ; i++ {
		if _, err := fmt.Fprintf(w, "{\"progress\":%d,\"message\":%q}\n", i, message); err != nil {
			return
		}
	}
}

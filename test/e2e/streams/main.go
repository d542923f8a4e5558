// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command streams is what the pods of clients run in the tests of a real
// cluster. It has three trades: listen holds streams open and hears of changes,
// call calls a tool without a pause, and backend is what that tool asks. Each
// tells at :9090 how it goes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"fairlead.dev/fairlead/test/e2e/traffic"
)

// listenAt is where each trade serves.
const listenAt = ":9090"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

// options are the flags of all trades.
type options struct {
	base, key, tool            string
	sse, streamable, stateless int
	pause                      time.Duration
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: streams listen|call|backend [FLAGS]")
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.base, "server", "", "address of the server, without an endpoint")
	flags.StringVar(&o.key, "key", "", "API key; empty for an anonymous server")
	flags.StringVar(&o.tool, "tool", "", "tool to call; it takes an id and gives it back")
	flags.IntVar(&o.sse, "sse", 0, "streams or workers over HTTP+SSE")
	flags.IntVar(&o.streamable, "streamable", 0, "streams or workers over Streamable HTTP")
	flags.IntVar(&o.stateless, "stateless", 0, "workers over stateless HTTP")
	flags.DurationVar(&o.pause, "pause", 0, "rest between two calls of a worker, or what an answer takes")
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("failed to read the flags: %w", err)
	}
	switch args[0] {
	case "listen":
		return o.listen(ctx)
	case "call":
		return o.call(ctx)
	case "backend":
		return serve(ctx, (&traffic.Backend{Pace: o.pause}).Handler())
	}
	return fmt.Errorf("unknown trade %q", args[0])
}

// kinds leaves out what nobody asked for.
func (o options) kinds() map[traffic.Kind]int {
	return map[traffic.Kind]int{traffic.SSE: o.sse, traffic.Streamable: o.streamable, traffic.Stateless: o.stateless}
}

// name is the pod's.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return host
}

// listen serves GET /streams, the story of every stream, and GET /heard, which
// waits up to ?timeout until all streams have heard of ?change.
func (o options) listen(ctx context.Context) error {
	listener, err := traffic.Listen(ctx, traffic.NewTarget(o.base, o.key), name(), o.kinds())
	if err != nil {
		return err
	}
	defer listener.Wait()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /streams", answer(listener.Report))
	mux.HandleFunc("GET /heard", func(w http.ResponseWriter, r *http.Request) {
		change, err := strconv.Atoi(r.FormValue("change"))
		timeout, err2 := time.ParseDuration(r.FormValue("timeout"))
		if err := errors.Join(err, err2); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		waiting, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		heard, cut := listener.Await(waiting, change)
		answer(func() ([]byte, error) { return json.Marshal(map[string]int{"heard": heard, "cut": cut}) })(w, r)
	})
	return serve(ctx, mux)
}

// call serves GET /report, and PUT /pause?to=10ms, which changes the load. With
// PUT /stop it finishes what is under way and calls no more.
func (o options) call(ctx context.Context) error {
	caller := &traffic.Caller{Target: traffic.NewTarget(o.base, o.key), Name: name(), Tool: o.tool}
	caller.SetPause(o.pause)
	calling, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { caller.Run(calling, o.kinds()) })
	defer working.Wait()
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", answer(caller.Encode))
	mux.HandleFunc("PUT /pause", func(w http.ResponseWriter, r *http.Request) {
		pause, err := time.ParseDuration(r.FormValue("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		caller.SetPause(pause)
	})
	mux.HandleFunc("PUT /stop", func(w http.ResponseWriter, r *http.Request) {
		stop()
		working.Wait()
		answer(caller.Encode)(w, r)
	})
	return serve(ctx, mux)
}

func answer(encode func() ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := encode()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
	}
}

// serve serves until ctx ends.
func serve(ctx context.Context, handler http.Handler) error {
	server := &http.Server{Addr: listenAt, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(leaving)
}

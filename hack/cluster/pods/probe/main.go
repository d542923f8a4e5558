// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command probe is what the cluster's own test runs in pods: a server that says who answered, and a client for names and
// addresses.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// timeout bounds one question.
const timeout = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		return serve(ctx)
	case len(args) == 2 && args[0] == "resolve":
		return resolve(ctx, args[1])
	case len(args) == 2 && args[0] == "get":
		return get(ctx, args[1])
	}
	return errors.New("usage: probe [resolve NAME | get URL]")
}

// serve answers every request with the pod's name.
func serve(ctx context.Context) error {
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("failed to find the pod's name: %w", err)
	}
	fmt.Println("serving as", name)
	server := &http.Server{
		Addr: ":8080", ReadHeaderTimeout: timeout, WriteTimeout: timeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) }),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("failed to serve: %w", err)
	}
	return nil
}

// resolve prints a name's addresses by the pod's own /etc/resolv.conf.
func resolve(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return fmt.Errorf("failed to resolve %q: %w", name, err)
	}
	for _, address := range addresses {
		fmt.Println(address)
	}
	return nil
}

// get prints the answer of a URL. Each call makes a new connection.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("failed to form a request for %q: %w", url, err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("failed to get %q: %w", url, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := io.Copy(os.Stdout, io.LimitReader(answer.Body, 1<<20)); err != nil {
		return fmt.Errorf("failed to read the answer of %q: %w", url, err)
	}
	return nil
}

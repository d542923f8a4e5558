// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/client"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/forward"
)

// keyVariable holds the API key, so that it appears in no list of processes.
const keyVariable = "FAIRLEAD_API_KEY"

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 16 << 10

// targetHelp explains TARGET in the help of each command that takes one.
const targetHelp = `TARGET is a URL, such as http://127.0.0.1:8080/mcp, or the name of an MCPServer
in the cluster, as NAME or NAMESPACE/NAME: the connection then goes through the
API server to one of its ready pods, and to another one when that pod goes.

The API key comes from --api-key-file (- for standard input) or from the
environment variable ` + keyVariable + `.`

// target holds the flags of all commands that talk to a server.
type target struct {
	place place

	transport string
	keyFile   string
	wait      time.Duration
	verbose   bool
	path      string
}

func (t *target) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.transport, "transport", string(client.Auto), "how to speak: auto, sse, streamable or stateless")
	f.StringVar(&t.keyFile, "api-key-file", "", "file with the API key; - reads it from standard input")
	f.DurationVar(&t.wait, "wait", 15*time.Second, "how long to wait for the server to be there")
	f.BoolVarP(&t.verbose, "verbose", "v", false, "log what happens underneath to standard error")
	t.place.bind(cmd)
	f.StringVar(&t.path, "path", "", "path of the endpoint on a server that is named, /mcp by default")
}

// options makes the options of the client for what the user named.
func (t *target) options(s streams, name string) (client.Options, error) {
	o := client.Options{
		Transport: client.Transport(t.transport), Name: "kubectl-fairlead", Version: buildVersion(),
		Logger: slog.New(slog.DiscardHandler),
	}
	if t.verbose {
		o.Logger = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	key, err := t.key(s.in)
	if err != nil {
		return o, &exitError{code: codeUsage, err: err}
	}
	o.APIKey = key
	if strings.Contains(name, "://") {
		o.URL = name
		return o, nil
	}
	if strings.ContainsAny(name, ".:") { // No name of Kubernetes' has these.
		return o, &exitError{code: codeUsage, err: fmt.Errorf("%q has no scheme: write http://%s", name, name)}
	}
	dialer, err := forward.New(forward.Options{
		Server: name, Namespace: t.place.namespace, Context: t.place.context, Kubeconfig: t.place.kubeconfig,
		OnForward: func(pod string) {
			if t.verbose {
				s.say("Forwarding to pod %s", pod)
			}
		},
	})
	if err != nil {
		return o, &exitError{code: codeUsage, err: err}
	}
	transport := client.NewRoundTripper()
	transport.Proxy = nil
	transport.DialContext = dialer.DialContext
	o.RoundTripper = transport
	// The name of the host is what the server's pods accept besides their own.
	o.URL = "http://localhost" + t.path
	return o, nil
}

// key reads the API key; there may be none.
func (t *target) key(in io.Reader) (string, error) {
	var source io.Reader
	switch t.keyFile {
	case "":
		return strings.TrimSpace(os.Getenv(keyVariable)), nil
	case "-":
		source = in
	default:
		file, err := os.Open(t.keyFile)
		if err != nil {
			return "", fmt.Errorf("failed to read the API key: %w", err)
		}
		defer file.Close()
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, maxKeyFile))
	if err != nil {
		return "", fmt.Errorf("failed to read the API key: %w", err)
	}
	key := strings.TrimSpace(string(data))
	switch {
	case key == "":
		return "", errors.New("failed to read the API key: --api-key-file is empty")
	case strings.Contains(key, "\n"):
		return "", fmt.Errorf("failed to read the API key: --api-key-file has %s: keep one key alone in a file", count(strings.Count(key, "\n")+1, "line"))
	}
	return key, nil
}

// keySource says where the API key came from.
func (t *target) keySource() string {
	switch t.keyFile {
	case "":
		return keyVariable
	case "-":
		return "standard input"
	}
	return "file " + t.keyFile
}

// connect gives a client that is connected. While it waits for a server that is
// not there yet, it says so.
func (t *target) connect(ctx context.Context, s streams, name string) (*client.Client, error) {
	o, err := t.options(s, name)
	if err != nil {
		return nil, err
	}
	c, err := client.Connect(ctx, o)
	if err != nil {
		return nil, &exitError{code: codeUsage, err: err}
	}
	waiting, cancel := context.WithTimeout(ctx, t.wait)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- c.Wait(waiting) }()
	for {
		select {
		case err := <-ready:
			if err == nil {
				return c, nil
			}
			c.Close()
			return nil, t.failure(ctx, o, name, err)
		case event := <-c.Events():
			if lost, ok := event.(client.Disconnected); ok && waiting.Err() == nil {
				s.say("%s: trying again in %s", cause(lost.Err), lost.RetryIn.Round(100*time.Millisecond))
			}
		}
	}
}

// failure says what to do about a server that cannot be reached.
func (t *target) failure(ctx context.Context, o client.Options, name string, err error) error {
	if ctx.Err() != nil {
		return &exitError{code: codeInterrupted, err: ctx.Err()}
	}
	status, ok := errors.AsType[*client.StatusError](err)
	switch {
	case !ok:
	case status.Status == http.StatusUnauthorized && o.APIKey == "":
		err = fmt.Errorf("%s wants an API key: put it into a file and give --api-key-file, or set %s", name, keyVariable)
	case status.Status == http.StatusUnauthorized:
		err = fmt.Errorf("%s does not accept the API key from %s (%w): give another, or none to a server without spec.auth.apiKeys", name, t.keySource(), err)
	case status.Status == http.StatusNotFound:
		err = fmt.Errorf("there is no MCP endpoint at %s (%w)", name, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%s did not answer within %s (%s)", name, t.wait, cause(err))
	}
	return &exitError{code: codeUnreachable, err: err}
}

// cause is the innermost words of a network error: the layers above it repeat
// the URL several times.
func cause(err error) string {
	for {
		switch e := err.(type) { //nolint:errorlint // This walks down the tree itself.
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			err = all[len(all)-1]
			continue
		case *client.StatusError:
			return e.Error()
		}
		inner := errors.Unwrap(err)
		if inner == nil {
			return plain(err.Error())
		}
		if _, isNumber := inner.(interface{ Temporary() bool }); isNumber && errors.Unwrap(inner) == nil {
			// "dial tcp 127.0.0.1:8080: connect: connection refused" says where.
			return plain(strings.TrimPrefix(err.Error(), "connect: "))
		}
		err = inner
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

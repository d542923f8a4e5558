// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package traffic is what the tests of a real cluster send to a server and
// watch there: streams that must not break, and calls that must not be lost.
// It speaks MCP by hand, without a client that would hide a cut by connecting
// again.
package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Kind is a way to speak MCP.
type Kind string

const (
	// SSE is HTTP+SSE of MCP 2024-11-05.
	SSE Kind = "sse"
	// Streamable is Streamable HTTP with a session, MCP 2025-11-25.
	Streamable Kind = "streamable"
	// Stateless is Streamable HTTP without one, MCP 2026-07-28.
	Stateless Kind = "stateless"
)

// maxBody bounds an answer, in bytes.
const maxBody = 1 << 20

// Target is a server.
type Target struct {
	// Base is its address without an endpoint, such as http://orders-mcp.shop.svc.
	Base string
	// Key is sent as a bearer token; empty for an anonymous server.
	Key string
	// HTTP sends the requests.
	HTTP *http.Client
}

// NewTarget returns a target with connections of its own.
func NewTarget(base, key string) Target {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true}
	return Target{Base: base, Key: key, HTTP: &http.Client{Transport: transport}}
}

// message is a JSON-RPC message of either direction.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// refusal is an answer that says that nothing was accepted.
type refusal struct {
	status int
	body   string
	// after is what Retry-After said; zero for nothing.
	after time.Duration
}

func (r *refusal) Error() string { return fmt.Sprintf("HTTP %d: %.200s", r.status, r.body) }

// lostError is the end of a connection after a request had been sent on it.
type lostError struct{ cause error }

func (l *lostError) Error() string { return "no answer to a request that was sent: " + l.cause.Error() }
func (l *lostError) Unwrap() error { return l.cause }

// open sends a request and returns its answer, whose status is 2xx. Errors are
// a refusal, a lostError, or, when nothing was sent, any other.
func (t Target) open(ctx context.Context, method, address string, body []byte, header map[string]string) (*http.Response, error) {
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("failed to form a request: %w", err)
	}
	request.Header.Set("Accept", "application/json, text/event-stream")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if t.Key != "" {
		request.Header.Set("Authorization", "Bearer "+t.Key)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := t.HTTP.Do(request)
	switch {
	case err != nil && sent.Load():
		return nil, &lostError{err}
	case err != nil:
		return nil, fmt.Errorf("failed to send: %w", err)
	case response.StatusCode/100 != 2:
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		after, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		refused := &refusal{response.StatusCode, strings.TrimSpace(string(text)), time.Duration(after) * time.Second}
		if unknown(response.StatusCode) {
			return nil, &lostError{refused}
		}
		return nil, refused
	}
	return response, nil
}

// unknown says whether a status leaves open what became of the request: whoever
// passed it on had no answer, and it may have been carried out.
func unknown(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// exchange posts a request and returns the message that answers it, as JSON or
// in an event stream.
func (t Target) exchange(ctx context.Context, body []byte, id string, header map[string]string) (message, http.Header, error) {
	response, err := t.open(ctx, http.MethodPost, t.Base+"/mcp", body, header)
	if err != nil {
		return message{}, nil, err
	}
	defer response.Body.Close()
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if kind == "text/event-stream" {
		for stream := newEvents(response.Body); ; {
			got, err := stream.next()
			if err != nil {
				return message{}, nil, &lostError{err}
			}
			if m, ok := decode(got.data); ok && string(m.ID) == id && m.Method == "" {
				return m, response.Header, nil
			}
		}
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return message{}, nil, &lostError{err}
	}
	if id == "" {
		return message{}, response.Header, nil
	}
	m, ok := decode(data)
	if !ok || string(m.ID) != id {
		return message{}, nil, fmt.Errorf("the answer is no answer to %s: %.200s", id, data)
	}
	return m, response.Header, nil
}

func decode(data []byte) (message, bool) {
	var m message
	return m, json.Unmarshal(data, &m) == nil
}

// request encodes a JSON-RPC request; a notification when id is empty.
func request(id, method string, params any) []byte {
	m := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
	if id != "" {
		m["id"] = json.RawMessage(id)
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // Only maps and strings are passed.
	}
	return data
}

func initialize(version string) []byte {
	return request("0", "initialize", map[string]any{
		"protocolVersion": version, "capabilities": map[string]any{},
		"clientInfo": map[string]any{"name": "fairlead-e2e", "version": "1.0.0"},
	})
}

var errNoEndpoint = errors.New("the stream began without an endpoint")

// endpoint resolves what the first event of an SSE stream names.
func (t Target) endpoint(e event) (string, error) {
	base, err := url.Parse(t.Base + "/sse")
	if err != nil {
		return "", fmt.Errorf("failed to read the address: %w", err)
	}
	if e.name != "endpoint" {
		return "", errNoEndpoint
	}
	at, err := base.Parse(string(e.data))
	if err != nil {
		return "", fmt.Errorf("failed to read the endpoint: %w", err)
	}
	return at.String(), nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/test/e2e/record"
	"fairlead.dev/fairlead/test/e2e/traffic"
)

const (
	// guestsPerKind is how many clients of one era are there at any time; each
	// stays for a few seconds, and the next one comes.
	guestsPerKind = 5
	// rudeClients is how many are there that leave as they please.
	rudeClients = 6
	editEvery   = 5 * time.Second
)

// load is everything that clients do.
type load struct {
	runtime *runtime
	log     record.Log
	guests  atomic.Int64
	rude    atomic.Int64
}

// run keeps the runtime busy for a time and returns when nobody is there any more.
func (l *load) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(l.runtime.t.Context(), d)
	defer cancel()
	var all sync.WaitGroup
	for _, kind := range []traffic.Kind{traffic.SSE, traffic.Streamable, traffic.Stateless} {
		for range guestsPerKind {
			all.Go(func() { l.entertain(ctx, kind) })
		}
	}
	for range rudeClients {
		all.Go(func() { l.suffer(ctx) })
	}
	all.Go(func() {
		for tick := time.NewTicker(editEvery); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				l.runtime.edit()
			}
		}
	})
	all.Wait()
}

// entertain lets one client after the other come and go on.
func (l *load) entertain(ctx context.Context, kind traffic.Kind) {
	for ctx.Err() == nil {
		number := l.guests.Add(1)
		goer := &traffic.Goer{
			Target: traffic.Target{Base: "http://" + l.runtime.clients, Key: key}, Kind: kind, Tool: "work",
			Name: fmt.Sprintf("guest-%d", number), Via: "loopback", Log: &l.log, Seed: uint64(number),
		}
		staying, leave := context.WithTimeout(ctx, time.Duration(2000+rand.IntN(8000))*time.Millisecond)
		goer.Run(context.WithoutCancel(ctx), staying)
		leave()
	}
}

// suffer lets one client after the other do what clients should not.
func (l *load) suffer(ctx context.Context) {
	acts := []func(context.Context, *http.Client){
		l.hangUp("/mcp", stateless(`"tools/call"`, `"name":"work","arguments":{"id":"rude","pace":"2s"},`), 300*time.Millisecond),
		l.hangUp("/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"rude","version":"1"}}}`, time.Second),
		l.hangUp("/mcp", stateless(`"subscriptions/listen"`, `"notifications":{"toolsListChanged":true},`), time.Second),
		l.hangUp("/mcp", `{"jsonrpc":"2.0","id":`, time.Second),
		l.hangUp("/mcp", strings.Repeat("x", 64<<10), time.Second),
		l.hangUp("/messages?sessionId=not-a-session", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, time.Second),
		l.hangUp("/sse", "", 500*time.Millisecond),
	}
	for ctx.Err() == nil {
		// Each comes over a connection of its own, and some leave it open.
		transport := &http.Transport{}
		acts[rand.IntN(len(acts))](ctx, &http.Client{Transport: transport})
		transport.CloseIdleConnections()
		l.rude.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rand.IntN(100)) * time.Millisecond):
		}
	}
}

// stateless is a request of 2026-07-28.
func stateless(method, params string) string {
	return `{"jsonrpc":"2.0","id":"rude","method":` + method + `,"params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

// hangUp sends something and leaves after a time, whatever has come.
func (l *load) hangUp(path, body string, after time.Duration) func(context.Context, *http.Client) {
	return func(ctx context.Context, client *http.Client) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), after)
		defer cancel()
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		request, err := http.NewRequestWithContext(ctx, method, "http://"+l.runtime.clients+path, bytes.NewReader([]byte(body)))
		if err != nil {
			l.runtime.t.Error(err)
			return
		}
		request.Header.Set("Authorization", "Bearer "+key)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", "application/json, text/event-stream")
		if strings.Contains(body, "2026-07-28") {
			request.Header.Set("MCP-Protocol-Version", "2026-07-28")
			request.Header.Set("Mcp-Method", "tools/call")
			request.Header.Set("Mcp-Name", "work")
			if strings.Contains(body, "listen") {
				request.Header.Set("Mcp-Method", "subscriptions/listen")
				request.Header.Del("Mcp-Name")
			}
		}
		response, err := client.Do(request)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

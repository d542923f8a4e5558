// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// callTimeout bounds one call; no tool of a test takes as long.
	callTimeout = 30 * time.Second
	// patience bounds how long one call is tried again while it is refused.
	patience = 20 * time.Second
	// maxNotes bounds how many calls that went wrong are described.
	maxNotes = 200
)

// Counts says how calls went.
type Counts struct {
	// Sent counts calls, each once however often it was refused.
	Sent int `json:"sent"`
	// Answered counts calls that got their result.
	Answered int `json:"answered"`
	// Refused counts attempts that were turned away before they were accepted
	// (404, 429, 503), and Unreached those for which nothing could be sent.
	Refused   int `json:"refused"`
	Unreached int `json:"unreached"`
	// Lost counts calls whose connection ended after they had been sent.
	Lost int `json:"lost"`
	// Failed counts calls with another answer than expected, and those that were
	// refused for too long.
	Failed int `json:"failed"`
}

// Note describes a call that went wrong.
type Note struct {
	ID   string    `json:"id"`
	Kind Kind      `json:"kind"`
	What string    `json:"what"` // refused, unreached, lost or failed
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// Report is what a Caller has seen.
type Report struct {
	Counts Counts `json:"counts"`
	Notes  []Note `json:"notes"`
}

// Caller calls a tool again and again.
type Caller struct {
	// Target, Name and Tool are whom it calls, as whom, and what. The tool takes
	// an id and gives it back in its text.
	Target Target
	Name   string
	Tool   string

	mu     sync.Mutex
	pause  time.Duration
	report Report
}

// SetPause sets how long each worker rests between two calls.
func (c *Caller) SetPause(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pause = pause
}

// Run lets workers of the kinds given call until ctx ends; calls under way are
// finished.
func (c *Caller) Run(ctx context.Context, kinds map[Kind]int) {
	var working sync.WaitGroup
	for kind, count := range kinds {
		for i := range count {
			working.Go(func() { c.work(ctx, kind, fmt.Sprintf("%s-%s-%d", c.Name, kind, i)) })
		}
	}
	working.Wait()
}

// Report returns what was seen so far.
func (c *Caller) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	report := c.report
	report.Notes = append([]Note(nil), c.report.Notes...)
	return report
}

// work makes one call after the other. Each third goes over a new connection, as
// a client's first call does.
func (c *Caller) work(ctx context.Context, kind Kind, name string) {
	w := worker{caller: c, kind: kind, target: NewTarget(c.Target.Base, c.Target.Key)}
	defer w.drop()
	for i := 0; ctx.Err() == nil; i++ {
		if i%3 == 0 {
			w.target.HTTP.CloseIdleConnections()
		}
		w.call(context.WithoutCancel(ctx), fmt.Sprintf("%s-%d", name, i))
		c.mu.Lock()
		pause := c.pause
		c.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// worker is one client.
type worker struct {
	caller  *Caller
	kind    Kind
	target  Target
	session *session
}

func (w *worker) drop() {
	if w.session != nil {
		w.session.close()
		w.session = nil
	}
	w.target.HTTP.CloseIdleConnections()
}

// call makes one call, again for as long as it is refused.
func (w *worker) call(ctx context.Context, id string) {
	c := w.caller
	c.count(func(n *Counts) { n.Sent++ })
	for until := time.Now().Add(patience); ; {
		what, why := w.attempt(ctx, id)
		c.note(what, Note{ID: id, Kind: w.kind, Why: why, At: time.Now()})
		if what != "refused" && what != "unreached" {
			return
		}
		w.drop()
		if time.Now().After(until) {
			c.note("failed", Note{ID: id, Kind: w.kind, Why: "refused for too long: " + why, At: time.Now()})
			return
		}
		<-time.After(100 * time.Millisecond)
	}
}

// attempt tries a call once.
func (w *worker) attempt(ctx context.Context, id string) (what, why string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if w.kind != Stateless && w.session == nil {
		s, err := w.target.dial(context.WithoutCancel(ctx), w.kind, nil)
		if err != nil {
			// A handshake is no call: whatever ended it, it may be tried again.
			return "refused", "handshake: " + err.Error()
		}
		w.session = s
	}
	m, err := w.send(ctx, id)
	var refused *refusal
	var lost *lostError
	switch {
	case errors.As(err, &refused):
		switch refused.status {
		case http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			return "refused", err.Error()
		}
		return "failed", err.Error()
	case errors.As(err, &lost):
		w.drop()
		return "lost", err.Error()
	case err != nil:
		return "unreached", err.Error()
	case m.Error != nil:
		return "failed", fmt.Sprintf("error %d: %s", m.Error.Code, m.Error.Message)
	case !bytes.Contains(m.Result, []byte(id)):
		return "failed", fmt.Sprintf("the result does not hold the id: %.300s", m.Result)
	}
	return "answered", ""
}

// send sends the call and waits for its answer.
func (w *worker) send(ctx context.Context, id string) (message, error) {
	params := map[string]any{"name": w.caller.Tool, "arguments": map[string]any{"id": id}}
	if w.kind != Stateless {
		number := w.session.id()
		// An SSE session whose stream has ended takes no call.
		select {
		case <-w.session.ended:
			return message{}, &refusal{status: http.StatusServiceUnavailable, body: w.session.cause.Error()}
		default:
		}
		return w.session.ask(ctx, request(number, "tools/call", params), number)
	}
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion":    modernVersion,
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}
	m, _, err := w.target.exchange(ctx, request("1", "tools/call", params), "1", map[string]string{
		"MCP-Protocol-Version": modernVersion, "Mcp-Method": "tools/call", "Mcp-Name": w.caller.Tool,
	})
	return m, err
}

// Once makes one stateless call over a connection of its own and returns how it
// went: answered, refused, unreached, lost or failed, and why.
func (c *Caller) Once(ctx context.Context, id string) (what, why string) {
	w := worker{caller: c, kind: Stateless, target: NewTarget(c.Target.Base, c.Target.Key)}
	defer w.drop()
	return w.attempt(ctx, id)
}

func (c *Caller) count(change func(n *Counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report.Counts)
}

// note counts how an attempt went and describes it unless it went well.
func (c *Caller) note(what string, n Note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := &c.report.Counts
	switch n.What = what; what {
	case "answered":
		counts.Answered++
		return
	case "refused":
		counts.Refused++
	case "unreached":
		counts.Unreached++
	case "lost":
		counts.Lost++
	default:
		counts.Failed++
	}
	// What is only tried again must not push out what is lost.
	if len(c.report.Notes) < maxNotes/2 || len(c.report.Notes) < maxNotes && (what == "lost" || what == "failed") {
		c.report.Notes = append(c.report.Notes, n)
	}
}

// Encode returns the report as JSON.
func (c *Caller) Encode() ([]byte, error) { return json.Marshal(c.Report()) }

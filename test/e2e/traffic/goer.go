// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"fairlead.dev/fairlead/test/e2e/record"
)

const (
	// answerWithin bounds how long a Goer waits for the answer to one call.
	answerWithin = 20 * time.Second
	// shortWait and longWait bound the rest before a Goer tries something again.
	shortWait = 300 * time.Millisecond
	longWait  = 2 * time.Second
)

// Goer is a client that goes on by itself, whatever becomes of its server's
// pods: it opens streams again, resumes them, and begins a session anew when it
// is told that the old one is gone. It writes down what it sends and sees.
type Goer struct {
	// Target is the server, Kind how to speak to it, and Tool what to call: it
	// takes an id and a pace, and gives the id back after that time.
	Target Target
	Kind   Kind
	Tool   string
	// Name and Via stand in the record.
	Name, Via string
	Log       *record.Log
	// Seed makes the choices of paces and pauses repeatable.
	Seed uint64
}

// paces are how long calls take: answered at once as JSON, answered in an event
// stream, and longer than a leaving pod waits before it closes streams.
func paces() []time.Duration {
	return []time.Duration{
		0, 0, 20 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second,
	}
}

// wire is one kind of client under a Goer.
type wire interface {
	// stream holds the client's stream open until ctx ends.
	stream(ctx context.Context)
	// ready waits for a session and returns the end of its id, if there are any.
	ready(ctx context.Context) (string, error)
	// call sends a call and waits for its answer. Errors are a refusal and a
	// lostError, and any other when nothing was sent.
	call(ctx context.Context, id string, params map[string]any) (message, error)
}

// Run goes on until ctx ends; the call under way is finished. life bounds the
// streams, and ends after ctx.
func (g *Goer) Run(life, ctx context.Context) {
	transport := &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, DisableCompression: true}
	defer transport.CloseIdleConnections()
	g.Target.HTTP = &http.Client{Transport: watching{g, transport}}
	life, end := context.WithCancel(life)
	w := g.wire()
	var streaming sync.WaitGroup
	streaming.Go(func() { w.stream(life) })
	defer streaming.Wait()
	defer end()
	random := rand.New(rand.NewPCG(g.Seed, 0))
	all := paces()
	for i := 0; ctx.Err() == nil; i++ {
		if random.IntN(4) == 0 {
			transport.CloseIdleConnections()
		}
		g.once(life, ctx, w, fmt.Sprintf("%s-%d", g.Name, i), all[random.IntN(len(all))])
		rest(ctx, 100*time.Millisecond+time.Duration(random.IntN(500))*time.Millisecond)
	}
}

func (g *Goer) wire() wire {
	switch g.Kind {
	case SSE:
		return &sseWire{g: g, answering: map[string]chan message{}, changed: make(chan struct{})}
	case Streamable:
		return &streamableWire{g: g}
	default:
		return &statelessWire{g: g}
	}
}

// once makes one call, again for as long as it is refused.
func (g *Goer) once(life, ctx context.Context, w wire, id string, pace time.Duration) {
	// A call is a call once there is a session for it.
	session, err := w.ready(ctx)
	if err != nil {
		return
	}
	ctx = context.WithValue(life, callKey{}, id)
	g.note(record.Event{What: record.Call, Call: id, Session: session})
	params := map[string]any{"name": g.Tool, "arguments": map[string]any{"id": id, "pace": pace.String()}}
	for until := time.Now().Add(patience); ; {
		m, err := func() (message, error) {
			ctx, cancel := context.WithTimeout(ctx, answerWithin)
			defer cancel()
			if _, err := w.ready(ctx); err != nil {
				return message{}, err
			}
			return w.call(ctx, id, params)
		}()
		var lost *lostError
		switch {
		case err == nil:
			g.answered(id, m)
			return
		case errors.As(err, &lost):
			g.note(record.Event{What: record.Lost, Call: id, Why: err.Error()})
			return
		case time.Now().After(until):
			g.note(record.Event{What: record.Lost, Call: id, Why: "refused for too long: " + err.Error()})
			return
		}
		g.note(record.Event{What: record.Refused, Call: id, Why: err.Error()})
		rest(ctx, waitAfter(err))
	}
}

// answered notes an answer and whether it is the one that was asked for.
func (g *Goer) answered(id string, m message) {
	e := record.Event{What: record.Answered, Call: id}
	switch {
	case m.Error != nil:
		e.Why = fmt.Sprintf("error %d: %s", m.Error.Code, m.Error.Message)
	case !bytes.Contains(m.Result, []byte(id)):
		e.Why = fmt.Sprintf("the result does not hold the id: %.300s", m.Result)
	}
	g.note(e)
}

func (g *Goer) note(e record.Event) {
	e.Client, e.Kind, e.Via = g.Name, "go-"+string(g.Kind), g.Via
	g.Log.Add(e)
}

// cut notes the end of a stream, unless the client wanted it.
func (g *Goer) cut(ctx context.Context, stream, session string, cause error) {
	if ctx.Err() == nil {
		g.note(record.Event{What: record.Cut, Stream: stream, Session: session, Why: cause.Error()})
	}
}

// rest waits, for as long as ctx lasts.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// waitAfter is how long to wait after a refusal.
func waitAfter(err error) time.Duration {
	var refused *refusal
	if errors.As(err, &refused) && refused.after > 0 {
		return min(refused.after, longWait)
	}
	return shortWait
}

// is says whether err is a refusal with a status.
func is(err error, status int) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.status == status
}

type callKey struct{}

// watching notes the head of every answer.
type watching struct {
	g    *Goer
	next http.RoundTripper
}

func (w watching) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(r)
	e := record.Event{What: record.Status, Method: r.Method}
	e.Call, _ = r.Context().Value(callKey{}).(string)
	session := r.Header.Get("Mcp-Session-Id")
	if session == "" {
		session = r.URL.Query().Get("sessionId")
	}
	e.Session = record.ShortSession(session)
	if err != nil {
		e.Why = err.Error()
	} else {
		e.Status = response.StatusCode
		e.Why = refusalOf(response)
	}
	w.g.note(e)
	return response, err
}

// refusalOf is the beginning of what an answer says that is an error, which stays
// readable; empty for others.
func refusalOf(response *http.Response) string {
	if response.StatusCode < http.StatusBadRequest {
		return ""
	}
	begin := make([]byte, 80)
	n, _ := io.ReadFull(response.Body, begin)
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin[:n]), response.Body), response.Body}
	return string(begin[:n])
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/httpserver"
	"fairlead.dev/fairlead/runtime/internal/limit"
	"fairlead.dev/fairlead/runtime/internal/park"
	"fairlead.dev/fairlead/runtime/internal/poll"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/transport"
	"fairlead.dev/fairlead/runtime/internal/transport/sse"
	"fairlead.dev/fairlead/runtime/internal/transport/stateless"
	"fairlead.dev/fairlead/runtime/internal/transport/streamable"
	"fairlead.dev/fairlead/runtime/keyring"
)

// long is how long a test waits for what should come at once.
const long = 20 * time.Second

// way is one in which streams are served.
type way struct {
	// plain has all of them served the plain way.
	plain bool
	// brief is how long answers stay with net/http on the other way.
	brief time.Duration
	// outlive has all tools stream, so that their calls outlive the requests.
	outlive bool
}

// current is the way that is under test; see TestMain.
var current way

// TestMain runs everything in all ways in which a stream is served: clients must
// not see a difference.
func TestMain(m *testing.M) {
	for _, current = range []way{
		{outlive: true}, {outlive: true, brief: time.Nanosecond}, {brief: time.Nanosecond}, {outlive: true, plain: true}, {plain: true},
	} {
		if code := m.Run(); code != 0 {
			fmt.Printf("failed with %+v\n", current)
			os.Exit(code)
		}
	}
}

// harbour is where connections come from, and streams are.
type harbour struct {
	poller *poll.Poller
	host   *stream.Host
	parked *park.Listener
}

// newHarbour serves streams the way that is under test.
func newHarbour(t *testing.T) *harbour {
	t.Helper()
	poller, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &harbour{poller: poller}
	h.host = stream.NewHost(stream.HostOptions{
		Poller: poller, Plain: current.plain, Brief: current.brief,
		Return: func(c *net.TCPConn, ahead []byte) { h.parked.Return(c, ahead) },
	})
	t.Cleanup(func() {
		// What a test has left open is cut.
		ended, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		_ = h.host.Close(ended)
		if err := poller.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// park puts the listener of connections before a server.
func (h *harbour) park(server *httptest.Server) {
	h.parked = park.New(server.Listener, h.poller, park.Options{})
	server.Listener, server.Config.ConnState = h.parked, h.parked.ConnState
}

// world is everything between a connection and the tools, with tools whose
// steps the test decides.
type world struct {
	url       string
	core      *transport.Core
	engine    *engine.Engine
	sessions  *session.Registry
	stateless *stateless.Transport
	handler   *httpserver.Handler
	limits    *limit.Limiter
	closed    chan stream.CloseReason

	// began gets a value when "wait" runs; it ends with a value of finish, or
	// its context, of which cancelled then tells.
	began, finish, cancelled chan struct{}
}

type worldOptions struct {
	settings func(*transport.Settings)
	access   httpserver.Access
	streams  int
	sessions session.Options
	auth     auth.Authenticator
	observer engine.Observer
	budget   *limit.Bytes
	// returned, if set, gets a value when a handler returns.
	returned chan struct{}
}

// byName lets everybody in under the name in X-Who, "panic" crashes.
type byName struct{}

func (byName) Authenticate(r *http.Request) (auth.Principal, error) {
	switch who := r.Header.Get("X-Who"); who {
	case "":
		return auth.Anonymous(), nil
	case "panic":
		panic("a bug")
	case "nobody":
		return auth.Principal{}, &auth.Error{Status: http.StatusUnauthorized, Code: auth.CodeMissing, Message: "send a key", Challenge: `Bearer realm="fairlead"`}
	default:
		return auth.Principal{Key: "apikey:" + who, Name: who}, nil
	}
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	w := &world{
		began: make(chan struct{}, 1024), finish: make(chan struct{}), cancelled: make(chan struct{}, 1024),
		closed: make(chan stream.CloseReason, 1024),
	}
	if o.streams == 0 {
		o.streams = 1000
	}
	if o.sessions.Max == 0 {
		o.sessions = session.Options{Max: 1000, IdleTimeout: time.Hour, MaxAge: time.Hour}
	}
	if o.auth == nil {
		o.auth = byName{}
	}
	settings := transport.Settings{
		Heartbeat: time.Hour, WriteTimeout: long, ReadTimeout: long, MaxRequestSize: 64 << 10, CompressMinSize: 1 << 10,
	}
	if o.settings != nil {
		o.settings(&settings)
	}
	logger := slog.New(slog.DiscardHandler)
	w.limits = limit.New(limit.Config{Calls: 100, CallsPerPrincipal: 50, Streams: o.streams})
	w.engine = engine.New(engine.Options{
		Catalog: w.catalog(t, "one"), Policy: auth.Policy{AllowByDefault: true}, Info: engine.Info{Name: "test", Version: "1"},
		Limits: w.limits, Logger: logger, Observer: o.observer,
	})
	w.sessions = session.New(session.NewSealer("uid", keyring.Ring{}, session.Owner{}), o.sessions, nil)
	h := newHarbour(t)
	w.core = transport.New(transport.Options{
		Engine: w.engine, Sessions: w.sessions, Streams: w.limits, Settings: settings, Logger: logger, Observer: w,
		Host: h.host, Budget: o.budget,
	})
	w.stateless = stateless.New(w.core)
	w.handler = httpserver.New(httpserver.Options{
		Core: w.core, SSE: sse.New(w.core), Streamable: streamable.New(w.core), Stateless: w.stateless,
		Auth: o.auth, Logger: logger, Access: o.access,
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = httpserver.NewServer(t.Context(), http.HandlerFunc(func(writer http.ResponseWriter, r *http.Request) {
		if o.returned != nil {
			defer func() { o.returned <- struct{}{} }()
		}
		w.handler.ServeHTTP(writer, r)
	}), logger)
	h.park(server)
	server.Start()
	w.url = server.URL
	t.Cleanup(func() {
		for _, s := range w.sessions.All() {
			s.Close(stream.Shutdown)
		}
		server.CloseClientConnections()
		server.Close()
		w.core.Wait()
	})
	return w
}

func (*world) StreamOpened(string)                  {}
func (*world) MessageWritten(string, time.Duration) {}
func (w *world) StreamClosed(_ string, reason stream.CloseReason, _ time.Duration) {
	w.closed <- reason
}

const toolsYAML = `
contract: 1
name: test
tools:
- {name: echo, description: DESCRIPTION, inputSchema: {type: object, properties: {message: {type: string}}}, static: {content: [{text: "${arguments.message}"}]}}
- {name: wait, description: Waits., static: {content: [{text: x}]}}
- {name: steps, description: Reports., static: {content: [{text: x}]}}
- {name: report, description: Reports when told., static: {content: [{text: x}]}}
- {name: flood, description: Reports without end., static: {content: [{text: x}]}}
- {name: large, description: Answers much., static: {content: [{text: x}]}}
auth: {anonymousAccess: Allowed, apiKeys: {secretRef: {name: keys}}}
`

func (w *world) catalog(t *testing.T, description string) *catalog.Catalog {
	t.Helper()
	s, err := config.Decode([]byte(strings.Replace(toolsYAML, "DESCRIPTION", description, 1)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Build(p, nil, catalog.Deps{New: w.executor})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// change announces another list of tools.
func (w *world) change(t *testing.T, description string) {
	t.Helper()
	changed, before := w.engine.Swap(engine.Revision{Catalog: w.catalog(t, description), Policy: auth.Policy{AllowByDefault: true}, Info: engine.Info{Name: "test", Version: "1"}})
	before.Close()
	if !changed {
		t.Fatal("the list has not changed")
	}
	for _, s := range w.sessions.All() {
		s.Mark(transport.ListChanged)
	}
	for _, l := range w.stateless.Listens() {
		l.Mark(transport.ListChanged)
	}
}

type executor func(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error)

func (e executor) Run(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error) {
	return e(ctx, call, sink)
}

// Streams implements tool.Streamer.
func (executor) Streams() bool { return current.outlive }

func (w *world) executor(t *config.CompiledTool) (tool.Executor, func(), error) {
	return executor(func(ctx context.Context, call tool.Call, sink tool.Sink) (tool.Result, error) {
		switch t.Config.Name {
		case "wait":
			w.began <- struct{}{}
			select {
			case <-w.finish:
				return tool.Text("waited"), nil
			case <-ctx.Done():
				w.cancelled <- struct{}{}
				return tool.Result{}, ctx.Err()
			}
		case "steps":
			for i := range 3 {
				if err := sink.Progress(ctx, tool.Progress{Progress: float64(i + 1), Total: 3}); err != nil {
					return tool.Result{}, err
				}
			}
			return tool.Text("done"), nil
		case "report":
			for i := range 3 {
				<-w.finish
				if err := sink.Progress(ctx, tool.Progress{Progress: float64(i + 1)}); err != nil {
					return tool.Result{}, err
				}
			}
			<-w.finish
			return tool.Text("reported"), nil
		case "flood":
			message := strings.Repeat("x", 1<<10)
			for i := 1; ; i++ {
				if err := sink.Progress(ctx, tool.Progress{Progress: float64(i), Message: []byte(message)}); err != nil {
					return tool.Result{}, err
				}
				if err := sink.Log(ctx, tool.Log{Level: "error", Data: json.RawMessage(`"` + message + `"`)}); err != nil {
					return tool.Result{}, err
				}
			}
		case "large":
			return tool.Text(strings.Repeat("x", 256<<10)), nil
		default:
			message, _ := call.Arguments["message"].(string)
			return tool.Text(message), nil
		}
	}), nil, nil
}

// request is one request on the wire.
type request struct {
	method string // POST, if there is a body
	path   string
	header map[string]string // "-Name" takes a default away
	body   string
	// repeated are headers that take the place of those of the same name.
	repeated http.Header
}

type answer struct {
	status int
	header http.Header
	body   string
}

var client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}}

func (w *world) send(t *testing.T, ctx context.Context, q request) *http.Response { //nolint:revive // t comes first in helpers.
	t.Helper()
	if q.method == "" {
		q.method = http.MethodGet
		if q.body != "" {
			q.method = http.MethodPost
		}
	}
	r, err := http.NewRequestWithContext(ctx, q.method, w.url+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
	}
	for name, value := range q.header {
		switch {
		case strings.HasPrefix(name, "-"):
			r.Header.Del(name[1:])
		case name == "Host":
			r.Host = value
		default:
			r.Header.Set(name, value)
		}
	}
	maps.Copy(r.Header, q.repeated)
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func (w *world) do(t *testing.T, q request) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	response := w.send(t, ctx, q)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(body)}
}

// event is one server-sent event.
type event struct {
	name, id, data, retry string
	comment               bool
}

// events is an open stream.
type events struct {
	answer
	t      *testing.T
	next   chan event // closed at the end of the stream
	hangUp func()
}

// open sends a request whose answer must be an event stream.
func (w *world) open(t *testing.T, q request) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	response := w.send(t, ctx, q)
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("status %d, %s: %s", response.StatusCode, got, body)
	}
	e := &events{answer: answer{status: response.StatusCode, header: response.Header}, t: t, next: make(chan event, 1024), hangUp: cancel}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(e.next)
		defer response.Body.Close()
		read(response.Body, e.next)
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
	return e
}

func read(body io.Reader, next chan<- event) {
	lines := bufio.NewReader(body)
	var current event
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			current.comment = value != ""
			if current != (event{}) || value != "" {
				next <- current
			}
			current = event{}
			if value != "" {
				// The empty line after a comment.
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
		case "event":
			current.name = value
		case "id":
			current.id = value
		case "data":
			current.data += value
		case "retry":
			current.retry = value
		}
	}
}

// one gives the next event.
func (e *events) one() event {
	e.t.Helper()
	select {
	case got, ok := <-e.next:
		if !ok {
			e.t.Fatal("the stream ended")
		}
		return got
	case <-time.After(long):
		e.t.Fatal("no event came")
		return event{}
	}
}

// primed gives the id of the stream's first event, which has nothing else.
func (e *events) primed() string {
	e.t.Helper()
	got := e.one()
	if got.id == "" || got != (event{id: got.id}) {
		e.t.Fatalf("the first event is %+v, want an id only", got)
	}
	return got.id
}

// message gives the next event's message, which must be JSON.
func (e *events) message() map[string]any {
	e.t.Helper()
	got := e.one()
	var message map[string]any
	if err := json.Unmarshal([]byte(got.data), &message); err != nil || got.name != "message" {
		e.t.Fatalf("event %+v is no message: %v", got, err)
	}
	return message
}

// end waits for the end of the stream, with no event before it.
func (e *events) end() {
	e.t.Helper()
	select {
	case got, ok := <-e.next:
		if ok {
			e.t.Fatalf("an event came: %+v", got)
		}
	case <-time.After(long):
		e.t.Fatal("the stream did not end")
	}
}

func (w *world) waitClosed(t *testing.T, want stream.CloseReason) {
	t.Helper()
	select {
	case got := <-w.closed:
		if got != want {
			t.Errorf("the stream ended: %q, want %q", got, want)
		}
	case <-time.After(long):
		t.Fatal("no stream ended")
	}
}

func receive(t *testing.T, from <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(long):
		t.Fatal("it did not happen: " + what)
	}
}

const initializeParams = `{"protocolVersion":"VERSION","capabilities":{},"clientInfo":{"name":"c","version":"1"}}`

func initialize(version string) string {
	return `{"jsonrpc":"2.0","id":0,"method":"initialize","params":` + strings.Replace(initializeParams, "VERSION", version, 1) + `}`
}

const initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`

func callBody(id int, name, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":"p%d"}}}`, id, name, arguments, id)
}

// streamableSession opens a session over /mcp and returns its id.
func (w *world) streamableSession(t *testing.T, version, who string) string {
	t.Helper()
	got := w.do(t, request{path: "/mcp", body: initialize(version), header: map[string]string{"X-Who": who}})
	id := got.header.Get("Mcp-Session-Id")
	if got.status != http.StatusOK || id == "" {
		t.Fatalf("initialize: %+v", got)
	}
	if got := w.do(t, request{path: "/mcp", body: initialized, header: map[string]string{"Mcp-Session-Id": id, "X-Who": who}}); got.status != http.StatusAccepted {
		t.Fatalf("initialized: %+v", got)
	}
	return id
}

// sseSession opens a session over /sse below a prefix, and returns its stream
// and the path for its messages.
func (w *world) sseSession(t *testing.T, prefix, who string) (*events, string) {
	t.Helper()
	e := w.open(t, request{path: prefix + "/sse", header: map[string]string{"Accept": "text/event-stream", "X-Who": who}})
	first := e.one()
	if first.name != "endpoint" {
		t.Fatalf("the first event is %+v", first)
	}
	messages := prefix + "/" + first.data
	header := map[string]string{"X-Who": who}
	if got := w.do(t, request{path: messages, body: initialize("2024-11-05"), header: header}); got.status != http.StatusAccepted || got.body != "" {
		t.Fatalf("initialize: %+v", got)
	}
	if got := e.message(); got["result"] == nil {
		t.Fatalf("initialize: %v", got)
	}
	if got := w.do(t, request{path: messages, body: initialized, header: header}); got.status != http.StatusAccepted {
		t.Fatalf("initialized: %+v", got)
	}
	return e, messages
}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modern is a stateless request; params are the members beside _meta.
func modern(method, name, params string) request {
	header := map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
	if name != "" {
		header["Mcp-Name"] = name
	}
	if params != "" {
		params += ","
	}
	return request{path: "/mcp", header: header, body: `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + meta + `}}`}
}

func compact(s string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(s)) != nil {
		return s
	}
	return b.String()
}

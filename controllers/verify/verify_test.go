// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/runtime/app"
	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/keyring"
)

const uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

var (
	orders  = types.NamespacedName{Namespace: "shop", Name: "orders"}
	current = keyring.Key{1}
)

// runtimeTarget runs the runtime on loopback until the test ends, with 150 tools, which
// are two pages, and a target that it should pass.
func runtimeTarget(t *testing.T) Target {
	t.Helper()
	dir := t.TempDir()
	server := &config.Server{
		Contract: config.ContractVersion, Name: "orders", Title: "Orders", UID: uid,
		Auth: config.Auth{APIKeys: &config.APIKeys{SecretRef: config.SecretRef{Name: "keys"}}},
	}
	target := Target{Server: orders, UID: uid, Key: current}
	text := "hi"
	for i := range 150 {
		name := fmt.Sprintf("tool-%03d", i)
		server.Tools = append(server.Tools, config.Tool{
			Name: name, Description: "d", Access: &config.Access{AnyRole: []string{"admin"}},
			Static: &config.Static{Content: []config.Content{{Text: &text}}},
		})
		target.Tools = append(target.Tools, name)
	}
	data, err := server.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"server.yaml": data, "current": current[:], "next": make32(2)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Options{
			ConfigFile: filepath.Join(dir, "server.yaml"), SessionKeysDir: dir, Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
			Logger: slog.New(slog.DiscardHandler), Version: "v1.2.3", Drain: &app.Drain{},
			OnReady: func(listen, admin net.Addr) {
				target.URL = "http://" + listen.String() + "/mcp"
				target.Revision = revision(t, "http://"+admin.String()+"/status")
				close(ready)
			},
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return target
}

func make32(b byte) []byte {
	k := keyring.Key{b}
	return k[:]
}

func revision(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url) //nolint:forbidigo // A test's own server on loopback.
	if err != nil {
		t.Error(err)
		return ""
	}
	defer response.Body.Close()
	var status struct{ Revision string }
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		t.Error(err)
	}
	return status.Revision
}

func probe(t *testing.T, target Target) (ServerInfo, *problem) {
	t.Helper()
	return newProber((&net.Dialer{}).DialContext).probe(t.Context(), target)
}

func TestAgainstTheRuntime(t *testing.T) {
	t.Parallel()
	good := runtimeTarget(t)
	tests := []struct {
		name    string
		change  func(*Target)
		state   State
		message string
	}{
		{name: "passes", change: func(*Target) {}},
		{name: "a subset is enough", change: func(g *Target) { g.Tools = g.Tools[140:] }},
		{name: "the next key", change: func(g *Target) { g.Key = keyring.Key{2} }},
		{name: "another revision", change: func(g *Target) { g.Revision = "0123456789abcdef" }, state: Failed, message: "answers with revision"},
		{
			name: "missing tools", change: func(g *Target) { g.Tools = append([]string{"a", "b", "c", "d", "e", "f", "g"}, g.Tools...) },
			state: Failed, message: "does not list the tools a, b, c, d, e and 2 more",
		},
		{name: "another key", change: func(g *Target) { g.Key = keyring.Key{9} }, state: Failed, message: "refuses the operator's token (401)"},
		{name: "another server", change: func(g *Target) { g.UID = "other" }, state: Failed, message: "refuses the operator's token (401)"},
		{
			name: "another path", change: func(g *Target) { g.URL = strings.Replace(g.URL, "/mcp", "/nope", 1) },
			state: Failed, message: "answers 404 to the operator",
		},
		{
			name: "nobody there", change: func(g *Target) { g.URL = "http://127.0.0.1:1/mcp" },
			state: Unreachable, message: "cannot be reached: the connection is refused; let the operator's namespace reach port 8080",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := good
			tt.change(&target)
			info, got := probe(t, target)
			if tt.state == "" {
				if want := (ServerInfo{Name: "orders", Title: "Orders", Version: "v1.2.3"}); got != nil || info != want {
					t.Errorf("%+v, %+v, want %+v", info, got, want)
				}
				return
			}
			if got == nil || got.state != tt.state || !strings.Contains(got.message, tt.message) {
				t.Errorf("%+v, want %s and %q", got, tt.state, tt.message)
			}
			if _, again := probe(t, target); got != nil && again != nil && again.message != got.message {
				t.Errorf("the message changes by itself: %q, %q", got.message, again.message)
			}
		})
	}
}

func TestAgainstOthers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	discover := `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}}`
	tests := []struct {
		name    string
		serve   http.HandlerFunc
		state   State
		message string
	}{
		{
			name: "a redirect", state: Failed, message: "redirects (307)",
			serve: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			},
		},
		{
			name: "too large", state: Failed, message: "more than 1048576 bytes",
			serve: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"x":"`+strings.Repeat("x", maxAnswer)+`"}}`)
			},
		},
		{
			name: "a page of somebody's", state: Failed, message: "does not answer as an MCP server",
			serve: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>") },
		},
		{
			name: "a mesh that forbids", state: Failed, message: "answers 403, and not as the server's pods do",
			serve: func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "RBAC: access denied", http.StatusForbidden)
			},
		},
		{
			name: "a proxy without pods", state: Unreachable, message: "answers 503: no pod behind it",
			serve: func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
			},
		},
		{
			name: "a connection that breaks", state: Unreachable, message: "cannot be reached: the connection broke",
			serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		},
		{
			name: "a list without end", state: Failed, message: "a list of tools that does not end",
			serve: func(w http.ResponseWriter, r *http.Request) {
				var q struct{ ID json.RawMessage }
				_ = json.NewDecoder(r.Body).Decode(&q)
				w.Header().Set("Content-Type", "application/json")
				if r.Header.Get("Mcp-Method") == "server/discover" {
					_, _ = io.WriteString(w, strings.Replace(discover, `"id":1`, `"id":`+string(q.ID), 1))
					return
				}
				_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+string(q.ID)+`,"result":{"resultType":"complete","tools":[],"nextCursor":"again","ttlMs":0,"cacheScope":"private"}}`)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(tt.serve)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			server.Start()
			t.Cleanup(server.Close)
			_, got := probe(t, Target{Server: orders, URL: server.URL + "/mcp", Revision: "r", UID: uid, Key: current})
			if got == nil || got.state != tt.state || !strings.Contains(got.message, tt.message) {
				t.Errorf("%+v, want %s and %q", got, tt.state, tt.message)
			}
		})
	}
	if asked.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// bubble runs a pool in a synctest bubble. Its connections are pipes to a server
// that answers as serve says; it must leave no goroutine behind.
func bubble(t *testing.T, serve func(w http.ResponseWriter, r *http.Request), test func(p *Pool, changed *atomic.Int32)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: http.HandlerFunc(serve)}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(listener)
		}()
		var changed atomic.Int32
		pool := New(Options{Dial: listener.dial, Changed: func(types.NamespacedName) { changed.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- pool.Start(ctx) }()
		test(pool, &changed)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = server.Close()
		<-ended
		// The bubble panics if a goroutine is left.
	})
}

// pipes is a listener without a network.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.accept <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// fake is a server in a few words: what it does with the list, and how often it
// was asked for it.
type fake struct {
	revision atomic.Pointer[string]
	status   atomic.Int32 // 0 answers
	slow     atomic.Int64 // time.Duration
	lists    atomic.Int32
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	var q struct{ ID json.RawMessage }
	// To its end, so that the server notices a client that hangs up.
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &q)
	if d := f.slow.Load(); d > 0 {
		select {
		case <-time.After(time.Duration(d)):
		case <-r.Context().Done():
		}
	}
	if status := f.status.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	result := `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}`
	if r.Header.Get("Mcp-Method") == "tools/list" {
		f.lists.Add(1)
		result = `"_meta":{"fairlead.dev/revision":"` + *f.revision.Load() + `"},"tools":[{"name":"a","inputSchema":{"type":"object"}}]`
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","ttlMs":0,"cacheScope":"private",%s}}`, q.ID, result)
}

func newFake(revision string) *fake {
	f := &fake{}
	f.revision.Store(&revision)
	return f
}

func target(revision string) Target {
	return Target{Server: orders, URL: "http://orders-mcp.shop.svc/mcp", Revision: revision, Tools: []string{"a"}, UID: uid, Key: current}
}

func TestPassesAndRests(t *testing.T) {
	t.Parallel()
	f := newFake("one")
	bubble(t, f.serve, func(p *Pool, changed *atomic.Int32) {
		if got := p.Observe(target("one")); got.State != Pending || got.Revision != "one" {
			t.Errorf("at first: %+v", got)
		}
		synctest.Wait()
		if got := p.Observe(target("one")); got.State != Passed || got.Message != "" || changed.Load() != 1 {
			t.Errorf("after the check: %+v, %d changes", got, changed.Load())
		}
		time.Sleep(time.Hour) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		if n := f.lists.Load(); n < 6 || n > 8 || changed.Load() != 1 {
			t.Errorf("%d checks in an hour and %d changes, want one check in 10 min ± 20 %% and one change", n, changed.Load())
		}
		// Another key, revision or list of tools is another question.
		next := target("one")
		next.Key = keyring.Key{2}
		if got := p.Observe(next); got.State != Pending {
			t.Errorf("with another key: %+v", got)
		}
		synctest.Wait()
		if got := p.Observe(next); got.State != Passed {
			t.Errorf("after its check: %+v", got)
		}
		p.Forget(orders)
		asked := f.lists.Load()
		time.Sleep(time.Hour) //nolint:forbidigo // The clock is the bubble's.
		if f.lists.Load() != asked {
			t.Error("a forgotten server is asked")
		}
	})
}

func TestAWrongAnswerIsBelievedTheSecondTime(t *testing.T) {
	t.Parallel()
	f := newFake("old")
	bubble(t, f.serve, func(p *Pool, changed *atomic.Int32) {
		p.Observe(target("new"))
		synctest.Wait()
		if got := p.Observe(target("new")); got.State != Pending || changed.Load() != 0 {
			t.Errorf("after one wrong answer: %+v", got)
		}
		time.Sleep(time.Second) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		if got := p.Observe(target("new")); got.State != Failed || changed.Load() != 1 {
			t.Errorf("after two: %+v", got)
		}
		// The same failure is no news, and a success comes within the longest retry.
		time.Sleep(10 * time.Minute) //nolint:forbidigo // The clock is the bubble's.
		if changed.Load() != 1 || f.lists.Load() > 60 {
			t.Errorf("%d changes and %d checks in 10 min", changed.Load(), f.lists.Load())
		}
		revision := "new"
		f.revision.Store(&revision)
		time.Sleep(lastRetry) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		if got := p.Observe(target("new")); got.State != Passed || changed.Load() != 2 {
			t.Errorf("after it is mended: %+v", got)
		}
	})
}

func TestSilenceIsBelievedTheThirdTime(t *testing.T) {
	t.Parallel()
	f := newFake("one")
	f.slow.Store(int64(time.Minute))
	bubble(t, f.serve, func(p *Pool, changed *atomic.Int32) {
		p.Observe(target("one"))
		time.Sleep(2*checkTimeout + 2*time.Second) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		if got := p.Observe(target("one")); got.State != Pending {
			t.Errorf("after two: %+v", got)
		}
		time.Sleep(checkTimeout + 3*time.Second) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		got := p.Observe(target("one"))
		if got.State != Unreachable || !strings.Contains(got.Message, "does not answer within 5s") || changed.Load() != 1 {
			t.Errorf("after three: %+v", got)
		}
	})
}

func TestPassedIsTakenBackTheThirdTime(t *testing.T) {
	t.Parallel()
	f := newFake("one")
	bubble(t, f.serve, func(p *Pool, _ *atomic.Int32) {
		p.Observe(target("one"))
		synctest.Wait()
		f.status.Store(http.StatusUnauthorized)
		var states []State
		for range 16 * 60 {
			time.Sleep(time.Second) //nolint:forbidigo // The clock is the bubble's.
			synctest.Wait()
			states = append(states, p.Observe(target("one")).State)
		}
		p.mu.Lock()
		failures := p.subjects[orders].failures
		p.mu.Unlock()
		if states[0] != Passed || states[len(states)-1] != Failed || failures < 3 {
			t.Errorf("it ended as %s after %d failures", states[len(states)-1], failures)
		}
		s := &subject{report: Report{State: Passed}, last: Passed}
		for i, want := range []State{Passed, Passed, Failed} {
			s.note(ServerInfo{}, &problem{state: Failed, message: "no"}, time.Minute, time.Now())
			if s.report.State != want {
				t.Errorf("failure %d: %s, want %s", i+1, s.report.State, want)
			}
		}
	})
}

// What was known before another revision was the target is known no more.
func TestAnEditThatIsTakenBackIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	f := newFake("one")
	bubble(t, f.serve, func(p *Pool, _ *atomic.Int32) {
		p.Observe(target("one"))
		synctest.Wait()
		p.Observe(target("two"))
		if got := p.Observe(target("one")); got.State != Pending {
			t.Errorf("after the edit: %+v", got)
		}
		synctest.Wait()
		if got := p.Observe(target("one")); got.State != Passed || f.lists.Load() < 2 {
			t.Errorf("%+v after %d checks", got, f.lists.Load())
		}
	})
}

// Words that differ each time are told once: each telling is a status write.
func TestWordsThatChange(t *testing.T) {
	t.Parallel()
	f := newFake("one")
	bubble(t, f.serve, func(p *Pool, changed *atomic.Int32) {
		f.status.Store(http.StatusUnauthorized)
		p.Observe(target("one"))
		for i := range int32(60) {
			time.Sleep(400 * time.Millisecond) //nolint:forbidigo // The clock is the bubble's.
			f.status.Store(http.StatusBadRequest + i)
		}
		if got := p.Observe(target("one")); got.State != Failed || changed.Load() > 1 {
			t.Errorf("%+v after %d changes", got, changed.Load())
		}
		f.status.Store(http.StatusTeapot)
		time.Sleep(2 * lastRetry) //nolint:forbidigo // The clock is the bubble's.
		synctest.Wait()
		if got := p.Observe(target("one")); !strings.Contains(got.Message, "answers 418") {
			t.Errorf("what it says now is not told: %+v", got)
		}
	})
}

// Servers that do not answer hold nobody up: not those that are new while they
// are tried again, nor those of other namespaces while they are new themselves.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		silent    time.Duration // Before the good one comes.
		namespace string
		within    time.Duration
		most      int32 // Of dials in the 10 minutes after.
	}{
		{name: "a new one among those that are tried again", silent: 10 * time.Minute, namespace: "a", within: 0, most: 300 * 6},
		{name: "another namespace's among new ones", silent: time.Second, namespace: "b", within: checkTimeout, most: 300 * 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Int32
				asked := make(chan struct{}, 1)
				p := New(Options{Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
					if addr == "good:80" {
						select {
						case asked <- struct{}{}:
						default:
						}
						return nil, net.ErrClosed
					}
					dials.Add(1)
					<-ctx.Done()
					return nil, ctx.Err()
				}})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Start(ctx) }()
				for i := range 300 {
					each := target("one")
					each.Server, each.URL = types.NamespacedName{Namespace: "a", Name: strconv.Itoa(i)}, fmt.Sprintf("http://silent-%d/mcp", i)
					p.Observe(each)
				}
				time.Sleep(tt.silent) //nolint:forbidigo // The clock is the bubble's.
				began := time.Now()
				good := target("one")
				good.Server.Namespace, good.URL = tt.namespace, "http://good/mcp"
				p.Observe(good)
				<-asked
				if took := time.Since(began); took > tt.within {
					t.Errorf("the first check began after %s, want %s", took, tt.within)
				}
				dials.Store(0)
				time.Sleep(10 * time.Minute) //nolint:forbidigo // The clock is the bubble's.
				if n := dials.Load(); n > tt.most {
					t.Errorf("300 silent servers were tried %d times in 10 minutes, want at most %d", n, tt.most)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				time.Sleep(2 * checkTimeout) //nolint:forbidigo // The clock is the bubble's: a dial may outlive its check.
			})
		})
	}
}

// At most Concurrency checks run at once, Observe never waits for them, and the
// end waits for all.
func TestManyServersAtOnce(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	f := newFake("one")
	f.slow.Store(int64(100 * time.Millisecond))
	serve := func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		f.serve(w, r)
	}
	bubble(t, serve, func(p *Pool, changed *atomic.Int32) {
		began := time.Now()
		for i := range 200 {
			each := target("one")
			each.Server.Name = fmt.Sprintf("server-%d", i)
			p.Observe(each)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Observe waited %v", waited)
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // The clock is the bubble's.
		if changed.Load() != 200 || most.Load() > defaultConcurrency {
			t.Errorf("%d of 200 passed, %d at once", changed.Load(), most.Load())
		}
		// One more is on its way when the pool ends.
		p.Observe(target("one"))
		synctest.Wait()
	})
}

func TestTheTokenIsForTheTargetAlone(t *testing.T) {
	t.Parallel()
	var got []string
	f := newFake("one")
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		f.serve(w, r)
	}, func(p *Pool, _ *atomic.Int32) {
		p.Observe(target("one"))
		synctest.Wait()
		ring := keyring.Ring{Current: current, Next: keyring.Key{2}}
		if len(got) != 2 {
			t.Fatalf("%d requests, want discover and list", len(got))
		}
		for _, header := range got {
			if err := ring.CheckVerifierToken(strings.TrimPrefix(header, "Bearer "), uid, time.Now()); err != nil {
				t.Error(err)
			}
		}
		if got[0] == got[1] {
			t.Error("two requests have one token")
		}
	})
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	var steps []time.Duration
	for failures := range 12 {
		d := backOff(failures+1, lastRetry)
		step := min(time.Second<<failures, lastRetry)
		if d < step/2 || d > step {
			t.Errorf("after %d failures %v, want %v to %v", failures+1, d, step/2, step)
		}
		steps = append(steps, step)
	}
	if diff := cmp.Diff(lastRetry, steps[11]); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkObserve shows what a reconcile pays.
func BenchmarkObserve(b *testing.B) {
	p := New(Options{})
	each := target("one")
	for i := range 100 {
		each.Tools = append(each.Tools, fmt.Sprintf("tool-%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Observe(each)
	}
}

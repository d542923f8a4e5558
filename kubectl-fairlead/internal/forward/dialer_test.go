// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"fairlead.dev/fairlead/kubectl-fairlead/internal/forward"
)

// cluster is an API server that knows pods and forwards to them; a pod answers
// each HTTP request with its own name.
type cluster struct {
	t *testing.T

	mu    sync.Mutex
	pods  []corev1.Pod
	conns map[string][]io.Closer // open tunnels by pod
}

func newCluster(t *testing.T) (c *cluster, kubeconfig string) {
	t.Helper()
	c = &cluster{t: t, conns: map[string][]io.Closer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/pods", c.list)
	mux.HandleFunc("GET /api/v1/namespaces/{ns}/pods/{pod}/portforward", c.forward)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me, namespace: shop}}]
clusters: [{name: here, cluster: {server: %q}}]
users: [{name: me, user: {}}]
`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c, kubeconfig
}

func (c *cluster) set(pods ...corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = pods
}

// kill cuts the tunnels of a pod.
func (c *cluster) kill(pod string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns[pod] {
		_ = conn.Close()
	}
}

func pod(name string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request) {
	if got := r.URL.Query().Get("labelSelector"); got != "fairlead.dev/server=orders" || r.PathValue("ns") != "shop" {
		c.t.Errorf("listed the pods of %s by %q", r.PathValue("ns"), got)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: c.pods})
}

func (c *cluster) forward(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("pod")
	upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		c.t.Errorf("failed to upgrade: %v", err)
		return
	}
	conn, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("server", socket), func(s httpstream.Stream, _ <-chan struct{}) error {
		go c.stream(name, s)
		return nil
	})
	if err != nil {
		c.t.Errorf("failed to speak SPDY: %v", err)
		return
	}
	c.mu.Lock()
	c.conns[name] = append(c.conns[name], socket)
	c.mu.Unlock()
	<-conn.CloseChan()
}

// stream is what a kubelet does with one stream.
func (c *cluster) stream(pod string, s httpstream.Stream) {
	if s.Headers().Get(corev1.PortHeader) != "8080" {
		c.t.Errorf("forwarded to port %s", s.Headers().Get(corev1.PortHeader))
	}
	if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
		if pod == "deaf" {
			_, _ = io.WriteString(s, "connect: connection refused")
		}
		_ = s.Close()
		return
	}
	if pod == "deaf" {
		_ = s.Close()
		return
	}
	reader := bufio.NewReader(s)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		fmt.Fprintf(s, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(pod), pod)
	}
}

// get asks a pod for its name over a new connection.
func get(ctx context.Context, d *forward.Dialer) (string, error) {
	transport := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestForward(t *testing.T) {
	t.Parallel()
	c, kubeconfig := newCluster(t)
	var chosen []string
	d, err := forward.New(forward.Options{Server: "orders", Kubeconfig: kubeconfig, OnForward: func(p string) { chosen = append(chosen, p) }})
	if err != nil {
		t.Fatal(err)
	}
	want := func(name, pod string) {
		t.Helper()
		got, err := get(t.Context(), d)
		if err != nil || got != pod {
			t.Fatalf("%s: got %q, %v, want %q", name, got, err, pod)
		}
	}
	refused := func(name, text string) {
		t.Helper()
		if got, err := get(t.Context(), d); err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("%s: got %q, %v, want %q", name, got, err, text)
		}
	}
	refused("no pods", "there are no pods of an MCPServer \"orders\" in namespace \"shop\": `kubectl get flmcp -n shop` lists the servers")
	c.set(pod("starting", corev1.ConditionFalse), pod("old", corev1.ConditionUnknown))
	refused("none is ready", "MCPServer shop/orders has no ready pod (of 2): `kubectl describe flmcp -n shop orders` says why")

	c.set(pod("starting", corev1.ConditionFalse), pod("one", corev1.ConditionTrue))
	want("the ready one", "one")
	c.set(pod("one", corev1.ConditionTrue), pod("two", corev1.ConditionTrue), pod("three", corev1.ConditionTrue))
	for range 5 {
		want("the same while it is ready", "one")
	}
	c.set(pod("one", corev1.ConditionFalse), pod("two", corev1.ConditionTrue))
	want("another when it is not", "two")
	c.kill("two")
	c.set(pod("three", corev1.ConditionTrue))
	want("another when it is gone", "three")
	c.set(pod("deaf", corev1.ConditionTrue))
	refused("a pod where nothing listens", "pod deaf: connect: connection refused")
	if got := strings.Join(chosen, " "); got != "shop/one shop/two shop/three shop/deaf" {
		t.Errorf("told of %s", got)
	}
}

func TestATunnelThatDiesIsMadeAgain(t *testing.T) {
	t.Parallel()
	c, kubeconfig := newCluster(t)
	c.set(pod("one", corev1.ConditionTrue))
	d, err := forward.New(forward.Options{Server: "shop/orders", Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(t.Context(), d); err != nil || got != "one" {
		t.Fatalf("got %q, %v", got, err)
	}
	c.kill("one")
	// The death of a tunnel is noticed by its reader, a moment later.
	for range 100 {
		if got, err := get(t.Context(), d); err == nil && got == "one" {
			return
		}
	}
	t.Error("the tunnel was not made again")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, kubeconfig := newCluster(t)
	tests := []struct {
		name string
		o    forward.Options
		want string
	}{
		{name: "no name", o: forward.Options{Server: "shop/"}, want: `"shop/" is neither NAME nor NAMESPACE/NAME of an MCPServer`},
		{name: "no namespace", o: forward.Options{Server: "/orders"}, want: `"/orders" is neither NAME nor NAMESPACE/NAME of an MCPServer`},
		{name: "too much", o: forward.Options{Server: "a/b/c"}, want: `"a/b/c" is neither NAME nor NAMESPACE/NAME of an MCPServer`},
		{name: "two namespaces", o: forward.Options{Server: "a/b", Namespace: "c"}, want: "a/b and --namespace c name two namespaces"},
		{name: "no such context", o: forward.Options{Server: "a", Kubeconfig: kubeconfig, Context: "there"}, want: `"a" is no URL, so it names an MCPServer in a cluster, and there is none to ask: context "there" does not exist`},
		{name: "no such file", o: forward.Options{Server: "a", Kubeconfig: "/no/such/file"}, want: `"a" is no URL, so it names an MCPServer in a cluster, and there is none to ask: stat /no/such/file: no such file or directory`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.o.Kubeconfig == "" {
				tt.o.Kubeconfig = kubeconfig
			}
			_, err := forward.New(tt.o)
			if err == nil || err.Error() != tt.want {
				t.Errorf("New = %v, want %s", err, tt.want)
			}
		})
	}
}

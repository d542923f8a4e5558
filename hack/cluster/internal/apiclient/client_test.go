// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package apiclient

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNodeReady(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, node, want string }{
		{"ready", `{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}]}}`, ""},
		{"not ready", `{"status":{"conditions":[{"type":"Ready","status":"False","message":"cni plugin not initialized"}]}}`, "cni plugin"},
		{"lost", `{"status":{"conditions":[{"type":"Ready","status":"Unknown","message":"Kubelet stopped posting"}]}}`, "stopped"},
		{"new", `{"status":{}}`, "no Ready condition"},
		{"broken", `{`, "decode"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := nodeReady([]byte(test.node))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Error(w, "nothing here", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("ok"))
	}))
	t.Cleanup(server.Close)
	client := &Client{base: server.URL, http: server.Client()}
	if got, err := client.Do(t.Context(), http.MethodGet, "/readyz", nil); err != nil || string(got) != "ok" {
		t.Errorf("got %q and error %v", got, err)
	}
	_, err := client.Do(t.Context(), http.MethodGet, "/absent", nil)
	if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "nothing here") {
		t.Errorf("got error %v, want the status and the server's words", err)
	}
}

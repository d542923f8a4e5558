// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestIdleConnectionsAreParked uses one connection by hand: it is parked, serves
// again, is parked, and is closed when the runtime leaves.
func TestIdleConnectionsAreParked(t *testing.T) {
	t.Parallel()
	r := start(t, configuration("one"))
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(c)
	for range 2 {
		if _, err := io.WriteString(c, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusNotFound {
			t.Fatalf("status %d, %v", response.StatusCode, err)
		}
		r.metric(t, "fairlead_parked_connections 1")
	}
	r.cancel()
	if err := r.end(t); err != nil {
		t.Errorf("Run = %v", err)
	}
	if n, err := reader.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("reading after the end: %d, %v, want that the connection was closed", n, err)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// listen opens a loopback socket.
func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// start serves until the test ends, and checks that it does end.
func start(t *testing.T, target string) string {
	t.Helper()
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, target) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return listener.Addr().String()
}

// dial connects with a deadline, so that no test hangs.
func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func TestServeCarriesBothWaysAndPassesTheEndOn(t *testing.T) {
	t.Parallel()
	echo := listen(t)
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		conn, err := echo.Accept()
		if err != nil {
			return
		}
		all, _ := io.ReadAll(conn) // returns only if the client's end is passed on
		_, _ = conn.Write(append([]byte("got "), all...))
		_ = conn.Close()
	}()
	conn := dial(t, start(t, echo.Addr().String()))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "got hello" {
		t.Errorf("got %q and error %v, want %q", got, err, "got hello")
	}
}

func TestServeClosesWhatItCannotCarry(t *testing.T) {
	t.Parallel()
	dead := listen(t)
	target := dead.Addr().String()
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, start(t, target))
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Errorf("got %q and error %v, want the end", got, err)
	}
}

func TestServeEndsWithOpenConnections(t *testing.T) {
	t.Parallel()
	silent := listen(t)
	t.Cleanup(func() { _ = silent.Close() })
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, silent.Addr().String()) }()
	conn := dial(t, listener.Addr().String())
	server, err := silent.Accept() // the connection is carried now
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Serve returned %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve has not returned")
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("got error %v, want the end", err)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package localserver

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy carries TCP connections to a server and cuts them when told to.
type Proxy struct {
	listener net.Listener
	carrying sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[net.Conn]bool
}

// NewProxy carries connections to an address until the test ends.
func NewProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, open: map[net.Conn]bool{}}
	p.carrying.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.carrying.Go(func() { p.carry(context.WithoutCancel(t.Context()), client, to) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.Cut()
		p.carrying.Wait()
	})
	return p
}

// Address is where clients connect, as the beginning of a URL.
func (p *Proxy) Address() string { return "http://" + p.listener.Addr().String() }

// Cut ends all connections at once; new ones are carried again.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

// carry copies both ways until one side ends, and then ends the other.
func (p *Proxy) carry(ctx context.Context, client net.Conn, to string) {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	var copying sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		copying.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
		})
	}
	copying.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, client)
	delete(p.open, server)
}

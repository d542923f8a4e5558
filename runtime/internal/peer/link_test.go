// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net"
	"sync"
	"testing"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
)

// watched is a connection that looks at locks as it closes, which takes long if the other
// side does not read.
type watched struct {
	net.Conn
	locks []*sync.Mutex
	held  int
	close sync.Once
}

func (w *watched) Close() error {
	w.close.Do(func() {
		for _, mu := range w.locks {
			if !mu.TryLock() {
				w.held++
				continue
			}
			mu.Unlock()
		}
	})
	return w.Conn.Close()
}

// A connection is closed while no lock is held that requests need.
func TestConnectionsCloseWithoutALock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		act  func(l *Links, to *link) error
		old  bool // the connection was opened with another identity
	}{
		{name: "the keys have changed", act: func(l *Links, _ *link) error { return l.SetRing(ring(2, 3, 1)) }},
		{name: "nothing runs on one of before", old: true, act: func(l *Links, _ *link) error { l.sweep(time.Now()); return nil }},
		{name: "nobody needs it any more", act: func(l *Links, _ *link) error { l.sweep(time.Now().Add(time.Hour)); return nil }},
		{name: "it is cut", act: func(_ *Links, to *link) error { to.cut()(); return nil }},
		{name: "it is cut with one of before", old: true, act: func(_ *Links, to *link) error { to.cut()(); return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := run(t, ring(1, 2, 3), places(t, 1)[0]).links
			to := l.to(addr(1))
			ours, theirs := net.Pipe()
			defer theirs.Close()
			c := &watched{Conn: ours, locks: []*sync.Mutex{&l.mu, &to.mu}}
			client := mux.NewClient(c)
			to.client, to.with, to.used = client, l.identity.Load(), time.Now()
			if tt.old {
				to.with = nil
			}
			if err := tt.act(l, to); err != nil {
				t.Fatal(err)
			}
			<-client.Closed()
			client.Wait()
			if c.held > 0 {
				t.Errorf("%d locks were held", c.held)
			}
		})
	}
}

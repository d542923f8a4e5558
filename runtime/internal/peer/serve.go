// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"fairlead.dev/fairlead/runtime/internal/peer/mux"
	"fairlead.dev/fairlead/runtime/internal/session"
	"fairlead.dev/fairlead/runtime/internal/stream"
)

const (
	// documentTimeout bounds how long a document of a peer may take to arrive.
	documentTimeout = 5 * time.Second
	// maxConnections bounds the connections of all peers together. Beyond, the port
	// takes no more until some end.
	maxConnections = 1024
)

// Serve serves peers on a listener until Close or ctx ends, which also ends what
// their requests run, and returns when all of that is over.
func (l *Links) Serve(ctx context.Context, listener net.Listener, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	var serving sync.WaitGroup
	serving.Go(func() {
		select {
		case <-l.retire:
			_ = listener.Close()
		case <-ctx.Done():
		}
	})
	defer close(l.served)
	defer serving.Wait()
	defer stop()
	defer cancel()
	l.mu.Lock()
	l.handler, l.halt = h, cancel
	l.mu.Unlock()
	free := make(chan struct{}, maxConnections)
	for {
		free <- struct{}{}
		c, err := listener.Accept()
		switch {
		case err == nil:
			serving.Go(func() {
				l.welcome(ctx, c)
				<-free
			})
		case ctx.Err() != nil:
			return nil
		case l.isRetired():
			serving.Wait()
			return nil
		case isTemporary(err):
			<-free
			l.Logger.WarnContext(ctx, "Failed to take a peer's connection, going on", "error", err)
			if !pause(ctx) {
				return nil
			}
		default:
			return fmt.Errorf("failed to serve peers on %q: %w", listener.Addr(), err)
		}
	}
}

// isTemporary reports that there are too few descriptors or buffers just now.
func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ECONNABORTED)
}

// pause reports false if ctx ended before.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(minPeriod)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Retire begins no more requests of peers, which go elsewhere with them. It returns
// when those that run are answered and Serve has returned, or when ctx ends; Close
// then ends them.
func (l *Links) Retire(ctx context.Context) {
	l.mu.Lock()
	if !l.retired {
		l.retired = true
		close(l.retire)
	}
	l.mu.Unlock()
	select {
	case <-l.served:
	case <-ctx.Done():
	}
}

func (l *Links) isRetired() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retired
}

// Close ends Serve and all that it serves.
func (l *Links) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halt != nil {
		l.halt()
	}
	return nil
}

// welcome serves a connection whose other side proves that it is a peer.
func (l *Links) welcome(ctx context.Context, raw net.Conn) {
	id := l.identity.Load()
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Without it, a peer's machine that is gone is found later.
		_ = tcp.SetKeepAliveConfig(keepAlive)
	}
	c := tls.Server(raw, id.config)
	proving, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	err := errNotPeer
	if id.usable() {
		err = c.HandshakeContext(proving)
	}
	if err != nil {
		l.Logger.DebugContext(ctx, "Refused a connection at the peers' port", "from", raw.RemoteAddr().String(), "error", err)
		_ = raw.Close()
		return
	}
	state := c.ConnectionState()
	mux.Serve(ctx, c, mux.ServerOptions{Handler: l, TLS: &state, Logger: l.Logger, Retire: l.retire})
}

// ServeHTTP implements http.Handler for peers. Whoever comes this far holds a key of
// the ring of when the connection was opened.
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.identity.Load().accepts(r.TLS) {
		refuse(w, http.StatusMisdirectedRequest, verdictKey, netip.AddrPort{})
		return
	}
	if value := r.Header.Get(forwardHeader); value != "" {
		l.serveForwarded(w, r, value)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "only POST is served here", http.StatusMethodNotAllowed)
		return
	}
	// Without deadlines there is no connection that could be slow.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(documentTimeout))
	switch r.URL.Path {
	case statusPath:
		l.serveStatus(w, r)
	case findPath:
		l.serveFind(w, r)
	case adoptPath:
		l.serveAdopt(w, r)
	case disownPath:
		l.serveDisown(w, r)
	default:
		http.Error(w, "unknown path", http.StatusNotFound)
	}
}

// refuse says why what was forwarded is not served here.
func refuse(w http.ResponseWriter, code int, verdict string, moved netip.AddrPort) {
	h := w.Header()
	h.Set(verdictHeader, verdict)
	if moved.IsValid() {
		h.Set(movedHeader, moved.String())
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(code)
}

// serveForwarded serves what a peer forwards, or says where else it belongs.
func (l *Links) serveForwarded(w http.ResponseWriter, r *http.Request, value string) {
	e, err := decodeEnvelope(value)
	if err != nil || e.Hops < 1 || e.Hops > maxHops {
		refuse(w, http.StatusBadRequest, verdictUnread, netip.AddrPort{})
		return
	}
	if e.Boot != ([8]byte{}) && e.Boot != l.self.Boot {
		refuse(w, http.StatusNotFound, verdictReplaced, netip.AddrPort{})
		return
	}
	release, here := l.hold(r, e.Key)
	if !here {
		to, moved := l.Sessions.Where(e.Key)
		switch {
		case l.Sessions.Has(e.Key): // It is about to move, or too many hold it.
			l.Core.RefuseSession(w, r, session.ErrMoved)
			return
		case moved:
			refuse(w, http.StatusServiceUnavailable, verdictMoved, to)
			return
		case e.Boot == ([8]byte{}), r.URL.Path == ssePath:
			refuse(w, http.StatusNotFound, verdictGone, netip.AddrPort{})
			return
		default:
			// It was here and has ended, of which nobody knows more.
			l.Core.RefuseUnknownSession(w, r)
			return
		}
	}
	defer release()
	r.Header.Del(forwardHeader)
	r.RemoteAddr = e.ClientAddr
	l.handler.ServeForwarded(w, r, e.Forwarded)
}

// hold keeps a session here for a request of it, and reports whether it is here. A
// stream does not: it may last, and its client comes back.
func (l *Links) hold(r *http.Request, key session.Key) (release func(), here bool) {
	for range 2 { // It may begin to move in between.
		l.Sessions.Settle(r.Context(), key)
		if r.Method == http.MethodGet {
			return func() {}, l.Sessions.Has(key)
		}
		if release, here = l.Sessions.Hold(key); here || !l.Sessions.Has(key) {
			break
		}
	}
	return release, here
}

// read reads a document of a peer, or refuses it and returns false.
func read(w http.ResponseWriter, r *http.Request, most int64, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	if err := decoder.Decode(into); err != nil {
		http.Error(w, "the document cannot be read: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, document any) {
	// What is answered here can be encoded.
	text, _ := json.Marshal(document)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	// A peer that is gone learns nothing, and needs nothing.
	_, _ = w.Write(text)
}

func (l *Links) serveStatus(w http.ResponseWriter, r *http.Request) {
	var theirs status
	if !read(w, r, maxAnswer, &theirs) {
		return
	}
	l.hear(theirs)
	reply(w, l.status())
}

func (l *Links) serveFind(w http.ResponseWriter, r *http.Request) {
	var q question
	if !read(w, r, maxAnswer, &q) {
		return
	}
	key, ok := parseKey(q.Key)
	if !ok {
		http.Error(w, "the key cannot be read", http.StatusBadRequest)
		return
	}
	p := place{Absent: q.Missed.IsValid() && l.members.absent(q.Missed)}
	if boot, ok := parseKey(q.Boot); ok {
		p.Never = !l.Sessions.Adopted(session.Owner{Addr: q.Owner, Boot: boot})
	}
	if p.Generation, p.Here = l.Sessions.Generation(key); !p.Here {
		p.Moved, _ = l.Sessions.Where(key)
	}
	reply(w, p)
}

func (l *Links) serveAdopt(w http.ResponseWriter, r *http.Request) {
	var o offer
	if !read(w, r, maxSnapshot, &o) {
		return
	}
	if l.leaving.Load() || l.Core.Leaving() {
		http.Error(w, "this replica takes leave", http.StatusServiceUnavailable)
		return
	}
	if r.Context().Err() != nil {
		// Whoever offered it has given this replica up.
		http.Error(w, "the offer was withdrawn", http.StatusServiceUnavailable)
		return
	}
	if err := l.admit(o.Principal); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s, err := l.Sessions.Adopt(o.Snapshot)
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	// From here on a revocation finds the session; it may have come before.
	if err := l.admit(o.Principal); err != nil {
		s.Close(stream.Revoked)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	l.doubt(s.Key(), o.Generation-1, o.Doubtful)
	reply(w, struct{}{})
}

// admit is Options.Admit.
func (l *Links) admit(principal string) error {
	if l.Admit == nil {
		return nil
	}
	return l.Admit(principal)
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
)

// maxFailure bounds what a kubelet says about a failure, in bytes.
const maxFailure = 4 << 10

// failureTimeout bounds the wait for what a kubelet says when a stream ended.
const failureTimeout = 500 * time.Millisecond

// stream is a pair of streams as a net.Conn. It has no deadlines: an
// http.Transport without TLS sets none.
type stream struct {
	tunnel   *tunnel
	data     httpstream.Stream
	failures httpstream.Stream
	failure  chan string // gets one value when the error stream ends, and is closed
	once     sync.Once
}

func newStream(t *tunnel, failures, data httpstream.Stream) *stream {
	s := &stream{tunnel: t, data: data, failures: failures, failure: make(chan string, 1)}
	go func() {
		// It ends with the connection: Close resets the stream.
		text, _ := io.ReadAll(io.LimitReader(failures, maxFailure))
		s.failure <- strings.TrimSpace(string(text))
		close(s.failure)
	}()
	return s
}

// Read implements net.Conn. The kubelet reports a refused connection on the
// other stream, so that is asked for the reason.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.data.Read(p)
	if n > 0 || err == nil {
		return n, err
	}
	// The reason and the end come on two streams, in any order.
	timer := time.NewTimer(failureTimeout)
	defer timer.Stop()
	select {
	case text := <-s.failure:
		if text != "" {
			return 0, fmt.Errorf("pod %s: %s", s.tunnel.pod, text)
		}
	case <-timer.C:
	}
	if errors.Is(err, io.EOF) && !alive(s.tunnel.conn) {
		return 0, fmt.Errorf("lost pod %s: %w", s.tunnel.pod, errNoPod)
	}
	return 0, err
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) { return s.data.Write(p) }

// Close implements net.Conn.
func (s *stream) Close() error {
	s.once.Do(func() {
		_ = s.data.Close()
		_ = s.data.Reset()
		_ = s.failures.Reset()
		s.tunnel.conn.RemoveStreams(s.data, s.failures)
	})
	return nil
}

type address string

func (address) Network() string  { return "kubernetes" }
func (a address) String() string { return string(a) }

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return address("local") }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return address(s.tunnel.pod) }

// SetDeadline implements net.Conn and does nothing.
func (s *stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn and does nothing.
func (s *stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn and does nothing.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// restConfig is what a raw client of the core API needs.
func restConfig(base *rest.Config) *rest.Config {
	c := rest.CopyConfig(base)
	c.APIPath = "/api"
	c.GroupVersion = &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	return c
}

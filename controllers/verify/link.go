// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

var (
	// errTooLarge ends an answer that is larger than maxAnswer.
	errTooLarge = errors.New("the answer is too large")
	// errLegacy keeps the SDK from falling back to a handshake, which would leave
	// a session behind.
	errLegacy = errors.New("only stateless requests are sent")
	// errDecided ends a check after its first failure: what follows is the SDK's
	// next guess.
	errDecided = errors.New("an earlier request of this check has failed")
)

// maxRefusal bounds what is read of a refusal in bytes.
const maxRefusal = 4 << 10

// refusal is an answer with a status other than 2xx.
type refusal struct {
	status int
	// ours is whether it has the form of a Fairlead runtime's.
	ours bool
}

// link sends the requests of one check: it adds the token, bounds answers, and
// keeps what the SDK above it hides.
type link struct {
	next   http.RoundTripper
	target *Target

	mu      sync.Mutex
	refused *refusal
	failed  error
}

// refusal is the first answer that was one, nil if there was none.
func (l *link) refusal() *refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// failure is the first error of a connection, nil if there was none.
func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Mcp-Method") == "" || r.Header.Get("Mcp-Protocol-Version") != protocolVersion {
		closeBody(r)
		return nil, errLegacy
	}
	if l.refusal() != nil || l.failure() != nil {
		closeBody(r)
		return nil, errDecided
	}
	out := r.Clone(r.Context())
	out.Header.Set("Authorization", "Bearer "+l.target.token(time.Now()))
	out.Header.Set("User-Agent", clientName)
	resp, err := l.next.RoundTrip(out)
	if err != nil {
		l.fail(err)
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		l.refuse(resp)
		return resp, nil
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer, link: l}
	return resp, nil
}

// refuse notes a refusal and gives the SDK what was read of it.
func (l *link) refuse(resp *http.Response) {
	// A body that breaks off is judged by what came.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = &refusal{status: resp.StatusCode, ours: isOurs(body)}
	}
}

// isOurs recognizes the body of a runtime's refusals: {"error", "message"}, or an
// error of JSON-RPC.
func isOurs(body []byte) bool {
	var refusal struct {
		JSONRPC string `json:"jsonrpc"`
		Error   any    `json:"error"`
		Message string `json:"message"`
	}
	return json.Unmarshal(body, &refusal) == nil && refusal.Error != nil && (refusal.Message != "" || refusal.JSONRPC == "2.0")
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// boundedBody is an answer's body that fails beyond its bound, where a limited
// reader would end as if the answer did.
type boundedBody struct {
	io.ReadCloser

	left int
	link *link
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		b.link.fail(errTooLarge)
		return 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.link.fail(err)
	}
	return n, err
}

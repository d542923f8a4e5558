// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrClosed is what calls get after Close, or after the context of Connect
	// ended.
	ErrClosed = errors.New("the client is closed")
	// ErrOutcomeUnknown is wrapped by the error of a call whose request left but
	// whose answer never came: the tool may or may not have run.
	ErrOutcomeUnknown = errors.New("the call was cut before its answer came: it may or may not have run")
	// ErrEra is wrapped when the server does not speak the transport that was
	// asked for.
	ErrEra = errors.New("the server does not speak this transport")
)

// maxRefusal bounds the body of a refusal that is read for its message, in bytes.
const maxRefusal = 64 << 10

// StatusError is an HTTP answer that refuses a request.
type StatusError struct {
	// Status is the HTTP status, 300 and above.
	Status int
	// Code is the "error" of a Fairlead server's refusal, such as
	// missing_credentials; empty for other servers.
	Code string
	// Message is the server's own explanation, at most 1,024 bytes; it may be empty.
	Message string
	// RetryAfter is what the server asked for; 0 if it did not.
	RetryAfter time.Duration
	// Location is where a redirect points to. Redirects are not followed, since
	// credentials must not follow them.
	Location string
}

// Error names the status and what the server said.
func (e *StatusError) Error() string {
	s := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	switch {
	case e.Location != "":
		s += ": the server redirects to " + e.Location + ": use that URL"
	case e.Message != "":
		s += ": " + e.Message
	}
	return s
}

// Temporary says that the same request may be accepted later.
func (e *StatusError) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= http.StatusInternalServerError && e.Status != http.StatusNotImplemented &&
		e.Status != http.StatusHTTPVersionNotSupported
}

// readRefusal reads a refusal. It gives the bytes back, since the protocol's
// error may be in them too.
func readRefusal(resp *http.Response, at time.Time) (*StatusError, []byte) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	e := &StatusError{
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), at),
	}
	if resp.StatusCode < http.StatusBadRequest {
		e.Location = clip(resp.Header.Get("Location"))
	}
	e.Code, e.Message = refusalText(resp.Header.Get("Content-Type"), body)
	return e, body
}

// refusalText finds the words for people in the forms that servers use: a
// Fairlead refusal, a JSON-RPC error, plain text. HTML pages of proxies say
// nothing that the status does not.
func refusalText(contentType string, body []byte) (code, message string) {
	var known struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	if json.Unmarshal(body, &known) == nil {
		var rpc struct {
			Message string `json:"message"`
		}
		switch {
		case json.Unmarshal(known.Error, &code) == nil:
			return code, clip(known.Message)
		case json.Unmarshal(known.Error, &rpc) == nil && rpc.Message != "":
			return "", clip(rpc.Message)
		}
		return "", clip(known.Message)
	}
	if strings.HasPrefix(contentType, "text/plain") {
		return "", clip(strings.TrimSpace(string(body)))
	}
	return "", ""
}

func clip(s string) string {
	const most = 1024
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

// retryAfter reads both forms of RFC 9110, section 10.2.3.
func retryAfter(value string, at time.Time) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(0, t.Sub(at))
	}
	return 0
}

// permanent says that trying again cannot help: somebody has to change the URL,
// the key, the certificate or the server.
func permanent(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return !status.Temporary()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return errors.Is(err, ErrEra) || errors.Is(err, errForeign) || errors.Is(err, http.ErrSchemeMismatch)
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

const (
	jsonType = "application/json"
	// maxAhead bounds what is allocated because of a length that a client only
	// claims.
	maxAhead = 64 << 10
	// verifierBody bounds a body of the verifier in bytes.
	verifierBody = 16 << 10
)

// ReadBody reads the body of a POST that must be JSON, within the size and the
// time of the settings and the budget of all bodies. Otherwise it refuses the
// request and returns false. release gives the body's part of the budget back;
// if ok, it must be called once, when nothing refers to the body any more.
func (c *Core) ReadBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), ok bool) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != jsonType {
		c.Refuse(w, r, Refusal{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "the Content-Type must be application/json", Close: true})
		return nil, nil, false
	}
	s := c.Settings()
	if Principal(r.Context()).Verifier {
		// Its requests are small, and must be answered under whatever limits and load.
		own := *s
		own.MaxRequestSize = verifierBody
		body, ok = c.readBody(w, r, &own)
		return body, func() {}, ok
	}
	if r.ContentLength > s.MaxRequestSize {
		c.refuseSize(w, r, s.MaxRequestSize)
		return nil, nil, false
	}
	share, ok := c.reserveBody(w, r, s.MaxRequestSize)
	if !ok {
		return nil, nil, false
	}
	if body, ok = c.readBody(w, r, s); !ok {
		share.release()
		return nil, nil, false
	}
	// A subscription may last for hours: it must not hold what was not sent.
	share.shrink(int64(len(body)))
	return body, share.release, true
}

func (c *Core) readBody(w http.ResponseWriter, r *http.Request, s *Settings) ([]byte, bool) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(s.ReadTimeout)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		c.refuseUnread(w, r)
		return nil, false
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), maxAhead)+bytes.MinRead))
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, s.MaxRequestSize))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		c.refuseSize(w, r, s.MaxRequestSize)
		return nil, false
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Refuse(w, r, Refusal{
			Status: http.StatusRequestTimeout, Code: "request_timeout", Close: true,
			Message: fmt.Sprintf("the body did not arrive within %s", s.ReadTimeout),
		})
		return nil, false
	}
	// The deadline would end the watch for a client that hangs up.
	if err != nil || control.SetReadDeadline(time.Time{}) != nil && !isInMemory(control) {
		c.refuseUnread(w, r)
		return nil, false
	}
	return buf.Bytes(), true
}

// isInMemory reports that there is no connection that deadlines could bound.
func isInMemory(control *http.ResponseController) bool {
	return errors.Is(control.SetReadDeadline(time.Time{}), errors.ErrUnsupported)
}

func (c *Core) refuseUnread(w http.ResponseWriter, r *http.Request) {
	c.Refuse(w, r, Refusal{Status: http.StatusBadRequest, Code: "unreadable_body", Message: "the body could not be read", Close: true})
}

func (c *Core) refuseSize(w http.ResponseWriter, r *http.Request, most int64) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Close: true,
		Message: fmt.Sprintf("the body is larger than %d bytes, the limit of limits.maxRequestSize", most),
	})
}

// Accepts says in which forms a client takes an answer.
type Accepts struct {
	JSON, Stream bool
}

// ParseAccept reads the Accept header (RFC 9110, 12.5.1). Without one
// everything is acceptable.
func ParseAccept(h http.Header) Accepts {
	values := h.Values("Accept")
	if len(values) == 0 {
		return Accepts{JSON: true, Stream: true}
	}
	var a Accepts
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			media, parameters, _ := strings.Cut(item, ";")
			if refusesAll(parameters) {
				continue
			}
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "*/*":
				a.JSON, a.Stream = true, true
			case jsonType, "application/*":
				a.JSON = true
			case stream.MediaType, "text/*":
				a.Stream = true
			}
		}
	}
	return a
}

// refusesAll finds a quality of zero among parameters.
func refusesAll(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			return err == nil && q == 0
		}
	}
	return false
}

// RefuseAccept answers 406.
func (c *Core) RefuseAccept(w http.ResponseWriter, r *http.Request, need string) {
	c.Refuse(w, r, Refusal{Status: http.StatusNotAcceptable, Code: "not_acceptable", Message: "the Accept header must allow " + need})
}

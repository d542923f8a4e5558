// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"sync"
	"time"

	"fairlead.dev/fairlead/runtime/internal/limit"
)

const (
	jsonType = "application/json"
	// maxAhead bounds what is allocated because of a length that a client only
	// claims, and what is kept for the next body, in bytes.
	maxAhead = 64 << 10
	// minRead is the least room that there is for a read.
	minRead = 512
	// verifierBody bounds a body of the verifier in bytes.
	verifierBody = 16 << 10
)

// body is one body and its part of the budget. Bodies are used again.
type body struct {
	bytes  []byte
	budget *limit.Bytes // nil if the body takes no part of it
	share  int64
	// release is the method, made once so that a request allocates nothing.
	release func()
}

var bodies sync.Pool // of *body

func newBody() *body {
	if b, ok := bodies.Get().(*body); ok {
		return b
	}
	b := &body{}
	b.release = b.giveBack
	return b
}

// giveBack ends the use of a body.
func (b *body) giveBack() {
	b.shrink(0)
	b.budget = nil
	if cap(b.bytes) <= maxAhead+minRead {
		b.bytes = b.bytes[:0]
		bodies.Put(b)
	}
}

// shrink gives back all but n bytes of the share.
func (b *body) shrink(n int64) {
	if b.budget != nil && n < b.share {
		b.budget.Give(b.share - n)
		b.share = n
	}
}

// ReadBody reads the body of a POST that must be JSON, within the size and the
// time of the settings and the budget of all bodies. Otherwise it refuses the
// request and returns false. release gives the body's part of the budget back,
// and its memory to the next request; if ok, it must be called once, when nothing
// refers to the body any more.
func (c *Core) ReadBody(w http.ResponseWriter, r *http.Request) (data []byte, release func(), ok bool) {
	if !isJSON(r.Header.Get("Content-Type")) {
		c.Refuse(w, r, Refusal{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "the Content-Type must be application/json", Close: true})
		return nil, nil, false
	}
	s := c.Settings()
	most := s.MaxRequestSize
	verifier := Principal(r.Context()).Verifier
	if verifier {
		most = verifierBody
	}
	if r.ContentLength > most {
		c.refuseSize(w, r, most)
		return nil, nil, false
	}
	b := newBody()
	// The verifier's requests are small, and must be answered under whatever
	// limits and load.
	if !verifier && !c.reserve(b, r.ContentLength, most) {
		b.release()
		c.refuseBytes(w, r)
		return nil, nil, false
	}
	if err := b.read(w, r, most, s.ReadTimeout); err != nil {
		b.release()
		c.refuseBody(w, r, err, most, s.ReadTimeout)
		return nil, nil, false
	}
	// A subscription may last for hours: it must not hold what was not sent.
	b.shrink(int64(len(b.bytes)))
	return b.bytes, b.release, true
}

func isJSON(contentType string) bool {
	if contentType == jsonType {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == jsonType
}

// reserve takes what a request may send of the budget. An unknown length counts
// as the largest; what is larger than the whole budget, since the settings have
// changed, takes all of it.
func (c *Core) reserve(b *body, length, most int64) bool {
	if length < 0 {
		length = most
	}
	length = min(length, c.bytes.Size())
	if !c.bytes.Take(length) {
		return false
	}
	b.budget, b.share = c.bytes, length
	return true
}

// errTooLarge means that a body is larger than it may be.
var errTooLarge = errors.New("the body is too large")

// read reads a body, which must arrive within a time.
func (b *body) read(w http.ResponseWriter, r *http.Request, most int64, within time.Duration) error {
	control := http.NewResponseController(w)
	// What exists only in memory has no deadlines, and does not wait.
	if err := control.SetReadDeadline(time.Now().Add(within)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if ahead := int(min(max(r.ContentLength, 0), maxAhead)) + minRead; cap(b.bytes) < ahead {
		b.bytes = make([]byte, 0, ahead)
	}
	for {
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if int64(len(b.bytes)) > most {
			return errTooLarge
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(b.bytes) == cap(b.bytes) {
			b.bytes = append(b.bytes, 0)[:len(b.bytes)]
		}
	}
	// The deadline would end the watch for a client that hangs up.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// refuseBody answers for an error of read.
func (c *Core) refuseBody(w http.ResponseWriter, r *http.Request, err error, most int64, within time.Duration) {
	switch {
	case errors.Is(err, errTooLarge):
		c.refuseSize(w, r, most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Refuse(w, r, Refusal{
			Status: http.StatusRequestTimeout, Code: "request_timeout", Close: true,
			Message: fmt.Sprintf("the body did not arrive within %s", within),
		})
	default:
		c.Refuse(w, r, Refusal{Status: http.StatusBadRequest, Code: "unreadable_body", Message: "the body could not be read", Close: true})
	}
}

func (c *Core) refuseSize(w http.ResponseWriter, r *http.Request, most int64) {
	c.Refuse(w, r, Refusal{
		Status: http.StatusRequestEntityTooLarge, Code: "request_too_large", Close: true,
		Message: fmt.Sprintf("the body is larger than %d bytes, the limit of limits.maxRequestSize", most),
	})
}

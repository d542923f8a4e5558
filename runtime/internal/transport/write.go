// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// piece is how much is written under one deadline, in bytes.
const piece = 64 << 10

var compressors = sync.Pool{New: func() any {
	// The fastest level: JSON shrinks well at any, and calls are frequent.
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// WriteJSON answers with one JSON body, compressed if it is large enough and
// the client takes that. An empty body is sent without a type. Errors are not
// reported: they mean that the client is gone or does not read.
func (c *Core) WriteJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	s := c.Settings()
	h := w.Header()
	if len(body) > 0 {
		h.Set("Content-Type", jsonType)
		h.Add("Vary", "Accept-Encoding")
		if s.CompressMinSize > 0 && len(body) >= s.CompressMinSize && takesGzip(r.Header) {
			body = compress(body)
			h.Set("Content-Encoding", "gzip")
		}
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	control := http.NewResponseController(w)
	// The server clears the last deadline after it has sent the rest.
	extend := func() { _ = control.SetWriteDeadline(time.Now().Add(s.WriteTimeout)) }
	extend()
	w.WriteHeader(status)
	for len(body) > 0 {
		n := min(len(body), piece)
		extend()
		if _, err := w.Write(body[:n]); err != nil {
			return
		}
		body = body[n:]
	}
}

func compress(body []byte) []byte {
	var buf bytes.Buffer
	buf.Grow(len(body) / 4)
	z, _ := compressors.Get().(*gzip.Writer)
	z.Reset(&buf)
	// A buffer takes everything.
	_, _ = z.Write(body)
	_ = z.Close()
	compressors.Put(z)
	return buf.Bytes()
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3).
func takesGzip(h http.Header) bool {
	for _, value := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(value, ",") {
			coding, parameters, _ := strings.Cut(item, ";")
			coding = strings.TrimSpace(coding)
			if (strings.EqualFold(coding, "gzip") || coding == "*") && !refusesAll(parameters) {
				return true
			}
		}
	}
	return false
}

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

// Values of headers that answers have: net/http copies them, and who adds to one
// gets a copy.
var (
	jsonValue    = []string{jsonType}
	noStore      = []string{"no-store"}
	varyEncoding = []string{"Accept-Encoding"}
	gzipValue    = []string{"gzip"}
	noLength     = []string{"0"}
)

// unbuffered is the size in bytes from which net/http does not find out the
// length of a body by itself, and would send it in chunks.
const unbuffered = 2 << 10

// WriteJSON answers with one JSON body, compressed if it is large enough and
// the client takes that. An empty body is sent without a type. Errors are not
// reported: they mean that the client is gone or does not read.
func (c *Core) WriteJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	s := c.Settings()
	h := w.Header()
	if len(body) > 0 {
		h["Content-Type"] = jsonValue
		if _, ok := h["Vary"]; ok {
			h.Add("Vary", "Accept-Encoding")
		} else {
			h["Vary"] = varyEncoding
		}
		if s.CompressMinSize > 0 && len(body) >= s.CompressMinSize && takesGzip(r.Header) {
			body = compress(body)
			h["Content-Encoding"] = gzipValue
		}
	}
	if _, ok := h["Cache-Control"]; !ok {
		h["Cache-Control"] = noStore
	}
	if len(body) == 0 && status != http.StatusNoContent {
		h["Content-Length"] = noLength
	} else if len(body) >= unbuffered {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	if n := int64(len(body)); n > piece {
		// A slow client has it held for long.
		c.bytes.Count(n)
		defer c.bytes.Give(n)
	}
	control := http.NewResponseController(w)
	// The server clears the last deadline after it has sent the rest.
	_ = control.SetWriteDeadline(time.Now().Add(s.WriteTimeout))
	w.WriteHeader(status)
	for rest := body; len(rest) > 0; {
		n := min(len(rest), piece)
		if _, err := w.Write(rest[:n]); err != nil { //nolint:gosec // G705: it is JSON, and said to be.
			return
		}
		if rest = rest[n:]; len(rest) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(s.WriteTimeout))
		}
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

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// unpack has an answer unpacked that a backend compressed although it was not asked
// to, as it is where net/http asks for it. A plan that asks itself wants no help.
func unpack(request *http.Request, response *http.Response) {
	if response.Body == http.NoBody || request.Header["Accept-Encoding"] != nil || !strings.EqualFold(response.Header.Get("Content-Encoding"), "gzip") {
		return
	}
	response.Header.Del("Content-Encoding")
	response.Header.Del("Content-Length")
	response.ContentLength, response.Uncompressed = -1, true
	response.Body = &unpacked{body: response.Body}
}

// unpacked reads a compressed body, nothing of it ahead.
type unpacked struct {
	body io.ReadCloser
	from *gzip.Reader
}

// Read implements io.Reader.
func (u *unpacked) Read(p []byte) (int, error) {
	if u.from == nil {
		from, err := gzip.NewReader(u.body)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF // There is nothing to unpack.
		}
		if err != nil {
			return 0, fmt.Errorf("failed to unpack the answer: %w", err)
		}
		u.from = from
	}
	return u.from.Read(p)
}

// Close implements io.Closer.
func (u *unpacked) Close() error { return u.body.Close() }

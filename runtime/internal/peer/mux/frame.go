// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mux carries many HTTP requests at once on one connection between two
// replicas: small frames, a window for each direction of each request, and one
// write for all that piled up. It knows neither sessions nor what is forwarded; see
// docs/adr/0011-links-between-replicas.md for why it is not HTTP/2.
//
// A frame is its payload's length (3 bytes, big endian), a kind (1 byte), the number
// of its request (4 bytes), and the payload. The side that opened the connection
// asks and numbers the requests, the other answers.
package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
)

// kind is that of a frame. last is set in it if the sender says no more.
type kind byte

const (
	// kindHead begins a request or an answer: the length of its head as a varint,
	// the head, and the beginning of the body.
	kindHead kind = iota + 1
	// kindData goes on with the body.
	kindData
	// kindWindow lets the other side send so many bytes more (4 bytes).
	kindWindow
	// kindReset ends a request before its time: nobody waits for it, or nobody
	// answers.
	kindReset
	// kindAway says that the answering side begins no more requests on the
	// connection; it goes on with those that it has begun.
	kindAway
	// kindRefused ends a request that was not begun because of that.
	kindRefused

	last kind = 0x80
)

const (
	frameHead = 8
	// maxData bounds the body in one frame, so that no request holds others up.
	maxData = 16 << 10
	// maxHead bounds a head.
	maxHead = 64 << 10
	// maxFrame bounds a payload.
	maxFrame = maxHead + maxData + binary.MaxVarintLen64
	// window is how much of a body may be on its way, in bytes.
	window = 64 << 10
	// maxFields bounds the fields of a head.
	maxFields = 512
)

var errMalformed = errors.New("the other side sent what is no frame of this protocol")

func appendFrameHead(b []byte, k kind, id uint32, length int) []byte {
	b = append(b, byte(length>>16&0xff), byte(length>>8&0xff), byte(length&0xff), byte(k))
	return binary.BigEndian.AppendUint32(b, id)
}

// Head is what stands before a body: two words, which are method and target in a
// request and status and nothing in an answer, and fields.
type head struct {
	first, second string
	fields        http.Header
}

// count is how many fields there are.
func (h *head) count() (n int) {
	for _, values := range h.fields {
		n += len(values)
	}
	return n
}

func (h *head) append(b []byte) []byte {
	b = appendText(appendText(b, h.first), h.second)
	b = binary.AppendUvarint(b, uint64(h.count())) //nolint:gosec // G115: a length.
	for name, values := range h.fields {
		for _, value := range values {
			b = appendText(appendText(b, name), value)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseHead takes a payload of kindHead apart.
func parseHead(payload []byte) (h head, data []byte, err error) {
	n, used := binary.Uvarint(payload)
	if used <= 0 || n > maxHead || int(n) > len(payload)-used {
		return head{}, nil, errMalformed
	}
	// One string for all: what is kept of it keeps little else.
	r := text{rest: string(payload[used : used+int(n)])}
	h.first, h.second = r.next(), r.next()
	count := r.number()
	if count > maxFields {
		return head{}, nil, fmt.Errorf("%w: %d fields", errMalformed, count)
	}
	h.fields = make(http.Header, count)
	// Most fields have one value: these share one array.
	values := make([]string, 0, count)
	for range count {
		name, value := r.next(), r.next()
		if before := h.fields[name]; before != nil {
			h.fields[name] = append(before, value)
			continue
		}
		values = append(values, value)
		h.fields[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if r.broken || r.rest != "" {
		return head{}, nil, errMalformed
	}
	return h, payload[used+int(n):], nil
}

// text is what is left of a head.
type text struct {
	rest   string
	broken bool
}

func (t *text) number() uint64 {
	var v uint64
	for i := range min(len(t.rest), binary.MaxVarintLen32) {
		c := t.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			t.rest = t.rest[i+1:]
			return v
		}
	}
	t.rest, t.broken = "", true
	return 0
}

func (t *text) next() string {
	n := t.number()
	if n > uint64(len(t.rest)) {
		t.rest, t.broken = "", true
		return ""
	}
	s := t.rest[:n]
	t.rest = t.rest[n:]
	return s
}

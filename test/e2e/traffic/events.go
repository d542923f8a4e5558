// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
)

// maxLine bounds one line of an event stream, in bytes.
const maxLine = 1 << 20

// event is one event of an event stream (WHATWG HTML, section 9.2).
type event struct {
	name string
	data []byte
}

// maxRetry bounds what a server may ask a client to wait before it connects again.
const maxRetry = 5 * time.Second

// events reads an event stream.
type events struct {
	lines *bufio.Scanner
	// lastID is the newest id, and retry what the server said about the time to
	// wait; zero for nothing.
	lastID string
	retry  time.Duration
}

func newEvents(r io.Reader) *events {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	return &events{lines: lines}
}

// next returns the next event that carries data. Comments, which are
// heartbeats, are skipped. The error is io.EOF when the stream ended in order.
func (e *events) next() (event, error) {
	var got event
	for e.lines.Scan() {
		line := e.lines.Bytes()
		if len(line) == 0 {
			if len(got.data) > 0 {
				return got, nil
			}
			got = event{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			e.lastID = string(value)
		case "retry":
			if ms, err := strconv.Atoi(string(value)); err == nil && ms >= 0 {
				e.retry = min(time.Duration(ms)*time.Millisecond, maxRetry)
			}
		case "event":
			got.name = string(value)
		case "data":
			if got.data != nil {
				got.data = append(got.data, '\n')
			}
			got.data = append(got.data, value...)
		}
	}
	if err := e.lines.Err(); err != nil {
		return event{}, fmt.Errorf("failed to read the stream: %w", err)
	}
	return event{}, io.EOF
}

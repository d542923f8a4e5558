// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxLine bounds one line of an event stream, in bytes.
const maxLine = 1 << 20

// event is one event of an event stream (WHATWG HTML, section 9.2).
type event struct {
	name string
	data []byte
}

// events reads an event stream.
type events struct{ lines *bufio.Scanner }

func newEvents(r io.Reader) *events {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	return &events{lines}
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

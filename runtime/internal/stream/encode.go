// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"strconv"
)

// MediaType is the media type of an event stream.
const MediaType = "text/event-stream"

// ping is a comment line, which clients ignore: it keeps middleboxes from
// cutting a quiet stream and finds out that a client is gone.
const ping = ": ping\n\n"

// AppendEvent appends one event to dst. Every line terminator in data, be it
// CR, LF or CRLF, begins a new data line, so that data cannot forge a field; a
// client gives them back as LF. CR, LF and NUL are taken out of event and id,
// since none of them can be written in those fields. Empty event and id are
// left out.
func AppendEvent(dst []byte, event, id string, data []byte) []byte {
	switch event {
	case "":
	case "message":
		dst = append(dst, "event: message\n"...)
	default:
		dst = append(dst, "event: "...)
		dst = appendField(dst, event)
		dst = append(dst, '\n')
	}
	if id != "" {
		dst = append(dst, "id: "...)
		dst = appendField(dst, id)
		dst = append(dst, '\n')
	}
	for {
		line, rest, more := cutLine(data)
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
		if !more {
			return append(dst, '\n')
		}
		data = rest
	}
}

// appendMessage appends m as one event, under id if m has none.
func appendMessage(dst []byte, m *Message, id string) []byte {
	if m.Retry > 0 {
		dst = append(dst, "retry: "...)
		dst = strconv.AppendInt(dst, m.Retry.Milliseconds(), 10)
		dst = append(dst, '\n')
		if m.ID == "" && m.Event == "" && m.Data == nil {
			return append(dst, '\n') // No event at all.
		}
	}
	if m.ID != "" {
		id = m.ID
	}
	return AppendEvent(dst, m.Event, id, m.Data)
}

// cutLine splits data at its first line terminator. more reports that there
// was one.
func cutLine(data []byte) (line, rest []byte, more bool) {
	// Two searches for one byte each are vectorized; bytes.IndexAny is not.
	end := bytes.IndexByte(data, '\n')
	head := data
	if end >= 0 {
		head = data[:end]
	}
	if cr := bytes.IndexByte(head, '\r'); cr >= 0 {
		end = cr
	}
	if end < 0 {
		return data, nil, false
	}
	next := end + 1
	if data[end] == '\r' && next < len(data) && data[next] == '\n' {
		next++
	}
	return data[:end], data[next:], true
}

// appendField appends value without what would end its line.
func appendField(dst []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c != '\r' && c != '\n' && c != 0 {
			dst = append(dst, c)
		}
	}
	return dst
}

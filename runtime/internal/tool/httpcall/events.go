// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
)

// errEventTooLarge means that one event or line exceeds its bound.
var errEventTooLarge = errors.New("the event is too large")

// lineReader reads lines of a bounded size.
type lineReader struct {
	from  *bufio.Reader
	limit int
	line  []byte
	// cr makes CR and CRLF end a line too, as event streams want it.
	cr bool
	// skipLF is set after a CR: the LF of a CRLF is skipped when it comes,
	// not waited for.
	skipLF bool
}

// readers are kept for the next stream.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

func newReader(from io.Reader) *bufio.Reader {
	r, _ := readers.Get().(*bufio.Reader)
	r.Reset(from)
	return r
}

// end gives the reader's memory back after the last read.
func (r *lineReader) end() {
	r.from.Reset(nil)
	readers.Put(r.from)
}

// newLineReader returns an eventSource for NDJSON: one event a line, empty
// lines skipped. The last line needs no line break.
func newLineReader(from io.Reader, limit int64) *ndjsonReader {
	return &ndjsonReader{lines: lineReader{from: newReader(from), limit: int(limit)}}
}

// ndjsonReader implements eventSource.
type ndjsonReader struct{ lines lineReader }

// next implements eventSource.
func (r *ndjsonReader) next() ([]byte, error) {
	for {
		line, err := r.lines.read()
		if line = bytes.TrimSpace(line); len(line) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// read returns the next line without its end, which is valid until the next call.
// At the end of the input it returns what is left together with io.EOF.
func (r *lineReader) read() ([]byte, error) {
	if r.line = r.line[:0]; cap(r.line) > maxPooled {
		r.line = nil
	}
	for {
		if _, err := r.from.Peek(1); err != nil {
			return r.line, err
		}
		chunk, _ := r.from.Peek(r.from.Buffered())
		if r.skipLF {
			r.skipLF = false
			if chunk[0] == '\n' {
				r.skip(1)
				continue
			}
		}
		end := r.cut(chunk)
		if end < 0 {
			end = len(chunk)
		}
		if len(r.line)+end > r.limit {
			return nil, errEventTooLarge
		}
		if len(r.line) == 0 && end < len(chunk) {
			r.skipLF = chunk[end] == '\r'
			r.skip(end + 1)
			return chunk[:end], nil // The buffer keeps it until more is read.
		}
		r.line = append(r.line, chunk[:end]...)
		if end == len(chunk) {
			r.skip(end)
			continue
		}
		r.skipLF = chunk[end] == '\r'
		r.skip(end + 1)
		return r.line, nil
	}
}

// skip drops bytes that are buffered, which cannot fail.
func (r *lineReader) skip(n int) { _, _ = r.from.Discard(n) }

// cut is the index of the first line end in chunk, or negative.
func (r *lineReader) cut(chunk []byte) int {
	lf := bytes.IndexByte(chunk, '\n')
	if !r.cr {
		return lf
	}
	before := chunk
	if lf >= 0 {
		before = chunk[:lf]
	}
	if cr := bytes.IndexByte(before, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// eventReader reads the events of an event stream as the HTML standard's
// section 9.2.6 parses them, but for one thing: an event that the stream's
// clean end interrupts counts, since backends forget the last empty line.
type eventReader struct {
	lines lineReader
	data  []byte
	// filled is true when the event has a data field, even an empty one.
	filled bool
	begun  bool
	ended  bool
}

// newEventReader returns an eventSource for text/event-stream.
func newEventReader(from io.Reader, limit int64) *eventReader {
	return &eventReader{lines: lineReader{from: newReader(from), limit: int(limit), cr: true}}
}

// next implements eventSource; an event is its data.
func (r *eventReader) next() ([]byte, error) {
	if r.data, r.filled = r.data[:0], false; cap(r.data) > maxPooled {
		r.data = nil
	}
	for !r.ended {
		line, err := r.lines.read()
		switch {
		case errors.Is(err, io.EOF):
			r.ended = true
		case err != nil:
			return nil, err
		}
		if !r.begun {
			r.begun = true
			line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
		}
		if len(line) > 0 {
			if err := r.field(line); err != nil {
				return nil, err
			}
			continue
		}
		if r.filled {
			return r.data, nil
		}
	}
	if r.filled {
		r.filled = false
		return r.data, nil
	}
	return nil, io.EOF
}

// field takes in one line that is not empty. Only data counts here; comments,
// ids, event names and retry times mean nothing to a tool's result.
func (r *eventReader) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if string(name) != "data" {
		return nil
	}
	value = bytes.TrimPrefix(value, []byte(" "))
	if len(r.data)+1+len(value) > r.lines.limit {
		return errEventTooLarge
	}
	if r.filled {
		r.data = append(r.data, '\n')
	}
	r.filled = true
	r.data = append(r.data, value...)
	return nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// errEventTooLarge means that one event or line exceeds its bound.
var errEventTooLarge = errors.New("the event is too large")

// lineReader reads lines of a bounded size, which lie in its buffer: a client that
// does not read has nothing else held of them.
type lineReader struct {
	from  io.Reader
	limit int
	// buffer holds, from start to end, what was read and not returned.
	buffer     *[]byte
	start, end int
	// cr makes CR and CRLF end a line too, as event streams want it.
	cr bool
	// skipLF is set after a CR: the LF of a CRLF is skipped when it comes,
	// not waited for.
	skipLF bool
}

// lineBuffer is how much is read at once, in bytes; a longer line has it doubled.
const lineBuffer = 4 << 10

// lineBuffers are kept for the next stream.
var lineBuffers = sync.Pool{New: func() any { return newLineBuffer(lineBuffer) }}

func newLineBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

func newReader(from io.Reader, limit int64, cr bool) lineReader {
	buffer, _ := lineBuffers.Get().(*[]byte)
	return lineReader{from: from, limit: int(limit), buffer: buffer, cr: cr}
}

// close gives the reader's memory back after the last read.
func (r *lineReader) close() {
	if len(*r.buffer) <= maxPooled {
		lineBuffers.Put(r.buffer)
	}
	r.buffer = nil
}

// newLineReader returns an eventSource for NDJSON: one event a line, empty
// lines skipped. The last line needs no line break.
func newLineReader(from io.Reader, limit int64) *ndjsonReader {
	return &ndjsonReader{lines: newReader(from, limit, false)}
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
	for seen := 0; ; {
		data := (*r.buffer)[r.start:r.end]
		if r.skipLF && len(data) > 0 {
			r.skipLF = false
			if data[0] == '\n' {
				r.start++
				continue
			}
		}
		if end := r.cut(data[seen:]); end >= 0 {
			end += seen
			r.start += end + 1
			r.skipLF = data[end] == '\r'
			return data[:end:end], r.judge(end)
		}
		if err := r.judge(len(data)); err != nil {
			return nil, err
		}
		seen = len(data)
		if err := r.fill(); err != nil {
			rest := (*r.buffer)[r.start:r.end]
			r.start = r.end
			return rest, err
		}
	}
}

// judge bounds a line.
func (r *lineReader) judge(size int) error {
	if size > r.limit {
		return errEventTooLarge
	}
	return nil
}

// fill reads more, once; an error means that nothing was read.
func (r *lineReader) fill() error {
	unread := (*r.buffer)[r.start:r.end]
	switch {
	case len(unread) == 0 && len(*r.buffer) > maxPooled:
		r.buffer = newLineBuffer(lineBuffer) // It was for one long line.
	case len(unread) == len(*r.buffer):
		r.buffer = newLineBuffer(min(2*len(unread), r.limit+1))
	}
	// An event that was returned is not needed any more.
	r.start, r.end = 0, copy(*r.buffer, unread)
	for range maxEmptyReads {
		n, err := r.from.Read((*r.buffer)[r.end:])
		r.end += n
		switch {
		case n > 0:
			return nil // An error comes again.
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// maxEmptyReads bounds how often a reader may give nothing, without an error.
const maxEmptyReads = 100

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
	return &eventReader{lines: newReader(from, limit, true)}
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

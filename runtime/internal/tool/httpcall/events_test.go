// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// drain reads all events.
func drain(source eventSource) (events []string, err error) {
	for {
		event, err := source.next()
		if err != nil {
			return events, err
		}
		events = append(events, string(event))
	}
}

func TestEventReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, stream string
		want         []string
	}{
		{name: "nothing"},
		{name: "one", stream: "data: a\n\n", want: []string{"a"}},
		{name: "no space", stream: "data:a\n\n", want: []string{"a"}},
		{name: "two spaces", stream: "data:  a\n\n", want: []string{" a"}},
		{name: "several lines", stream: "data: a\ndata: b\ndata\ndata:c\n\n", want: []string{"a\nb\n\nc"}},
		{name: "CRLF", stream: "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", want: []string{"a\nb", "c"}},
		{name: "CR", stream: "data: a\rdata: b\r\rdata: c\r\r", want: []string{"a\nb", "c"}},
		{name: "mixed", stream: "data: a\rdata: b\r\ndata: c\n\r\n", want: []string{"a\nb\nc"}},
		{name: "comments", stream: ": hello\n\n:\n\ndata: a\n: between\ndata: b\n\n: bye\n\n", want: []string{"a\nb"}},
		{name: "other fields", stream: "event: x\nid: 1\nretry: 10\ndata: a\nfoo: b\nfoo\n\n", want: []string{"a"}},
		{name: "no data, no event", stream: "event: x\n\nid: 2\n\ndata: a\n\n", want: []string{"a"}},
		{name: "empty data", stream: "data:\n\ndata\n\n", want: []string{"", ""}},
		{name: "field names have a case", stream: "Data: a\n data: b\ndata : c\n\n"},
		{name: "byte order mark", stream: "\uFEFFdata: a\n\n\uFEFFdata: b\n\n", want: []string{"a"}},
		{name: "cut off before the empty line", stream: "data: a\n\ndata: b\n", want: []string{"a", "b"}},
		{name: "cut off within the line", stream: "data: a\n\ndata: b", want: []string{"a", "b"}},
		{name: "ends with CR", stream: "data: a\r\r", want: []string{"a"}},
		{name: "leading empty lines", stream: "\n\r\n\rdata: a\n\n", want: []string{"a"}},
		{name: "binary", stream: "data: \x00\xff\n\n", want: []string{"\x00\xff"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, from := range map[string]io.Reader{
				"whole": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)),
			} {
				got, err := drain(newEventReader(from, 1<<10))
				if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
				}
			}
		})
	}
}

// TestEventReaderDoesNotWait shows that an event is there once its end is: a
// CR is not held back until it is known whether a LF follows.
func TestEventReaderDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"} {
		from := io.MultiReader(strings.NewReader(stream), iotest.ErrReader(errors.New("read too far")))
		if event, err := newEventReader(from, 1<<10).next(); string(event) != "a" || err != nil {
			t.Errorf("%q: %q, %v", stream, event, err)
		}
	}
}

func TestLineReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, stream string
		want         []string
	}{
		{name: "nothing"},
		{name: "lines", stream: "{\"a\":1}\n{\"a\":2}\n", want: []string{`{"a":1}`, `{"a":2}`}},
		{name: "no last line break", stream: "1\n2", want: []string{"1", "2"}},
		{name: "CRLF and blanks", stream: " 1 \r\n\r\n\n2\r\n  \n", want: []string{"1", "2"}},
		{name: "a CR ends no line", stream: "1\r2\n", want: []string{"1\r2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := drain(newLineReader(iotest.OneByteReader(strings.NewReader(tt.stream)), 1<<10))
			if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, io.EOF) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// Lines that are longer than the buffer, and those around them, come whole however
// they arrive.
func TestLinesOfAllLengths(t *testing.T) {
	t.Parallel()
	var want []string
	for _, n := range []int{1, lineBuffer - 1, lineBuffer, lineBuffer + 1, 1, 2*lineBuffer + 7, maxPooled + 1, 3, 4 * maxPooled, 1, 7} {
		want = append(want, strings.Repeat("0123456789", n/10+1)[:n])
	}
	text := strings.Join(want, "\n")
	for name, from := range map[string]io.Reader{
		"whole": strings.NewReader(text), "by halves": iotest.HalfReader(strings.NewReader(text)),
		"with the end": iotest.DataErrReader(strings.NewReader(text)), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
	} {
		source := newLineReader(from, 4*maxPooled)
		got, err := drain(source)
		source.lines.close()
		if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v (-want +got):\n%.1000s", name, err, diff)
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 100
	long := strings.Repeat("x", limit)
	for _, tt := range []struct {
		name   string
		source eventSource
		events int
	}{
		{name: "line", source: newEventReader(strings.NewReader("data: a\n\ndata: "+long+"\n\n"), limit), events: 1},
		{name: "comment", source: newEventReader(strings.NewReader(":"+long+"\n\n"), limit)},
		{name: "endless line", source: newEventReader(endless('x'), limit)},
		{name: "many lines", source: newEventReader(strings.NewReader(strings.Repeat("data: xxxx\n", 30)+"\n"), limit)},
		{name: "many empty lines", source: newEventReader(strings.NewReader(strings.Repeat("data\n", 200)+"\n"), limit)},
		{name: "NDJSON", source: newLineReader(strings.NewReader("1\n"+long+"x\n"), limit), events: 1},
		{name: "endless NDJSON", source: newLineReader(endless('x'), limit)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := drain(tt.source)
			if !errors.Is(err, errEventTooLarge) || len(got) != tt.events {
				t.Errorf("%d events and %v, want %d and %v", len(got), err, tt.events, errEventTooLarge)
			}
		})
	}
}

// endless yields one byte forever.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestEventsPassErrorsOn(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]eventSource{
		"SSE":    newEventReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), 1<<10),
		"NDJSON": newLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(io.ErrUnexpectedEOF)), 1<<10),
	} {
		if got, err := drain(source); !errors.Is(err, io.ErrUnexpectedEOF) || !slices.Equal(got, []string{"a"}) {
			t.Errorf("%s: %q, %v, want only a and the error", name, got, err)
		}
	}
}

// FuzzEventReader compares the parser with a plain one that splits the whole
// stream.
func FuzzEventReader(f *testing.F) {
	for _, seed := range []string{"data: a\n\n", "data\r\rdata:b\r\n\r\n:c\n\n", "\uFEFFdata: x", "id: 1\ndata: \r\n\n", "a:b:c\n", "\rdata"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := drain(newEventReader(iotest.HalfReader(bytes.NewReader(stream)), 1<<20))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plainEvents(string(stream)), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", stream, diff)
		}
	})
}

// plainEvents parses a whole stream the simple way.
func plainEvents(stream string) (events []string) {
	stream = strings.TrimPrefix(stream, "\uFEFF")
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	var data []string
	for line := range strings.SplitSeq(stream+"\n\n", "\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && data != nil:
			events, data = append(events, strings.Join(data, "\n")), nil
		case name == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		}
	}
	return events
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

// maxProgressMessage bounds the text of one progress notification in bytes
// (16 KiB): a few of them fit a client's outbox. The result is never cut.
const maxProgressMessage = 16 << 10

// eventSource yields the events of a stream; its error at the end is io.EOF.
// An event is valid until the next call.
type eventSource interface {
	next() ([]byte, error)
}

// streamed reports each event as progress as soon as it is there; the last one
// is also the result. An event that is a log entry is neither: it goes to the
// client's log. Progress blocks while the client does not keep up, and so
// does the backend, whose connection is not read meanwhile.
func (a *answer) streamed(ctx context.Context, sink tool.Sink, events eventSource) (tool.Result, error) {
	var steps steps
	for {
		event, err := events.next()
		if errors.Is(err, io.EOF) && ctx.Err() != nil {
			err = context.Cause(ctx) // Over TLS, closing at a timeout can look like a clean end.
		}
		if errors.Is(err, io.EOF) || err == nil && a.isEnd(event) {
			return a.lastResult(), nil
		}
		if err != nil {
			return tool.Result{}, a.brokeOff(err, fmt.Sprintf(" after %d events", steps.count))
		}
		event = a.secrets.bytes(event)
		entry, isLog := logEntry(event)
		switch {
		case sink == nil:
		case isLog:
			err = sink.Log(ctx, entry)
		default:
			if len(a.last) >= longEvent {
				a.last = nil // Nothing is held twice for a client that does not read.
			}
			err = sink.Progress(ctx, steps.next(event))
		}
		if !isLog {
			a.last = append(a.last[:0], event...)
		}
		if err != nil {
			if ctx.Err() != nil {
				return tool.Result{}, a.brokeOff(context.Cause(ctx), fmt.Sprintf(" after %d events", steps.count))
			}
			// Nobody listens any more, but the result may still be wanted.
			sink = nil
		}
	}
}

// longEvent is from how many bytes on an event is not held longer than it has to be.
const longEvent = 256

// isEnd recognizes the mark with which many model servers end an event stream.
func (a *answer) isEnd(event []byte) bool {
	return a.executor.plan.Stream == config.StreamSSE && string(event) == "[DONE]"
}

// lastResult is the result of a stream.
func (a *answer) lastResult() tool.Result {
	if len(a.last) == 0 {
		return tool.Text("")
	}
	if result, ok := a.jsonResult(a.last); ok {
		return result
	}
	return tool.Text(string(a.last))
}

// steps turns events into progress that always grows, as MCP demands.
type steps struct {
	count int
	last  float64
}

// next returns the progress of one event, which it shares memory with: what its
// object's progress, total and message say, else the count and the event itself.
func (s *steps) next(event []byte) tool.Progress {
	s.count++
	p := tool.Progress{Progress: float64(s.count)}
	if fields, ok := progressFields(event); ok {
		if fields.hasProgress {
			p.Progress = fields.progress
		}
		p.Total = fields.total
		p.Message = fields.message
	} else {
		p.Message = bytes.ToValidUTF8(event, []byte("\uFFFD"))
	}
	p.Message = cutText(p.Message, maxProgressMessage)
	if s.count > 1 && p.Progress <= s.last {
		p.Progress = math.Nextafter(s.last, math.Inf(1))
	}
	s.last = p.Progress
	return p
}

// fields are the members of an event that tell of progress.
type fields struct {
	progress    float64
	hasProgress bool
	total       float64
	message     []byte
}

// progressFields reads an event that is an object with at least one usable
// member; others are texts.
func progressFields(event []byte) (f fields, ok bool) {
	if f, ok = plainFields(event); ok {
		return f, true
	}
	if event = bytes.TrimLeft(event, " \t\r\n"); len(event) == 0 || event[0] != '{' {
		return f, false
	}
	return decodedFields(event)
}

// decodedFields reads what plainFields does not.
func decodedFields(event []byte) (f fields, ok bool) {
	var object struct {
		Progress jsontext.Value `json:"progress"`
		Total    jsontext.Value `json:"total"`
		Message  jsontext.Value `json:"message"`
	}
	if json.Unmarshal(event, &object) != nil {
		return f, false
	}
	if f.progress, f.hasProgress = number(object.Progress); f.hasProgress {
		ok = true
	}
	if total, is := number(object.Total); is && total > 0 {
		f.total, ok = total, true
	}
	if object.Message.Kind() == '"' {
		// The string was checked with its event.
		f.message, _ = jsontext.AppendUnquote(nil, object.Message)
		ok = true
	}
	return f, ok
}

// number reads a JSON number that is not negative.
func number(v jsontext.Value) (n float64, ok bool) {
	if v.Kind() != '0' || json.Unmarshal(v, &n) != nil {
		return 0, false
	}
	return n, n >= 0 && !math.IsInf(n, 0)
}

// cutText shortens a text at a character's border.
func cutText(s []byte, limit int) []byte {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return append(s[:limit:limit], "…"...)
}

// logEntry reads an event that is an object with one member, log, whose object
// has a level (RFC 5424 in MCP's spelling; info without one), data of any kind,
// and perhaps a logger. Everything else is progress.
func logEntry(event []byte) (tool.Log, bool) {
	if !bytes.Contains(event, []byte(`"log"`)) {
		return tool.Log{}, false
	}
	var object struct {
		Log *struct {
			Level  string         `json:"level"`
			Logger string         `json:"logger"`
			Data   jsontext.Value `json:"data"`
		} `json:"log"`
	}
	if json.Unmarshal(event, &object, json.RejectUnknownMembers(true)) != nil || object.Log == nil || len(object.Log.Data) == 0 {
		return tool.Log{}, false
	}
	if err := object.Log.Data.Compact(); err != nil {
		return tool.Log{}, false
	}
	entry := tool.Log{Level: object.Log.Level, Logger: object.Log.Logger, Data: []byte(object.Log.Data)}
	switch entry.Level {
	case "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency":
	default:
		entry.Level = "info"
	}
	return entry, true
}

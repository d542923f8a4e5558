// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

const (
	// maxExcerpt bounds how much of an error's body is shown, in bytes (2 KiB).
	maxExcerpt = 2 << 10
	// maxPooled bounds the buffers that are kept for reuse, in bytes (64 KiB).
	maxPooled = 64 << 10
)

// buffers holds buffers for bodies.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// answer turns one backend's answer into a result.
type answer struct {
	executor *Executor
	response *http.Response
	body     *countingReader
	// secrets are those that the request carried.
	secrets redactor
	// last is the newest event of a stream that may be its result.
	last []byte
}

// result reads the answer as its status and the plan want it.
func (a *answer) result(ctx context.Context, sink tool.Sink) (tool.Result, error) {
	status := a.response.StatusCode
	if encoding := a.response.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return tool.Result{}, a.executor.fail(fmt.Sprintf("the backend's answer has Content-Encoding %q, which was not asked for and is not understood", clip(a.secrets.text(encoding), 32)), nil)
	}
	switch {
	case status < 200:
		return tool.Result{}, a.executor.fail("the backend answered "+named(status)+", which is no answer to this request", nil)
	case status >= 400:
		return a.refusal(), nil
	case status >= 300:
		return a.redirect(), nil
	case status == http.StatusNoContent || status == http.StatusResetContent:
		return tool.Text(""), nil
	}
	mediaType := a.mediaType()
	switch a.executor.plan.Stream {
	case config.StreamSSE:
		// A backend that has its answer at once may send it whole.
		if mediaType == "text/event-stream" {
			events := newEventReader(a.body, a.executor.options.MaxResponseSize)
			defer events.lines.close()
			return a.streamed(ctx, sink, events)
		}
	case config.StreamNDJSON:
		if kind := kindOf(mediaType); kind == kindText || kind == kindJSON {
			events := newLineReader(a.body, a.executor.options.MaxResponseSize)
			defer events.lines.close()
			return a.streamed(ctx, sink, events)
		}
	}
	return a.whole(mediaType)
}

// whole reads a body at once.
func (a *answer) whole(mediaType string) (tool.Result, error) {
	limit := a.executor.options.MaxResponseSize
	if a.response.ContentLength > limit {
		return tool.Result{}, a.tooLarge()
	}
	buffer, ok := buffers.Get().(*bytes.Buffer)
	if !ok {
		buffer = new(bytes.Buffer)
	}
	defer func() {
		if buffer.Cap() <= maxPooled {
			buffer.Reset()
			buffers.Put(buffer)
		}
	}()
	held, err := a.fill(buffer, limit)
	defer a.executor.options.Held.Give(held)
	if errors.Is(err, errNoRoom) {
		failure := a.executor.fail("too many bytes of requests and answers are held in memory; try again later", nil)
		failure.Outcome = tool.OutcomeBusy
		return tool.Result{}, failure
	}
	if err != nil {
		return tool.Result{}, a.brokeOff(err, "")
	}
	if int64(buffer.Len()) > limit {
		return tool.Result{}, a.tooLarge()
	}
	return a.content(mediaType, buffer.Bytes())
}

// errNoRoom means that no more may be held of answers.
var errNoRoom = errors.New("no room for the answer")

// fill reads the body until it has ended or is larger than limit. What is held of
// it beyond the first 64 KiB is taken from Options.Held before it is read.
func (a *answer) fill(buffer *bytes.Buffer, limit int64) (held int64, err error) {
	for room := int64(maxPooled); ; room = held {
		room = min(room, limit+1-int64(buffer.Len()))
		n, err := buffer.ReadFrom(io.LimitReader(a.body, room))
		if err != nil || n < room || int64(buffer.Len()) > limit {
			return held, err
		}
		more := int64(buffer.Len())
		if !a.executor.options.Held.Take(more) {
			return held, errNoRoom
		}
		held += more
	}
}

// content maps a body to MCP content by its media type.
func (a *answer) content(mediaType string, body []byte) (tool.Result, error) {
	// Whatever its type: a backend that echoes its request does so in any.
	body = a.secrets.bytes(body)
	switch kind := kindOf(mediaType); {
	case len(body) == 0:
		return tool.Text(""), nil
	case kind == kindJSON:
		result, ok := a.jsonResult(body)
		if !ok {
			return tool.Result{}, a.executor.fail(fmt.Sprintf("the backend's answer says that it is %s, but it is not valid JSON", clip(mediaType, 64)), nil)
		}
		return result, nil
	case kind == kindImage:
		return binaryResult("image", mediaType, body), nil
	case kind == kindAudio:
		return binaryResult("audio", mediaType, body), nil
	case kind == kindText, mediaType == "" && utf8.Valid(body):
		return tool.Text(string(body)), nil
	default:
		return blobResult("fairlead://tools/"+url.PathEscape(a.executor.options.Tool)+"/result", mediaType, body), nil
	}
}

// refusal is the result of a status of 400 or more: the status, and the body as
// far as it is text.
func (a *answer) refusal() tool.Result {
	text := "the backend answered " + named(a.response.StatusCode)
	if kind := kindOf(a.mediaType()); kind != kindText && kind != kindJSON && a.mediaType() != "" {
		return tool.Failure(text)
	}
	if excerpt := a.excerpt(); excerpt != "" {
		text += ": " + excerpt
	}
	return tool.Failure(text)
}

// redirect is the result of a redirect: which host it leads to, unless that is
// an address.
func (a *answer) redirect() tool.Result {
	status := named(a.response.StatusCode)
	location, err := a.response.Location()
	if err != nil {
		return tool.Failure("the backend answered " + status + " without a usable Location")
	}
	host := location.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		host = "another address"
	}
	return tool.Failure("the backend answered " + status + ", a redirect to " + clip(a.secrets.text(host), 253) +
		"; redirects are not followed, the tool's url must be the final one")
}

// tooLarge refuses a body above the limit.
func (a *answer) tooLarge() error {
	return a.executor.fail(fmt.Sprintf("the backend's answer is larger than %d bytes (limits.maxResponseSize)", a.executor.options.MaxResponseSize), nil)
}

// brokeOff explains an error in the middle of a body.
func (a *answer) brokeOff(err error, after string) error {
	switch {
	case errors.Is(err, errEventTooLarge):
		return a.executor.fail(fmt.Sprintf("an event of the backend's stream is larger than %d bytes (limits.maxResponseSize)%s", a.executor.options.MaxResponseSize, after), nil)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return a.executor.fail("the backend's answer did not end before the call did"+after, a.secrets.err(err))
	default:
		return a.executor.fail("the backend's answer broke off"+after, a.secrets.err(err))
	}
}

// mediaType is the answer's, in lower case and without parameters; empty when
// there is none or it is malformed.
func (a *answer) mediaType() string {
	// The usual ones need no parser; they hold no secret.
	switch contentType := a.response.Header.Get("Content-Type"); contentType {
	case "application/json", "text/plain", "text/html", "text/event-stream", "application/x-ndjson":
		return contentType
	}
	mediaType, _, err := mime.ParseMediaType(a.secrets.text(a.response.Header.Get("Content-Type")))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return mediaType
}

// excerpt is the beginning of an error's body, for its message; empty if that
// is no text. What was read before an error is better than nothing.
func (a *answer) excerpt() string {
	limit := maxExcerpt + a.secrets.longest()
	body, _ := io.ReadAll(io.LimitReader(a.body, int64(limit)+1))
	cut := len(body) > limit
	body = a.secrets.bytes(body)
	if cut {
		// The end may hold the beginning of a secret, which cannot be seen.
		body = body[:max(0, len(body)-a.secrets.longest())]
	}
	if len(body) > maxExcerpt {
		cut, body = true, body[:maxExcerpt]
	}
	if cut {
		// A character that was halved would make the text invalid.
		for i := 0; i < utf8.UTFMax-1 && !utf8.Valid(body); i++ {
			body = body[:len(body)-1]
		}
	}
	text := printable(body)
	if cut && text != "" {
		text += "…"
	}
	return text
}

// printable is a text without control characters; empty if it is no text.
func printable(body []byte) string {
	if !utf8.Valid(body) {
		return ""
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, string(body)))
}

// named is a status with its name.
func named(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

// clip shortens a value that a backend sent, for a message.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

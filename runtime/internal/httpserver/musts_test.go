// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"testing"
)

// must is one duty of a server on the wire. Those of the engine, which know no
// HTTP, have a list beside it.
type must struct {
	id, source, text string
}

var musts = []must{
	{"origin", "2024-11-05 and later, basic/transports, Security", "the Origin header is validated on every connection; an invalid one is answered with 403"},
	{"host", "DETAILS, Access", "a foreign Host is refused where browsers could bring it"},
	{"json-only", "RFC 9110, 15.5.16", "a POST of anything but JSON is answered with 415"},
	{"body-size", "RFC 9110, 15.5.14", "a body over the limit is answered with 413"},
	{"no-buffering", "2026-07-28 basic/transports/streamable-http, Receiving Messages", "event streams tell proxies not to buffer, and begin at once"},
	{"heartbeat", "2026-07-28 basic/transports/streamable-http, Receiving Messages", "quiet streams carry comments"},
	{"one-stream", "2025-11-25 basic/transports, Multiple Connections", "a message goes to one stream only"},
	{"refusal-body", "DETAILS, Between the rooms", "every refusal has one JSON body"},
	{"authenticated", "basic/authorization; RFC 9110, 11.6.1", "a request without credentials is answered with 401 and a challenge"},
	{"bound-to-principal", "2025-11-25 basic/security_best_practices, Session Hijacking", "a session is its principal's"},
	{"bound-streams", "DETAILS, Between the rooms", "streams over the limit are answered with 429 and Retry-After"},
	{"leaving", "DESIGN, Leaving", "a replica that leaves opens no sessions and streams, answers calls, and says so"},

	{"sse-endpoints", "2024-11-05 basic/transports, HTTP with SSE", "there is an endpoint for the stream and one for messages"},
	{"sse-endpoint-first", "2024-11-05 basic/transports, HTTP with SSE", "the first event is endpoint, with the URI for messages"},
	{"sse-message-events", "2024-11-05 basic/transports, HTTP with SSE", "messages are message events with JSON"},
	{"sse-accepted", "practice of SDKs", "an accepted message is answered with 202, its response comes on the stream"},
	{"sse-no-session", "practice of SDKs", "a message without a session id is answered with 400"},
	{"sse-unknown-session", "practice of SDKs", "a message to an unknown session is answered with 404"},
	{"sse-ends", "2024-11-05 basic/transports, HTTP with SSE", "a session ends with its stream"},
	{"sse-mode", "RFC 9745, 2.1", "the transport can be switched off, or marked as deprecated"},

	{"http-one-endpoint", "2025-11-25 basic/transports, Streamable HTTP", "one path serves POST and GET"},
	{"http-202", "2025-11-25 basic/transports, Sending Messages", "an accepted notification or response is answered with 202 and no body"},
	{"http-4xx", "2025-11-25 basic/transports, Sending Messages", "a message that is not accepted is answered with an error status"},
	{"http-answer", "2025-11-25 basic/transports, Sending Messages", "a request is answered with JSON or an event stream"},
	{"http-stream-ends", "2025-11-25 basic/transports, Sending Messages", "a stream ends after the response"},
	{"http-disconnect", "2025-11-25 basic/transports, Sending Messages", "a disconnection is not a cancellation"},
	{"http-get", "2025-11-25 basic/transports, Listening", "GET opens a stream, on which no response comes"},
	{"http-newest-get", "DETAILS, Resumption", "the newest GET of a session takes over"},
	{"http-session-id", "2025-11-25 basic/transports, Session Management", "session ids are visible ASCII and cannot be guessed"},
	{"http-terminated", "2025-11-25 basic/transports, Session Management", "a terminated session is answered with 404"},
	{"http-no-session", "2025-11-25 basic/transports, Session Management", "a request without a session id is answered with 400"},
	{"http-version", "2025-11-25 basic/transports, Protocol Version Header", "an invalid or unsupported version is answered with 400"},
	{"http-accept", "RFC 9110, 15.5.7", "a client that takes neither form is answered with 406"},
	{"http-batch", "2025-03-26 basic/transports, Sending Messages", "a batch is answered with an array or a stream"},
	{"http-not-modern", "2026-07-28 basic/versioning, Backward Compatibility", "a legacy refusal is not taken for a modern error"},

	{"resume-prime", "2025-11-25 basic/transports, Sending Messages", "an event stream begins with an id and empty data, but not for older revisions"},
	{"resume-ids", "2025-11-25 basic/transports, Resumability and Redelivery", "ids are unique in the session and name their stream"},
	{"resume-replay", "2025-11-25 basic/transports, Resumability and Redelivery", "a GET with Last-Event-ID gets what came after it on that stream, and goes on until the response"},
	{"resume-own", "2025-11-25 basic/transports, Resumability and Redelivery", "messages of another stream, session or principal are never replayed"},
	{"resume-nothing", "DETAILS, Resumption", "with nothing left to resume the answer is 405"},
	{"resume-retry", "2025-11-25 basic/transports, Sending Messages", "a stream that the server closes before its end says when to come back"},
	{"resume-changes", "DETAILS, Resumption", "a change of the list that a cut may have swallowed is told again"},
	{"resume-sse", "DETAILS, Resumption", "a client of HTTP+SSE that comes back goes on"},

	{"modern-json-or-stream", "2026-07-28 basic/transports/streamable-http, Sending Messages", "a request is answered with one JSON object or an event stream"},
	{"modern-mismatch", "2026-07-28 basic/transports/streamable-http, Server Validation", "a header that contradicts the body is answered with 400 and -32020"},
	{"modern-version", "2026-07-28 basic/versioning", "an unsupported version is answered with 400 and -32022"},
	{"modern-meta", "2026-07-28 basic/index", "a missing _meta field is answered with 400 and -32602"},
	{"modern-method", "2026-07-28 basic/transports/streamable-http, Protocol Version Header", "an unknown method is answered with 404 and -32601"},
	{"modern-202", "2026-07-28 basic/transports/streamable-http, Sending Messages", "a notification is answered with 202"},
	{"modern-cancel", "2026-07-28 basic/transports/streamable-http, Cancellation", "closing the response cancels the request"},
	{"modern-405", "2026-07-28 basic/transports/streamable-http, Backward Compatibility", "GET and DELETE are answered with 405"},
	{"modern-no-session", "2026-07-28 basic/transports/streamable-http, Backward Compatibility", "Mcp-Session-Id and Last-Event-ID are ignored, and none is issued"},
	{"modern-listen", "2026-07-28 basic/patterns/subscriptions", "a listen stream begins with its acknowledgement; notifications are tagged"},
	{"modern-listen-late", "DETAILS, Live change", "a listen stream that opens just after a change is told of it"},
	{"modern-listen-end", "2026-07-28 basic/patterns/subscriptions", "a graceful end sends the result"},
	{"modern-dual", "2026-07-28 basic/versioning, Backward Compatibility", "one endpoint tells modern requests and initialize apart"},
}

// scenario is a test on the wire that holds some of the duties.
type scenario struct {
	name  string
	musts []string
	run   func(t *testing.T)
}

func scenarios() []scenario {
	var all []scenario
	for _, some := range [][]scenario{sseScenarios, streamableScenarios, resumeScenarios, statelessScenarios, commonScenarios} {
		all = append(all, some...)
	}
	return all
}

func TestWire(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

func TestEveryMustHasAScenario(t *testing.T) {
	t.Parallel()
	known, held := map[string]bool{}, map[string]bool{}
	for _, m := range musts {
		if known[m.id] {
			t.Errorf("the duty %q is listed twice", m.id)
		}
		known[m.id] = true
	}
	for _, s := range scenarios() {
		for _, id := range s.musts {
			if !known[id] {
				t.Errorf("scenario %q holds the unknown duty %q", s.name, id)
			}
			held[id] = true
		}
	}
	for _, m := range musts {
		if !held[m.id] {
			t.Errorf("no scenario holds the duty %q: %s (%s)", m.id, m.text, m.source)
		}
	}
}

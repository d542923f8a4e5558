// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// must is one duty of a server that the engine owns. What HTTP has to do with it
// is the transports' part, with a list of their own.
type must struct {
	// id is what cases name.
	id string
	// source is a file of the specification, by revision, and its section.
	source string
	// text is the duty in our words.
	text string
}

// A refusal with -32021 is never due: no backend can need a capability of the
// client yet.
var musts = []must{
	{"jsonrpc-version", "2025-11-25 basic/index, Messages", "every message follows JSON-RPC 2.0"},
	{"parse-error", "JSON-RPC 2.0, 5.1", "a body that is not JSON is answered with -32700"},
	{"strict-names", "DETAILS, Decoding", "names are case-sensitive, duplicates and invalid UTF-8 are refused"},
	{"bounded-depth", "DETAILS, Decoding", "nesting is bounded"},
	{"id-type", "2025-11-25 basic/index, Requests", "an id is a string or an integer, never null"},
	{"id-unique", "2025-11-25 basic/index, Requests", "an id of a running request cannot be used again"},
	{"id-echo", "2025-11-25 basic/index, Responses", "a response carries the id of its request"},
	{"no-answer-to-notifications", "2025-11-25 basic/index, Notifications", "a notification is not answered"},
	{"batch", "2025-03-26 basic/index, Batching", "batches can be received, and only in that revision"},
	{"initialize-not-in-batch", "2025-03-26 basic/lifecycle, Initialization", "initialize is no part of a batch"},
	{"initialize-first", "2025-11-25 basic/lifecycle, Initialization", "initialization is the first interaction; only ping may come before"},
	{"initialize-once", "2025-11-25 basic/lifecycle, Initialization", "a session is initialized once"},
	{"initialize-params", "2025-11-25 basic/lifecycle, Initialization", "the client gives its version, capabilities and implementation"},
	{"initialize-result", "2025-11-25 basic/lifecycle, Initialization", "the server gives its capabilities and implementation"},
	{"version-same", "2025-11-25 basic/lifecycle, Version Negotiation", "a supported version is answered with the same"},
	{"version-other", "2025-11-25 basic/lifecycle, Version Negotiation", "any other version is answered with one that is supported"},
	{"version-header", "2025-11-25 basic/transports, Protocol Version Header", "an unsupported MCP-Protocol-Version is refused"},
	{"ping", "2025-11-25 basic/utilities/ping", "ping is answered with an empty result"},
	{"cancel", "2025-11-25 basic/utilities/cancellation", "a cancelled request stops and is not answered"},
	{"cancel-unknown", "2025-11-25 basic/utilities/cancellation, Error Handling", "cancellations that fit no running request are ignored"},
	{"progress-token", "2025-11-25 basic/utilities/progress", "progress carries the token of a running request, and none is sent without one"},
	{"progress-rises", "2025-11-25 basic/utilities/progress", "progress rises with each notification"},
	{"progress-ends", "2025-11-25 basic/utilities/progress", "progress stops when the request has ended"},
	{"log-level", "2025-11-25 server/utilities/logging", "logs below the level that the client set are not sent"},
	{"log-level-invalid", "2025-11-25 server/utilities/logging, Error Handling", "an unknown level is answered with -32602"},
	{"list-page", "2025-11-25 server/utilities/pagination", "a page ends with a cursor for the next, the last without"},
	{"list-cursor", "2025-11-25 server/utilities/pagination, Error Handling", "an invalid cursor is answered with -32602"},
	{"list-fields", "schema of each revision, Tool", "a tool has the fields that the revision knows"},
	{"call-unknown", "2025-11-25 server/tools, Error Handling", "an unknown tool is a protocol error; one that may not be seen looks the same"},
	{"call-params", "2025-11-25 schema, CallToolRequestParams", "name is a string and arguments are an object"},
	{"call-validates", "2025-11-25 server/tools, Security Considerations", "all inputs are validated, and a failure is a result (SEP-1303)"},
	{"call-structured", "2025-06-18 server/tools, Structured Content", "structured content goes to revisions that know it"},
	{"call-error", "2025-11-25 server/tools, Error Handling", "a tool that fails is a result with isError"},
	{"method-not-found", "JSON-RPC 2.0, 5.1", "an unknown method is answered with -32601"},

	{"meta-required", "2026-07-28 basic/index, Per-request protocol fields", "a request without _meta, protocolVersion or clientCapabilities is answered with -32602"},
	{"meta-client-info", "2026-07-28 basic/index, Per-request protocol fields", "clientInfo is not required"},
	{"header-version", "2026-07-28 basic/transports/streamable-http, Protocol Version Header", "the version header is there and equals that of _meta, else -32020"},
	{"header-method", "2026-07-28 basic/transports/streamable-http, Standard Request Headers", "Mcp-Method is there and equals method, else -32020"},
	{"header-name", "2026-07-28 basic/transports/streamable-http, Standard Request Headers", "Mcp-Name is there and equals params.name, decoded first, else -32020"},
	{"header-param", "2026-07-28 basic/transports/streamable-http, Server Behavior for Custom Headers", "Mcp-Param-* equal the arguments, decoded first, else -32020"},
	{"unsupported-version", "2026-07-28 basic/versioning, Protocol Version Negotiation", "another version is answered with -32022, supported and requested"},
	{"removed-methods", "2026-07-28 basic/transports/streamable-http, Protocol Version Header", "a method that the revision has not is answered with -32601"},
	{"discover", "2026-07-28 basic/versioning, Protocol Version Negotiation", "server/discover is implemented"},
	{"result-type", "2026-07-28 basic/index, Result Responses", "every result has a resultType"},
	{"cacheable", "2026-07-28 schema, CacheableResult", "discover and lists have ttlMs and cacheScope"},
	{"no-log-unasked", "2026-07-28 schema, RequestMetaObject", "no log is sent unless the request set logLevel"},
	{"single-message", "2026-07-28 basic/transports/streamable-http, Sending Messages", "the body is one request or notification; clients send no responses"},
	{"stateless", "2026-07-28 basic/index, Statelessness", "no request relies on one before it"},
	{"listen-ack", "2026-07-28 basic/patterns/subscriptions, Acknowledgment", "the acknowledgement comes first and names what is honoured"},
	{"listen-tag", "2026-07-28 basic/index, _meta", "every notification of a subscription carries its id"},
	{"listen-filter", "2026-07-28 basic/patterns/subscriptions, Opening a Stream", "only types that were asked for are sent"},
	{"listen-result", "2026-07-28 schema, SubscriptionsListenResult", "a graceful end sends the result with the subscription's id"},
	{"error-id", "2026-07-28 schema, JSONRPCErrorResponse", "an error has the request's id, or none if it could not be read"},
}

// elsewhere are duties whose cases are too large for a conversation.
var elsewhere = map[string]func(*testing.T){
	"list-page": TestListPages,
}

// TestMusts holds that each duty has a case, and that no case names another.
func TestMusts(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for _, m := range musts {
		if want[m.id] {
			t.Errorf("must %q is listed twice", m.id)
		}
		want[m.id] = true
	}
	got := map[string]bool{}
	for _, c := range loadConversations(t) {
		if len(c.musts) == 0 {
			t.Errorf("conversation %s names no must", c.name)
		}
		for _, id := range c.musts {
			got[id] = true
		}
	}
	for _, c := range wrongs {
		got[c.must] = true
	}
	for id := range elsewhere {
		got[id] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("musts (-listed +with a case):\n%s", diff)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import "bytes"

// Era is one of the three generations of MCP's wire. The transport that a
// message came in by decides it; see EraOf for the endpoint that two share.
type Era uint8

const (
	// EraSSE is HTTP+SSE, revision 2024-11-05.
	EraSSE Era = iota + 1
	// EraStreamable is Streamable HTTP with sessions, revisions 2025-03-26 to
	// 2025-11-25.
	EraStreamable
	// EraStateless is revision 2026-07-28: every request stands alone.
	EraStateless
)

// String gives the era's name in metrics and logs: "sse", "streamable" or
// "stateless".
func (e Era) String() string {
	switch e {
	case EraSSE:
		return "sse"
	case EraStreamable:
		return "streamable"
	case EraStateless:
		return "stateless"
	default:
		return "unknown"
	}
}

// The revisions of MCP that the engine speaks.
const (
	Version20241105 = "2024-11-05"
	Version20250326 = "2025-03-26"
	Version20250618 = "2025-06-18"
	Version20251125 = "2025-11-25"
	Version20260728 = "2026-07-28"
)

// Versions are all revisions that the engine speaks, the newest first, as
// server/discover and UnsupportedProtocolVersion errors list them.
func Versions() []string {
	return []string{Version20260728, Version20251125, Version20250618, Version20250326, Version20241105}
}

// LegacyVersion reports whether v is a revision with an initialize handshake
// that the engine speaks.
func LegacyVersion(v string) bool {
	switch v {
	case Version20241105, Version20250326, Version20250618, Version20251125:
		return true
	default:
		return false
	}
}

// negotiate answers the version that a legacy client asked for: the same if the
// engine speaks it, else the newest legacy one (2025-11-25 basic/lifecycle,
// "Version Negotiation").
func negotiate(requested string) string {
	for _, v := range Versions()[1:] {
		if v == requested {
			// Not the client's text, which would outlive its request.
			return v
		}
	}
	return Version20251125
}

// EraOf tells the eras apart on the endpoint that Streamable HTTP and the
// stateless revision share. A message is stateless if its _meta carries a
// protocol version, whatever that version is, or if its MCP-Protocol-Version
// header names that revision and it is no plain initialize; everything else is
// legacy (2026-07-28 basic/versioning, "Backward Compatibility").
func EraOf(version string, message []byte) Era {
	named := version == Version20260728
	mentioned := bytes.Contains(message, []byte(metaProtocolVersion))
	if named && (mentioned || !bytes.Contains(message, []byte(methodInitialize))) {
		return EraStateless
	}
	if !named && !mentioned {
		return EraStreamable
	}
	// What is left is rare, so that decoding it twice costs nobody.
	env, err := decodeEnvelope(message)
	if err == nil && carriesVersion(env.params) || named && (err != nil || env.method != methodInitialize) {
		return EraStateless
	}
	return EraStreamable
}

// carriesVersion reports whether params have a protocol version in _meta.
func carriesVersion(params []byte) bool {
	meta, ok := optional(params, "_meta")
	if !ok || !isObject(meta) {
		return false
	}
	_, ok = member(meta, metaProtocolVersion)
	return ok
}

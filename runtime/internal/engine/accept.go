// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"

	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/catalog"
)

// Hints are what a stateless request's headers claim about its body. They are
// checked against it.
type Hints struct {
	// Method and Name are the Mcp-Method and Mcp-Name headers.
	Method, Name string
	// Params are the Mcp-Param-* headers, by the part after the prefix in lower
	// case. Nil if there are none.
	Params map[string]string
	// Repeated names a header that came more than once, MCP-Protocol-Version
	// included; empty if none did. Such a request is refused: a proxy may have
	// let it pass for a value that the engine does not look at.
	Repeated string
}

// Input is one message and what the transport knows about it.
type Input struct {
	// Message is one JSON value. It must stay as it is until Run or Release
	// returned; the engine keeps no part of it longer.
	Message []byte
	Era     Era
	// Version is the MCP-Protocol-Version header, empty if there is none.
	Version string
	// Hints are the headers of a stateless request.
	Hints     Hints
	Principal auth.Principal
	// Session is nil in the stateless era, and in the Streamable one for a
	// message that names no session, which only initialize and ping may.
	Session *Session
	// Batch marks one of several messages that came as an array.
	Batch bool
}

// Accept decodes a message once and strictly, authorizes it, validates it and
// reserves what it needs. Every error is an *Error, and nothing of the message
// took effect then. After an accepted message one of Call.Run and Call.Release
// must follow.
func (e *Engine) Accept(_ context.Context, in Input) (*Call, error) {
	c, err := e.accept(&in)
	if err != nil {
		err.modern = in.Era == EraStateless
		if e.observer != nil && !in.Principal.Verifier {
			e.observer.Refused(in.Era.String(), err.Kind.String())
		}
		return nil, err
	}
	return c, nil
}

func (e *Engine) accept(in *Input) (*Call, *Error) {
	env, err := decodeEnvelope(in.Message)
	if err != nil {
		return nil, err
	}
	c := &Call{engine: e, method: env.method, id: env.id, request: env.form == request, era: in.Era, principal: in.Principal}
	switch {
	case in.Principal.Verifier && !verifierMay(in.Era, env):
		err = refuse(KindForbidden, env.id, "the verifier may only discover the server and list its tools, in the stateless era")
	case in.Era == EraStateless:
		err = e.acceptStateless(c, in, env)
	default:
		err = e.acceptLegacy(c, in, env)
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// verifierMay reports whether a message is one of those that the verifier needs.
// They leave nothing behind.
func verifierMay(era Era, env envelope) bool {
	return era == EraStateless && env.form == request && (env.method == methodDiscover || env.method == methodToolsList)
}

// listTools answers tools/list of either era.
func (e *Engine) listTools(c *Call, st *state, params []byte) *Error {
	cursor := ""
	if raw, ok := optional(params, "cursor"); ok {
		if !isString(raw) {
			return refuse(KindInvalidParams, c.id, "invalid params: cursor must be a string")
		}
		cursor = unquote(raw)
	}
	flavour := catalog.Flavour2025June
	switch c.version {
	case Version20241105:
		flavour = catalog.Flavour2024
	case Version20250326:
		flavour = catalog.Flavour2025March
	}
	b := c.appendResultHead(make([]byte, 0, 1024), st)
	if c.principal.Verifier {
		// Who verifies must know of which revision the list is; clients need not.
		b = append(appendString(append(b[:len(b)-len("},")], `,"`+metaRevision+`":`...), st.catalog.Revision()), "},"...)
	}
	b, err := st.catalog.AppendPage(b, c.principal, st.policy, cursor, flavour)
	if err != nil {
		return refuse(KindInvalidParams, c.id, "invalid params: "+err.Error())
	}
	if c.era == EraStateless {
		b = append(b, st.cacheable...)
	}
	b = append(b, "}}"...)
	c.answer = b
	return nil
}

// optional looks up a member of params, which may be nil; null counts as absent.
func optional(params []byte, name string) ([]byte, bool) {
	if params == nil {
		return nil, false
	}
	v, ok := member(params, name)
	return v, ok && !isNull(v)
}

// brief quotes a client's text for a message, cut to a length that cannot flood
// an answer or a log.
func brief(s string) string { return fmt.Sprintf("%q", clip(s)) }

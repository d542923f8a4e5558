// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import "strings"

// acceptLegacy takes a message of 2024-11-05 to 2025-11-25.
func (e *Engine) acceptLegacy(c *Call, in *Input, env envelope) *Error {
	if in.Version != "" && !LegacyVersion(in.Version) && env.method != methodInitialize {
		return refuse(KindUnsupportedVersion, env.id, "unsupported MCP-Protocol-Version "+brief(in.Version)+": this endpoint's sessions speak "+strings.Join(Versions()[1:], ", "))
	}
	if in.Session != nil {
		c.version = in.Session.Version()
	}
	if in.Batch && c.version != Version20250326 {
		return refuse(KindInvalidRequest, env.id, "invalid request: only sessions of 2025-03-26 may send batches")
	}
	switch {
	case env.form == request && env.method == methodInitialize:
		return e.initialize(c, in, env)
	case c.version == "" && env.method != methodPing:
		return refuse(KindNotInitialized, env.id, "invalid request: initialize comes first")
	case env.form == request:
		return e.acceptLegacyRequest(c, in, env)
	case env.form == notification && env.method == notificationCancelled:
		// Malformed ones and those for unknown requests are ignored (2025-11-25
		// basic/utilities/cancellation).
		if id, ok := optional(env.params, "requestId"); ok {
			in.Session.cancel(id)
		}
	}
	// Other notifications, and responses, since the engine asks nothing, have no
	// effect.
	return nil
}

func (e *Engine) acceptLegacyRequest(c *Call, in *Input, env envelope) *Error {
	if in.Session != nil {
		if err := in.Session.begin(c); err != nil {
			return err
		}
		c.session, c.began = in.Session, true
	}
	switch env.method {
	case methodPing:
		c.answer = c.emptyResult()
		return nil
	case methodToolsList:
		return e.listTools(c, e.state.Load(), env.params)
	case methodToolsCall:
		return e.acceptToolCall(c, in, env.params)
	case methodSetLevel:
		return c.setLevel(env.params)
	default:
		return refuse(KindMethodNotFound, env.id, "method not found: "+brief(env.method))
	}
}

func (c *Call) setLevel(params []byte) *Error {
	raw, ok := optional(params, "level")
	if !ok || !isString(raw) {
		return refuse(KindInvalidParams, c.id, "invalid params: level must be one of "+levelNames)
	}
	l, ok := parseLevel(unquote(raw))
	if !ok {
		return refuse(KindInvalidParams, c.id, "invalid params: level must be one of "+levelNames)
	}
	c.session.setLevel(l)
	c.answer = c.emptyResult()
	return nil
}

// initialize opens the input's session, or makes one (2025-11-25
// basic/lifecycle).
func (e *Engine) initialize(c *Call, in *Input, env envelope) *Error {
	if in.Batch {
		return refuse(KindInvalidRequest, env.id, "invalid request: initialize must not be part of a batch")
	}
	if in.Session != nil && in.Session.initialized() {
		return refuse(KindInvalidRequest, env.id, "invalid request: the session is initialized already")
	}
	requested, ok := optional(env.params, "protocolVersion")
	if !ok || !isString(requested) {
		return refuse(KindInvalidParams, env.id, "invalid params: protocolVersion must be a string")
	}
	if capabilities, ok := optional(env.params, "capabilities"); !ok || !isObject(capabilities) {
		return refuse(KindInvalidParams, env.id, "invalid params: capabilities must be an object")
	}
	info, ok := optional(env.params, "clientInfo")
	if !ok {
		return refuse(KindInvalidParams, env.id, "invalid params: clientInfo must be an object")
	}
	name, version, ok := implementation(info)
	if !ok {
		return refuse(KindInvalidParams, env.id, "invalid params: clientInfo must have a name and a version")
	}
	c.version = negotiate(unquote(requested))
	c.session = in.Session
	if c.session == nil {
		c.session = &Session{}
	}
	if !c.session.open(c.version, name, version) {
		return refuse(KindInvalidRequest, env.id, "invalid request: the session is initialized already")
	}
	if err := c.session.begin(c); err != nil {
		return err
	}
	c.began = true
	st := e.state.Load()
	b := c.appendResultHead(make([]byte, 0, 256+len(st.introduction)), st)
	b = append(append(append(b, `"protocolVersion":"`...), c.version...), '"')
	if c.version < Version20250618 {
		b = append(b, st.plainIntroduction...)
	} else {
		b = append(b, st.introduction...)
	}
	b = append(b, "}}"...)
	c.answer = b
	if e.observer != nil {
		e.observer.Client(in.Era.String(), clip(name))
	}
	return nil
}

// implementation reads clientInfo, which must have a name and a version.
func implementation(v []byte) (name, version string, ok bool) {
	if !isObject(v) {
		return "", "", false
	}
	rawName, _ := member(v, "name")
	rawVersion, _ := member(v, "version")
	if !isString(rawName) || !isString(rawVersion) {
		return "", "", false
	}
	return unquote(rawName), unquote(rawVersion), true
}

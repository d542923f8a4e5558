// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"strings"
)

// The keys of _meta that 2026-07-28 basic/index reserves, and our own.
const (
	metaProtocolVersion = "io.modelcontextprotocol/protocolVersion"
	metaClientInfo      = "io.modelcontextprotocol/clientInfo"
	metaCapabilities    = "io.modelcontextprotocol/clientCapabilities"
	metaLogLevel        = "io.modelcontextprotocol/logLevel"
	metaServerInfo      = "io.modelcontextprotocol/serverInfo"
	metaSubscriptionID  = "io.modelcontextprotocol/subscriptionId"
	metaTrace           = "fairlead.dev/trace"
	metaRevision        = "fairlead.dev/revision"
	metaProgressToken   = "progressToken"
)

// acceptStateless takes a message of 2026-07-28.
func (e *Engine) acceptStateless(c *Call, in *Input, env envelope) *Error {
	c.version = Version20260728
	switch {
	case in.Hints.Repeated != "":
		return refuse(KindHeaderMismatch, env.id, "header mismatch: the "+in.Hints.Repeated+" header is given more than once")
	case in.Batch:
		return refuse(KindInvalidRequest, env.id, "invalid request: the body must be a single message")
	case env.form == response:
		return refuse(KindInvalidRequest, env.id, "invalid request: a client sends no responses")
	case env.form == notification:
		// The revision defines no notification that a client sends over HTTP.
		return nil
	}
	client, err := c.readMeta(in, env)
	if err != nil {
		return err
	}
	if in.Hints.Method != env.method {
		return mismatch(c.id, "Mcp-Method", in.Hints.Method, brief(env.method))
	}
	st := e.state.Load()
	switch env.method {
	case methodDiscover:
		c.answer = append(c.appendResultHead(make([]byte, 0, 512+len(st.discover)), st), st.discover...)
		if e.observer != nil && !c.principal.Verifier {
			e.observer.Client(in.Era.String(), clip(client))
		}
		return nil
	case methodToolsList:
		return e.listTools(c, st, env.params)
	case methodToolsCall:
		return e.acceptToolCall(c, in, env.params)
	case methodListen:
		return e.listen(c, st, env.params)
	default:
		return refuse(KindMethodNotFound, env.id, "method not found: "+brief(env.method))
	}
}

// readMeta checks the fields that every request carries in _meta (2026-07-28
// basic/index, "Per-request protocol fields") and gives the client's name.
func (c *Call) readMeta(in *Input, env envelope) (client string, err *Error) {
	if in.Version == "" {
		return "", refuse(KindHeaderMismatch, env.id, "header mismatch: the MCP-Protocol-Version header is missing")
	}
	meta, ok := optional(env.params, "_meta")
	if !ok || !isObject(meta) {
		return "", refuse(KindInvalidParams, env.id, "invalid params: _meta must be an object")
	}
	raw, ok := member(meta, metaProtocolVersion)
	if !ok || !isString(raw) {
		return "", refuse(KindInvalidParams, env.id, "invalid params: _meta must have "+metaProtocolVersion+", a string")
	}
	version := unquote(raw)
	if version != in.Version {
		return "", mismatch(c.id, "MCP-Protocol-Version", in.Version, brief(version))
	}
	if version != Version20260728 {
		return "", unsupported(env.id, version)
	}
	if raw, ok = member(meta, metaCapabilities); !ok || !isObject(raw) {
		return "", refuse(KindInvalidParams, env.id, "invalid params: _meta must have "+metaCapabilities+", an object")
	}
	if raw, ok = member(meta, metaClientInfo); ok {
		if client, _, ok = implementation(raw); !ok {
			return "", refuse(KindInvalidParams, env.id, "invalid params: "+metaClientInfo+" must have a name and a version")
		}
	}
	if raw, ok = member(meta, metaLogLevel); ok {
		if c.level, ok = parseLevelValue(raw); !ok {
			return "", refuse(KindInvalidParams, env.id, "invalid params: "+metaLogLevel+" must be one of "+levelNames)
		}
	}
	return client, nil
}

func parseLevelValue(raw []byte) (level, bool) {
	if !isString(raw) {
		return 0, false
	}
	return parseLevel(unquote(raw))
}

// mismatch refuses a request whose header contradicts its body.
func mismatch(id []byte, header, value, body string) *Error {
	if value == "" {
		return refuse(KindHeaderMismatch, id, "header mismatch: the "+header+" header is missing, the body says "+body)
	}
	return refuse(KindHeaderMismatch, id, "header mismatch: the "+header+" header says "+brief(value)+", the body says "+body)
}

// unsupported refuses a version. A request that carries _meta for a revision
// with sessions is told only of the one that is served this way, or it would
// come back the same.
func unsupported(id []byte, version string) *Error {
	supported := Versions()
	if LegacyVersion(version) {
		supported = supported[:1]
	}
	err := refuse(KindUnsupportedVersion, id, "unsupported protocol version "+brief(version)+": this server speaks "+strings.Join(supported, ", "))
	err.Code = codeUnsupportedVersion
	data := append([]byte(`{"supported":`), quotedVersions(supported)...)
	data = append(data, `,"requested":`...)
	err.Data = append(appendString(data, version), '}')
	return err
}

func quotedVersions(versions []string) []byte {
	// A list of strings always encodes.
	b, _ := json.Marshal(versions)
	return b
}

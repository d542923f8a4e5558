// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"strings"
	"testing"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

const (
	none  = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`
	both  = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	older = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25","io.modelcontextprotocol/clientCapabilities":{}}`
	never = `"_meta":{"io.modelcontextprotocol/protocolVersion":"1900-01-01","io.modelcontextprotocol/clientCapabilities":{}}`
)

// wrongs are inputs that break a duty of the client or that the engine must
// refuse, with the exact refusal. Legacy ones come in a session of 2025-11-25
// unless in says otherwise; stateless ones with the right headers unless it does.
var wrongs = []struct {
	name, must string
	era        Era
	message    string
	in         func(*Input)
	kind       Kind
	want       string
}{
	{
		name: "empty", must: "parse-error", era: EraStreamable, message: ``, kind: KindParse,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body is not JSON"}}`,
	},
	{
		name: "cut off", must: "parse-error", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping"`, kind: KindParse,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body is not JSON"}}`,
	},
	{
		name: "two values", must: "parse-error", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, kind: KindParse,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error: the body is not JSON"}}`,
	},
	{
		name: "modern without id", must: "error-id", era: EraStateless, message: `{]`, kind: KindParse,
		want: `{"jsonrpc":"2.0","error":{"code":-32700,"message":"parse error: the body is not JSON"}}`,
	},
	{
		name: "modern with id", must: "error-id", era: EraStateless, message: `{"jsonrpc":"1.0","id":"7","method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":"7","error":{"code":-32600,"message":"invalid request: jsonrpc must be \"2.0\""}}`,
	},

	{
		name: "no object", must: "jsonrpc-version", era: EraStreamable, message: `"ping"`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a message is a JSON object"}}`,
	},
	{
		name: "array unsplit", must: "batch", era: EraStreamable, message: `[]`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a message is a JSON object"}}`,
	},
	{
		name: "no version", must: "jsonrpc-version", era: EraStreamable, message: `{"id":1,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: jsonrpc must be \"2.0\""}}`,
	},
	{
		name: "number as version", must: "jsonrpc-version", era: EraStreamable, message: `{"jsonrpc":2.0,"id":1,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: jsonrpc must be \"2.0\""}}`,
	},
	{
		name: "no method", must: "jsonrpc-version", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: method must be a string"}}`,
	},
	{
		name: "method and result", must: "jsonrpc-version", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: a message has either a method or a result"}}`,
	},
	{
		name: "params as array", must: "jsonrpc-version", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: params must be an object"}}`,
	},

	{
		name: "case of a name", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"Method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: method must be a string"}}`,
	},
	{
		name: "case of a tool's name", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"echo"}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: name must be a string"}}`,
	},
	{
		name: "method twice", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: an object names a member twice"}}`,
	},
	{
		name: "name twice by an escape", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"refund"}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: an object names a member twice"}}`,
	},
	{
		name: "argument twice", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"a","message":"b"}}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: an object names a member twice"}}`,
	},
	{
		name: "id twice", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: an object names a member twice"}}`,
	},
	{
		name: "invalid UTF-8", must: "strict-names", era: EraStreamable, message: "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\xff\"}}", kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: a string is not valid UTF-8"}}`,
	},
	{
		name: "half a surrogate pair", must: "strict-names", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud800"}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: a string is not valid UTF-8"}}`,
	},
	{
		name: "invalid UTF-8 in the id", must: "strict-names", era: EraStreamable, message: "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}", kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: a string is not valid UTF-8"}}`,
	},
	{
		name: "too deep", must: "bounded-depth", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: nested deeper than 64 levels"}}`,
	},

	{
		name: "null id", must: "id-type", era: EraStreamable, message: `{"jsonrpc":"2.0","id":null,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: id must be a string or an integer of at most 256 bytes"}}`,
	},
	{
		name: "fraction as id", must: "id-type", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: id must be a string or an integer of at most 256 bytes"}}`,
	},
	{
		name: "exponent as id", must: "id-type", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1e3,"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: id must be a string or an integer of at most 256 bytes"}}`,
	},
	{
		name: "object as id", must: "id-type", era: EraStateless, message: `{"jsonrpc":"2.0","id":{},"method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: id must be a string or an integer of at most 256 bytes"}}`,
	},
	{
		name: "long id", must: "id-type", era: EraStreamable, message: `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 255) + `","method":"ping"}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"invalid request: id must be a string or an integer of at most 256 bytes"}}`,
	},

	{
		name: "no session", must: "initialize-first", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, in: func(in *Input) { in.Session = nil }, kind: KindNotInitialized,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: initialize comes first"}}`,
	},
	{
		name: "second initialize", must: "initialize-once", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"n","version":"v"}}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: the session is initialized already"}}`,
	},
	{
		name: "initialize without params", must: "initialize-params", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, in: fresh, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: protocolVersion must be a string"}}`,
	},
	{
		name: "initialize with a number as version", must: "initialize-params", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":2}}`, in: fresh, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: protocolVersion must be a string"}}`,
	},
	{
		name: "initialize without capabilities", must: "initialize-params", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, in: fresh, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: capabilities must be an object"}}`,
	},
	{
		name: "initialize without clientInfo", must: "initialize-params", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`, in: fresh, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: clientInfo must be an object"}}`,
	},
	{
		name: "initialize with half a clientInfo", must: "initialize-params", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"n"}}}`, in: fresh, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: clientInfo must have a name and a version"}}`,
	},
	{
		name: "initialize in a batch", must: "initialize-not-in-batch", era: EraSSE, message: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, in: func(in *Input) { fresh(in); in.Batch = true }, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: only sessions of 2025-03-26 may send batches"}}`,
	},
	{
		name: "version header of another world", must: "version-header", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, in: func(in *Input) { in.Version = "2026-07-28" }, kind: KindUnsupportedVersion,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"unsupported MCP-Protocol-Version \"2026-07-28\": this endpoint's sessions speak 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05"}}`,
	},
	{
		name: "unknown method", must: "method-not-found", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("m", 200) + `"}`, kind: KindMethodNotFound,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"method not found: \"` + strings.Repeat("m", 128) + `\""}}`,
	},
	{
		name: "unknown tool", must: "call-unknown", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ECHO"}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool \"ECHO\""}}`,
	},
	{
		name: "string as arguments", must: "call-params", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":"x"}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: arguments must be an object"}}`,
	},
	{
		name: "number beyond a double", must: "call-params", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"query","arguments":{"limit":1e999}}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: arguments hold a value that is out of range"}}`,
	},
	{
		name: "array as _meta", must: "call-params", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":[]}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: _meta must be an object"}}`,
	},
	{
		name: "object as progress token", must: "progress-token", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"progressToken":{}}}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: progressToken must be a string or a number of at most 256 bytes"}}`,
	},
	{
		name: "unknown level", must: "log-level-invalid", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"INFO"}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: level must be one of debug, info, notice, warning, error, critical, alert, emergency"}}`,
	},
	{
		name: "unknown cursor", must: "list-cursor", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: the cursor is unknown or expired; list again from the start"}}`,
	},
	{
		name: "number as cursor", must: "list-cursor", era: EraStreamable, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":1}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: cursor must be a string"}}`,
	},

	{
		name: "modern batch", must: "single-message", era: EraStateless, message: modern("1", "tools/list", ""), in: func(in *Input) { in.Batch = true }, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: the body must be a single message"}}`,
	},
	{
		name: "modern response", must: "single-message", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"result":{}}`, kind: KindInvalidRequest,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: a client sends no responses"}}`,
	},
	{
		name: "no params", must: "meta-required", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: _meta must be an object"}}`,
	},
	{
		name: "no _meta", must: "meta-required", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: _meta must be an object"}}`,
	},
	{
		name: "no protocolVersion", must: "meta-required", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{}}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: _meta must have io.modelcontextprotocol/protocolVersion, a string"}}`,
	},
	{
		name: "no clientCapabilities", must: "meta-required", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + none + `}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: _meta must have io.modelcontextprotocol/clientCapabilities, an object"}}`,
	},
	{
		name: "half a clientInfo", must: "meta-required", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"n"}}}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: io.modelcontextprotocol/clientInfo must have a name and a version"}}`,
	},
	{
		name: "unknown logLevel", must: "log-level-invalid", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"loud"}}}`, kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: io.modelcontextprotocol/logLevel must be one of debug, info, notice, warning, error, critical, alert, emergency"}}`,
	},
	{
		name: "version header missing", must: "header-version", era: EraStateless, message: modern("1", "tools/list", ""), in: func(in *Input) { in.Version = "" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the MCP-Protocol-Version header is missing"}}`,
	},
	{
		name: "version header differs", must: "header-version", era: EraStateless, message: modern("1", "tools/list", ""), in: func(in *Input) { in.Version = "2025-11-25" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the MCP-Protocol-Version header says \"2025-11-25\", the body says \"2026-07-28\""}}`,
	},
	{
		name: "version unknown", must: "unsupported-version", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + never + `}}`, in: func(in *Input) { in.Version = "1900-01-01" }, kind: KindUnsupportedVersion,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"unsupported protocol version \"1900-01-01\": this server speaks 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"requested":"1900-01-01"}}}`,
	},
	{
		name: "version with sessions", must: "unsupported-version", era: EraStateless, message: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + older + `}}`, in: func(in *Input) { in.Version = "2025-11-25" }, kind: KindUnsupportedVersion,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"unsupported protocol version \"2025-11-25\": this server speaks 2026-07-28","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}}`,
	},
	{
		name: "method header missing", must: "header-method", era: EraStateless, message: modern("1", "tools/list", ""), in: func(in *Input) { in.Hints.Method = "" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Method header is missing, the body says \"tools/list\""}}`,
	},
	{
		name: "method header differs in case", must: "header-method", era: EraStateless, message: modern("1", "tools/list", ""), in: func(in *Input) { in.Hints.Method = "Tools/List" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Method header says \"Tools/List\", the body says \"tools/list\""}}`,
	},
	{
		name: "name header missing", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header is missing, the body says \"total\""}}`,
	},
	{
		name: "name header differs", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "echo" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header says \"echo\", the body says \"total\""}}`,
	},
	{
		name: "name header is no base64", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "=?base64?dG90YW?=" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header is not valid text or base64"}}`,
	},
	{
		name: "name header has bits to spare", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "=?base64?dG90YWx=?=" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header is not valid text or base64"}}`,
	},
	{
		name: "name header is no text in base64", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "=?base64?/w==?=" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header is not valid text or base64"}}`,
	},
	{
		name: "name header has a control character", must: "header-name", era: EraStateless, message: modern("1", "tools/call", `"name":"total"`), in: func(in *Input) { in.Hints.Name = "total\x01" }, kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Name header is not valid text or base64"}}`,
	},
	{
		name: "param header missing", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"region":"eu"}`), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Region header is missing for the argument region"}}`,
	},
	{
		name: "param header without argument", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"region":null}`), in: params("region", "eu"), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Region header is given, but the argument region is not"}}`,
	},
	{
		name: "param header differs in case", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"region":"eu"}`), in: params("region", "EU"), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Region header differs from the argument region"}}`,
	},
	{
		name: "param header is no base64", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"region":"eu"}`), in: params("region", "=?base64?ZXU?="), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Region header is not valid text or base64"}}`,
	},
	{
		name: "param header is another integer", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"limit":42}`), in: params("limit", "42.5"), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Limit header differs from the argument limit"}}`,
	},
	{
		name: "param header beyond exact integers", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"limit":9007199254740992}`), in: params("limit", "9007199254740992"), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Limit header differs from the argument limit"}}`,
	},
	{
		name: "param header is another truth", must: "header-param", era: EraStateless, message: modern("1", "tools/call", `"name":"query","arguments":{"dry":true}`), in: params("dry", "True"), kind: KindHeaderMismatch,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"header mismatch: the Mcp-Param-Dry header differs from the argument dry"}}`,
	},
	{
		name: "modern initialize", must: "removed-methods", era: EraStateless, message: modern("1", "initialize", ""), kind: KindMethodNotFound,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"method not found: \"initialize\""}}`,
	},
	{
		name: "listen for nothing", must: "listen-filter", era: EraStateless, message: modern("1", "subscriptions/listen", ""), kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: notifications must be an object"}}`,
	},
	{
		name: "listen with a string", must: "listen-filter", era: EraStateless, message: modern("1", "subscriptions/listen", `"notifications":{"toolsListChanged":"yes"}`), kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: notifications.toolsListChanged must be a boolean"}}`,
	},
	{
		name: "listen to one resource", must: "listen-filter", era: EraStateless, message: modern("1", "subscriptions/listen", `"notifications":{"resourceSubscriptions":"file:///x"}`), kind: KindInvalidParams,
		want: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params: notifications.resourceSubscriptions must be an array"}}`,
	},
}

func fresh(in *Input) { in.Session = &Session{} }

func params(key, value string) func(*Input) {
	return func(in *Input) { in.Hints.Params = map[string]string{key: value} }
}

func TestWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			in := Input{Message: []byte(tt.message), Era: tt.era, Principal: auth.Anonymous()}
			if tt.era == EraStateless {
				in.Version = Version20260728
				if env, err := decodeEnvelope(in.Message); err == nil {
					in.Hints.Method = env.method
					if name, ok := optional(env.params, "name"); ok {
						in.Hints.Name = unquote(name)
					}
				}
			} else {
				in.Session = openSession(t, w.Engine, Version20251125)
			}
			if tt.in != nil {
				tt.in(&in)
			}
			call, err := w.Accept(t.Context(), in)
			if call != nil {
				t.Fatal("accepted")
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want an *Error", err)
			}
			if e.Kind != tt.kind {
				t.Errorf("kind = %s, want %s", e.Kind, tt.kind)
			}
			if got := string(e.JSON()); got != tt.want {
				t.Errorf("error\n got %s\nwant %s", got, tt.want)
			}
			if in.Session != nil && in.Session.Running() != 0 {
				t.Errorf("Running() = %d after a refusal", in.Session.Running())
			}
			if seen := w.observer.all(); seen[len(seen)-1] != "refused "+tt.era.String()+" "+tt.kind.String() {
				t.Errorf("observed %q", seen)
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// maxIDLength bounds a request's id in bytes, as it stands in the message.
const maxIDLength = 256

// form tells the three forms of a message apart.
type form uint8

const (
	request form = iota + 1
	notification
	response
)

// envelope is a message whose params are still raw. Its slices belong to the
// message.
type envelope struct {
	form   form
	id     []byte
	method string
	params []byte
}

// The methods and notifications that the engine knows.
const (
	methodInitialize = "initialize"
	methodPing       = "ping"
	methodDiscover   = "server/discover"
	methodToolsList  = "tools/list"
	methodToolsCall  = "tools/call"
	methodSetLevel   = "logging/setLevel"
	methodListen     = "subscriptions/listen"

	notificationInitialized = "notifications/initialized"
	notificationCancelled   = "notifications/cancelled"
)

// decodeEnvelope checks a whole message strictly and takes its envelope apart.
// Names are case-sensitive, and neither they nor their values can be given
// twice: two readers of one message must never disagree about what it calls.
func decodeEnvelope(message []byte) (envelope, *Error) {
	if err := check(message); err != nil {
		return envelope{}, err
	}
	if message[skipSpace(message, 0)] != '{' {
		return envelope{}, refuse(KindInvalidRequest, nil, "invalid request: a message is a JSON object")
	}
	var env envelope
	var version, method, id []byte
	var outcome bool
	for m := membersOf(message); ; {
		name, value, ok := m.next()
		if !ok {
			break
		}
		switch {
		case nameIs(name, "jsonrpc"):
			version = value
		case nameIs(name, "id"):
			id = value
		case nameIs(name, "method"):
			method = value
		case nameIs(name, "params"):
			env.params = value
		case nameIs(name, "result"), nameIs(name, "error"):
			outcome = true
		}
	}
	return env.complete(version, id, method, outcome)
}

func (env envelope) complete(version, id, method []byte, outcome bool) (envelope, *Error) {
	if id != nil && !validID(id) {
		return env, refuse(KindInvalidRequest, nil, "invalid request: id must be a string or an integer of at most 256 bytes")
	}
	env.id = id
	if !isString(version) || unquote(version) != "2.0" {
		return env, refuse(KindInvalidRequest, id, `invalid request: jsonrpc must be "2.0"`)
	}
	switch {
	case method == nil && outcome && id != nil:
		env.form = response
		return env, nil
	case !isString(method):
		return env, refuse(KindInvalidRequest, id, "invalid request: method must be a string")
	case outcome:
		return env, refuse(KindInvalidRequest, id, "invalid request: a message has either a method or a result")
	case id == nil:
		env.form = notification
	default:
		env.form = request
	}
	env.method = methodName(method)
	if isNull(env.params) {
		env.params = nil
	}
	if env.params != nil && !isObject(env.params) {
		return env, refuse(KindInvalidRequest, id, "invalid request: params must be an object")
	}
	return env, nil
}

// check finds what is wrong with a message as JSON.
func check(message []byte) *Error {
	if !shallow(message) {
		return refuse(KindInvalidRequest, nil, "invalid request: nested deeper than 64 levels")
	}
	v := jsontext.Value(message)
	if v.IsValid() {
		return nil
	}
	duplicates, utf8 := jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)
	switch {
	case !v.IsValid(duplicates, utf8):
		return refuse(KindParse, nil, "parse error: the body is not JSON")
	case v.IsValid(duplicates):
		return refuse(KindInvalidRequest, lenientID(message), "invalid request: an object names a member twice")
	default:
		return refuse(KindInvalidRequest, lenientID(message), "invalid request: a string is not valid UTF-8")
	}
}

// lenientID reads the id of a message that is refused, if there is just one.
func lenientID(message []byte) []byte {
	if message[skipSpace(message, 0)] != '{' {
		return nil
	}
	var id []byte
	for m := membersOf(message); ; {
		name, value, ok := m.next()
		switch {
		case !ok:
			return id
		case !nameIs(name, "id"):
		case id != nil || !validID(value):
			return nil
		default:
			id = value
		}
	}
}

func validID(id []byte) bool {
	return len(id) <= maxIDLength && (isString(id) && jsontext.Value(id).IsValid() || isInteger(id))
}

// sameID compares two ids as values: a string may be escaped in two ways.
func sameID(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if !isString(a) || !isString(b) || bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return false
	}
	return unquote(a) == unquote(b)
}

// methodName gives known methods without an allocation.
func methodName(quoted []byte) string {
	name := quoted[1 : len(quoted)-1]
	switch string(name) {
	case methodToolsCall:
		return methodToolsCall
	case methodToolsList:
		return methodToolsList
	case methodPing:
		return methodPing
	default:
		return unquote(quoted)
	}
}

// IsBatch reports whether a body is an array: of several messages, or of none.
func IsBatch(body []byte) bool {
	i := skipSpace(body, 0)
	return i < len(body) && body[i] == '['
}

// Split takes a batch apart into its messages (2025-03-26 basic/index,
// "Batching"). It must not be empty and not hold more than maxMessages. Its
// messages share the body's memory and are checked by Accept, each on its own.
// Every error is an *Error.
func Split(body []byte, maxMessages int) (messages [][]byte, err error) {
	if !shallow(body) {
		return nil, refuse(KindInvalidRequest, nil, "invalid request: nested deeper than 64 levels")
	}
	if !jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		return nil, refuse(KindParse, nil, "parse error: the body is not JSON")
	}
	for i := skipSpace(body, skipSpace(body, 0)+1); body[i] != ']'; i = skipSpace(body, i) {
		if body[i] == ',' {
			i = skipSpace(body, i+1)
		}
		if len(messages) == maxMessages {
			return nil, refuse(KindInvalidRequest, nil, "invalid request: too many messages in one batch")
		}
		end := endOfValue(body, i)
		messages = append(messages, body[i:end])
		i = end
	}
	if len(messages) == 0 {
		return nil, refuse(KindInvalidRequest, nil, "invalid request: a batch must not be empty")
	}
	return messages, nil
}

// refuse makes an Error. It copies the id, since an error may outlive its
// message.
func refuse(kind Kind, id []byte, message string) *Error {
	return &Error{Kind: kind, Code: kind.code(), Message: message, ID: slices.Clone(id)}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

// FuzzAccept holds for any bytes and each era: no panic, an error or a call,
// valid JSON of one line with the request's id, and nothing left running.
func FuzzAccept(f *testing.F) {
	for _, c := range []conversation{
		{sections: []section{{body: modern(`"id"`, "tools/call", `"name":"echo","arguments":{"message":"hi"}`)}}},
		{sections: []section{{body: modern("2", "subscriptions/listen", `"notifications":{"toolsListChanged":true}`)}}},
		{sections: []section{{body: string(legacyCall("3", "steps", `,"_meta":{"progressToken":1}`))}}},
	} {
		f.Add([]byte(c.sections[0].body))
	}
	for _, w := range wrongs {
		f.Add([]byte(w.message))
	}
	w := newWorld(f, nil)
	f.Fuzz(func(t *testing.T, message []byte) {
		session := openSession(t, w.Engine, Version20251125)
		for _, in := range []Input{
			{Era: EraStreamable},
			{Era: EraSSE, Session: &Session{}},
			{Era: EraStreamable, Session: session},
			{Era: EraStateless, Version: Version20260728},
		} {
			in.Message, in.Principal = bytes.Clone(message), auth.Anonymous()
			if env, err := decodeEnvelope(message); err == nil {
				in.Hints.Method = env.method
				if name, ok := optional(env.params, "name"); ok && isString(name) {
					in.Hints.Name = unquote(name)
				}
			}
			fuzzOne(t, w, in)
			if in.Session != nil && in.Session.Running() != 0 {
				t.Fatalf("%d requests left running by %q", in.Session.Running(), message)
			}
		}
	})
}

func fuzzOne(t *testing.T, w *world, in Input) {
	t.Helper()
	call, err := w.Accept(t.Context(), in)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Code == 0 {
			t.Fatalf("error %v of %q is no *Error", err, in.Message)
		}
		checkLine(t, e.JSON())
		return
	}
	if call.Tool() == "wait" {
		call.Release()
		return
	}
	if s := call.Subscription(); s != nil {
		s.End()
		checkLine(t, s.Acknowledgement())
	}
	id := bytes.Clone(call.ID())
	sink := newRecorder()
	call.Run(t.Context(), sink)
	messages := sink.take()
	if call.IsRequest() == (len(messages) == 0) {
		t.Fatalf("%d messages for %q", len(messages), in.Message)
	}
	for i, m := range messages {
		checkLine(t, m.Data)
		if m.Response != (i == len(messages)-1) {
			t.Fatalf("message %d of %d of %q: response = %t", i, len(messages), in.Message, m.Response)
		}
	}
	if call.IsRequest() {
		var response struct{ ID json.RawMessage }
		if err := json.Unmarshal(messages[len(messages)-1].Data, &response); err != nil || !bytes.Equal(response.ID, id) {
			t.Fatalf("id = %s, want %s (%v)", response.ID, id, err)
		}
	}
}

func checkLine(t *testing.T, data []byte) {
	t.Helper()
	if !jsontext.Value(data).IsValid() || bytes.ContainsAny(data, "\n\r") {
		t.Fatalf("not one line of JSON: %q", data)
	}
}

// FuzzSplit holds that the parts of a batch are what a JSON decoder finds.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`[]`, `[1,{"a":[2]},"],["]`, ` [ {} , {} ] `, `{}`, `[1,]`, `[[[`, `"`, `["\"",[[]],{"]":"["}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !IsBatch(body) {
			return
		}
		messages, err := Split(body, 8)
		var want []json.RawMessage
		isArray := json.Unmarshal(body, &want) == nil && want != nil
		switch {
		case err != nil:
		case !isArray || len(messages) != len(want):
			t.Fatalf("Split(%q) = %q, want %q", body, messages, want)
		default:
			for i := range want {
				if !bytes.Equal(messages[i], want[i]) {
					t.Fatalf("message %d of %q = %q, want %q", i, body, messages[i], want[i])
				}
			}
		}
	})
}

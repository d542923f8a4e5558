// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"slices"
	"sync"
)

// Subscription is a subscriptions/listen stream (2026-07-28
// basic/patterns/subscriptions). A transport runs the Call and sends ListChanged
// beside it, or writes Acknowledgement, ListChanged and Result itself and
// releases the Call. A Subscription stays valid after that.
type Subscription struct {
	id    []byte
	tools bool
	head  []byte
	once  sync.Once
	ended chan struct{}
}

// listen accepts subscriptions/listen.
func (e *Engine) listen(c *Call, st *state, params []byte) *Error {
	filter, ok := optional(params, "notifications")
	if !ok || !isObject(filter) {
		return refuse(KindInvalidParams, c.id, "invalid params: notifications must be an object")
	}
	s := &Subscription{id: slices.Clone(c.id), head: st.head, ended: make(chan struct{})}
	for m := membersOf(filter); ; {
		name, value, ok := m.next()
		if !ok {
			break
		}
		switch {
		case nameIs(name, "toolsListChanged"), nameIs(name, "promptsListChanged"), nameIs(name, "resourcesListChanged"):
			if string(value) != "true" && string(value) != "false" {
				return refuse(KindInvalidParams, c.id, "invalid params: notifications."+unquote(name)+" must be a boolean")
			}
			if nameIs(name, "toolsListChanged") {
				s.tools = string(value) == "true"
			}
		case nameIs(name, "resourceSubscriptions"):
			if value[0] != '[' {
				return refuse(KindInvalidParams, c.id, "invalid params: notifications.resourceSubscriptions must be an array")
			}
		}
	}
	c.subscription = s
	return nil
}

// Acknowledgement is the first message of the stream: what will be notified of
// what was asked for.
func (s *Subscription) Acknowledgement() []byte {
	b := s.notification("notifications/subscriptions/acknowledged")
	b = append(b, `,"notifications":{`...)
	if s.tools {
		b = append(b, `"toolsListChanged":true`...)
	}
	return append(b, "}}}"...)
}

// ListChanged is notifications/tools/list_changed with the subscription's id, nil
// if the client did not ask for it.
func (s *Subscription) ListChanged() []byte {
	if !s.tools {
		return nil
	}
	return append(s.notification("notifications/tools/list_changed"), "}}"...)
}

// Result is the response that ends the stream gracefully.
func (s *Subscription) Result() []byte {
	b := make([]byte, 0, 128+2*len(s.id)+len(s.head))
	b = append(append(append(b, `{"jsonrpc":"2.0","id":`...), s.id...), `,"result":{`...)
	b = append(append(b, s.head...), `,"`+metaSubscriptionID+`":`...)
	return append(append(b, s.id...), "}}}"...)
}

// End lets Run send the result and return. It is safe to call more than once.
func (s *Subscription) End() { s.once.Do(func() { close(s.ended) }) }

// notification begins a tagged notification, up to the end of _meta.
func (s *Subscription) notification(method string) []byte {
	b := make([]byte, 0, 192+len(s.id))
	b = append(append(append(b, `{"jsonrpc":"2.0","method":"`...), method...), `","params":{"_meta":{"`+metaSubscriptionID+`":`...)
	return append(append(b, s.id...), '}')
}

func (s *Subscription) run(ctx context.Context, sink Sink, group uint64) {
	if sink.Send(ctx, Message{Data: s.Acknowledgement(), Group: group}) != nil {
		return
	}
	select {
	case <-s.ended:
		// A stream that is gone has told its owner.
		_ = sink.Send(ctx, Message{Data: s.Result(), Response: true, Group: group})
	case <-ctx.Done():
	}
}

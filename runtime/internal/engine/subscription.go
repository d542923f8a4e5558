// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

// Subscription is a subscriptions/listen stream (2026-07-28
// basic/patterns/subscriptions). A transport either runs the Call, or writes
// Acknowledgement, ListChanged and Result to a stream of its own.
type Subscription struct{}

// Acknowledgement is the first message of the stream: what will be notified of
// what was asked for.
func (s *Subscription) Acknowledgement() []byte { return nil }

// ListChanged is notifications/tools/list_changed with the subscription's id, nil
// if the client did not ask for it.
func (s *Subscription) ListChanged() []byte { return nil }

// Result is the response that ends the stream gracefully.
func (s *Subscription) Result() []byte { return nil }

// End lets Run send the result and return. It is safe to call more than once.
func (s *Subscription) End() {}

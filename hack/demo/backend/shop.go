// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"sync"
)

// The states of an order.
const (
	open      = "open"
	shipped   = "shipped"
	delivered = "delivered"
	refunded  = "refunded"
)

var errUnknown = errors.New("there is no such order")

// order is one order of the shop.
type order struct {
	ID       string  `json:"id"`
	Status   string  `json:"status"`
	Customer string  `json:"customer"`
	Item     string  `json:"item"`
	Total    float64 `json:"total"`
	Refunded float64 `json:"refunded,omitempty"`
	Reason   string  `json:"reason,omitempty"`
}

// shop keeps the orders in memory: a restart brings the first ones back.
type shop struct {
	mu     sync.Mutex
	orders []order // the newest first
}

func newShop() *shop {
	return &shop{orders: []order{
		{ID: "1005", Status: open, Customer: "Grace", Item: "anchor chain, 20 m", Total: 189.90},
		{ID: "1004", Status: open, Customer: "Edsger", Item: "bow fender", Total: 34.50},
		{ID: "1003", Status: shipped, Customer: "Barbara", Item: "mooring line, 30 m", Total: 74.00},
		{ID: "1002", Status: delivered, Customer: "Alan", Item: "signal lamp", Total: 129.00},
		{ID: "1001", Status: delivered, Customer: "Ada", Item: "bronze fairlead, pair", Total: 58.20},
	}}
}

// list gives at most limit orders of a state; an empty state means all.
func (s *shop) list(status string, limit int) []order {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []order{}
	for _, o := range s.orders {
		if (status == "" || o.Status == status) && len(found) < limit {
			found = append(found, o)
		}
	}
	return found
}

func (s *shop) get(id string) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orders {
		if o.ID == id {
			return o, nil
		}
	}
	return order{}, fmt.Errorf("%w: %s", errUnknown, id)
}

// refund gives back an amount, or all that is left when the amount is 0.
func (s *shop) refund(id, reason string, amount float64) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.orders {
		o := &s.orders[i]
		if o.ID != id {
			continue
		}
		left := o.Total - o.Refunded
		switch {
		case left <= 0:
			return order{}, fmt.Errorf("order %s is refunded already", id)
		case amount > left:
			return order{}, fmt.Errorf("order %s has only %.2f left to refund", id, left)
		case amount == 0:
			amount = left
		}
		o.Refunded += amount
		o.Reason = reason
		if o.Refunded >= o.Total {
			o.Status = refunded
		}
		return *o, nil
	}
	return order{}, fmt.Errorf("%w: %s", errUnknown, id)
}

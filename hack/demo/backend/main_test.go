// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		path   string
		body   string
		token  string
		status int
		want   string
	}{
		{name: "no token", method: "GET", path: "/orders", token: "", status: 401, want: `{"message":"X-API-Token is missing or wrong"}`},
		{name: "list", method: "GET", path: "/orders?status=shipped", token: "t", status: 200, want: `{"orders":[{"id":"1003","status":"shipped","customer":"Barbara","item":"mooring line, 30 m","total":74}]}`},
		{name: "limit", method: "GET", path: "/orders?limit=0", token: "t", status: 400, want: `{"message":"limit must be a number from 1 to 100"}`},
		{name: "get", method: "GET", path: "/orders/1001", token: "t", status: 200, want: `{"id":"1001","status":"delivered","customer":"Ada","item":"bronze fairlead, pair","total":58.2}`},
		{name: "unknown", method: "GET", path: "/orders/9", token: "t", status: 404, want: `{"message":"there is no such order: 9"}`},
		{name: "refund in part", method: "POST", path: "/orders/1002/refund", body: `{"reason":"late","amount":9}`, token: "t", status: 200, want: `{"id":"1002","status":"delivered","customer":"Alan","item":"signal lamp","total":129,"refunded":9,"reason":"late"}`},
		{name: "refund all", method: "POST", path: "/orders/1002/refund", body: `{"reason":"late"}`, token: "t", status: 200, want: `{"id":"1002","status":"refunded","customer":"Alan","item":"signal lamp","total":129,"refunded":129,"reason":"late"}`},
		{name: "refund again", method: "POST", path: "/orders/1002/refund", body: `{"reason":"late"}`, token: "t", status: 409, want: `{"message":"order 1002 is refunded already"}`},
		{name: "no reason", method: "POST", path: "/orders/1001/refund", body: `{}`, token: "t", status: 400, want: `{"message":"the body must be JSON with a reason"}`},
		{
			name: "follow", method: "GET", path: "/orders/1005/events", token: "t", status: 200,
			want: `{"progress":1,"total":5,"message":"order received"}
{"progress":2,"total":5,"message":"payment settled"}
{"progress":3,"total":5,"message":"packed in the warehouse"}
{"progress":4,"total":5,"message":"handed to the carrier"}
{"progress":5,"total":5,"message":"out for delivery","id":"1005","status":"open"}`,
		},
	}
	handler := newAPI("t", 0, slog.New(slog.DiscardHandler)).handler()
	for _, tt := range tests {
		// The refunds follow on each other.
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body))
			r.Header = http.Header{"X-Api-Token": {tt.token}}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(string(body)); w.Code != tt.status || got != tt.want {
				t.Errorf("%d %s, want %d %s", w.Code, got, tt.status, tt.want)
			}
		})
	}
}

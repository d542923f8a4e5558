// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// apiServer answers reviews: it knows the tokens "good" and "weak", and calls
// every other malformed, as a real one does.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch {
		case strings.HasSuffix(req.URL.Path, "/tokenreviews"):
			var review authenticationv1.TokenReview
			if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			switch review.Spec.Token {
			case "good", "weak":
				review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: review.Spec.Token, Groups: []string{"all"}}}
			case "down":
				http.Error(w, "down", http.StatusInternalServerError)
				return
			default:
				review.Status = authenticationv1.TokenReviewStatus{Error: "invalid bearer token"}
			}
			answer = review
		default:
			var review authorizationv1.SubjectAccessReview
			if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
				t.Error(err)
			}
			rule := review.Spec.NonResourceAttributes
			review.Status.Allowed = review.Spec.User == "good" && rule.Path == "/metrics" && rule.Verb == "get"
			answer = review
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}}
}

func TestScrapers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		authorization string
		may           rights
		want          int
	}{
		{name: "may", authorization: "Bearer good", may: rights{reviewTokens: true}, want: http.StatusOK},
		{name: "may not", authorization: "Bearer weak", may: rights{reviewTokens: true}, want: http.StatusForbidden},
		{name: "nobody", may: rights{reviewTokens: true}, want: http.StatusUnauthorized},
		{name: "malformed", authorization: "Bearer x.y", may: rights{reviewTokens: true}, want: http.StatusUnauthorized},
		{name: "no token", authorization: "Bearer ", may: rights{reviewTokens: true}, want: http.StatusUnauthorized},
		{name: "another scheme", authorization: "Basic good", may: rights{reviewTokens: true}, want: http.StatusUnauthorized},
		{name: "the API server is down", authorization: "Bearer down", may: rights{reviewTokens: true}, want: http.StatusServiceUnavailable},
		{name: "the operator may not ask", authorization: "Bearer good", want: http.StatusServiceUnavailable},
	}
	cfg := apiServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			filter, err := scrapers(tt.may)(cfg, &http.Client{Timeout: reviewTimeout})
			if err != nil {
				t.Fatal(err)
			}
			handler, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
			if err != nil {
				t.Fatal(err)
			}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
			if tt.authorization != "" {
				req.Header.Set("Authorization", tt.authorization)
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, req)
			if answer.Code != tt.want {
				t.Errorf("%d %s, want %d", answer.Code, answer.Body, tt.want)
			}
			if tt.want == http.StatusUnauthorized && answer.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Error("401 without WWW-Authenticate (RFC 9110, 15.5.2)")
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// noReviews says why nobody gets the metrics.
const noReviews = "The operator may not create tokenreviews and subjectaccessreviews, so that it cannot tell who may read /metrics and answers 503 to everybody: grant both with a ClusterRole, or switch it off with --metrics-bind-address=0"

// Bounds of asking the API server about a scraper.
const (
	reviewTimeout = 10 * time.Second
	reviewsAtOnce = 8
)

// scrapers lets those to /metrics who may get that path. It stands in for
// controller-runtime's filter, which answers 500 to a token that the API server
// calls invalid; nothing is cached, since a scrape comes every few seconds at
// most.
func scrapers(may rights) func(*rest.Config, *http.Client) (metricsserver.Filter, error) {
	return func(cfg *rest.Config, web *http.Client) (metricsserver.Filter, error) {
		tokens, err := authenticationclient.NewForConfigAndClient(cfg, web)
		if err != nil {
			return nil, fmt.Errorf("failed to set up authentication for /metrics: %w", err)
		}
		rules, err := authorizationclient.NewForConfigAndClient(cfg, web)
		if err != nil {
			return nil, fmt.Errorf("failed to set up authorization for /metrics: %w", err)
		}
		g := &gate{may: may, tokens: tokens.TokenReviews(), rules: rules.SubjectAccessReviews(), asking: make(chan struct{}, reviewsAtOnce)}
		return func(log logr.Logger, next http.Handler) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if g.lets(w, req, log) {
					next.ServeHTTP(w, req)
				}
			}), nil
		}, nil
	}
}

// gate asks the API server who somebody is and what he may.
type gate struct {
	may    rights
	tokens authenticationclient.TokenReviewInterface
	rules  authorizationclient.SubjectAccessReviewInterface
	// asking holds a token for each request that asks.
	asking chan struct{}
}

// lets reports whether the caller may go on; if not, it has answered.
func (g *gate) lets(w http.ResponseWriter, req *http.Request, log logr.Logger) bool {
	if !g.may.reviewTokens {
		http.Error(w, noReviews, http.StatusServiceUnavailable)
		return false
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		unauthorized(w)
		return false
	}
	select {
	case g.asking <- struct{}{}:
		defer func() { <-g.asking }()
	default:
		http.Error(w, "too many callers at once: try again", http.StatusServiceUnavailable)
		return false
	}
	ctx, cancel := context.WithTimeout(req.Context(), reviewTimeout)
	defer cancel()
	user, known, err := g.who(ctx, token)
	if err == nil && !known {
		unauthorized(w)
		return false
	}
	allowed := false
	if err == nil {
		allowed, err = g.mayGet(ctx, user, req)
	}
	if err != nil {
		log.Error(err, "Failed to ask who may read the metrics")
		http.Error(w, "the API server does not say who may read this: try again", http.StatusServiceUnavailable)
		return false
	}
	if allowed {
		return true
	}
	http.Error(w, fmt.Sprintf("%s may not %s %s: bind the ClusterRole fairlead-metrics-reader", user.Username, strings.ToLower(req.Method), req.URL.Path), http.StatusForbidden)
	return false
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	http.Error(w, "send a token of a ServiceAccount as Authorization: Bearer", http.StatusUnauthorized)
}

func (g *gate) who(ctx context.Context, token string) (authenticationv1.UserInfo, bool, error) {
	review, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, false, err
	}
	return review.Status.User, review.Status.Authenticated, nil
}

func (g *gate) mayGet(ctx context.Context, user authenticationv1.UserInfo, req *http.Request) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review, err := g.rules.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: req.URL.Path, Verb: strings.ToLower(req.Method)},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

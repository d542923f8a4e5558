// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// rights are those that an operator of some namespaces may have to do without,
// since only a ClusterRole can give them.
type rights struct {
	// readIngressClasses lets spec.exposure.profile be found out.
	readIngressClasses bool
	// reviewTokens lets /metrics know who asks.
	reviewTokens bool
}

// askRights asks the API server. Everybody may ask about himself.
func askRights(ctx context.Context, cfg *rest.Config) (rights, error) {
	reviews, err := authorizationclient.NewForConfig(cfg)
	if err != nil {
		return rights{}, fmt.Errorf("failed to ask for the operator's rights: %w", err)
	}
	may := func(group, resource string, verbs ...string) bool {
		for _, verb := range verbs {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Group: group, Resource: resource, Verb: verb},
			}}
			answer, failed := reviews.SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if failed != nil {
				err = fmt.Errorf("failed to ask whether the operator may %s %s: %w", verb, resource, failed)
				return false
			}
			if !answer.Status.Allowed {
				return false
			}
		}
		return true
	}
	found := rights{
		readIngressClasses: may("networking.k8s.io", "ingressclasses", "get", "list", "watch"),
		reviewTokens:       may("authentication.k8s.io", "tokenreviews", "create") && may("authorization.k8s.io", "subjectaccessreviews", "create"),
	}
	return found, err
}

// tellRights logs what does not work, and what to do about it.
func tellRights(ctx context.Context, log *slog.Logger, o Options, may rights) {
	if !may.readIngressClasses {
		log.WarnContext(ctx, "The operator may not read IngressClasses: exposure.profile Auto adds no settings, so that servers name their profile; grant get, list and watch on ingressclasses with a ClusterRole to change that")
	}
	if !may.reviewTokens && o.MetricsBindAddress != "0" {
		log.WarnContext(ctx, noReviews)
	}
}

// withoutIngressClasses makes an informer that knows of no class, for an
// operator that may not read them: a cache that may not list a kind would never
// be filled, and the controller never start.
func withoutIngressClasses(source cache.ListerWatcher, object runtime.Object, resync time.Duration, indexers cache.Indexers) cache.SharedIndexInformer {
	if _, ok := object.(*networkingv1.IngressClass); ok {
		source = &nothing{ListWatch: cache.ListWatch{
			ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
				return &networkingv1.IngressClassList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
			},
			WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
				return watch.NewFake(), nil // It never says anything.
			},
		}}
	}
	return cache.NewSharedIndexInformer(source, object, resync, indexers)
}

// nothing is a source without objects.
type nothing struct{ cache.ListWatch }

// IsWatchListSemanticsUnSupported makes informers list: a watch that says
// nothing would never tell them that the list is complete.
func (*nothing) IsWatchListSemanticsUnSupported() bool { return true }

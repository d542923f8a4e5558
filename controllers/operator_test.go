// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestOperatorServesItsMetricsToThoseWhoMay runs one as config/manager does:
// elected, with metrics over TLS behind authentication and authorization.
//
// Not parallel: a second operator would do the work that other stories count.
func TestOperatorServesItsMetricsToThoseWhoMay(t *testing.T) { //nolint:paralleltest // See above.
	s := newStory(t)
	o := options()
	o.LeaderElect, o.LeaderElectionNamespace = true, "fairlead-system"
	o.MetricsBindAddress, o.HealthProbeBindAddress = freeAddress(t), freeAddress(t)
	ctx, stop := context.WithCancel(s.ctx)
	done, err := startManager(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // Self-signed.
	}}
	get := func(url, token string) (int, string) {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := web.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	s.eventually(func() string {
		if code, body := get("http://"+o.HealthProbeBindAddress+"/readyz", ""); code != http.StatusOK {
			return fmt.Sprintf("/readyz: %d %s", code, body)
		}
		return ""
	})
	url := "https://" + o.MetricsBindAddress + "/metrics"
	token := s.token("scraper")
	s.eventually(func() string {
		if code, body := get(url, ""); code != http.StatusUnauthorized {
			return fmt.Sprintf("without a token: %d %s, want 401", code, body)
		}
		return ""
	})
	if code, _ := get(url, token); code != http.StatusForbidden {
		t.Errorf("without the right: %d, want 403", code)
	}
	s.create(&rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}}},
	})
	s.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: s.namespace},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: s.namespace, Name: "scraper"}},
	})
	second := s.token("scraper") // The verdict on the first is cached for a while.
	s.eventually(func() string {
		if code, body := get(url, second); code != http.StatusOK || !strings.Contains(body, "controller_runtime_") {
			return fmt.Sprintf("with the right: %d %s", code, body[:min(len(body), 200)])
		}
		return ""
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The next one need not wait for the Lease to expire.
	clients, err := kubernetes.NewForConfig(suite.server.Config)
	if err != nil {
		t.Fatal(err)
	}
	var lease *coordinationv1.Lease
	if lease, err = clients.CoordinationV1().Leases("fairlead-system").Get(s.ctx, "fairlead-operator", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
		t.Errorf("the Lease is still held by %q", *lease.Spec.HolderIdentity)
	}
}

// token returns a token of a ServiceAccount, which it creates if need be.
func (s *story) token(account string) string {
	s.Helper()
	if found := named(s, &corev1.ServiceAccount{}, account); !s.exists(found) {
		s.create(found)
	}
	clients, err := kubernetes.NewForConfig(suite.server.Config)
	if err != nil {
		s.Fatal(err)
	}
	request, err := clients.CoreV1().ServiceAccounts(s.namespace).CreateToken(s.ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return request.Status.Token
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admission_test attacks a real API server with the identity and the
// rights of the operator, and with those of a tenant, to show what
// config/admission and config/rbac hold.
package admission_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/test/apiserver"
)

// operatorNamespace and operatorAccount are the identity of config/manager.
const (
	operatorNamespace = "fairlead-system"
	operatorAccount   = "fairlead-operator"
)

// patience bounds every wait; poll is the pause between two looks.
const (
	patience = 60 * time.Second
	poll     = 50 * time.Millisecond
)

// cluster is the API server that all tests share.
var cluster struct {
	server *apiserver.Server
	// admin may do anything; operator has a token of the operator's
	// ServiceAccount, with the rights of config/rbac.
	admin, operator client.Client
}

func TestMain(m *testing.M) { apiserver.Main(m, prepare) }

// prepare installs what the operator's identity may do.
func prepare(server *apiserver.Server) (func() error, error) {
	cluster.server = server
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	if cluster.admin, err = client.New(server.Config, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := install(ctx, "manager", "namespace.yaml"); err != nil {
		return nil, err
	}
	for _, file := range []string{"service_account.yaml", "role.yaml", "role_binding.yaml", "mcpserver_roles.yaml"} {
		if err := install(ctx, "rbac", file); err != nil {
			return nil, err
		}
	}
	if cluster.operator, err = account(ctx, scheme, operatorNamespace, operatorAccount); err != nil {
		return nil, err
	}
	return nil, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme, err := manager.Scheme()
	if err != nil {
		return nil, err
	}
	builder := runtime.NewSchemeBuilder(
		rbacv1.AddToScheme, admissionv1.AddToScheme, autoscalingv2.AddToScheme, policyv1.AddToScheme, coordinationv1.AddToScheme,
	)
	return scheme, builder.AddToScheme(scheme)
}

// install creates all objects of a file of config.
func install(ctx context.Context, path ...string) error {
	data, err := os.ReadFile(filepath.Join(append([]string{apiserver.Root(), "config"}, path...)...))
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq("\n"+string(data), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return err
		}
		if len(object.Object) == 0 {
			continue
		}
		if err := cluster.admin.Create(ctx, object); err != nil {
			return fmt.Errorf("failed to create %s %q: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// account returns a client with a token of a ServiceAccount.
func account(ctx context.Context, scheme *runtime.Scheme, namespace, name string) (client.Client, error) {
	clients, err := kubernetes.NewForConfig(cluster.server.Config)
	if err != nil {
		return nil, err
	}
	request, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	cfg := rest.AnonymousClientConfig(cluster.server.Config)
	cfg.BearerToken, cfg.QPS = request.Status.Token, -1
	return client.New(cfg, client.Options{Scheme: scheme})
}

// newNamespace creates one.
func newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "admission-"}}
	if err := cluster.admin.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// create creates objects as an administrator, in the namespace.
func create(t *testing.T, namespace string, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		object.SetNamespace(namespace)
		if err := cluster.admin.Create(t.Context(), object); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("failed to create %T %q: %v", object, object.GetName(), err)
		}
	}
}

// allow gives the operator more rights in a namespace than config/rbac does.
func allow(t *testing.T, namespace string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	create(t, namespace,
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "more"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "more"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: operatorNamespace, Name: operatorAccount}},
		})
}

// eventually waits until check returns "", and fails with its last words.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("after %s: %s", patience, problem)
		case <-tick.C:
		}
	}
}

// policies are the files of config/admission, which are also the names of the
// policies behind "fairlead-operator-".
var policies = []string{"secrets", "pods", "children", "deployments"}

// enforce installs the policies and waits until the API server minds each.
func enforce(t *testing.T) {
	t.Helper()
	for _, policy := range policies {
		if err := install(t.Context(), "admission", policy+".yaml"); err != nil {
			t.Fatal(err)
		}
	}
	namespace := newNamespace(t)
	pod := somePod("probe", nil)
	create(t, namespace, pod)
	probes := map[string]client.Object{
		"secrets":     &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}},
		"children":    &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "probe"}},
		"deployments": ownDeployment(namespace, func(d *deployment) { d.Spec.Template.Spec.HostNetwork = true }),
	}
	for policy, object := range probes {
		eventually(t, func() string {
			err := cluster.operator.Create(t.Context(), object.DeepCopyObject().(client.Object), client.DryRunAll)
			return refusal(policy, err)
		})
	}
	eventually(t, func() string {
		err := cluster.operator.Status().Patch(t.Context(), pod.DeepCopy(), mergePatch(`{"metadata":{"labels":{"a":"b"}}}`), &client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{metav1.DryRunAll}}})
		return refusal("pods", err)
	})
}

// refusal returns what is wrong with err as the refusal of a policy; "" if
// nothing is.
func refusal(policy string, err error) string {
	switch {
	case err == nil:
		return "it succeeded"
	case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "'fairlead-operator-"+policy+"'"):
		return "refused, but not by the policy of " + policy + ": " + err.Error()
	}
	return ""
}

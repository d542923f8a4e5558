// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/manager"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/test/apiserver"
)

// patience bounds every wait of a story; poll is the pause between two looks.
const (
	patience = 60 * time.Second
	poll     = 20 * time.Millisecond
)

// suite is the API server that all stories share; each has a namespace.
var suite struct {
	server *apiserver.Server
	// admin may do anything; operator has the rights of config/rbac only.
	admin    client.Client
	operator *rest.Config
	// writes are those of the operator that the stories share.
	writes *apiserver.Recorder
	logs   *apiserver.Log
	// pods stand in for what convergence and the verifier would find.
	pods *pods
}

func TestMain(m *testing.M) {
	apiserver.Main(m, func(server *apiserver.Server) (func() error, error) {
		suite.server = server
		if err := prepare(); err != nil {
			return nil, err
		}
		suite.writes, suite.logs, suite.pods = &apiserver.Recorder{}, &apiserver.Log{}, &pods{}
		ctx, stop := context.WithCancel(context.Background())
		done, err := startOperator(ctx, setting{}, suite.pods, suite.writes)
		return func() error { stop(); return <-done }, err
	})
}

// prepare creates the clients, and gives the operator's user exactly the rights
// that are generated from the markers.
func prepare() error {
	scheme, err := manager.Scheme()
	if err != nil {
		return err
	}
	for _, add := range []func(*runtime.Scheme) error{rbacv1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	if suite.admin, err = client.New(suite.server.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if suite.operator, err = suite.server.User("fairlead-operator"); err != nil {
		return err
	}
	ctx := context.Background()
	if err := suite.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fairlead-system"}}); err != nil {
		return err
	}
	return grant(ctx)
}

func grant(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(apiserver.Root(), "config", "rbac", "role.yaml"))
	if err != nil {
		return err
	}
	user := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "fairlead-operator"}}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return err
		}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind.Kind, Name: "fairlead-operator"}
		name := metav1.ObjectMeta{Name: "fairlead-operator", Namespace: "fairlead-system"}
		var role, binding client.Object = &rbacv1.Role{}, &rbacv1.RoleBinding{ObjectMeta: name, RoleRef: ref, Subjects: user}
		if kind.Kind == "ClusterRole" {
			role, binding = &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name.Name}, RoleRef: ref, Subjects: user}
		}
		if err := yaml.UnmarshalStrict([]byte(document), role); err != nil {
			return err
		}
		for _, object := range []client.Object{role, binding} {
			if err := suite.admin.Create(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// story is one test in a namespace of its own.
type story struct {
	*testing.T
	ctx       context.Context
	namespace string
	// pods are those of the operator that serves the story.
	pods *pods
}

func newStory(t *testing.T) *story {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"}}
	if err := suite.admin.Create(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	return &story{T: t, ctx: ctx, namespace: namespace.Name, pods: suite.pods}
}

// server returns a manifest of testdata/stories in this story's namespace.
func (s *story) manifest(name string) *fairleadv1alpha1.MCPServer {
	s.Helper()
	data, err := os.ReadFile(filepath.Join("resources", "testdata", name, "server.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	server := &fairleadv1alpha1.MCPServer{}
	if err := yaml.UnmarshalStrict(data, server); err != nil {
		s.Fatal(err)
	}
	server.Namespace, server.UID = s.namespace, ""
	return server
}

func (s *story) create(object client.Object) {
	s.Helper()
	if err := suite.admin.Create(s.ctx, object); err != nil {
		s.Fatal(err)
	}
}

func (s *story) delete(object client.Object) {
	s.Helper()
	if err := suite.admin.Delete(s.ctx, object); err != nil {
		s.Fatal(err)
	}
}

// edit changes an object as kubectl edit does.
func edit[T client.Object](s *story, object T, change func(T)) {
	s.Helper()
	before := s.read(object).DeepCopyObject().(client.Object)
	change(object)
	if err := suite.admin.Patch(s.ctx, object, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// read reads an object again.
func (s *story) read(object client.Object) client.Object {
	s.Helper()
	if err := suite.admin.Get(s.ctx, client.ObjectKeyFromObject(object), object); err != nil {
		s.Fatal(err)
	}
	return object
}

func (s *story) exists(object client.Object) bool {
	s.Helper()
	err := suite.admin.Get(s.ctx, client.ObjectKeyFromObject(object), object)
	if client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return err == nil
}

// named returns an empty object of this story's namespace to read into.
func named[T client.Object](s *story, object T, name string) T {
	object.SetNamespace(s.namespace)
	object.SetName(name)
	return object
}

// eventually waits until check returns "", and fails with its last words.
func (s *story) eventually(check func() string) {
	s.Helper()
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
			s.Fatalf("after %s: %s\nlog:\n%s", patience, problem, lastLines(suite.logs.String(), 20))
		case <-tick.C:
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// condition returns "Status/Reason" of a condition of the current generation,
// or "" without one.
func condition(server *fairleadv1alpha1.MCPServer, kind string) string {
	c := meta.FindStatusCondition(server.Status.Conditions, kind)
	if c == nil || c.ObservedGeneration != server.Generation || server.Status.ObservedGeneration != server.Generation {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

// want waits for conditions, each "Type=Status/Reason", or "Type=" for none.
func (s *story) want(server *fairleadv1alpha1.MCPServer, conditions ...string) {
	s.Helper()
	s.eventually(func() string {
		s.read(server)
		for _, want := range conditions {
			kind, value, _ := strings.Cut(want, "=")
			if got := condition(server, kind); got != value {
				return fmt.Sprintf("%s is %q, want %q; conditions: %s", kind, got, value, describe(server))
			}
		}
		return ""
	})
}

func describe(server *fairleadv1alpha1.MCPServer) string {
	data, err := yaml.Marshal(server.Status)
	if err != nil {
		return err.Error()
	}
	return "\n" + string(data)
}

func message(server *fairleadv1alpha1.MCPServer, kind string) string {
	if c := meta.FindStatusCondition(server.Status.Conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

func (s *story) deployment(server *fairleadv1alpha1.MCPServer) *appsv1.Deployment {
	return named(s, &appsv1.Deployment{}, resources.Name(server.Name))
}

// rollOut does what the Deployment controller does, which is not here: all pods
// are of the current template and ready.
func (s *story) rollOut(server *fairleadv1alpha1.MCPServer) {
	s.Helper()
	deployment := s.deployment(server)
	s.eventually(func() string {
		if !s.exists(deployment) {
			return "there is no Deployment"
		}
		return ""
	})
	replicas := ptr.Deref(deployment.Spec.Replicas, 1)
	s.setStatus(deployment, appsv1.DeploymentStatus{
		ObservedGeneration: deployment.Generation, Replicas: replicas, UpdatedReplicas: replicas,
		ReadyReplicas: replicas, AvailableReplicas: replicas,
	})
}

func (s *story) setStatus(deployment *appsv1.Deployment, status appsv1.DeploymentStatus) {
	s.Helper()
	before := deployment.DeepCopy()
	deployment.Status = status
	if err := suite.admin.Status().Patch(s.ctx, deployment, client.MergeFrom(before)); err != nil {
		s.Fatal(err)
	}
}

// serving creates a server and waits until it is Ready.
func (s *story) serving(name string) *fairleadv1alpha1.MCPServer {
	s.Helper()
	server := s.manifest(name)
	s.create(server)
	s.want(server, "Accepted=True/Accepted")
	s.rollOut(server)
	s.want(server, "Ready=True/Serving")
	return server
}

// configMaps returns the server's by name.
func (s *story) configMaps(server *fairleadv1alpha1.MCPServer) map[string]*corev1.ConfigMap {
	s.Helper()
	var list corev1.ConfigMapList
	if err := suite.admin.List(s.ctx, &list, client.InNamespace(s.namespace), client.MatchingLabels(resources.Selector(server.Name))); err != nil {
		s.Fatal(err)
	}
	found := map[string]*corev1.ConfigMap{}
	for i := range list.Items {
		found[list.Items[i].Name] = &list.Items[i]
	}
	return found
}

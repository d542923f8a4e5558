// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/keys"
	"fairlead.dev/fairlead/test/apiserver"
)

// admin reads from and writes to the API server of these tests.
var admin client.Client

func TestMain(m *testing.M) {
	apiserver.Main(m, func(server *apiserver.Server) (_ func() error, err error) {
		admin, err = client.New(server.Config, client.Options{})
		return nil, err
	})
}

func namespace(t *testing.T) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "keys-"}}
	if err := admin.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return object.Name
}

func master(t *testing.T, namespace string) []byte {
	t.Helper()
	key, err := keys.Master(t.Context(), admin, admin, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestMaster(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	first := master(t, ns)
	if len(first) != keys.MasterSize || bytes.Equal(first, make([]byte, keys.MasterSize)) {
		t.Errorf("the master key has %d bytes", len(first))
	}
	if !bytes.Equal(master(t, ns), first) {
		t.Error("the second start has another key")
	}
	if bytes.Equal(master(t, namespace(t)), first) {
		t.Error("another installation has the same key")
	}
	secret := &corev1.Secret{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: keys.MasterSecret}, secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["key"] = make([]byte, keys.MasterSize)
	if err := admin.Update(t.Context(), secret); !apierrors.IsInvalid(err) {
		t.Errorf("the key can be overwritten: %v", err)
	}
}

// Replicas of the operator that start at once must agree: a key that one of them
// alone has would end the sessions that it seals.
func TestMasterOfMany(t *testing.T) {
	t.Parallel()
	const operators = 8
	ns := namespace(t)
	found := make([][]byte, operators)
	var racing sync.WaitGroup
	for i := range found {
		racing.Go(func() {
			var err error
			if found[i], err = keys.Master(t.Context(), admin, admin, ns); err != nil {
				t.Error(err)
			}
		})
	}
	racing.Wait()
	for i := range found {
		if !bytes.Equal(found[i], found[0]) {
			t.Errorf("operator %d has another key than the first", i)
		}
	}
}

func TestMasterErrors(t *testing.T) {
	t.Parallel()
	t.Run("too short", func(t *testing.T) {
		t.Parallel()
		ns := namespace(t)
		short := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: keys.MasterSecret},
			Data:       map[string][]byte{"key": []byte("canary")},
		}
		if err := admin.Create(t.Context(), short); err != nil {
			t.Fatal(err)
		}
		_, err := keys.Master(t.Context(), admin, admin, ns)
		if err == nil || !strings.Contains(err.Error(), `"key" has 6 bytes, want 32: restore it`) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(short), short); err != nil || string(short.Data["key"]) != "canary" {
			t.Errorf("the Secret was changed: %v", err)
		}
	})
	t.Run("no namespace", func(t *testing.T) {
		t.Parallel()
		_, err := keys.Master(t.Context(), admin, admin, "nowhere")
		if err == nil || !strings.Contains(err.Error(), `failed to create Secret "fairlead-master-key" in namespace "nowhere"`) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no API server", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := keys.Master(ctx, admin, admin, namespace(t)); err == nil || !strings.Contains(err.Error(), "failed to read Secret") {
			t.Errorf("got %v", err)
		}
	})
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// MasterSecret is the name of the Secret in the operator's namespace.
	MasterSecret = "fairlead-master-key"
	// MasterType is its type.
	MasterType corev1.SecretType = "fairlead.dev/master-key"
	// MasterSize is the size of the key in bytes.
	MasterSize = 32
	// masterField is the Secret's only field.
	masterField = "key"
)

// Master returns the master key from the Secret MasterSecret in the operator's
// namespace. It creates the Secret, immutable, if there is none, and never
// changes one: an invalid one is an error. live must read from the API server,
// since a cache would need the right to list Secrets.
func Master(ctx context.Context, live client.Reader, writer client.Writer, namespace string) ([]byte, error) {
	key, err := readMaster(ctx, live, namespace)
	if !apierrors.IsNotFound(err) {
		return key, err
	}
	key = make([]byte, MasterSize)
	rand.Read(key) // It never fails: it ends the program instead.
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: MasterSecret},
		Type:       MasterType,
		Immutable:  new(true),
		Data:       map[string][]byte{masterField: key},
	}
	switch err := writer.Create(ctx, secret, client.DisableReadYourWritesConsistency); {
	case err == nil:
		return key, nil
	case apierrors.IsAlreadyExists(err): // Another replica was faster: its key counts.
		return readMaster(ctx, live, namespace)
	default:
		return nil, fmt.Errorf("failed to create Secret %q in namespace %q: %w", MasterSecret, namespace, err)
	}
}

func readMaster(ctx context.Context, live client.Reader, namespace string) ([]byte, error) {
	var secret corev1.Secret
	if err := live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: MasterSecret}, &secret); err != nil {
		return nil, fmt.Errorf("failed to read Secret %q in namespace %q: %w", MasterSecret, namespace, err)
	}
	key := secret.Data[masterField]
	if len(key) != MasterSize {
		return nil, fmt.Errorf("failed to use Secret %q in namespace %q: %q has %d bytes, want %d: restore it from a backup, or delete it to make a new one, which ends all sessions",
			MasterSecret, namespace, masterField, len(key), MasterSize)
	}
	return key, nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/runtime/keyring"
)

// SessionSecret returns the Secret with a server's session keys. It is no part
// of Build, since keys must not be where objects are compared, cached or
// printed; apply it without reading it. A zero ring gives a Secret without data,
// for render.
func SessionSecret(in Input, ring keyring.Ring) *corev1.Secret {
	secret := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: objectMeta(in, SessionSecretName(in.Server.Name)),
		Type:       SecretTypeSessionKeys,
	}
	for _, file := range []struct {
		name string
		key  keyring.Key
	}{
		{keyring.FileCurrent, ring.Current},
		{keyring.FileNext, ring.Next},
		{keyring.FilePrevious, ring.Previous},
	} {
		if file.key.IsZero() {
			continue
		}
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[file.name] = file.key[:]
	}
	return secret
}

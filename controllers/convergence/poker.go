// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NewPoker returns a Poker that patches pods/status: there an annotation can be
// set, the spec cannot be changed, and webhooks on pods do not match.
func NewPoker(c client.Client) Poker { return poker{client: c} }

type poker struct{ client client.Client }

// Poke sends one merge patch, which the API server refuses for another uid.
func (p poker) Poke(ctx context.Context, name types.NamespacedName, uid types.UID, annotations map[string]string) error {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid, "annotations": annotations}})
	if err != nil {
		return fmt.Errorf("failed to encode the poke of Pod %q: %w", name.Name, err)
	}
	// Metadata alone comes back, and no reconcile waits until the cache has it.
	pod := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
	}
	if err := p.client.Status().Patch(ctx, pod, client.RawPatch(types.MergePatchType, data), client.DisableReadYourWritesConsistency); err != nil {
		return fmt.Errorf("failed to poke Pod %q: %w", name.Name, err)
	}
	return nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

// surfaceDrain stands for the parts of a drain that a spec leaves open. It is
// never changed: with another value, an upgrade of the operator would look like
// an edit of every user at once, and no roll-out would be paced.
const surfaceDrain = 30 * time.Second

// surface is what a spec says about its pod template, and nothing that the
// operator's version or configuration adds to it.
type surface struct {
	Pod     *fairleadv1alpha1.Pod `json:"pod,omitempty"`
	Secrets []string              `json:"secrets,omitempty"`
	// Grace is the part of the termination grace period that the spec decides.
	Grace time.Duration `json:"grace"`
}

// surfaceOf reads a spec that has been compiled, so its durations parse.
func surfaceOf(server *fairleadv1alpha1.MCPServer) surface {
	out := surface{Pod: server.Spec.Pod, Secrets: secretNames(server)}
	window, calls := surfaceDrain, surfaceDrain
	if drain := server.Spec.Drain; drain != nil {
		c := &converter{}
		if drain.Window != nil {
			window = time.Duration(c.duration("drain.window", drain.Window))
		}
		if drain.CallTimeout != nil {
			calls = time.Duration(c.duration("drain.callTimeout", drain.CallTimeout))
		}
	}
	out.Grace = max(window, calls)
	return out
}

// deploymentAnnotations tell a later look what was rendered, and why.
func deploymentAnnotations(in Input, template *corev1.PodTemplateSpec) (map[string]string, error) {
	templateHash, err := hashOf(template)
	if err != nil {
		return nil, fmt.Errorf("failed to hash the pod template of %q: %w", in.Server.Name, err)
	}
	surfaceHash, err := hashOf(surfaceOf(in.Server))
	if err != nil {
		return nil, fmt.Errorf("failed to hash the pod settings of %q: %w", in.Server.Name, err)
	}
	out := map[string]string{
		AnnotationTemplateHash:  templateHash,
		AnnotationSurfaceHash:   surfaceHash,
		AnnotationContract:      strconv.Itoa(config.ContractVersion),
		AnnotationReplicasOwner: OwnerFairlead,
	}
	if Autoscaled(in.Server) {
		out[AnnotationReplicasOwner] = OwnerAutoscaler
	}
	if len(in.Observed.KeyIDs) > 0 {
		out[AnnotationSessionKeys] = strings.Join(in.Observed.KeyIDs, ",")
	}
	return out, nil
}

// hashOf returns 16 hex digits over the JSON of a value.
func hashOf(value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}

// stampHash sets AnnotationRenderedHash.
func stampHash(object Object) error {
	hash, err := hashOf(object)
	if err != nil {
		return fmt.Errorf("failed to encode %s %q: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
	}
	annotations := maps.Clone(object.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationRenderedHash] = hash
	object.SetAnnotations(annotations)
	return nil
}

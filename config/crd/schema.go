// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package crd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"
)

// AnnotationSchemaHash is on the CustomResourceDefinition and is Hash of its
// spec, so that a program can tell with one small request whether a cluster
// has the schema that it was built with.
const AnnotationSchemaHash = "fairlead.dev/schema-hash"

// Hash returns 16 hex digits over the spec of a CustomResourceDefinition.
func Hash(spec map[string]any) (string, error) {
	data, err := json.Marshal(spec) // Keys are sorted.
	if err != nil {
		return "", fmt.Errorf("failed to encode the spec of the CustomResourceDefinition: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:16], nil
}

// Own returns the object that MCPServers holds.
func Own() (map[string]any, error) {
	var object map[string]any
	if err := yaml.Unmarshal(mcpServers, &object); err != nil {
		return nil, fmt.Errorf("failed to decode the built-in CustomResourceDefinition: %w", err)
	}
	return object, nil
}

// Missing returns the paths of the fields that the schema of want has and that
// of have lacks, sorted; the fields below a missing one are left out. Both are
// CustomResourceDefinitions. A version that have does not serve is missing as a
// whole.
func Missing(want, have map[string]any) []string {
	theirs := versions(have)
	var missing []string
	for name, schema := range versions(want) {
		found, served := theirs[name]
		if !served {
			missing = append(missing, "version "+name)
			continue
		}
		missing = append(missing, missingFields("", schema, found)...)
	}
	slices.Sort(missing)
	return missing
}

// versions returns the schemas of the versions that are served.
func versions(object map[string]any) map[string]map[string]any {
	schemas := map[string]map[string]any{}
	list, _ := child(object, "spec")["versions"].([]any)
	for _, item := range list {
		version, _ := item.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); served {
			schemas[name] = child(child(version, "schema"), "openAPIV3Schema")
		}
	}
	return schemas
}

func missingFields(path string, want, have map[string]any) []string {
	switch {
	case len(want) == 0:
		return nil
	case len(have) == 0:
		return []string{path}
	}
	var missing []string
	theirs := child(have, "properties")
	for _, name := range slices.Sorted(maps.Keys(child(want, "properties"))) {
		field := path + "." + name
		if path == "" {
			field = name
		}
		missing = append(missing, missingFields(field, child(child(want, "properties"), name), child(theirs, name))...)
	}
	for _, below := range []string{"items", "additionalProperties"} {
		missing = append(missing, missingFields(path+"[*]", child(want, below), child(have, below))...)
	}
	return missing
}

// child returns the object under a key, and an empty one if there is none.
func child(object map[string]any, key string) map[string]any {
	found, _ := object[key].(map[string]any)
	return found
}

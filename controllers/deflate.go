// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

// dictionary is what is packed has in common: a server with one tool and its
// children. Without it a child would be too short to be worth deflating.
var dictionary = sync.OnceValue(func() []byte {
	server := &fairleadv1alpha1.MCPServer{
		ObjectMeta: metav1.ObjectMeta{Name: "server", Namespace: "default"},
		Spec: fairleadv1alpha1.MCPServerSpec{Tools: []fairleadv1alpha1.Tool{{
			Name: "tool", HTTP: &fairleadv1alpha1.HTTPBackend{URL: "http://service.default.svc/"},
		}}},
	}
	objects, err := resources.Build(resources.Input{
		Server:   server,
		Defaults: resources.Defaults{RuntimeImage: "image:1", Replicas: 2, ClusterDomain: "cluster.local"},
	})
	if err != nil {
		return nil // It costs memory, and a test fails.
	}
	common, err := encodeSpec(&server.Spec)
	if err != nil {
		return nil
	}
	for _, object := range objects.List() {
		if child, ok := object.(message); ok {
			if data, err := child.Marshal(); err == nil {
				common = append(common, data...)
			}
		}
	}
	return common
})

// deflaters are large, and soon unused after a start: the garbage collector takes
// them.
var deflaters = sync.Pool{New: func() any {
	writer, _ := flate.NewWriterDict(nil, flate.DefaultCompression, dictionary()) // The level is valid.
	return writer
}}

func deflate(data []byte) (string, error) {
	writer, _ := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(writer)
	var out strings.Builder
	writer.Reset(&out)
	if _, err := writer.Write(data); err != nil {
		return "", fmt.Errorf("failed to deflate: %w", err)
	}
	if err := writer.Close(); err != nil {
		return "", fmt.Errorf("failed to deflate: %w", err)
	}
	return strings.Clone(out.String()), nil // Without the room that the builder has left.
}

// inflaters are kept for the same reason.
var inflaters = sync.Pool{New: func() any { return flate.NewReaderDict(strings.NewReader(""), dictionary()) }}

func inflate(text string) ([]byte, error) {
	reader, _ := inflaters.Get().(io.Reader)
	defer inflaters.Put(reader)
	if resetter, ok := reader.(flate.Resetter); ok {
		if err := resetter.Reset(strings.NewReader(text), dictionary()); err != nil {
			return nil, fmt.Errorf("failed to inflate: %w", err)
		}
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(reader); err != nil {
		return nil, fmt.Errorf("failed to inflate: %w", err)
	}
	return out.Bytes(), nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd holds the generated CustomResourceDefinition, for programs that
// judge an MCPServer without a cluster.
package crd

import _ "embed" // mcpServers.

//go:embed fairlead.dev_mcpservers.yaml
var mcpServers []byte

// MCPServers returns the YAML of the CustomResourceDefinition of MCPServer.
func MCPServers() []byte { return append([]byte(nil), mcpServers...) }

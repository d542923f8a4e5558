// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"fmt"
	"testing"

	"fairlead.dev/fairlead/controllers/resources"
)

// BenchmarkBuild is what one look at an unchanged server costs, by its tools.
func BenchmarkBuild(b *testing.B) {
	for _, tools := range []int{2, 64, 256} {
		b.Run(fmt.Sprintf("%d tools", tools), func(b *testing.B) {
			server := readServer(b, "testdata/orders/server.yaml")
			for i := len(server.Spec.Tools); i < tools; i++ {
				tool := *server.Spec.Tools[i%2].DeepCopy()
				tool.Name = fmt.Sprintf("tool_%d", i)
				server.Spec.Tools = append(server.Spec.Tools, tool)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resources.Build(resources.Input{Server: server, Defaults: defaults}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

// Plain returns o for an Executor that has everything go through net/http.
func (o Options) Plain() Options {
	o.plain = true
	return o
}

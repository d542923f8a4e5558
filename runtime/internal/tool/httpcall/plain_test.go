// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var plainSeeds = []string{
	`{"progress":1,"total":100,"message":"working"}`, `{"message":"a b","progress":0}`, `{"total":7}`, `{"progress":123456789012345}`,
	`{"message":""}`,
}

func TestPlainFields(t *testing.T) {
	t.Parallel()
	for _, event := range plainSeeds {
		if _, ok := plainFields([]byte(event)); !ok {
			t.Errorf("%s is read the slow way", event)
		}
	}
	for _, event := range []string{
		``, `{`, `{}`, `{"total":0}`, `{"progress":-1}`, `{"progress":1.5}`, `{"progress":1e3}`, `{"progress":01}`, `{"progress":1234567890123456}`,
		`{"progress":1,"progress":2}`, `{"Progress":1}`, `{"progress":1,}`, `{"progress":1`, `{"progress":}`, `{"progress":1}x`, `{"progress":1,"n":2}`,
		`{"message":"\n"}`, `{"message":"ü"}`, `{"message":"`, `{"message":`, `{,"total":7}`, `["progress":1}`, `{"progress":"1"}`, `{"message":7}`,
	} {
		if f, ok := plainFields([]byte(event)); ok {
			t.Errorf("%s gives %+v", event, f)
		}
	}
}

// FuzzPlainFields holds that what is read by hand is what a decoder reads.
func FuzzPlainFields(f *testing.F) {
	for _, seed := range plainSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		got, ok := plainFields(event)
		if !ok {
			return
		}
		want, ok := decodedFields(event)
		if !ok {
			t.Fatalf("%s is none of progress", event)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(fields{})); diff != "" {
			t.Fatalf("fields of %s (-want +got):\n%s", event, diff)
		}
	})
}

module fairlead.dev/fairlead/hack/cluster

go 1.26.0

require golang.org/x/sys v0.48.0

require github.com/google/go-cmp v0.7.0

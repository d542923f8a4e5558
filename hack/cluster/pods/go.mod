module fairlead.dev/fairlead/hack/cluster/pods

go 1.26.0

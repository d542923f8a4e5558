// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"cmp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	portPeers = "peers"
	// peersSuffix ends the name of the Service of the pods among themselves.
	peersSuffix = "-peers"
	// envPodIP is the variable with the pod's first address.
	envPodIP = "POD_IP"
)

// PeersName is the name of the headless Service by which the pods of a server
// find each other: at most 58 characters for an admitted server.
func PeersName(server string) string { return Name(server) + peersSuffix }

// peersService names every pod, also one that is not ready: a pod that leaves is
// not, and still holds the sessions that the others ask it for.
func peersService(in Input) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: objectMeta(in, PeersName(in.Server.Name)),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 Selector(in.Server.Name),
			Ports: []corev1.ServicePort{{
				Name:        portPeers,
				Protocol:    corev1.ProtocolTCP,
				AppProtocol: new("https"), // The pods' own, which a mesh must let through.
				Port:        peerPort,
				TargetPort:  intstr.FromString(portPeers),
			}},
		},
	}
}

// peersHost is the full name of the Service, with the dot that keeps a resolver
// from trying it below each of the pod's search domains first, every few seconds;
// without a namespace, as in a file for render, it is the short name.
func peersHost(in Input) string {
	name := PeersName(in.Server.Name)
	if in.Server.Namespace == "" {
		return name
	}
	return name + "." + in.Server.Namespace + ".svc." + cmp.Or(in.Defaults.ClusterDomain, defaultClusterDomain) + "."
}

// peersArgs tell the runtime where the other pods are, and at which address they
// reach this one: the kubelet puts the pod's own in.
func peersArgs(in Input) []string {
	port := strconv.Itoa(peerPort)
	return []string{
		"--peer-listen=:" + port,
		"--peer-address=$(" + envPodIP + ")",
		"--peers=" + peersHost(in) + ":" + port,
	}
}

// peersEnv is what peersArgs refer to.
func peersEnv() []corev1.EnvVar {
	return []corev1.EnvVar{{Name: envPodIP, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"cmp"
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/exposure"
)

// affinitySeconds is how long kube-proxy keeps a client address on one pod.
const affinitySeconds = 3600

// objectMeta returns the metadata of a child. Labels and annotations of the
// server are not inherited: they mean the server, not its children.
func objectMeta(in Input, name string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Name:      name,
		Namespace: in.Server.Namespace,
		Labels:    objectLabels(in.Server.Name),
	}
	if in.Server.UID != "" {
		meta.OwnerReferences = []metav1.OwnerReference{{
			APIVersion:         fairleadv1alpha1.GroupVersion.String(),
			Kind:               "MCPServer",
			Name:               in.Server.Name,
			UID:                in.Server.UID,
			Controller:         new(true),
			BlockOwnerDeletion: new(true),
		}}
	}
	return meta
}

func serviceAccount(in Input) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   objectMeta(in, Name(in.Server.Name)),
		AutomountServiceAccountToken: new(false),
	}
}

// configMap is the one that the new pod template mounts, or that of the live
// template where it is to be kept: its pods must see this configuration.
func configMap(in Input, data []byte, revision string) *corev1.ConfigMap {
	out := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: objectMeta(in, cmp.Or(in.Observed.ConfigMap, configMapName(in.Server))),
		Data:       map[string]string{ServerFile: string(data)},
	}
	out.Annotations = map[string]string{AnnotationRevision: revision}
	return out
}

func service(in Input) *corev1.Service {
	meta := objectMeta(in, Name(in.Server.Name))
	meta.Annotations = exposureSettings(in).Service
	out := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: Selector(in.Server.Name),
			Ports: []corev1.ServicePort{{
				Name:        portHTTP,
				Protocol:    corev1.ProtocolTCP,
				AppProtocol: new("http"),
				Port:        80,
				TargetPort:  intstr.FromString(portHTTP),
			}},
			SessionAffinity: corev1.ServiceAffinityNone,
		},
	}
	if user := in.Server.Spec.Service; user == nil || user.SessionAffinity != fairleadv1alpha1.AffinityNone {
		out.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		out.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
			ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(int32(affinitySeconds))},
		}
	}
	return out
}

func ingress(in Input) *networkingv1.Ingress {
	if in.Server.Spec.Exposure == nil || in.Server.Spec.Exposure.Ingress == nil {
		return nil
	}
	spec := in.Server.Spec.Exposure.Ingress
	meta := objectMeta(in, Name(in.Server.Name))
	meta.Annotations = exposureSettings(in).Ingress
	out := &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: meta,
	}
	if spec.ClassName != "" {
		out.Spec.IngressClassName = new(spec.ClassName)
	}
	if spec.TLS != nil {
		out.Spec.TLS = []networkingv1.IngressTLS{{Hosts: spec.Hosts, SecretName: spec.TLS.SecretName}}
	}
	for _, host := range spec.Hosts {
		out.Spec.Rules = append(out.Spec.Rules, networkingv1.IngressRule{
			Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{
					Path:     ingressPath(spec),
					PathType: new(networkingv1.PathTypePrefix),
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
						Name: Name(in.Server.Name),
						Port: networkingv1.ServiceBackendPort{Name: portHTTP},
					}},
				}},
			}},
		})
	}
	return out
}

func ingressPath(spec *fairleadv1alpha1.IngressExposure) string {
	if spec.Path == "" {
		return "/"
	}
	return spec.Path
}

// exposureSettings returns the profile's annotations with the user's on top: on
// the Ingress always, on the Service where the profile has the same key there.
func exposureSettings(in Input) exposure.Settings {
	spec := in.Server.Spec.Exposure
	if spec == nil || spec.Ingress == nil {
		return exposure.Settings{}
	}
	profile := spec.Profile
	if profile == "" || profile == fairleadv1alpha1.ProfileAuto {
		profile = in.Cluster.Profile
	}
	settings := exposure.For(profile, exposure.Route{
		ServiceName: Name(in.Server.Name),
		Path:        ingressPath(spec.Ingress),
		TLS:         spec.Ingress.TLS != nil,
	})
	merged := maps.Clone(settings.Ingress)
	if merged == nil {
		merged = map[string]string{}
	}
	for key, value := range spec.Ingress.Annotations {
		if _, onService := settings.Service[key]; onService {
			settings.Service[key] = string(value)
		}
		merged[key] = string(value)
	}
	settings.Ingress = merged
	return settings
}

// URL is where clients outside of the cluster connect; empty without an
// exposure.
func URL(server *fairleadv1alpha1.MCPServer) string {
	if server.Spec.Exposure == nil || server.Spec.Exposure.Ingress == nil || len(server.Spec.Exposure.Ingress.Hosts) == 0 {
		return ""
	}
	spec := server.Spec.Exposure.Ingress
	scheme := "http"
	if spec.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + spec.Hosts[0] + exposurePath(server.Spec.Exposure) + "/mcp"
}

// ClusterURL is where clients inside of the cluster connect.
func ClusterURL(server *fairleadv1alpha1.MCPServer) string {
	return "http://" + Name(server.Name) + "." + server.Namespace + ".svc/mcp"
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"maps"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

const (
	// leaveMargin is the time between the last stream's end and the kubelet's
	// SIGKILL.
	leaveMargin = 5 * time.Second
	// startAllowance is how long a pod may take for scheduling, image and start
	// before a roll-out counts as stuck.
	startAllowance = 300

	// The names of the volumes that every pod has.
	volumeTmp         = "tmp"
	volumeKeys        = "session-keys"
	volumeCredentials = "credentials"
)

func deployment(in Input, grace int64) (*appsv1.Deployment, error) {
	out := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: objectMeta(in, Name(in.Server.Name)),
		Spec: appsv1.DeploymentSpec{
			Replicas: wantedReplicas(in),
			Selector: &metav1.LabelSelector{MatchLabels: Selector(in.Server.Name)},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxUnavailable: new(intstr.FromInt32(0)),
					MaxSurge:       new(maxSurge(in)),
				},
			},
			RevisionHistoryLimit:    new(int32(2)),
			ProgressDeadlineSeconds: new(startAllowance + int32(grace)), //nolint:gosec // G115: admission bounds both parts of the drain by an hour.
			Template:                podTemplate(in, grace),
		},
	}
	var err error
	out.Annotations, err = deploymentAnnotations(in, &out.Spec.Template)
	return out, err
}

// graceSeconds is the time a leaving pod has: settle, then calls and streams
// side by side, then a margin. Admission bounds both by an hour.
func graceSeconds(drain config.Drain) int64 {
	longest := max(time.Duration(drain.Window), time.Duration(drain.CallTimeout))
	return int64(math.Ceil((time.Duration(drain.Settle) + longest + leaveMargin).Seconds()))
}

func podTemplate(in Input, grace int64) corev1.PodTemplateSpec {
	pod := in.Server.Spec.Pod
	if pod == nil {
		pod = &fairleadv1alpha1.Pod{}
	}
	secrets := secretNames(in.Server)
	labels := plain(pod.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, objectLabels(in.Server.Name))
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: plain(pod.Annotations)},
		Spec: corev1.PodSpec{
			ServiceAccountName:            Name(in.Server.Name),
			AutomountServiceAccountToken:  new(false),
			EnableServiceLinks:            new(false),
			TerminationGracePeriodSeconds: new(grace),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   new(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			ImagePullSecrets:          pullSecrets(pod.ImagePullSecrets),
			NodeSelector:              plain(pod.NodeSelector),
			Tolerations:               pod.Tolerations,
			Affinity:                  pod.Affinity,
			TopologySpreadConstraints: spread(in.Server.Name, pod.TopologySpreadConstraints),
			PriorityClassName:         pod.PriorityClassName,
			Containers:                []corev1.Container{container(in, pod, secrets)},
			Volumes:                   volumes(in.Server, secrets),
		},
	}
}

func container(in Input, pod *fairleadv1alpha1.Pod, secrets []string) corev1.Container {
	image := in.Defaults.RuntimeImage
	if pod.Image != "" {
		image = pod.Image
	}
	return corev1.Container{
		Name:            RuntimeContainer,
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            append([]string{"serve", "--config", serverDir + "/" + ServerFile, "--secrets-dir", secretsDir}, peersArgs(in)...),
		Env:             peersEnv(),
		Ports: []corev1.ContainerPort{
			{Name: portHTTP, ContainerPort: clientPort, Protocol: corev1.ProtocolTCP},
			{Name: portAdmin, ContainerPort: adminPort, Protocol: corev1.ProtocolTCP},
			{Name: portPeers, ContainerPort: peerPort, Protocol: corev1.ProtocolTCP},
		},
		Resources:      containerResources(pod.Resources),
		StartupProbe:   probe("/healthz", 1, 30),
		ReadinessProbe: probe("/readyz", 5, 2),
		LivenessProbe:  probe("/healthz", 10, 3),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			RunAsNonRoot:             new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: mounts(in.Server, secrets),
	}
}

// probe asks the admin port every period seconds. Its timeout is generous: a
// pod that is slow under load is not helped by a restart.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString(portAdmin), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds:    period,
		TimeoutSeconds:   5,
		FailureThreshold: failures,
	}
}

// containerResources keeps what the user set; without anything it requests
// little and bounds memory. CPU has no limit: throttling delays heartbeats.
func containerResources(user *corev1.ResourceRequirements) corev1.ResourceRequirements {
	if user != nil {
		return *user
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("50m"),
			corev1.ResourceMemory: resource.MustParse("64Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
	}
}

// volumes are the configuration, a small /tmp, and every Secret as a whole (so
// that new keys are live; optional, so that a missing one hangs no pod): the
// session keys, the Secret that is always mounted, and those of the spec.
func volumes(server *fairleadv1alpha1.MCPServer, secrets []string) []corev1.Volume {
	secret := func(volume, name string) corev1.Volume {
		return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: name, Optional: new(true)},
		}}
	}
	out := []corev1.Volume{
		{Name: VolumeServer, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configMapName(server)},
		}}},
		{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: new(resource.MustParse("64Mi")),
		}}},
		secret(volumeKeys, SessionSecretName(server.Name)),
		secret(volumeCredentials, CredentialsSecretName(server.Name)),
	}
	for _, name := range secrets {
		out = append(out, secret(volumeName(name), name))
	}
	return out
}

func mounts(server *fairleadv1alpha1.MCPServer, secrets []string) []corev1.VolumeMount {
	out := []corev1.VolumeMount{
		{Name: VolumeServer, MountPath: serverDir, ReadOnly: true},
		{Name: volumeTmp, MountPath: "/tmp"},
		{Name: volumeKeys, MountPath: keysDir, ReadOnly: true},
		{Name: volumeCredentials, MountPath: secretsDir + "/" + CredentialsSecretName(server.Name), ReadOnly: true},
	}
	for _, secret := range secrets {
		out = append(out, corev1.VolumeMount{Name: volumeName(secret), MountPath: secretsDir + "/" + secret, ReadOnly: true})
	}
	return out
}

// spread keeps the user's constraints; without any, pods of one template spread
// over nodes and zones as far as possible.
func spread(server string, user []corev1.TopologySpreadConstraint) []corev1.TopologySpreadConstraint {
	if len(user) > 0 {
		return slices.Clone(user)
	}
	var out []corev1.TopologySpreadConstraint
	for _, key := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
		out = append(out, corev1.TopologySpreadConstraint{
			MaxSkew:           1,
			TopologyKey:       key,
			WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector:     &metav1.LabelSelector{MatchLabels: Selector(server)},
			MatchLabelKeys:    []string{appsv1.DefaultDeploymentUniqueLabelKey},
		})
	}
	return out
}

func pullSecrets(refs []fairleadv1alpha1.SecretRef) []corev1.LocalObjectReference {
	var out []corev1.LocalObjectReference
	for _, ref := range refs {
		out = append(out, corev1.LocalObjectReference{Name: ref.Name})
	}
	return out
}

// plain returns a map of bounded strings as a map of strings; nil for none.
func plain[T ~string](in map[string]T) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for key, value := range in {
		out[key] = string(value)
	}
	return out
}

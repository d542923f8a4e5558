{{/*
Copyright The Fairlead Authors.
SPDX-License-Identifier: Apache-2.0
*/}}

{{/* The operator's flags. Every value is written out, so that a cluster shows what it runs with. */}}
{{- define "fairlead.args" -}}
- --leader-elect
- --runtime-image={{ include "fairlead.image" (dict "image" .Values.runtimeImage "root" .) }}
- --default-replicas={{ .Values.operator.defaultReplicas }}
- --cluster-domain={{ .Values.operator.clusterDomain }}
- --max-concurrent-reconciles={{ .Values.operator.maxConcurrentReconciles }}
- --max-concurrent-rollouts={{ .Values.operator.maxConcurrentRollouts }}
- --verification={{ .Values.operator.verification }}
- --log-level={{ .Values.operator.logLevel }}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- with .Values.limits.ingressClasses }}
- --allowed-ingress-classes={{ join "," . }}
{{- end }}
{{- with .Values.limits.hostSuffixes }}
- --allowed-host-suffixes={{ join "," . }}
{{- end }}
{{- with .Values.limits.annotationPrefixes }}
- --allowed-annotation-prefixes={{ join "," . }}
{{- end }}
{{- with .Values.limits.imagePrefixes }}
- --allowed-image-prefixes={{ join "," . }}
{{- end }}
{{- with .Values.monitoring.from }}
- --monitoring-namespaces={{ join "," . }}
{{- end }}
{{- if .Values.metrics.certSecret }}
- --metrics-cert-dir=/etc/fairlead/metrics-cert
{{- end }}
{{- end -}}

{{/* Names, and the common parts of front ends and workers. */}}

{{- define "visavis.name" -}}
{{- if contains "visavis" .Release.Name }}{{ .Release.Name | trunc 50 }}{{ else }}{{ printf "%s-visavis" .Release.Name | trunc 50 }}{{ end }}
{{- end }}

{{/* Names of the Service of the metrics. */}}
{{- define "visavis.metricsHosts" -}}
{{- $name := printf "%s-metrics" (include "visavis.name" .) -}}
{{- $space := .Release.Namespace -}}
{{ printf "%s %s.%s %s.%s.svc %s.%s.svc.cluster.local" $name $name $space $name $space $name $space }}
{{- end }}

{{- define "visavis.selector" -}}
app.kubernetes.io/name: visavis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "visavis.labels" -}}
{{ include "visavis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "visavis.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The profile "restricted" of the Pod Security Standards. */}}
{{- define "visavis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* A pod of one role. Takes root, role, settings of the role, arguments, and the port of its probes. */}}
{{- define "visavis.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "visavis.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  automountServiceAccountToken: false
  # A Service `visavis` would set variables in every pod of the namespace, which look like settings.
  enableServiceLinks: false
  serviceAccountName: {{ include "visavis.name" $root }}
  # Running requests and jobs get 25 seconds, after 10 seconds for load balancers to notice.
  terminationGracePeriodSeconds: 60
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "visavis.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
  initContainers:
    # Secrets are mounted for a group; Visavis accepts a key only from a file of its own user.
    - name: keys
      image: {{ include "visavis.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/bin/sh, -c, "install -m 0400 /mounted/*/* /keys/"]
      securityContext: {{- include "visavis.containerSecurity" $root | nindent 8 }}
      resources:
        requests: { cpu: 10m, memory: 16Mi }
        limits: { memory: 64Mi }
      volumeMounts:
        - { name: master, mountPath: /mounted/master, readOnly: true }
        {{- if $root.Values.database.passfileSecret }}
        - { name: passfile, mountPath: /mounted/passfile, readOnly: true }
        {{- end }}
        - { name: keys, mountPath: /keys }
  containers:
    - name: visavis
      image: {{ include "visavis.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{ toJson .arguments }}
      securityContext: {{- include "visavis.containerSecurity" $root | nindent 8 }}
      env:
        - { name: VISAVIS_DATABASE_URL, value: {{ $root.Values.database.url | quote }} }
        {{- if $root.Values.database.passfileSecret }}
        - { name: PGPASSFILE, value: /keys/pgpass }
        {{- end }}
        - { name: VISAVIS_DATA_KEY_FILE, value: /keys/master.key }
        # For an ONNX Runtime library of your own.
        - { name: ORT_DISABLE_TELEMETRY, value: "1" }
        - { name: VISAVIS_ADMIN_LISTEN, value: "0.0.0.0:9464" }
        {{- if not (hasKey $root.Values.settings "VISAVIS_ADMIN_HOSTS") }}
        - { name: VISAVIS_ADMIN_HOSTS, value: {{ include "visavis.metricsHosts" $root | quote }} }
        {{- end }}
        - { name: VISAVIS_ADMIN_CONSOLE, value: {{ $root.Values.console.enabled | quote }} }
        {{- if not (hasKey $root.Values.settings "VISAVIS_HTTP_LEAVE_MS") }}
        - { name: VISAVIS_HTTP_SHUTDOWN_DELAY_MS, value: "10000" }
        {{- end }}
        {{- if $root.Values.trustedProxies }}
        - { name: VISAVIS_HTTP_TRUSTED_PROXIES, value: {{ join " " $root.Values.trustedProxies | quote }} }
        {{- end }}
        {{- range $name, $value := $root.Values.settings }}
        - { name: {{ $name }}, value: {{ $value | quote }} }
        {{- end }}
      ports:
        {{- if eq .role "front" }}
        - { name: http, containerPort: 8080 }
        {{- end }}
        - { name: metrics, containerPort: 9464 }
      # Loading the nets takes less than a second, with a GPU 8 seconds; the disk may be slow.
      startupProbe:
        httpGet: { path: /health/ready, port: {{ .probe }} }
        periodSeconds: 2
        failureThreshold: 90
      readinessProbe:
        httpGet: { path: /health/ready, port: {{ .probe }} }
        periodSeconds: 3
        timeoutSeconds: 5
        failureThreshold: 2
      # On the metrics port: an overload of the API port is no reason to restart.
      livenessProbe:
        httpGet: { path: /health/live, port: metrics }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources: {{- toYaml .settings.resources | nindent 8 }}
      volumeMounts:
        # The pod's own copy, from which `visavis key retire` deletes the old key.
        - { name: keys, mountPath: /keys }
        - { name: data, mountPath: /var/lib/visavis }
        - { name: tmp, mountPath: /tmp }
  volumes:
    - name: master
      projected:
        sources:
          - secret:
              name: {{ $root.Values.masterKey.existingSecret | quote }}
              items: [{ key: master.key, path: master.key }]
          # They exist during a rotation of the key.
          - secret:
              name: {{ $root.Values.masterKey.existingSecret | quote }}
              optional: true
              items: [{ key: master.key.next, path: master.key.next }, { key: master.key.old, path: master.key.old }]
    {{- if $root.Values.database.passfileSecret }}
    - name: passfile
      secret: { secretName: {{ $root.Values.database.passfileSecret | quote }}, items: [{ key: pgpass, path: pgpass }] }
    {{- end }}
    - { name: keys, emptyDir: { medium: Memory, sizeLimit: 1Mi } }
    # Unused with Postgres.
    - { name: data, emptyDir: { sizeLimit: 64Mi } }
    - { name: tmp, emptyDir: { sizeLimit: 64Mi } }
  {{- with .settings.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .settings.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The resources of one role. Takes the arguments of visavis.pod. */}}
{{- define "visavis.role" -}}
{{- $root := .root -}}
{{- $name := printf "%s-%s" (include "visavis.name" $root) .role -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "visavis.labels" $root | nindent 4 }}
spec:
  {{- if not .settings.autoscaling.enabled }}
  replicas: {{ .settings.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "visavis.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  strategy:
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 }
  template: {{- include "visavis.pod" . | nindent 4 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  labels: {{- include "visavis.labels" $root | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "visavis.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
{{- if .settings.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  labels: {{- include "visavis.labels" $root | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ $name }} }
  minReplicas: {{ .settings.autoscaling.minReplicas }}
  maxReplicas: {{ .settings.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ .settings.autoscaling.targetCPU }} }
{{- end }}
{{- end }}

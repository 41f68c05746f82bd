{{/* Names, and the common parts of front ends and workers. */}}

{{- define "visavis.name" -}}
{{- $name := ternary .Release.Name (printf "%s-visavis" .Release.Name) (contains "visavis" .Release.Name) -}}
{{ $name | trunc 50 | trimSuffix "-" }}
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

{{/* The variables of a container, each name once: what the chart sets, settings over it, extraEnv. */}}
{{- define "visavis.environment" -}}
{{- $root := . -}}
{{- $database := .Values.database -}}
{{- if and $database.url $database.urls }}
{{- fail "database.url and database.urls are both given: keep one of them" }}
{{- end }}
{{- if not (or $database.url $database.urls) }}
{{- fail "database.url is missing: give it, or database.urls" }}
{{- end }}
{{- $fixed := dict "VISAVIS_DATA_KEY_FILE" "/keys/master.key" "VISAVIS_ADMIN_LISTEN" "0.0.0.0:9464" -}}
{{- /* For an ONNX Runtime library of your own. */}}
{{- $_ := set $fixed "ORT_DISABLE_TELEMETRY" "1" }}
{{- if $database.urls }}
{{- $_ := set $fixed "VISAVIS_DATABASE_URLS" (join " " $database.urls) }}
{{- else }}
{{- $_ := set $fixed "VISAVIS_DATABASE_URL" $database.url }}
{{- end }}
{{- if $database.passfileSecret }}
{{- $_ := set $fixed "PGPASSFILE" "/keys/pgpass" }}
{{- end }}
{{- if $database.caSecret }}
{{- $_ := set $fixed "PGSSLROOTCERT" "/run/database-ca/ca.crt" }}
{{- end }}
{{- range $name := keys .Values.settings }}
{{- if or (hasKey $fixed $name) (has $name (list "VISAVIS_DATABASE_URL" "VISAVIS_DATABASE_URLS" "VISAVIS_HTTP_LISTEN")) }}
{{- fail (printf "settings.%s is set by the chart: see values.yaml" $name) }}
{{- end }}
{{- end }}
{{- $usual := dict -}}
{{- $_ := set $usual "VISAVIS_ADMIN_CONSOLE" (toString .Values.console.enabled) }}
{{- $_ := set $usual "VISAVIS_ADMIN_HOSTS" (include "visavis.metricsHosts" .) }}
{{- if not (hasKey $root.Values.settings "VISAVIS_HTTP_LEAVE_MS") }}
{{- $_ := set $usual "VISAVIS_HTTP_SHUTDOWN_DELAY_MS" "10000" }}
{{- end }}
{{- if .Values.trustedProxies }}
{{- $_ := set $usual "VISAVIS_HTTP_TRUSTED_PROXIES" (join " " .Values.trustedProxies) }}
{{- end }}
{{- $all := merge (dict) $fixed .Values.settings $usual -}}
{{- range .Values.extraEnv }}
{{- if or (hasKey $all .name) (hasPrefix "VISAVIS_" .name) }}
{{- fail (printf "extraEnv: %s belongs into settings, or is set by the chart" .name) }}
{{- end }}
{{- end }}
{{- range $name, $value := $all }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
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
    {{- if $root.Values.fixedUser }}
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    {{- end }}
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
      env: {{- include "visavis.environment" $root | nindent 8 }}
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
        {{- if $root.Values.database.caSecret }}
        - { name: database-ca, mountPath: /run/database-ca, readOnly: true }
        {{- end }}
        {{- with $root.Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
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
    {{- if $root.Values.database.caSecret }}
    - name: database-ca
      secret: { secretName: {{ $root.Values.database.caSecret | quote }}, items: [{ key: ca.crt, path: ca.crt }] }
    {{- end }}
    {{- with $root.Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
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

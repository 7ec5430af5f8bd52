{{- /*
Under "helm upgrade --reuse-values" Helm hands over the values of the release as
it was, defaults of the older chart included, and none of the newer one's. What
is missing then is taken from a copy of values.yaml. It is not looked at in any
other case, so that a default which was emptied by null stays empty.
*/ -}}
{{- define "baliza.defaults" -}}
{{- if not (hasKey .Values "crds") }}
{{- $_ := set . "Values" (mergeOverwrite (.Files.Get "files/defaults.yaml" | fromYaml) .Values) }}
{{- end }}
{{- end }}

{{- /*
How fast failures are detected; the argument are the speaker's values. Releases of
older charts have it as "profile", by default too.
*/ -}}
{{- define "baliza.failureDetectionProfile" -}}
{{- if and .profile (eq .failureDetectionProfile "default") }}{{ .profile }}{{ else }}{{ .failureDetectionProfile }}{{ end }}
{{- end }}

{{- /*
The security context of the speaker's container, with what answering ping takes; the
argument are the speaker's values.
*/ -}}
{{- define "baliza.speakerSecurity" -}}
{{- $context := deepCopy (.securityContext | default dict) }}
{{- if .answerPing }}
{{- $capabilities := $context.capabilities | default dict }}
{{- $add := append ($capabilities.add | default list) "NET_ADMIN" | uniq }}
{{- $_ := set $context "capabilities" (merge (dict "add" $add) $capabilities) }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- /* Labels of every object. */ -}}
{{- define "baliza.labels" -}}
app.kubernetes.io/name: baliza
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /*
Annotations of an object: those of all, then those in the list under "own". The
argument is a dictionary with "root" and "own"; nothing comes of empty ones.
*/ -}}
{{- define "baliza.annotations" -}}
{{- $all := deepCopy (.root.Values.commonAnnotations | default dict) }}
{{- range .own }}
{{- $all = mergeOverwrite $all (. | default dict) }}
{{- end }}
{{- with $all }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Labels by which one of the two is selected; the argument is its name. */ -}}
{{- define "baliza.selector" -}}
app.kubernetes.io/name: baliza
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- /*
The image of a component; the argument is a list of the root and its name. A
repository of its own wins, then the registry. The chart of v0.1.0 had a
repository as its default: kept by --reuse-values, it is no wish.
*/ -}}
{{- define "baliza.image" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $own := (index $root.Values $name).image | default dict }}
{{- $repository := $own.repository }}
{{- if or (not $repository) (eq $repository (printf "baliza/%s" $name)) }}
{{- $repository = printf "%s/%s" (trimSuffix "/" $root.Values.image.registry) $name }}
{{- end }}
{{- $tag := $own.tag | default $root.Values.image.tag | default (printf "v%s" (trimPrefix "v" $root.Chart.AppVersion)) }}
{{- with $own.digest }}
{{- printf "%s:%s@%s" $repository $tag . | quote }}
{{- else }}
{{- printf "%s:%s" $repository $tag | quote }}
{{- end }}
{{- end }}

{{- define "baliza.pullPolicy" -}}
{{- $root := index . 0 }}
{{- ((index $root.Values (index . 1)).image | default dict).pullPolicy | default $root.Values.image.pullPolicy }}
{{- end }}

{{- /* The Secret with the key of the speakers' membership. */ -}}
{{- define "baliza.membershipSecret" -}}
{{- .Values.membership.existingSecret | default "baliza-membership" }}
{{- end }}

{{- define "baliza.probes" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 5
{{- end }}

{{- define "baliza.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /*
The pod's security context of the controller and of the tasks. OpenShift gives
each namespace a range of uids: one of our own would be refused.
*/ -}}
{{- define "baliza.controllerPodSecurity" -}}
{{- $context := .Values.controller.podSecurityContext | default dict }}
{{- if .Values.openshift.enabled }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- with $context }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /*
What a task of the controller's image needs: an account that lives as long as
the task. The argument is a dictionary:
  root    the root context
  name    of the objects, such as baliza-crds
  hook    the events of helm.sh/hook
  args    of the container, a list
  cluster rules in the whole cluster, a list
  own     rules in the release's namespace, a list
*/ -}}
{{- define "baliza.task" -}}
{{- $root := .root }}
{{- $hook := dict "helm.sh/hook" .hook "helm.sh/hook-weight" "-10" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
{{- $metadata := dict "root" $root "own" (list $hook) }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
{{- if .cluster }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
rules:
  {{- toYaml .cluster | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- if .own }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
rules:
  {{- toYaml .own | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- if $root.Values.networkPolicy.enabled }}
---
# Where everything is denied by default, the task needs the way out, too.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- with include "baliza.annotations" $metadata }}{{ . | trim | nindent 2 }}{{ end }}
spec:
  podSelector:
    matchLabels:
      {{- include "baliza.selector" .name | nindent 6 }}
  policyTypes: [Ingress, Egress]
  egress:
    - {}
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "baliza.labels" $root | nindent 4 }}
  {{- $job := dict "helm.sh/hook-weight" "0" "helm.sh/hook-output-log-policy" "hook-succeeded,hook-failed" }}
  {{- with include "baliza.annotations" (dict "root" $root "own" (list $hook $job)) }}{{ . | trim | nindent 2 }}{{ end }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 240
  ttlSecondsAfterFinished: 600
  template:
    metadata:
      labels:
        {{- include "baliza.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .name }}
        {{- with $root.Values.controller.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "baliza.annotations" (dict "root" $root "own" (list $root.Values.controller.podAnnotations)) }}{{ . | trim | nindent 6 }}{{ end }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ .name }}
      enableServiceLinks: false
      {{- include "baliza.imagePullSecrets" $root | nindent 6 }}
      {{- include "baliza.controllerPodSecurity" $root | nindent 6 }}
      containers:
        - name: task
          image: {{ include "baliza.image" (list $root "controller") }}
          imagePullPolicy: {{ include "baliza.pullPolicy" (list $root "controller") }}
          args:
            {{- toYaml .args | nindent 12 }}
          env:
            - name: BALIZA_NAMESPACE
              valueFrom:
                fieldRef:
                  fieldPath: metadata.namespace
          {{- with $root.Values.controller.securityContext }}
          securityContext:
            {{- toYaml . | nindent 12 }}
          {{- end }}
      {{- with $root.Values.controller.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.controller.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{- /* Labels of every object. */ -}}
{{- define "baliza.labels" -}}
app.kubernetes.io/name: baliza
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Labels by which one of the two is selected; the argument is its name. */ -}}
{{- define "baliza.selector" -}}
app.kubernetes.io/name: baliza
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- /* What neither of the two may do. */ -}}
{{- define "baliza.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile:
  type: RuntimeDefault
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

package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// Pool makes a pool that only the given namespaces may use (none: all).
func (c *Cluster) Pool(ctx context.Context, name string, addresses []string, namespaces ...string) error {
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addresses {
		pool.Spec.Addresses = append(pool.Spec.Addresses, v1beta1.AddressRange(a))
	}
	if len(namespaces) > 0 {
		pool.Spec.AllocateTo = &v1beta1.ServiceAllocation{Namespaces: namespaces}
	}
	_, err := c.Baliza.BalizaV1beta1().IPAddressPools().Create(ctx, pool, metav1.CreateOptions{})
	return err
}

// Advertise announces the pools in layer 2.
func (c *Cluster) Advertise(ctx context.Context, name string, pools ...string) error {
	_, err := c.Baliza.BalizaV1beta1().L2Advertisements().Create(ctx, &v1beta1.L2Advertisement{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1beta1.L2AdvertisementSpec{IPAddressPools: pools},
	}, metav1.CreateOptions{})
	return err
}

// Web runs the lab's server in that many pods of a namespace, which it makes,
// and waits until they are ready. The pods have the label app=web.
func (c *Cluster) Web(ctx context.Context, namespace string, replicas int) error {
	err := c.Apply(ctx, fmt.Sprintf(webManifest, namespace, replicas))
	if err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "-n", namespace, "rollout", "status", "deployment/web", "--timeout", rolloutCeiling.String())
	return err
}

const webManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 10
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: lab/web:v1
        args: [--linger=1s]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
`

// Service makes a Service of type LoadBalancer in front of the web pods: TCP
// port 80, and UDP port 7001. The function may change it before it is sent.
func (c *Cluster) Service(ctx context.Context, namespace, name string, change func(*corev1.Service)) (*corev1.Service, error) {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{
				{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstrFrom(8080)},
				{Name: "echo", Protocol: corev1.ProtocolUDP, Port: 7001},
			},
		},
	}
	if change != nil {
		change(svc)
	}
	return c.Client.CoreV1().Services(namespace).Create(ctx, svc, metav1.CreateOptions{})
}

// DualStack asks for both families, or for neither.
func DualStack(svc *corev1.Service) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc.Spec.IPFamilyPolicy = &policy
}

// Addresses are what the Service's status shows, in its order.
func Addresses(svc *corev1.Service) []netip.Addr {
	var addresses []netip.Addr
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(ingress.IP); err == nil {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// WaitAddresses waits until the Service has that many addresses and returns
// them.
func (c *Cluster) WaitAddresses(ctx context.Context, namespace, name string, count int) ([]netip.Addr, error) {
	var addresses []netip.Addr
	what := fmt.Sprintf("Service %s/%s to have %d addresses", namespace, name, count)
	err := lab.WaitFor(ctx, what, func() (bool, error) {
		svc, err := c.Client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, err
		}
		if err != nil {
			return false, nil //nolint:nilerr // the API server may be away for a while; the context bounds the wait
		}
		addresses = Addresses(svc)
		return len(addresses) == count, nil
	})
	return addresses, err
}

// Condition returns the condition of that type, or nil.
func Condition(conditions []metav1.Condition, kind string) *metav1.Condition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

// url of an address, with brackets where it needs them.
func url(a netip.Addr) string {
	return "http://" + netip.AddrPortFrom(a, 80).String() + "/"
}

// Fetch asks an address for its page with curl on a host, and returns the pod
// and the node that answered. The options are curl's.
func (c *Cluster) Fetch(ctx context.Context, host string, a netip.Addr, options ...string) (pod, node string, err error) {
	argv := append([]string{"curl", "--silent", "--show-error", "--max-time", "2"}, options...)
	out, err := c.Exec(ctx, host, append(argv, url(a))...)
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(out)
	if len(fields) != 3 {
		return "", "", fmt.Errorf("curl %s: unexpected answer %q", a, out)
	}
	return fields[0], fields[1], nil
}

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeletClientName is the API server's name towards the nodes.
const kubeletClientName = "kube-apiserver-kubelet-client"

// The addresses of the Services default/kubernetes and kube-system/kube-dns.
const (
	serviceIP4 = "198.19.0.1"
	dnsIP4     = "198.19.0.10"
)

// apiURL is the API server as the hosts of the lab reach it.
func apiURL() string {
	v4, _ := lanAddresses(1)
	return "https://" + netip.AddrPortFrom(v4, apiPort).String()
}

// userConfig talks to the API server with a credential, out of one host.
func (l *Lab) userConfig(host string, c credential) *rest.Config {
	return &rest.Config{
		Host:            apiURL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: l.ca.PEM, CertData: c.Cert, KeyData: c.Key},
		Dial:            dialIn(host, 0),
		QPS:             200, Burst: 400,
	}
}

func (l *Lab) kubeconfig(server string, c credential) ([]byte, error) {
	k := clientcmdapi.NewConfig()
	k.Clusters["lab"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: l.ca.PEM}
	k.AuthInfos["lab"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.Cert, ClientKeyData: c.Key}
	k.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "lab"}
	k.CurrentContext = "lab"
	return clientcmd.Write(*k)
}

// writeKubeconfig issues a credential and keeps it as a kubeconfig for a program.
func (l *Lab) writeKubeconfig(name, user string, groups ...string) (string, credential, error) {
	c, err := l.ca.client(user, groups...)
	if err != nil {
		return "", c, err
	}
	data, err := l.kubeconfig(apiURL(), c)
	if err != nil {
		return "", c, fmt.Errorf("kubeconfig %s: %w", name, err)
	}
	file := name + ".kubeconfig"
	return l.path("pki", file), c, writeFiles(l.path("pki"), map[string][]byte{file: data})
}

// writeKeys leaves in the private directory what the control plane reads.
func (l *Lab) writeKeys() error {
	v4, v6 := lanAddresses(1)
	serving, err := l.ca.server("kube-apiserver",
		[]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
		net.ParseIP("127.0.0.1"), v4.AsSlice(), v6.AsSlice(), net.ParseIP(serviceIP4))
	if err != nil {
		return err
	}
	logs, err := l.ca.client(kubeletClientName, "system:masters")
	if err != nil {
		return err
	}
	private, public, err := newSigningKey()
	if err != nil {
		return err
	}
	err = writeFiles(l.path("pki"), map[string][]byte{
		"ca.crt": l.ca.PEM, "apiserver.crt": serving.Cert, "apiserver.key": serving.Key, "sa.key": private, "sa.pub": public,
		"kubelet-client.crt": logs.Cert, "kubelet-client.key": logs.Key,
	})
	if err != nil {
		return fmt.Errorf("writing certificates: %w", err)
	}
	return nil
}

// startControlPlane starts etcd and the API server, waits until the latter is
// ready, and starts the rest.
func (l *Lab) startControlPlane(ctx context.Context) error {
	if err := l.writeKeys(); err != nil {
		return err
	}
	_, admin, err := l.writeKubeconfig("admin", "admin", "system:masters")
	if err != nil {
		return err
	}
	l.admin = admin
	l.Admin = l.userConfig(controlPlaneName, admin)
	if l.Client, err = kubernetes.NewForConfig(l.Admin); err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	if err := l.startKube("etcd", etcdArgs(l.path("etcd"))); err != nil {
		return err
	}
	if err := l.startKube("kube-apiserver", append(apiServerArgs(l.path("pki")), l.config.APIServerArgs...)); err != nil {
		return err
	}
	if err := l.WaitReady(ctx); err != nil {
		return err
	}
	manager, _, err := l.writeKubeconfig("controller-manager", "system:kube-controller-manager")
	if err != nil {
		return err
	}
	scheduler, _, err := l.writeKubeconfig("scheduler", "system:kube-scheduler")
	if err != nil {
		return err
	}
	return errors.Join(
		l.startKube("kube-controller-manager", append(controllerManagerArgs(l.path("pki"), manager), l.config.ControllerManagerArgs...)),
		l.startKube("kube-scheduler", schedulerArgs(scheduler)))
}

func (l *Lab) startKube(program string, args []string) error {
	_, err := l.procs.start(start{
		name: program, host: controlPlaneName,
		argv: append([]string{l.kube(), program}, args...), env: l.environment(),
	})
	return err
}

// WaitReady returns when the API server answers /readyz. It gives up when ctx
// ends, after two minutes, or when the API server process dies.
func (l *Lab) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return WaitFor(ctx, "the API server", func() (bool, error) {
		for _, name := range []string{"etcd", "kube-apiserver"} {
			if _, err := l.procs.find(name); err != nil {
				return false, fmt.Errorf("%w; its log ends with:\n%s", err, tail(l.procs.logFile(name), 20))
			}
		}
		_, err := l.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
}

func etcdArgs(dir string) []string {
	return []string{
		"--data-dir=" + dir, "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380",
	}
}

func apiServerArgs(pki string) []string {
	file := func(name string) string { return filepath.Join(pki, name) }
	v4, _ := lanAddresses(1)
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		fmt.Sprintf("--secure-port=%d", apiPort), "--bind-address=::", "--advertise-address=" + v4.String(),
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--client-ca-file=" + file("ca.crt"),
		"--requestheader-client-ca-file=" + file("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--kubelet-client-certificate=" + file("kubelet-client.crt"), "--kubelet-client-key=" + file("kubelet-client.key"),
		"--kubelet-certificate-authority=" + file("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file=" + file("sa.pub"), "--service-account-signing-key-file=" + file("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + Service4 + "," + Service6,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true", "--profiling=false",
	}
}

func controllerManagerArgs(pki, kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--service-account-private-key-file=" + filepath.Join(pki, "sa.key"), "--root-ca-file=" + filepath.Join(pki, "ca.crt"),
		"--use-service-account-credentials", "--leader-elect=false", "--allocate-node-cidrs=false",
		"--bind-address=127.0.0.1", "--cert-dir=" + pki, "--profiling=false",
		// At the default rate the controllers take four seconds to start.
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

func schedulerArgs(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

package lab

import (
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// capabilityNames are the kernel's capabilities by number.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
	"SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
	"SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
	"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// usualCapabilities are what container runtimes leave a container that asks for
// nothing.
func usualCapabilities() []string {
	return []string{
		"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
		"SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
	}
}

// privileges is what a container may do, from the security contexts of pod and
// container and from the user that its image runs as.
type privileges struct {
	uid, gid                      int
	groups                        []int
	capabilities                  []string
	noNewPrivileges, readOnlyRoot bool
}

func privilegesOf(pod *corev1.PodSecurityContext, c *corev1.SecurityContext, imageUser int) privileges {
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if c == nil {
		c = &corev1.SecurityContext{}
	}
	p := privileges{uid: imageUser, gid: imageUser, capabilities: usualCapabilities()}
	if id := firstSet(c.RunAsUser, pod.RunAsUser); id != nil {
		p.uid, p.gid = int(*id), 0
	}
	if id := firstSet(c.RunAsGroup, pod.RunAsGroup); id != nil {
		p.gid = int(*id)
	}
	for _, g := range pod.SupplementalGroups {
		p.groups = append(p.groups, int(g))
	}
	if pod.FSGroup != nil {
		p.groups = append(p.groups, int(*pod.FSGroup))
	}
	if c.Capabilities != nil {
		p.capabilities = changeCapabilities(p.capabilities, c.Capabilities)
	}
	if c.Privileged != nil && *c.Privileged {
		p.capabilities = capabilityNames[:]
	}
	p.noNewPrivileges = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
	p.readOnlyRoot = c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem
	return p
}

func firstSet(values ...*int64) *int64 {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

func changeCapabilities(have []string, change *corev1.Capabilities) []string {
	for _, c := range change.Drop {
		name := strings.TrimPrefix(string(c), "CAP_")
		have = slices.DeleteFunc(have, func(h string) bool { return name == "ALL" || h == name })
	}
	for _, c := range change.Add {
		if c == "ALL" {
			return capabilityNames[:]
		}
		have = append(have, strings.TrimPrefix(string(c), "CAP_"))
	}
	return have
}

// canChangeUser is false in a user namespace that maps a single user.
func canChangeUser() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(data))
	return err == nil && len(fields) >= 3 && fields[2] != "1"
}

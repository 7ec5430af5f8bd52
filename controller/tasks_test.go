package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestATaskThatIsNoneIsRefusedByName(t *testing.T) {
	for args, named := range map[string]string{
		"crd":            `unknown task "crd": must be crds, delete-crds, release-services, test`,
		"crds --nothing": "--nothing",
		"test extra":     `"extra"`,
	} {
		var out, complaints bytes.Buffer
		if status := runTask(strings.Fields(args), &out, &complaints); status != 2 || !strings.Contains(complaints.String(), named) {
			t.Errorf("%s: status %d, %s", args, status, &complaints)
		}
	}
}

func TestATaskWithoutAClusterFails(t *testing.T) {
	for _, name := range []string{taskCRDs, taskDeleteCRDs, taskRelease, taskTest} {
		var out, complaints bytes.Buffer
		if status := runTask([]string{name, "--kubeconfig=" + t.TempDir() + "/none"}, &out, &complaints); status != 1 || !strings.Contains(complaints.String(), "kubeconfig") {
			t.Errorf("%s: status %d, %s", name, status, &complaints)
		}
	}
}

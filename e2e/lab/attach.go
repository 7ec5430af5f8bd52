package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Attach is the command that runs a program on a host of a lab that another
// process keeps up, found by the kubeconfig that it wrote.
func Attach(kubeconfig, host string, argv ...string) (*exec.Cmd, error) {
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("no lab is up here: %w", err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimPrefix(first, processMark))
	if err != nil {
		return nil, fmt.Errorf("%s was not written by a lab", kubeconfig)
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--pid", "nsenter", "--net=" + netnsPath(host)}
	return exec.Command("nsenter", append(enter, argv...)...), nil
}

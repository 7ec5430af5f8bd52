package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/baliza-lb/baliza/e2e/lab"
)

// up starts a cluster and keeps it until it is interrupted.
func up(args []string) int {
	flags := flag.NewFlagSet("lab up", flag.ExitOnError)
	var c lab.Config
	flags.IntVar(&c.Nodes, "nodes", 3, "number of nodes")
	flags.IntVar(&c.Clients, "clients", 1, "number of clients")
	flags.IntVar(&c.Routers, "routers", 1, "number of routers")
	flags.StringVar(&c.Bin, "bin", "", "folder of the programs (default $LAB_BIN, then bin above the current folder)")
	kubeconfig := flags.String("kubeconfig", kubeconfigName, "where to write a kubeconfig for this machine's kubectl; removed at the end")
	images := flags.String("images", "controller.tar,speaker.tar",
		"archives of images that the nodes get beside the lab's own, with commas between; from bin/images unless absolute")
	flags.Parse(args)
	if *images != "" {
		c.Images = strings.Split(*images, ",")
	}

	file, err := filepath.Abs(*kubeconfig)
	if err != nil {
		return fail(err)
	}
	code, inside := lab.Enter(lab.Outside{Kubeconfig: file})
	if !inside {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l, err := lab.Start(ctx, c)
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	if _, err := l.OfferHost(); err != nil {
		return fail(err)
	}
	fmt.Printf(`
  export KUBECONFIG=%[1]s
  kubectl get nodes                                      (or: bin/kube kubectl …)
  make install KUBECONFIG=%[1]s
  bin/lab exec c1 arping -c 2 192.0.2.11                 (from a client on the LAN)

Hosts:
`, file)
	for _, h := range l.Hosts() {
		fmt.Printf("  %-4s %-14s %s\n", h.Name, h.IPv4, h.IPv6)
	}
	fmt.Print("\nCtrl-C ends it all.\n")
	<-ctx.Done()
	return 0
}

// attach runs a command on a host of the lab whose kubeconfig is in the current
// folder, or the one that KUBECONFIG names.
func attach(args []string) int {
	if len(args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	cmd, err := lab.Attach(cmp.Or(os.Getenv("KUBECONFIG"), kubeconfigName), args[0], args[1:]...)
	if err != nil {
		return fail(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "lab:", err)
	return 1
}

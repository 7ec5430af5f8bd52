package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/baliza-lb/baliza/cli/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := command.Main(ctx, command.Env{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now,
	})
	stop()
	os.Exit(status)
}

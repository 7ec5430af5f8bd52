// Command images-tool makes container images without a container engine, Baliza's
// own and those of the lab, and pushes them to a registry.
//
//	images-tool build --name NAME [--file DEST=SOURCE]… -o ARCHIVE
//	images-tool registry REGISTRY
//	images-tool push --registry REGISTRY ARCHIVE…
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images-tool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "build":
			return build(args[1:])
		case "push":
			return push(ctx, args[1:])
		case "registry":
			return registry(args[1:])
		}
	}
	return errors.New("usage: images-tool build …, images-tool registry REGISTRY or images-tool push …")
}

// registry checks what a user typed and prints it as the chart's image.registry.
func registry(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: images-tool registry REGISTRY")
	}
	to, err := oci.ParseRegistry(args[0], false)
	if err == nil {
		fmt.Println(to)
	}
	return err
}

// push prints each image as the registry has it now: name, tag and digest.
func push(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("images-tool push", flag.ExitOnError)
	typed := flags.String("registry", "", "`registry` and path, such as registry.example.org/baliza")
	insecure := flags.Bool("plain-http", false, "speak http to the registry")
	replace := flags.Bool("replace", false, "move a tag that is another image already")
	flags.Parse(args)
	to, err := oci.ParseRegistry(*typed, *insecure)
	if err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("usage: images-tool push --registry REGISTRY ARCHIVE…")
	}
	for _, file := range flags.Args() {
		pushed, err := pushOne(ctx, to, file, *replace)
		if err != nil {
			return err
		}
		fmt.Printf("%s@%s\n", oci.Canonical(pushed.Tag), pushed.Digest)
		if pushed.Replaced != (v1.Hash{}) {
			fmt.Fprintf(os.Stderr, "images-tool: %s was %s before\n", pushed.Tag, pushed.Replaced)
		}
	}
	return nil
}

func pushOne(ctx context.Context, to oci.Registry, file string, replace bool) (pushed oci.Pushed, err error) {
	dir, err := os.MkdirTemp("", "images-tool-*")
	if err != nil {
		return oci.Pushed{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	named, err := oci.Read(file, dir)
	if err != nil {
		return oci.Pushed{}, err
	}
	return to.Push(ctx, named, replace)
}

func build(args []string) error {
	var recipe oci.Recipe
	recipe.Labels = map[string]string{}
	flags := flag.NewFlagSet("images-tool build", flag.ExitOnError)
	flags.StringVar(&recipe.Name, "name", "", "whole `name` of the image, such as docker.io/lab/web:v1")
	flags.StringVar(&recipe.User, "user", "65532:65532", "numeric `UID:GID` of its processes")
	flags.StringVar(&recipe.WorkingDir, "workdir", "", "working `directory`")
	output := flags.String("o", "", "archive to write, in the OCI layout")
	list := func(name, usage string, add func(string) error) { flags.Func(name, usage+" (repeatable)", add) }
	list("platform", "such as linux/arm/v7; this machine's if none is given", func(s string) error {
		recipe.Platforms = append(recipe.Platforms, s)
		return nil
	})
	flags.Func("entrypoint", "program and first arguments, with commas between", func(s string) error {
		recipe.Entrypoint = strings.Split(s, ",")
		return nil
	})
	flags.Func("cmd", "further arguments, which a pod may replace, with commas between", func(s string) error {
		recipe.Cmd = strings.Split(s, ",")
		return nil
	})
	list("env", "environment variable `NAME=VALUE`", func(s string) error {
		recipe.Env = append(recipe.Env, s)
		return nil
	})
	list("label", "label `NAME=VALUE`", func(s string) error {
		key, value, found := strings.Cut(s, "=")
		if !found {
			return errors.New("want NAME=VALUE")
		}
		recipe.Labels[key] = value
		return nil
	})
	list("file", "file to copy, `DEST=SOURCE`; {platform} in it becomes linux-arm-v7", appendCopy(&recipe.Files))
	list("dir", "directory to copy with all that is in it, `DEST=SOURCE`", appendCopy(&recipe.Dirs))
	flags.Parse(args)
	if *output == "" || flags.NArg() > 0 {
		return errors.New("usage: images-tool build --name NAME [--file DEST=SOURCE]… -o ARCHIVE")
	}
	if len(recipe.Platforms) == 0 {
		recipe.Platforms = []string{"linux/" + runtime.GOARCH}
	}
	var err error
	if recipe.Created, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	index, err := oci.Build(&recipe)
	if err != nil {
		return err
	}
	return oci.Write(*output, recipe.Name, index)
}

func appendCopy(to *[]oci.Copy) func(string) error {
	return func(s string) error {
		dest, source, found := strings.Cut(s, "=")
		if !found {
			return errors.New("want DEST=SOURCE")
		}
		*to = append(*to, oci.Copy{Dest: dest, Source: source})
		return nil
	}
}

// sourceDate is what https://reproducible-builds.org/specs/source-date-epoch/ says
// the time is, in seconds since 1970. Without it, it is 1970.
func sourceDate(seconds string) (time.Time, error) {
	if seconds == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q must be a number of seconds", seconds)
	}
	return time.Unix(n, 0).UTC(), nil
}

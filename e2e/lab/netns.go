package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/baliza-lb/baliza/e2e/probe"
)

const netnsDir = "/run/netns"

func netnsPath(name string) string { return netnsDir + "/" + name }

// createNetns makes a named network namespace with its loopback still down.
func createNetns(name string) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("netns %s: %w", name, err)
	}
	f, err := os.OpenFile(netnsPath(name), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("netns %s: %w", name, err)
	}
	f.Close()
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netns %s: unshare: %w", name, err)
		}
		if err := unix.Mount("/proc/thread-self/ns/net", netnsPath(name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("netns %s: bind: %w", name, err)
		}
		return nil
	})
}

func deleteNetns(name string) error {
	if err := unix.Unmount(netnsPath(name), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("netns %s: unmount: %w", name, err)
	}
	return os.Remove(netnsPath(name))
}

// inNetns runs f on a thread that is in the named network namespace. Sockets
// that f opens and processes that it starts belong to that namespace for good.
func inNetns(name string, f func() error) error {
	return onThread(func() error {
		fd, err := unix.Open(netnsPath(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("netns %s: %w", name, err)
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netns %s: %w", name, err)
		}
		return f()
	})
}

// onThread runs f on a locked thread and puts the thread back into the network
// namespace it came from; a thread that cannot go back is thrown away.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := errors.New("the function ended its goroutine")
		defer func() { done <- err }()
		home, errOpen := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errOpen != nil {
			err = fmt.Errorf("opening the own network namespace: %w", errOpen)
			return
		}
		defer unix.Close(home)
		err = f()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return <-done
}

// dialIn returns a dial function whose sockets live in the named namespace. The
// address must be an IP literal: a name would be resolved on another thread. port is
// where the connection comes from; zero leaves that to the kernel.
func dialIn(name string, port int) probe.Dialer {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = inNetns(name, func() error {
			var d net.Dialer
			if port != 0 {
				d.LocalAddr = &net.TCPAddr{Port: port}
			}
			conn, err = d.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

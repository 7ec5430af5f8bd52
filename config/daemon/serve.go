package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// underWay is how long the answers that are under way have when a server ends.
const underWay = 100 * time.Millisecond

// Serve has a server answer until ctx ends. The error is why it ended before.
func Serve(ctx context.Context, server *http.Server, at net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), underWay)
		defer cancel()
		_ = server.Shutdown(last)
		_ = server.Close()
	})
	defer stop()
	if err := server.Serve(at); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

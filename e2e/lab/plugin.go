package lab

import (
	"context"
	"path/filepath"
)

// KubectlBaliza runs kubectl baliza on the control plane as administrator. What it
// printed is returned in any case; the error is that of a status other than 0.
func (l *Lab) KubectlBaliza(ctx context.Context, args ...string) (string, error) {
	return l.exec(ctx, controlPlaneName, "", append([]string{filepath.Join(l.config.Bin, "kubectl-baliza")}, args...)...)
}

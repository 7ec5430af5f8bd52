// Package daemon is what Baliza's two processes share: flags with environment
// equivalents, logging, build information, the admin HTTP port and signals.
// It knows nothing of addresses or networks; only the main packages import it.
package daemon

// Package reports holds what the Speakers say of addresses: which nodes announce
// one, why nobody does, and which host has it that is none of ours.
//
// Each Speaker is believed about itself, unless others say that it is dead and it
// does not deny it. That an address is in no report proves nothing while one of
// the reports is truncated.
//
// The package is pure: it is told the time, and it knows neither Services nor what
// was written to them. Only controller/reconcile and controller/quarantine import
// it. A [Reports] belongs to one goroutine.
package reports

// Package ownership is what speakers claim, and what follows from it: who owns
// which address, and who of two that claim one keeps it.
//
// It is pure: no clock, no lock, no network. Claims are ordered by epochs, which
// grow with each taking, and by how many speakers the claimant is sure of.
// Package members/detection carries them from speaker to speaker; the speaker's
// plan takes what follows from them for the present owners.
package ownership

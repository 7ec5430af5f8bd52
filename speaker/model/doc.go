// Package model has the values that the speaker's deciding packages and its
// doing ones share. It is a leaf: it imports nothing of Baliza, and computes
// nothing but forms of its values.
package model

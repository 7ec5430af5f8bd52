// Package text prints what cli/explain and cli/manifests found out for people: tables, and sentences
// under headings. Colour is only ever decoration.
//
// Only cli/command imports it. Nothing in it depends on where it is printed to.
package text

package baliza_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file keeps the import rules of the repository: which folder may know
// what. A rule that breaks prints why it exists. Rules are about the code that
// ships; tests may import more.

const module = "github.com/baliza-lb/baliza"

// goPackage is the part of "go list -json" that the rules look at.
type goPackage struct {
	ImportPath string   `json:"ImportPath"`
	Dir        string   `json:"Dir"`
	GoFiles    []string `json:"GoFiles"`
	Imports    []string `json:"Imports"` // direct
	Deps       []string `json:"Deps"`    // direct and indirect
}

// folder of the package inside the module, "." for the root.
func (p goPackage) folder() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// importRule forbids some imports to some folders.
type importRule struct {
	in       func(folder string) bool
	forbids  func(importPath string) bool
	indirect bool // look at indirect imports too
	reason   string
}

// pureFolders compute and do nothing else.
var pureFolders = []string{
	"config", "controller/ipam", "controller/queue", "controller/reports", "controller/quarantine", "speaker/plan", "speaker/model", "speaker/node", "speaker/ownership", "speaker/members/detection",
	"speaker/members/keyring", "cli/explain", "cli/checks", "cli/cures", "cli/manifests", "cli/schema", "cli/bundle", "migrate/metallb",
}

// outsideWorld are the standard packages through which a package would touch it.
var outsideWorld = []string{
	"log", "log/slog", "net", "net/http", "net/rpc", "net/smtp", "os", "os/exec", "os/signal", "os/user", "plugin", "syscall", "unsafe",
}

// siblings are the speaker's ways to the network.
var siblings = []string{"speaker/l2", "speaker/bgp", "speaker/bfd", "speaker/members", "speaker/link", "speaker/segment", "speaker/ping"}

// siblingRules keep them apart.
func siblingRules() []importRule {
	var rules []importRule
	for _, folder := range siblings {
		others := []string{"api", "config", "speaker/plan"}
		for _, other := range siblings {
			if other != folder {
				others = append(others, other)
			}
		}
		rules = append(rules, importRule{
			in: under(folder), forbids: own(others...), indirect: true,
			reason: folder + " takes plain values and returns plain values: it knows no sibling and no API type",
		})
	}
	return rules
}

var importRules = []importRule{
	{
		in: isPure, forbids: within("k8s.io/client-go"), indirect: true,
		reason: "config, controller/{ipam,queue,reports,quarantine}, speaker/{plan,node,ownership,members/{detection,keyring}}, cli/{explain,checks,cures,manifests,schema,bundle} and migrate/metallb are pure: they get objects and return decisions, " +
			"so that every decision can be tested without a cluster",
	},
	{
		in: isPure, forbids: oneOf(outsideWorld...),
		reason: "config, controller/{ipam,queue,reports,quarantine}, speaker/{plan,node,ownership,members/{detection,keyring}}, cli/{explain,checks,cures,manifests,schema,bundle} and migrate/metallb are pure: no sockets, no files, no processes, no logging; " +
			"what they have to say they return",
	},
	{
		in: isPure, forbids: ownBut("api/v1beta1", pureFolders...), indirect: true,
		reason: "config, controller/{ipam,queue,reports,quarantine}, speaker/{plan,node,ownership,members/{detection,keyring}}, cli/{explain,checks,cures,manifests,schema,bundle} and migrate/metallb are pure, and so is what they stand on: api/v1beta1 and each other",
	},
	{
		in: outside("speaker/l2", "speaker/ping"), forbids: within("github.com/mdlayher"),
		reason: "only speaker/l2 speaks ARP and NDP",
	},
	{
		in: outside("speaker/ping"), forbids: within("github.com/google/nftables", "github.com/mdlayher/netlink"),
		reason: "only speaker/ping writes rules of the packet filter",
	},
	{
		in: under("speaker/ping"), forbids: within("github.com/mdlayher/arp", "github.com/mdlayher/ndp", "github.com/mdlayher/packet"),
		reason: "only speaker/l2 speaks ARP and NDP",
	},
	{
		in: outside("speaker/members"), forbids: within("github.com/hashicorp/memberlist"),
		reason: "only speaker/members knows how speakers find each other",
	},
	{
		in: outside("speaker/link"), forbids: within("github.com/vishvananda/netlink"),
		reason: "only speaker/link talks to the kernel about interfaces; the others are told by it",
	},
	{
		in: outside("speaker/bgp"), forbids: within("github.com/osrg/gobgp"),
		reason: "speaker/bgp hides the BGP implementation and its limits",
	},
	{
		in:      under(siblings...),
		forbids: within("k8s.io", "sigs.k8s.io"), indirect: true,
		reason: "speaker/{l2,bgp,bfd,members,link,segment,ping} do not know Kubernetes: they go on working while it is away",
	},
	{
		in: outside("speaker/segment", "speaker/ethernet"), forbids: own("speaker/segment"),
		reason: "speaker/segment carries bytes; speaker/ethernet says on which interfaces, and whose they are",
	},
	{
		in: isNot("speaker"), forbids: own("speaker/ethernet"),
		reason: "speaker/ethernet joins what link, segment, l2 and members do apart: only main stands above it",
	},
	{
		in: and(under("controller"), isNot("controller"), outside("controller/page")), forbids: own("speaker"), indirect: true,
		reason: "controller and speaker never import each other: they meet in the API alone",
	},
	{
		// The page says what kubectl baliza says, by the same computation, which asks the
		// speakers' rules; main serves it. Neither decides anything by that.
		in: under("controller"), forbids: ownIn("speaker", "speaker/plan", "speaker/model"), indirect: true,
		reason: "controller and speaker never import each other, but for the status page, which explains by the speakers' rules, speaker/plan, alone",
	},
	{
		in: under("speaker"), forbids: own("controller"), indirect: true,
		reason: "controller and speaker never import each other: they meet in the API alone",
	},
	{
		in: under("controller/reports", "controller/quarantine", "controller/queue"), forbids: own("controller/ipam", "controller/status"), indirect: true,
		reason: "what the Speakers report, and what is to be requested next, does not depend on who was given what or on what was written",
	},
	{
		in: outside("controller"), forbids: own("controller/page", "controller/queue", "controller/quarantine", "controller/status", "controller/reconcile"),
		reason: "these are the parts of one loop, and its page; controller/ipam and controller/reports alone are for others, too, who explain what they decide",
	},
	{
		in: outside("controller", "cli"), forbids: own("controller/reports"),
		reason: "controller/reports is for the loop, and for cli, which explains",
	},
	{
		in: under("cli"), indirect: true,
		forbids: own(
			"controller/page", "controller/queue", "controller/quarantine", "controller/status", "controller/reconcile", "speaker/node", "speaker/l2", "speaker/bgp", "speaker/bfd",
			"speaker/members", "speaker/link", "speaker/segment", "speaker/ping", "speaker/ethernet",
		),
		reason: "cli gathers objects, asks the packages that decide, and prints: it does nothing of what it explains",
	},
	{
		in: outside("cli"), forbids: own("cli/command", "cli/checks", "cli/text", "cli/manifests", "cli/schema", "cli/bundle"),
		reason: "cli stands above controller and speaker, which know nothing of it; cli/cures is for all",
	},
	{
		in: and(outside("cli", "controller/page"), isNot("controller")), forbids: own("cli/explain"), indirect: true,
		reason: "cli/explain is for cli and for the status page, which say the same; whoever decides knows nothing of it",
	},
	{
		in: under("controller/page"), forbids: own("api/kube", "controller/reconcile", "controller/status", "controller/queue", "controller/quarantine"), indirect: true,
		reason: "controller/page is given objects and shows what they mean: it asks the API server for nothing, and writes nothing",
	},
	{
		in: under("controller", "speaker"), forbids: within("k8s.io/apiextensions-apiserver", "k8s.io/apiserver", "github.com/google/cel-go"), indirect: true,
		reason: "what runs in a cluster has the API server judge: CEL would be in its images for nothing",
	},
	{
		in: under("cli/cures"), forbids: ownBut("api/v1beta1"), indirect: true,
		reason: "cli/cures is a table for whoever explains a reason, so it imports api/v1beta1 alone",
	},
	{
		in: under("migrate"), forbids: own("api/kube", "cli", "controller", "speaker"), indirect: true,
		reason: "migrate says what other providers' objects mean, by config alone, so that controller, speakers and cli may all ask it",
	},
	{
		in: under("cli/text"), forbids: oneOf(outsideWorld...),
		reason: "cli/text prints to a writer that it is given",
	},
	{
		in: under("controller/status"), forbids: own("api/kube", "controller/reconcile"), indirect: true,
		reason: "controller/status declares the API that it writes to, and knows nothing of Services and their records",
	},
	{
		in: outside("api"), forbids: within("k8s.io/client-go"),
		reason: "api/kube is the one place that talks to the API server; everyone else declares an interface of what it needs",
	},
	{
		in:      outside("api"),
		forbids: own("api/client/clientset", "api/client/informers", "api/client/listers"),
		reason:  "api/kube is the one place that talks to the API server; everyone else declares an interface of what it needs",
	},
	{
		in: outside("internal/netnstest"), forbids: own("internal/netnstest"), indirect: true,
		reason: "internal/netnstest is for tests: nothing that ships makes network namespaces",
	},
	{
		in: outside("internal/schematest"), forbids: own("internal/schematest"), indirect: true,
		reason: "internal/schematest is for tests: it has cases of rules, and no rules",
	},
	{
		in: outside("cli/schema"), forbids: within("k8s.io/apiextensions-apiserver", "k8s.io/apiserver", "github.com/google/cel-go"),
		reason: "only cli/schema judges as an API server does",
	},
	{
		in: outside("speaker/sim"), forbids: own("speaker/sim"), indirect: true,
		reason: "speaker/sim is a network that does not exist: nothing that ships runs on it",
	},
	{
		in: under("speaker/ownership", "speaker/members/detection"), forbids: own("api", "config", "speaker/plan", "speaker/node"), indirect: true,
		reason: "who lives and who claims what does not depend on Kubernetes or on what is planned",
	},
	{
		in: under("speaker/model"), forbids: own("."), indirect: true,
		reason: "speaker/model is values that the speaker's packages share, so it imports nothing of Baliza",
	},
	{
		in: under("api/v1beta1"), forbids: own("."), indirect: true,
		reason: "api/v1beta1 is data that everyone may import, so it imports nothing of Baliza",
	},
}

func isPure(folder string) bool {
	return under(pureFolders...)(folder) && folder != "config/daemon"
}

// under says whether a folder is one of those given, or inside one.
func under(folders ...string) func(string) bool {
	return within(folders...)
}

func outside(folders ...string) func(string) bool {
	in := under(folders...)
	return func(folder string) bool { return !in(folder) }
}

// within says whether a path is one of those given, or below one.
func within(roots ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(roots, func(root string) bool {
			return path == root || strings.HasPrefix(path, root+"/")
		})
	}
}

// isNot says whether a folder is another than that one.
func isNot(one string) func(string) bool {
	return func(folder string) bool { return folder != one }
}

// and says whether a folder is all of that.
func and(all ...func(string) bool) func(string) bool {
	return func(folder string) bool {
		return !slices.ContainsFunc(all, func(one func(string) bool) bool { return !one(folder) })
	}
}

// ownIn says whether an import path is in a folder of the module, but in none of those.
func ownIn(folder string, but ...string) func(string) bool {
	all, permitted := own(folder), own(but...)
	return func(path string) bool { return all(path) && !permitted(path) }
}

func oneOf(paths ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(paths, path) }
}

// own says whether an import path is in one of the module's folders; "." is
// the whole module.
func own(folders ...string) func(string) bool {
	var roots []string
	for _, folder := range folders {
		roots = append(roots, strings.TrimSuffix(module+"/"+folder, "/."))
	}
	return within(roots...)
}

// ownBut says whether an import path is in the module but neither the allowed
// package nor pure.
func ownBut(allowed string, pure ...string) func(string) bool {
	all, daemon := own("."), own("config/daemon")
	permitted := own(append([]string{allowed}, pure...)...)
	return func(path string) bool { return all(path) && (!permitted(path) || daemon(path)) }
}

// brokenImportRules lists what the packages import against the rules.
func brokenImportRules(packages []goPackage) []string {
	var broken []string
	for _, p := range packages {
		for _, rule := range slices.Concat(importRules, siblingRules()) {
			if !rule.in(p.folder()) {
				continue
			}
			imports := p.Imports
			if rule.indirect {
				imports = p.Deps
			}
			for _, path := range imports {
				if rule.forbids(path) {
					broken = append(broken, fmt.Sprintf("%s imports %s, directly or through another: %s", p.folder(), path, rule.reason))
				}
			}
		}
	}
	return broken
}

// clockFunctions are those of package time that read the clock or wait for it.
var clockFunctions = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// impurities lists the go statements and the uses of the clock in a source file.
func impurities(name string, source []byte) ([]string, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	clock := ""
	for _, spec := range file.Imports {
		if path, _ := strconv.Unquote(spec.Path.Value); path == "time" {
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	var found []string
	report := func(node ast.Node, what, reason string) {
		found = append(found, fmt.Sprintf("%s: %s: %s", files.Position(node.Pos()), what, reason))
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			report(node, "go statement", "pure packages start no goroutines: one call, one answer")
		case *ast.SelectorExpr:
			if x, ok := node.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(clockFunctions, node.Sel.Name) {
				report(node, "time."+node.Sel.Name, "in pure packages time comes in as an argument, so that tests can choose it")
			}
		}
		return true
	})
	if clock == "." {
		report(file, `import . "time"`, "the clock must be seen where it is used")
	}
	return found, nil
}

// listPackages asks the go command for the module's packages.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "./...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

func TestImportsFollowTheRules(t *testing.T) {
	packages := listPackages(t)
	for _, broken := range brokenImportRules(packages) {
		t.Error(broken)
	}
	pure := 0
	for _, p := range packages {
		if !isPure(p.folder()) {
			continue
		}
		pure++
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			found, err := impurities(filepath.Join(p.folder(), name), source)
			if err != nil {
				t.Fatal(err)
			}
			for _, impurity := range found {
				t.Error(impurity)
			}
		}
	}
	if pure < len(pureFolders) {
		t.Errorf("found %d pure packages, want at least those of %v: was one renamed?", pure, pureFolders)
	}
}

func TestImportRulesComplain(t *testing.T) {
	const baliza = module + "/"
	tests := map[string]struct {
		folder   string
		imports  []string // direct
		indirect []string
		want     string // part of the complaint; empty means none
	}{
		"config may read API types":                 {folder: "config", imports: []string{"net/netip", "k8s.io/api/core/v1", baliza + "api/v1beta1"}},
		"config may not use client-go":              {folder: "config", indirect: []string{"k8s.io/client-go/rest"}, want: "without a cluster"},
		"config may not log":                        {folder: "config", imports: []string{"log/slog"}, want: "no logging"},
		"config may not open sockets":               {folder: "config", imports: []string{"net"}, want: "no sockets"},
		"config/daemon is not pure":                 {folder: "config/daemon", imports: []string{"net/http", "log/slog", "os"}},
		"config may not use config/daemon":          {folder: "config", imports: []string{baliza + "config/daemon"}, want: "what they stand on"},
		"ipam may use config":                       {folder: "controller/ipam", imports: []string{baliza + "config"}},
		"ipam may not reach api/kube":               {folder: "controller/ipam", indirect: []string{baliza + "api/kube"}, want: "what they stand on"},
		"ipam may not use the speaker's plan":       {folder: "controller/ipam", imports: []string{baliza + "speaker/plan"}, want: "never import each other"},
		"reports may use config":                    {folder: "controller/reports", imports: []string{baliza + "config"}},
		"reports may not know allocations":          {folder: "controller/reports", imports: []string{baliza + "controller/ipam"}, want: "does not depend on who was given what"},
		"reports may not log":                       {folder: "controller/reports", imports: []string{"log/slog"}, want: "no logging"},
		"quarantine may use reports":                {folder: "controller/quarantine", imports: []string{baliza + "controller/reports"}},
		"quarantine may not reach statuses":         {folder: "controller/quarantine", imports: []string{baliza + "controller/status"}, want: "does not depend on who was given what"},
		"status may count allocations":              {folder: "controller/status", imports: []string{baliza + "controller/ipam", "log/slog"}},
		"status may not reach api/kube":             {folder: "controller/status", indirect: []string{baliza + "api/kube"}, want: "declares the API"},
		"others may not use the queue":              {folder: "cli", imports: []string{baliza + "controller/queue"}, want: "parts of one loop"},
		"cli may read what Speakers report":         {folder: "cli/explain", imports: []string{baliza + "controller/reports", baliza + "controller/ipam", baliza + "speaker/plan", baliza + "cli/cures"}},
		"others may not read it":                    {folder: "api/kube", imports: []string{baliza + "controller/reports"}, want: "for the loop, and for cli"},
		"explain may not ask the API server":        {folder: "cli/explain", imports: []string{baliza + "api/kube"}, want: "what they stand on"},
		"explain may not read files":                {folder: "cli/explain", imports: []string{"os"}, want: "no files"},
		"commands may reach client-go by api/kube":  {folder: "cli/command", imports: []string{baliza + "api/kube", "k8s.io/cli-runtime/pkg/genericclioptions"}, indirect: []string{"k8s.io/client-go/rest"}},
		"commands may not import client-go":         {folder: "cli/command", imports: []string{"k8s.io/client-go/kubernetes"}, want: "the one place"},
		"cli may not answer for addresses":          {folder: "cli/command", indirect: []string{baliza + "speaker/l2"}, want: "does nothing of what it explains"},
		"the controller may not use commands":       {folder: "controller", imports: []string{baliza + "cli/command"}, want: "know nothing of it"},
		"the loop may not use explanations":         {folder: "controller/reconcile", indirect: []string{baliza + "cli/explain"}, want: "whoever decides knows nothing of it"},
		"the page may use explanations":             {folder: "controller/page", imports: []string{baliza + "cli/explain"}, indirect: []string{baliza + "speaker/plan"}},
		"the page may not know the speaker's parts": {folder: "controller/page", indirect: []string{baliza + "speaker/node"}, want: "speaker/plan, alone"},
		"the page may not ask the API server":       {folder: "controller/page", indirect: []string{baliza + "api/kube"}, want: "asks the API server for nothing"},
		"cli may not serve the page":                {folder: "cli/command", imports: []string{baliza + "controller/page"}, want: "does nothing of what it explains"},
		"the controller may show cures":             {folder: "controller", imports: []string{baliza + "cli/cures"}},
		"cures may not know plans":                  {folder: "cli/cures", imports: []string{baliza + "speaker/plan"}, want: "api/v1beta1 alone"},
		"migrate may use config":                    {folder: "migrate/metallb", imports: []string{baliza + "config", baliza + "api/v1beta1"}},
		"migrate may not know the command line":     {folder: "migrate/metallb", imports: []string{baliza + "cli/cures"}, want: "by config alone"},
		"migrate may not read files":                {folder: "migrate/metallb", imports: []string{"os"}, want: "no files"},
		"schema may use the API server's own code":  {folder: "cli/schema", imports: []string{"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"}},
		"commands may not evaluate CEL":             {folder: "cli/command", imports: []string{"github.com/google/cel-go/cel"}, want: "only cli/schema"},
		"the controller may not carry CEL":          {folder: "controller", indirect: []string{"github.com/google/cel-go/cel"}, want: "for nothing"},
		"schema may not read files":                 {folder: "cli/schema", imports: []string{"os"}, want: "no files"},
		"what ships has no cases of rules":          {folder: "cli/schema", imports: []string{baliza + "internal/schematest"}, want: "for tests"},
		"text may not use files":                    {folder: "cli/text", imports: []string{"os"}, want: "a writer that it is given"},
		"plan may not use the filesystem":           {folder: "speaker/plan", imports: []string{"os"}, want: "no files"},
		"a package inside a pure one is pure":       {folder: "speaker/plan/rank", imports: []string{"net/http"}, want: "no sockets"},
		"l2 may use mdlayher":                       {folder: "speaker/l2", imports: []string{"github.com/mdlayher/arp", "net"}},
		"node may use plan and ownership":           {folder: "speaker/node", imports: []string{baliza + "speaker/plan", baliza + "speaker/ownership", baliza + "config"}},
		"node may not reach the responder":          {folder: "speaker/node", indirect: []string{baliza + "speaker/l2"}, want: "what they stand on"},
		"node may not log":                          {folder: "speaker/node", imports: []string{"log/slog"}, want: "no logging"},
		"ownership may not know plan":               {folder: "speaker/ownership", imports: []string{baliza + "speaker/plan"}, want: "does not depend on Kubernetes"},
		"keyring may not read files":                {folder: "speaker/members/keyring", imports: []string{"os"}, want: "no files"},
		"the member port is memberlist's, too":      {folder: "speaker/members/socket", imports: []string{"net", "github.com/hashicorp/memberlist"}},
		"detection may not use memberlist":          {folder: "speaker/members/detection", imports: []string{"net"}, want: "no sockets"},
		"main may not run on the simulation":        {folder: "speaker", imports: []string{baliza + "speaker/sim"}, want: "does not exist"},
		"link may not use mdlayher":                 {folder: "speaker/link", imports: []string{"github.com/mdlayher/ndp"}, want: "only speaker/l2"},
		"main may not use memberlist":               {folder: "speaker", imports: []string{"github.com/hashicorp/memberlist"}, want: "only speaker/members"},
		"ping may use nftables":                     {folder: "speaker/ping", imports: []string{"github.com/google/nftables", "github.com/mdlayher/netlink", baliza + "speaker/model"}},
		"ping may not speak ARP":                    {folder: "speaker/ping", imports: []string{"github.com/mdlayher/arp"}, want: "only speaker/l2"},
		"l2 may not write rules":                    {folder: "speaker/l2", imports: []string{"github.com/google/nftables"}, want: "only speaker/ping"},
		"l2 may not use netlink":                    {folder: "speaker/l2", imports: []string{"github.com/vishvananda/netlink"}, want: "only speaker/link"},
		"main may not send frames itself":           {folder: "speaker", imports: []string{baliza + "speaker/segment"}, want: "carries bytes"},
		"segment may not know link":                 {folder: "speaker/segment", imports: []string{baliza + "speaker/link"}, want: "knows no sibling"},
		"ethernet joins the siblings":               {folder: "speaker/ethernet", imports: []string{baliza + "speaker/segment", baliza + "speaker/link", baliza + "speaker/l2", baliza + "speaker/members"}},
		"node may not stand on ethernet":            {folder: "speaker/node", imports: []string{baliza + "speaker/ethernet"}, want: "only main stands above it"},
		"main may not use gobgp":                    {folder: "speaker", imports: []string{"github.com/osrg/gobgp/v4/pkg/server"}, want: "speaker/bgp hides"},
		"l2 may not know link":                      {folder: "speaker/l2", imports: []string{baliza + "speaker/link"}, want: "knows no sibling"},
		"bgp may use the values of model":           {folder: "speaker/bgp", imports: []string{baliza + "speaker/model"}},
		"bgp may not know bfd":                      {folder: "speaker/bgp", imports: []string{baliza + "speaker/bfd"}, want: "knows no sibling"},
		"bfd may not know bgp":                      {folder: "speaker/bfd", imports: []string{baliza + "speaker/bgp"}, want: "knows no sibling"},
		"bfd may not use gobgp":                     {folder: "speaker/bfd", imports: []string{"github.com/osrg/gobgp/v4/pkg/packet/bfd"}, want: "speaker/bgp hides"},
		"model may not import Baliza":               {folder: "speaker/model", imports: []string{baliza + "config"}, want: "imports nothing of Baliza"},
		"bgp may not know l2":                       {folder: "speaker/bgp", imports: []string{baliza + "speaker/l2"}, want: "knows no sibling"},
		"link may not know members":                 {folder: "speaker/link", imports: []string{baliza + "speaker/members"}, want: "knows no sibling"},
		"members may not know API types":            {folder: "speaker/members", imports: []string{baliza + "api/v1beta1"}, want: "no API type"},
		"members may not know Kubernetes":           {folder: "speaker/members", indirect: []string{"k8s.io/apimachinery/pkg/types"}, want: "do not know Kubernetes"},
		"speaker may use its own packages":          {folder: "speaker", imports: []string{baliza + "speaker/l2", baliza + "api/kube", baliza + "config/daemon"}},
		"speaker may reach client-go by api/kube":   {folder: "speaker", indirect: []string{baliza + "api/kube", "k8s.io/client-go/rest"}},
		"speaker may not import client-go itself":   {folder: "speaker", imports: []string{"k8s.io/client-go/rest"}, want: "the one place"},
		"speaker may not import the controller":     {folder: "speaker", imports: []string{baliza + "controller/ipam"}, want: "never import each other"},
		"controller may not import the speaker":     {folder: "controller/reconcile", indirect: []string{baliza + "speaker/plan"}, want: "never import each other"},
		"reconcile may not use the clientset":       {folder: "controller/reconcile", imports: []string{baliza + "api/client/clientset/versioned"}, want: "the one place"},
		"api/kube may use client-go":                {folder: "api/kube", imports: []string{"k8s.io/client-go/rest", baliza + "api/client/clientset/versioned"}},
		"api/v1beta1 may not import Baliza":         {folder: "api/v1beta1", imports: []string{baliza + "config"}, want: "imports nothing of Baliza"},
		"api/v1beta1 may import apimachinery":       {folder: "api/v1beta1", imports: []string{"k8s.io/apimachinery/pkg/apis/meta/v1"}},
		"what ships makes no namespaces":            {folder: "speaker", imports: []string{baliza + "internal/netnstest"}, want: "for tests"},
		"a name that only begins alike is not ours": {folder: "config", imports: []string{module + "-tools/kube", "network"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := brokenImportRules([]goPackage{{
				ImportPath: module + "/" + test.folder,
				Imports:    test.imports,
				Deps:       append(test.imports, test.indirect...),
			}})
			complained := slices.ContainsFunc(got, func(broken string) bool { return strings.Contains(broken, test.want) })
			if test.want == "" && len(got) > 0 || test.want != "" && !complained {
				t.Errorf("complaints %q, want %q", got, test.want)
			}
		})
	}
}

func TestImpuritiesAreFound(t *testing.T) {
	tests := map[string]struct {
		source string
		want   []string
	}{
		"time as a value is pure":     {source: `import "time"; func f(now time.Time) time.Duration { return now.Sub(now) + time.Second }`},
		"reading the clock":           {source: `import "time"; func f() time.Time { return time.Now() }`, want: []string{"time.Now"}},
		"the clock as a value":        {source: `import "time"; var now = time.Now`, want: []string{"time.Now"}},
		"the clock by another name":   {source: `import clock "time"; func f() { clock.Sleep(1) }`, want: []string{"time.Sleep"}},
		"the clock without a name":    {source: `import . "time"; func f() { Sleep(1) }`, want: []string{`import . "time"`}},
		"waiting and measuring":       {source: `import "time"; func f(t time.Time) { <-time.After(time.Since(t)) }`, want: []string{"time.After", "time.Since"}},
		"a goroutine":                 {source: `func f() { go f() }`, want: []string{"go statement"}},
		"a goroutine in a closure":    {source: `var g = func() { go func() {}() }`, want: []string{"go statement"}},
		"another package called time": {source: `import "example.org/time"; func f() { time.Now() }`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := impurities("file.go", []byte("package p; "+test.source))
			if err != nil {
				t.Fatal(err)
			}
			missing := slices.ContainsFunc(test.want, func(want string) bool {
				return !slices.ContainsFunc(got, func(impurity string) bool { return strings.Contains(impurity, ": "+want+": ") })
			})
			if len(got) != len(test.want) || missing {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

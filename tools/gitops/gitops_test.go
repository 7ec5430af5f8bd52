package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	states = "../../controller/status/testdata/states"
	argocd = "../../deploy/argocd"
)

// verdicts are what a person would say of each object, in the words of either program.
var verdicts = map[string]struct {
	kstatus status.Status
	argo    string
}{
	"pool-valid":                   {status.CurrentStatus, "Healthy"},
	"pool-invalid":                 {status.FailedStatus, "Degraded"},
	"pool-overlap":                 {status.FailedStatus, "Degraded"},
	"pool-used":                    {status.FailedStatus, "Degraded"},
	"pool-outside-spec":            {status.CurrentStatus, "Healthy"},
	"pool-unseen":                  {status.InProgressStatus, "Progressing"},
	"pool-edited":                  {status.InProgressStatus, "Progressing"},
	"l2advertisement-valid":        {status.CurrentStatus, "Healthy"},
	"l2advertisement-without-pool": {status.InProgressStatus, "Progressing"},
	"l2advertisement-no-match":     {status.InProgressStatus, "Progressing"},
	"bgppeer-valid":                {status.CurrentStatus, "Healthy"},
	"bgppeer-overlap":              {status.FailedStatus, "Degraded"},
	"bgpadvertisement-valid":       {status.CurrentStatus, "Healthy"},
	"bgpadvertisement-without":     {status.InProgressStatus, "Progressing"},
	"bfdprofile-valid":             {status.CurrentStatus, "Healthy"},
	"bfdprofile-invalid":           {status.FailedStatus, "Degraded"},
	"community-valid":              {status.CurrentStatus, "Healthy"},
	"community-invalid":            {status.FailedStatus, "Degraded"},
	"service-allocated":            {status.InProgressStatus, "Progressing"},
	"service-exhausted":            {status.FailedStatus, "Degraded"},
	"service-no-pool":              {status.InProgressStatus, "Progressing"},
	"service-foreign":              {status.CurrentStatus, "Healthy"},
	"service-announced":            {status.CurrentStatus, "Healthy"},
	"service-without-endpoint":     {status.InProgressStatus, "Progressing"},
	"service-nodes-excluded":       {status.FailedStatus, "Degraded"},
	"service-speakers-silent":      {status.InProgressStatus, "Progressing"},
	// Nobody can say of a Service that its controller has not looked at it: kstatus
	// believes it to be current for the moment until that has.
	"service-new": {status.CurrentStatus, "Progressing"},
}

func TestProgramsThatWaitSayOfEachObjectWhatAPersonWould(t *testing.T) {
	files, err := filepath.Glob(states + "/*.yaml")
	if err != nil || len(files) != len(verdicts) {
		t.Errorf("%d objects, verdicts on %d: %v", len(files), len(verdicts), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var object unstructured.Unstructured
		if text, err = yaml.YAMLToJSON(text); err == nil {
			err = object.UnmarshalJSON(text)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		want := verdicts[name]
		if got, err := status.Compute(&object); err != nil || got.Status != want.kstatus {
			t.Errorf("%s: kstatus says %+v, want %s: %v", name, got, want.kstatus, err)
		}
		if got, message := health(t, object.Object); got != want.argo || got == "Degraded" && message == "" {
			t.Errorf("%s: Argo CD says %s %q, want %s", name, got, message, want.argo)
		}
	}
}

// health runs the script as Argo CD does: the object is the global variable obj, and a
// table with status and message is returned. Only the libraries are there that it opens.
func health(t *testing.T, object map[string]any) (word, message string) {
	t.Helper()
	file := argocd + "/baliza.io/health.lua"
	if object["kind"] == "Service" {
		file = argocd + "/Service/health.lua"
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	l.SetGlobal("obj", value(l, object))
	if err := l.DoFile(file); err != nil {
		t.Fatal(err)
	}
	answer, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("%s returns %s", file, l.Get(-1))
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message"))
}

// value is a decoded JSON value in Lua.
func value(l *lua.LState, of any) lua.LValue {
	switch v := of.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, one := range v {
			table.RawSetString(key, value(l, one))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, one := range v {
			table.Append(value(l, one))
		}
		return table
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case int64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	}
	return lua.LNil
}

package text

import (
	"fmt"
	"strings"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// Migration prints what would come of another provider's objects and Services.
func (p *Printer) Migration(m *explain.Migration) {
	p.migratedFields(m)
	if len(m.Problems) > 0 {
		var rows [][]string
		for _, one := range m.Problems {
			rows = append(rows, []string{one.Kind + "/" + one.Name, string(one.Reason), one.Message})
		}
		p.table([]string{"OBJECT THAT WOULD NOT BE USED AS IT STANDS", "REASON", "MESSAGE"}, rows)
		p.printf("\n")
	}
	p.migratedServices(m)
	p.printf("Fields: carried over exactly %d, differ %d, lost %d.\n", m.Count(metallb.Exact), m.Count(metallb.Differs), m.Count(metallb.Lost))
	if changed := m.Changed(); len(changed) > 0 {
		p.printf("Addresses change: %s\n", strings.Join(changed, ", "))
		return
	}
	p.printf("0 addresses change.\n")
}

// migratedFields prints what differs and what is lost, and with -o wide the rest.
func (p *Printer) migratedFields(m *explain.Migration) {
	var rows [][]string
	all := m.Findings
	if p.Wide {
		all = append(append([]metallb.Finding{}, all...), m.Carried...)
		metallb.SortFindings(all)
	}
	for _, f := range all {
		rows = append(rows, []string{f.Kind + "/" + f.Name, f.Field, string(f.Outcome), f.Message})
	}
	if len(rows) > 0 {
		p.table([]string{"OBJECT", "FIELD", "OUTCOME", "MESSAGE"}, rows)
		p.printf("\n")
	}
}

func (p *Printer) migratedServices(m *explain.Migration) {
	if len(m.Services) == 0 {
		return
	}
	var rows [][]string
	for i := range m.Services {
		one := &m.Services[i]
		message := one.Message
		if one.Reason != "" {
			message = fmt.Sprintf("%s: %s", one.Reason, message)
		}
		if !one.Served {
			message = "left alone: " + message
		}
		rows = append(rows, []string{
			one.Service, p.few(one.Before), p.few(one.After), one.Pool, p.few(one.Layer2), p.few(one.Peers), message,
		})
	}
	p.table([]string{"SERVICE", "HAS", "WOULD HAVE", "POOL", "LAYER 2", "BGP PEERS", "MESSAGE"}, rows)
	p.printf("\n")
}

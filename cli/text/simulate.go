package text

import (
	"github.com/baliza-lb/baliza/cli/explain"
)

// Simulation prints what would be otherwise.
func (p *Printer) Simulation(s *explain.Simulation) {
	if s.Changes() == 0 {
		p.printf("Nothing would change.\n")
		return
	}
	if len(s.Problems) > 0 {
		var rows [][]string
		for _, one := range s.Problems {
			rows = append(rows, []string{one.Kind + "/" + one.Name, string(one.Reason), one.Message})
		}
		p.table([]string{"OBJECT THAT WOULD NOT BE USED AS IT STANDS", "REASON", "MESSAGE"}, rows)
		p.printf("\n")
	}
	if len(s.Services) > 0 {
		var rows [][]string
		for i := range s.Services {
			one := &s.Services[i]
			rows = append(rows, []string{one.Service, p.few(one.Before), p.few(one.After), string(one.Reason), one.Message})
		}
		p.table([]string{"SERVICE", "HAS", "WOULD HAVE", "REASON", "MESSAGE"}, rows)
		p.printf("\n")
	}
	if len(s.Routes) > 0 {
		var rows [][]string
		for i := range s.Routes {
			one := &s.Routes[i]
			message := one.Message
			if one.Attributes {
				message = "with other attributes"
			}
			rows = append(rows, []string{one.Prefix, string(one.Protocol), p.few(one.Before), p.few(one.After), string(one.Reason), message})
		}
		p.table([]string{"ADDRESS", "BY", "ANNOUNCED FROM", "WOULD BE FROM", "REASON", "MESSAGE"}, rows)
		p.printf("\n")
	}
	p.printf("Would change: Services %d, announcements %d.\n", len(s.Services), len(s.Routes))
}

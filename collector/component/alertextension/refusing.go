package alertextension

import (
	"strings"

	"weft/alerts"
)

// refusing is an extension that can say that it takes nothing at the moment, and why.
type refusing interface{ Refusing() (bool, string) }

// calmLooks is how many looks in a row must find nothing before a refusal counts as over: a store at its limit goes
// back and forth, and each turn would be a page.
const calmLooks = 6

// store judges one extension that may refuse.
type store struct {
	name   string // its component ID
	asked  refusing
	spoke  bool // until then an alert of an earlier process may be open
	firing bool
	reason string // at the last report
	calm   int    // looks since it last refused
}

// look is the report to make, if there is anything to say.
func (s *store) look() (alerts.Condition, bool) {
	refuses, reason := s.asked.Refusing()
	if refuses {
		s.calm = 0
	} else {
		s.calm++
	}
	known := s.spoke && refuses == s.firing && (!refuses || reason == s.reason)
	if known || !refuses && s.calm < calmLooks {
		return alerts.Condition{}, false
	}
	s.spoke, s.firing, s.reason = true, refuses, reason
	c := alerts.Condition{
		Name: "StoreRefuses", Subject: "collector " + s.name, Service: "collector", Severity: alerts.SeverityCritical,
		Summary: "The collector's " + s.name + " refuses what it is sent", Firing: s.firing,
		Description: "It takes what it is sent again.",
	}
	if s.firing {
		c.Description = strings.TrimRight(s.reason, ". ") + ". Agents keep what they acknowledged and send it later, within their own disks' limits; " +
			"then they push back, and proxies drop their oldest items. It resumes by itself once it can write."
	}
	return c, true
}

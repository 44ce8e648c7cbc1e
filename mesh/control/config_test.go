package control

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	long := "socket: /" + strings.Repeat("a", 200)
	tests := map[string]struct {
		text string
		want string // part of the error; empty for none
	}{
		"empty": {"", ""},
		"whole": {"listen: 127.0.0.1:0\nservices:\n  mysql: {protocol: tcp, endpoints: [{instance: mysql-1, address: '127.0.0.1:3306'}]}\n" +
			"policies: [{from: [storefront], to: [orders]}]\n", ""},
		"unknown key":       {"listn: x\n", ":1: listn: unknown key"},
		"address":           {"listen: here\n", ":1: listen: want HOST:PORT"},
		"port":              {"ops: '127.0.0.1:many'\n", ":1: ops: \"many\" is not a port"},
		"collector":         {"collectors: ['127.0.0.1:1', nowhere]\n", "collectors[1]: want HOST:PORT"},
		"no data":           {"data: ''\n", ":1: data: is required"},
		"short certificate": {"svid_ttl: 1s\n", ":1: svid_ttl: 1s is outside"},
		"panic":             {"panic_percent: 120\n", ":1: panic_percent: 120 is outside"},
		"long socket":       {long, "socket: "},
		"trust domain":      {"trust_domain: Not Good\n", ":1: trust_domain:"},
		"no endpoints":      {"services:\n  a: {}\n", ":2: services.a.endpoints: is required"},
		"instance twice": {"services:\n  a: {endpoints: [{instance: x, address: 'h:1'}]}\n  b: {endpoints: [{instance: x, address: 'h:2'}]}\n",
			"services.b.endpoints[0].instance: x is also an instance of a"},
		"protocol":     {"services:\n  a: {protocol: udp, endpoints: [{instance: x, address: 'h:1'}]}\n", "services.a.protocol: \"udp\" is neither"},
		"empty policy": {"policies: [{from: [a]}]\n", "policies[0].to: is required"},
		"policy name":  {"policies: [{from: [a], to: ['b c']}]\n", "policies[0]: \"b c\" is neither"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Check(writeConfig(t, t.TempDir(), test.text))
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("unexpected error: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestMayCall(t *testing.T) {
	policies := []Policy{{From: []string{"web"}, To: []string{"orders", "cart"}}, {From: []string{"*"}, To: []string{"catalog"}}, {From: []string{"admin"}, To: []string{"*"}}}
	tests := map[string]struct {
		policies []Policy
		from, to string
		want     bool
	}{
		"no policies":      {nil, "a", "b", true},
		"named":            {policies, "web", "cart", true},
		"not named":        {policies, "web", "payment", false},
		"not reversed":     {policies, "cart", "web", false},
		"anybody":          {policies, "cart", "catalog", true},
		"to anything":      {policies, "admin", "payment", true},
		"nobody by itself": {policies, "payment", "payment", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{Policies: test.policies}
			if got := cfg.mayCall(test.from, test.to); got != test.want {
				t.Fatalf("%v, want %v", got, test.want)
			}
		})
	}
}

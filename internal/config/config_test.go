package config

import (
	"strings"
	"testing"
	"time"
)

type shop struct {
	Name   string        `yaml:"name"`
	Wait   time.Duration `yaml:"wait"`
	Routes []route       `yaml:"routes"`
}

type route struct {
	Path    string `yaml:"path"`
	Service string `yaml:"service"`
}

func (s *shop) Validate() error {
	for i, r := range s.Routes {
		if r.Service == "" {
			return Faultf("routes["+string(rune('0'+i))+"].service", "is required")
		}
	}
	return nil
}

func TestParse(t *testing.T) {
	t.Setenv("SHOP", "corner")
	tests := map[string]struct {
		text string
		want string // part of the error; empty for none
	}{
		"whole":             {"name: ${SHOP}\nwait: 5s\nroutes:\n- {path: /, service: a}\n", ""},
		"empty file":        {"", ""},
		"default":           {"name: ${NOT_SET_ANYWHERE:-x}\n", ""},
		"comment untouched": {"# ${NOT_SET_ANYWHERE}\nname: a\n", ""},
		"unknown key":       {"name: a\nnam: b\n", "shop.yaml:2: nam: unknown key"},
		"unset variable":    {"name: a\nwait: ${NOT_SET_ANYWHERE}\n", "shop.yaml:2: environment variable NOT_SET_ANYWHERE is not set"},
		"wrong type":        {"wait: soon\n", "shop.yaml:1:"},
		"fault has a line":  {"name: a\nroutes:\n- path: /\n  service: a\n- path: /b\n  service: ''\n", "shop.yaml:6: routes[1].service: is required"},
		"missing key":       {"name: a\nroutes:\n- path: /\n", "shop.yaml:3: routes[0].service: is required"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Parse("shop.yaml", []byte(test.text), &shop{})
			switch {
			case test.want == "" && err != nil:
				t.Fatalf("unexpected error: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("name: a\nroutes:\n- path: /\n")
	f.Add("a: ${B}\n")
	f.Fuzz(func(t *testing.T, text string) { _ = Parse("f", []byte(text), &shop{}) })
}
